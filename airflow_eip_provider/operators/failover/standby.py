"""Choosing the standby cluster that takes over a service, and the checks before a failover."""

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

    Of the clusters with the tags it returns the one that an earlier failover of the same cluster has chosen, or else
    the oldest one. It skips clusters that a failover of another cluster has chosen, and clusters that are in charge.

    :param job_flow_id: the only standby that may be used.
    :raises TransientError: when that standby is not ready.
    """
    if job_flow_id is not None:
        cluster = emr.get_cluster(job_flow_id)
        if cluster is None or cluster.state not in READY_STATES:
            state = "unknown to EMR" if cluster is None else cluster.state
            doing = f"moving the service of cluster '{old}' to '{job_flow_id}'"
            raise TransientError(doing, problem=f"the standby is {state}", remedy="name one that is RUNNING or WAITING")
        return job_flow_id
    if not tags:
        return None
    ready = [
        cluster
        for cluster in read_tagged_clusters(emr.conn, tags=tags)
        if cluster.job_flow_id != old
        and cluster.state in READY_STATES
        and cluster.tags.get(SUCCESSOR_TAG) in {None, "", old}  # empty: a failover that chose it was undone
        and IN_CHARGE_TAG not in cluster.tags
    ]
    chosen = [cluster for cluster in ready if cluster.tags.get(SUCCESSOR_TAG) == old]
    return min(chosen or ready, key=age_order).job_flow_id if ready else None


def check_old_cluster(old: Cluster | None, allocation_id: object) -> None:
    """
    Check that the address of the old cluster can move to another primary node, and that it is given.

    :raises InvalidInputError: when the address is on a NAT gateway, or the cluster was launched with an address and
        none is given.
    """
    if old is not None and is_behind_own_gateway(old):
        raise InvalidInputError(
            f"moving the service of cluster '{old.job_flow_id}'",
            problem="its address is on a NAT gateway that was created for it",
            remedy="a failover moves addresses of primary nodes; terminate the cluster and launch another one, or put "
            "the address on a permanent NAT gateway, and give allocation_id=None",
        )
    if old is not None and is_nothing(allocation_id) and ALLOCATION_TAG in old.tags:
        raise InvalidInputError(
            f"moving the service of cluster '{old.job_flow_id}' without an address",
            problem=f"its tag says that it has Elastic IP '{old.tags[ALLOCATION_TAG]}', and allocation_id is "
            f"{allocation_id!r}",
            remedy="give allocation_id; if it is a template, check what it renders to",
        )


def checked_tags(value: Any) -> dict[str, str] | None:
    """
    Validate ``standby_tags``.

    :raises InvalidInputError: when they are not a mapping of strings.
    """
    if value in (None, "", "None", {}):
        return None
    if not isinstance(value, dict) or not all(isinstance(part, str) for pair in value.items() for part in pair):
        raise InvalidInputError(
            f"checking standby_tags {value!r}",
            problem="this is not a mapping of strings",
            remedy="give the tags of the standby, such as {'role': 'standby'}",
        )
    return value
