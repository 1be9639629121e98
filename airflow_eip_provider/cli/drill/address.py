"""The check of the address: a drill moves the address only when the primary has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.cli.drill.finding import NotApplicable
from airflow_eip_provider.cli.scenario import first_in_queue
from airflow_eip_provider.exceptions import AddressNotFoundError
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.cli.drill.resources import Resources
    from airflow_eip_provider.preflight import Finding


def find_address_problems(resources: Resources) -> Iterator[Finding]:
    """Check that the address and its lease belong to the primary."""
    allocation_id, primary = resources.plan.allocation_id, resources.plan.job_flow_id
    if allocation_id is None:
        raise NotApplicable("no Elastic IP is named")
    subject = f"Elastic IP '{allocation_id}'"
    if resources.address is None:
        missing = AddressNotFoundError(allocation_id, region=resources.region)
        yield error(subject, what=missing.problem, why="there is nothing to move", remedy=missing.remedy)
        return
    if foreign := resources.foreign_use():
        yield error(
            subject,
            what=foreign,
            why="the address would not move with the primary, and the drill would disturb another job",
            remedy=f"wait until it is free: airflow-eip wait --free --allocation-id {allocation_id}",
        )
    elif resources.holder is None:
        yield warning(
            subject,
            what=f"it is free, and not on the primary '{primary}'",
            why="the drill measures when the standby gets it, but nothing moves",
            remedy="associate it with the primary first, in the same way as the DAG that launched the cluster",
        )
    if resources.lease is not None and (waiter := first_in_queue(resources.lease.snapshot.record)):
        yield warning(
            subject,
            what=waiter,
            why="a waiting owner may get the address when the lease of the primary ends",
            remedy="run the drill when no owner waits for the address",
        )
