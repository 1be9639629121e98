"""The cluster or instance that a task gets: its ID, the wait until it runs, and what a missing ID would leave."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.resource_ids import check_instance_id, check_job_flow_id
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, OWNER_TAG
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.lease_settings import lock_store_uri
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.operators.phases import PhasedOperator
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.verdict import Verdict
    from airflow_eip_provider.triggers.watch import WatchTrigger


def check_one_target(**targets: object) -> None:
    """
    Check that exactly one of some rendered parameters names a cluster or an instance, and the form of its ID.

    A parameter that is given and renders to nothing is an error: the task that it comes from returned no ID.

    :param targets: by the parameter's name: ``job_flow_id``, ``instance_id`` or another one, whose form is not checked.
    :raises InvalidInputError: for anything else.
    """
    given = {name: value for name, value in targets.items() if value is not None and value != ""}
    if len(given) != 1 or any(map(is_nothing, given.values())):
        values = [f"{name} is {value!r}" for name, value in targets.items()]
        raise InvalidInputError(
            "checking the target",
            problem=f"{', '.join(values[:-1])} and {values[-1]}",
            remedy="give exactly one of them, and see that the task that it comes from has returned it",
        )
    checks = {"job_flow_id": check_job_flow_id, "instance_id": check_instance_id}
    for name in given.keys() & checks.keys():
        checks[name](given[name])


def judge_running(observed: Observed, job_flow_id: str | None, instance_id: str | None) -> Verdict:
    """Judge whether the primary node of a cluster, or an instance, is running."""
    from airflow_eip_provider.triggers.eip import judge_instance
    from airflow_eip_provider.triggers.emr import judge_target

    if job_flow_id:
        return judge_target(observed, job_flow_id, target="primary_running")
    return judge_instance(str(instance_id), observed.instance(str(instance_id)))


def running_trigger(job_flow_id: str | None, instance_id: str | None, **watch: Any) -> WatchTrigger:
    """Return the trigger that waits until the primary node of a cluster, or an instance, is running."""
    from airflow_eip_provider.triggers.eip import InstanceRunningTrigger
    from airflow_eip_provider.triggers.emr import EmrClusterTrigger

    if job_flow_id:
        return EmrClusterTrigger(job_flow_id=job_flow_id, target="primary_running", **watch)
    return InstanceRunningTrigger(instance_id=str(instance_id), **watch)


def check_nothing_left(operator: PhasedOperator, context: Context, *, job_flow_id: str | None) -> None:
    """
    Check that the creating task has left no cluster, when its ID is missing or unknown to EMR.

    Clusters of another task group, or of another pair of tasks, of the same DAG run are ignored.

    Makes one call when there is no ID and the address is free. For an ID that EMR does not know it reads the address,
    EMR's live clusters and the lease.

    :param job_flow_id: ``None`` when the creating task published none.
    :raises InvalidInputError: naming what is left; nothing was changed.
    """
    leftovers = set(_resource_of_run(operator, context))
    if job_flow_id is not None:
        leftovers.update(_clusters_of_run(operator, context))
        leftovers.update(_leased_to_run(operator, context))
    leftovers.discard(str(job_flow_id))
    if leftovers:
        reason = "there is no job_flow_id" if job_flow_id is None else f"EMR does not know '{job_flow_id}'"
        raise InvalidInputError(
            f"ending the use of Elastic IP '{operator.address_text}' by this DAG run",
            problem=f"{reason}, but {', '.join(sorted(leftovers))} of the same DAG run still exists",
            remedy="pass the output of the creating task as job_flow_id, and check the region; nothing was changed, so "
            "clear this task when the ID is correct",
        )


def _resource_of_run(operator: PhasedOperator, context: Context) -> list[str]:
    """Return the live clusters with one of the addresses that the creating task may have launched."""
    resource_ids: list[str] = []
    for allocation_id in operator.named_addresses:
        address = operator.eip.get_address(allocation_id)
        if address is None or address.is_free:
            continue
        holder = operator.eip.get_holder(address)
        if holder.job_flow_id is not None and _may_be_ours(operator, context, holder.tags.get(OWNER_TAG, "")):
            resource_ids += _if_live(operator, holder.job_flow_id)
    return resource_ids


def _clusters_of_run(operator: PhasedOperator, context: Context) -> list[str]:
    from airflow_eip_provider.aws.clusters import read_tagged_clusters

    addresses = operator.named_addresses
    tags = {ALLOCATION_TAG: addresses[0]} if len(addresses) == 1 else {}
    return [
        cluster.job_flow_id
        for cluster in read_tagged_clusters(operator.emr.conn, tags=tags)
        if cluster.tags.get(ALLOCATION_TAG) in addresses
        and _may_be_ours(operator, context, cluster.tags.get(OWNER_TAG, ""))
    ]


def _leased_to_run(operator: PhasedOperator, context: Context) -> list[str]:
    """Return the clusters and instances in the creating task's lease; they may have none of our tags."""
    from airflow_eip_provider.lease_client.reads import is_cluster

    resource_ids: list[str] = []
    uri = lock_store_uri(operator.lock_store)
    for allocation_id in operator.named_addresses:
        lease = operator.aws.lease_client(uri, allocation_id).read().record.lease
        if lease is None or lease.resource_id is None or not _may_be_ours(operator, context, lease.attempt.name):
            continue
        resource_ids += _if_live(operator, lease.resource_id) if is_cluster(lease.resource_id) else [lease.resource_id]
    return resource_ids


def _may_be_ours(operator: PhasedOperator, context: Context, owner: str) -> bool:
    """
    Return whether an owner may be the task that created the cluster of this task.

    It is a direct upstream task, or one of the same task group that is upstream or has no known relation.
    """
    from airflow_eip_provider.operators.owner import task_of_run

    task = task_of_run(owner, context)
    if task is None:
        return False
    task_id, map_index = task
    if map_index is None:
        return True
    own_index = context["ti"].map_index
    if map_index >= 0 and own_index is not None and 0 <= own_index != map_index:
        return False
    if task_id in operator.upstream_task_ids:  # type: ignore[attr-defined]
        return True
    upstream = operator.get_flat_relative_ids(upstream=True)  # type: ignore[attr-defined]
    same_group = task_id.rpartition(".")[0] == operator.task_id.rpartition(".")[0]  # type: ignore[attr-defined]
    return same_group and (not upstream or task_id in upstream)


def _if_live(operator: PhasedOperator, job_flow_id: str) -> list[str]:
    cluster = operator.emr.get_cluster(job_flow_id)
    return [job_flow_id] if cluster is not None and not cluster.is_ending else []
