"""The check of the address: a drill moves it only when it is the primary's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import AddressNotFoundError
from airflow_eip_provider.lease.description import holder_of
from airflow_eip_provider.lease.observation import LeaseCondition, condition_of
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.cli.drill.scene import Scene
    from airflow_eip_provider.preflight import Finding


def find(scene: Scene) -> Iterator[Finding]:
    """Compare what carries the address, and whose lease it is, with the primary."""
    allocation_id, primary = str(scene.plan.allocation_id), scene.plan.job_flow_id
    subject, address = f"Elastic IP '{allocation_id}'", scene.address
    if address is None:
        missing = AddressNotFoundError(allocation_id, region=scene.region)
        yield error(subject, what=missing.problem, why="there is nothing to move", mend=missing.remedy)
        return
    if foreign := foreign_owner(scene):
        yield error(
            subject,
            what=foreign,
            why="the address would not move with the primary, and the drill would disturb another job",
            mend=f"wait until it is free: airflow-eip wait --free --allocation-id {allocation_id}",
        )
    elif scene.holder is None:
        yield warning(
            subject,
            what=f"it is free, and not on the primary '{primary}'",
            why="the drill measures when the standby has it, and nothing moves",
            mend="put it on the primary first, as the DAG does that made the cluster",
        )
    if scene.lease is not None and (queue := scene.lease.snapshot.record.queue):
        yield warning(
            subject,
            what=f"'{queue[0].attempt.name}' is the first of {len(queue)} in its queue",
            why="who waits may get the address when the lease of the primary ends",
            mend="hold the drill when nobody waits for the address",
        )


def foreign_owner(scene: Scene) -> str | None:
    """Say who else than the primary has the address, or its lease; ``None`` when nobody has."""
    primary = scene.plan.job_flow_id
    if scene.holder is not None and scene.holder.job_flow_id != primary:
        return f"it is on {scene.holder.description}"
    if scene.lease is None or (lease := scene.lease.snapshot.record.lease) is None:
        return None
    if lease.resource_id != primary and condition_of(scene.lease) is not LeaseCondition.FINISHED:
        return f"its lease is {holder_of(scene.lease)}"
    return None
