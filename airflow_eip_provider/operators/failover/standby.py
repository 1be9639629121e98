"""Which cluster takes the service of another one over: a standby that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.clusters import READY_STATES, age_order, read_tagged_clusters
from airflow_eip_provider.aws.nat_gateway_changes import is_behind_own_gateway
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, IN_CHARGE_TAG, SUCCESSOR_TAG
from airflow_eip_provider.exceptions import InvalidInputError, TransientError
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.hooks.emr import EmrClusterHook


def find_standby(
    emr: EmrClusterHook, *, old: str, job_flow_id: str | None, tags: Mapping[str, str] | None
) -> str | None:
    """
    Return the standby that takes over; ``None`` when none is RUNNING or WAITING.

    Of those with the tags it is one that a failover of the same cluster has chosen before, else the oldest; never one
    that another failover has chosen, or that is in charge.

    :param job_flow_id: that one, and no other.
    :raises TransientError: when that one is not ready.
    """
    if job_flow_id is not None:
        return _named(emr, old, job_flow_id)
    if not tags:
        return None
    found = [cluster for cluster in read_tagged_clusters(emr.conn, tags=tags) if _may_follow(cluster, old)]
    chosen = [cluster for cluster in found if SUCCESSOR_TAG in cluster.tags]
    return next((cluster.job_flow_id for cluster in sorted(chosen or found, key=age_order)), None)


def _named(emr: EmrClusterHook, old: str, job_flow_id: str) -> str:
    cluster = emr.get_cluster(job_flow_id)
    if cluster is None or cluster.state not in READY_STATES:
        state = "unknown to EMR" if cluster is None else cluster.state
        doing = f"moving the service of cluster '{old}' to '{job_flow_id}'"
        raise TransientError(doing, problem=f"the standby is {state}", remedy="name one that is RUNNING or WAITING")
    return job_flow_id


def _may_follow(cluster: Cluster, old: str) -> bool:
    is_free = cluster.tags.get(SUCCESSOR_TAG, old) == old and IN_CHARGE_TAG not in cluster.tags
    return is_free and cluster.job_flow_id != old and cluster.state in READY_STATES


def check_is_another(job_flow_id: str | None, *, old: str) -> None:
    """
    Check that the named standby is not the cluster that it is to replace.

    :raises InvalidInputError: when it is.
    """
    if job_flow_id == old:
        raise InvalidInputError(
            f"moving the service of cluster '{old}' to '{job_flow_id}'",
            problem="this is the same cluster",
            remedy="give another one as standby_job_flow_id",
        )


def check_on_primary_node(old: Cluster | None) -> None:
    """
    Check that the address of a cluster can move to another one's primary node.

    :raises InvalidInputError: when it is on a NAT gateway.
    """
    if old is not None and is_behind_own_gateway(old):
        raise InvalidInputError(
            f"moving the service of cluster '{old.job_flow_id}'",
            problem="its address is on a NAT gateway that was made for it",
            remedy="a failover moves addresses of primary nodes; end that cluster and launch another one, or put the "
            "address on a NAT gateway that stays, and give allocation_id=None",
        )


def check_address_is_given(old: Cluster | None, allocation_id: object) -> None:
    """
    Check that a cluster that was launched for an address does not lose it to nobody.

    :raises InvalidInputError: when no address is given, or a template rendered to nothing.
    """
    if old is not None and is_nothing(allocation_id) and ALLOCATION_TAG in old.tags:
        raise InvalidInputError(
            f"moving the service of cluster '{old.job_flow_id}' without an address",
            problem=f"its tag says that it has Elastic IP '{old.tags[ALLOCATION_TAG]}', and allocation_id is "
            f"{allocation_id!r}",
            remedy="give allocation_id; if it is a template, see what it renders to",
        )


def text_tags(value: Any) -> dict[str, str] | None:
    """
    Return the tags that a standby has.

    :raises InvalidInputError: when they are no mapping of texts.
    """
    if value is None or value in ("", "None", {}):
        return None
    if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise InvalidInputError(
            f"checking standby_tags {value!r}",
            problem="this is no mapping of texts",
            remedy="give what the standby is tagged with, such as {'role': 'standby'}",
        )
    return value
