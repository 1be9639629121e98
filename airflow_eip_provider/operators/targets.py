"""The id of a cluster or an instance that a task was given: is it one, and what is left if it names nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.owner import run_name, tag_names_run
from airflow_eip_provider.readings.clusters import read_tagged_clusters
from airflow_eip_provider.readings.lock import is_cluster
from airflow_eip_provider.readings.tags import ALLOCATION_TAG, OWNER_TAG

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.operators.phases import PhasedOperator

_JOB_FLOW_ID = re.compile(r"j-[0-9A-Za-z]+")
_INSTANCE_ID = re.compile(r"i-[0-9A-Za-z]+")


def check_job_flow_id(job_flow_id: object) -> None:
    """
    Check the form of a cluster's id, as it was rendered.

    :raises InvalidInputError: when it cannot be one: a name, a template that was not rendered, a list as text.
    """
    if not isinstance(job_flow_id, str) or not _JOB_FLOW_ID.fullmatch(job_flow_id):
        raise InvalidInputError(
            f"checking job_flow_id {job_flow_id!r}",
            problem="this is not the id of an EMR cluster",
            remedy="give what EMR shows as 'Cluster ID' (j-…), e.g. the output of the creating task; a template inside "
            "an f-string needs its braces doubled",
        )


def check_instance_id(instance_id: object) -> None:
    """
    Check the form of an instance's id, as it was rendered.

    :raises InvalidInputError: when it cannot be one.
    """
    if not isinstance(instance_id, str) or not _INSTANCE_ID.fullmatch(instance_id):
        raise InvalidInputError(
            f"checking instance_id {instance_id!r}",
            problem="this is not the id of an EC2 instance",
            remedy="give what EC2 shows as 'Instance ID' (i-…)",
        )


def check_nothing_left(operator: PhasedOperator, context: Context, *, job_flow_id: str | None) -> None:
    """
    Check that an id that names no cluster does not hide one of the same DAG run that is still there.

    Makes one call when there is no id and the address is free. For an id that EMR does not know it looks at the
    address, at EMR's live clusters and at the lease.

    :param job_flow_id: ``None`` when the creating task published none.
    :raises InvalidInputError: naming what is left; nothing of it is changed.
    """
    found = set(_carrier_of_run(operator, context))
    if job_flow_id is not None:
        found.update(_clusters_of_run(operator, context))
        found.update(_leased_to_run(operator, context))
    found.discard(str(job_flow_id))
    if found:
        given = "there is no job_flow_id" if job_flow_id is None else f"EMR does not know '{job_flow_id}'"
        raise InvalidInputError(
            f"ending the use of Elastic IP '{operator.allocation_id}' by this DAG run",
            problem=f"{given}, but {', '.join(sorted(found))} of the same DAG run is still there",
            remedy="pass the output of the creating task as job_flow_id, and check the region; what was found is left "
            "as it is: clear this task once the id is right",
        )


def _carrier_of_run(operator: PhasedOperator, context: Context) -> list[str]:
    """Return the live cluster that has the address, if a task of this DAG run launched it."""
    address = operator.eip.get_address(operator.allocation_id)
    if address is None or address.is_free:
        return []
    holder = operator.eip.get_holder(address)
    if holder.job_flow_id is None or not tag_names_run(holder.tags.get(OWNER_TAG, ""), context):
        return []
    return _if_live(operator, holder.job_flow_id)


def _clusters_of_run(operator: PhasedOperator, context: Context) -> list[str]:
    clusters = operator.emr.read(read_tagged_clusters(tags={ALLOCATION_TAG: operator.allocation_id}))
    return [c.job_flow_id for c in clusters if tag_names_run(c.tags.get(OWNER_TAG, ""), context)]


def _leased_to_run(operator: PhasedOperator, context: Context) -> list[str]:
    """Return what has the address by a lease of this DAG run: also what was made elsewhere, and has no tags of ours."""
    lease = operator.tenancy.read().record.lease if operator.tenancy is not None else None
    if lease is None or lease.carrier is None or not lease.speaker.name.startswith(run_name(context)):
        return []
    return _if_live(operator, lease.carrier) if is_cluster(lease.carrier) else [lease.carrier]


def _if_live(operator: PhasedOperator, job_flow_id: str) -> list[str]:
    cluster = operator.emr.get_cluster(job_flow_id)
    return [job_flow_id] if cluster is not None and not cluster.is_ending else []
