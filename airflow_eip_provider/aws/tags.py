"""The tags by which clusters, instances and NAT gateways say whose they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CLUSTER_TAG = "aws:elasticmapreduce:job-flow-id"  # EMR puts it on every instance of a cluster
ROLE_TAG = "aws:elasticmapreduce:instance-group-role"  # EMR's too: MASTER, CORE or TASK
FUNCTION_TAG = "ClusterFunction"  # a custom of those who associate an address from the cluster: what it works for
OWNER_TAG = "airflow-eip:owner-name"  # ours, readable; see operators.owner. EMR gives a cluster's tags to its instances
OWNER_DIGEST_TAG = "airflow-eip:owner"  # ours, the same for every try of a task instance
TOKEN_TAG = "airflow-eip:token"  # noqa: S105 - ours, with a lock store: the lease that the cluster was launched under
ALLOCATION_TAG = "airflow-eip:allocation-id"  # ours, on everything that is made for an address
TRY_TAG = "airflow-eip:try"  # ours, the newest try that speaks for the cluster

# Ours, on clusters whose address is not on the primary node: what carries it, a NAT gateway's id or CLUSTER_GATEWAY.
BINDING_TAG = "airflow-eip:binding"
CANDIDATE_TAG = "airflow-eip:candidate"  # ours, on a cluster that has fallbacks: which of the candidates it is, from 0
START_TIMEOUT_TAG = "airflow-eip:start-timeout"  # ours: seconds from RunJobFlow to RUNNING or WAITING at most
SUCCESSOR_TAG = "airflow-eip:successor-of"  # ours, on a cluster to which a failover moves the service of another one
IN_CHARGE_TAG = "airflow-eip:in-charge-since"  # ours, on it: since when (UTC) it has the service
# Of ours on a cluster: owner, owner's name, address, try, token, binding, candidate, start timeout, successor of, in
# charge since.
MOST_CLUSTER_TAGS = 10
CLUSTER_GATEWAY = "nat-gateway"  # one that is made for the cluster
JOB_FLOW_TAG = "airflow-eip:job-flow-id"  # ours, on a NAT gateway: the cluster that it was made for
ROUTE_TAG = "airflow-eip:route:"  # ours, on a NAT gateway, before a route table's id: what its default route was


def tags_of(items: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Turn AWS's list of Key/Value pairs into a dict."""
    return {item["Key"]: item.get("Value", "") for item in items or ()}


def as_items(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Turn a dict into AWS's list of Key/Value pairs."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]
