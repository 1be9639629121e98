"""The tags of clusters, instances and NAT gateways."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# Set by EMR on every instance of a cluster. EMR gives the tags of a cluster to its instances, too.
CLUSTER_TAG = "aws:elasticmapreduce:job-flow-id"
ROLE_TAG = "aws:elasticmapreduce:instance-group-role"  # MASTER, CORE or TASK

# Set by users.
FUNCTION_TAG = "ClusterFunction"  # the purpose of a cluster, by convention of those who associate from the cluster
KEEP_TAG = "airflow-eip:keep"  # on a cluster that may outlive its DAG run; the reaper does not terminate it

OWN_PREFIX = "airflow-eip:"  # of all tags below; a user sets none of these

# Set by this package on clusters.
OWNER_TAG = "airflow-eip:owner-name"  # readable; see operators.owner
OWNER_DIGEST_TAG = "airflow-eip:owner"  # the same for every try of a task instance
TOKEN_TAG = "airflow-eip:token"  # noqa: S105 - with a lock store: the lease that the cluster was launched under
ALLOCATION_TAG = "airflow-eip:allocation-id"  # also on NAT gateways
TRY_TAG = "airflow-eip:try"  # the newest try that uses the cluster
BINDING_TAG = "airflow-eip:binding"  # the NAT gateway with the address: its ID, or CLUSTER_GATEWAY
CANDIDATE_TAG = "airflow-eip:candidate"  # with fallbacks: the number of the candidate, from 0
START_TIMEOUT_TAG = "airflow-eip:start-timeout"  # the limit in seconds from RunJobFlow to RUNNING or WAITING
SUCCESSOR_TAG = "airflow-eip:successor-of"  # the cluster whose service a failover moves to this one
IN_CHARGE_TAG = "airflow-eip:in-charge-since"  # since when (UTC) this one has that service
MOST_CLUSTER_TAGS = 10  # these ten
# The tries that have adopted steps or batches; see operators.adoption. It is not one of the ten, because a cluster that
# has no room for it works without it.
ADOPTERS_TAG = "airflow-eip:adopters"
CLUSTER_GATEWAY = "nat-gateway"  # a NAT gateway that is created for the cluster

# Set by this package on NAT gateways.
JOB_FLOW_TAG = "airflow-eip:job-flow-id"  # the cluster that the gateway was created for
ROUTE_TAG = "airflow-eip:route:"  # followed by the ID of a route table: the previous target of its default route


def tags_of(items: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Convert AWS's list of Key/Value pairs to a dict."""
    return {item["Key"]: item.get("Value", "") for item in items or ()}


def as_items(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Convert a dict to AWS's list of Key/Value pairs."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
