"""Checks of what takes over: a cluster that runs already, or one that is launched then."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.aws.clusters import READY_STATES
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.operators.bindings import PrimaryNode
from airflow_eip_provider.operators.owner import own_environment
from airflow_eip_provider.preflight import (
    Plan,
    Setup,
    examine_plans,
    job_flow,
    network,
    plans_of,
    read_candidates,
    security_groups,
    zones,
)
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_eip_provider.aws.network import Subnet
    from airflow_eip_provider.cli.drill.scene import Scene
    from airflow_eip_provider.preflight import Finding, Outcome

# Of a launch for which no address is named: RunJobFlow needs no less.
_LAUNCH_CHECKS = (
    job_flow.SHAPE,
    job_flow.LIFETIME,
    network.SUBNETS,
    zones.ZONES,
    zones.INSTANCE_TYPES,
    security_groups.SECURITY_GROUPS,
)
_NO_ADDRESS = "eipalloc-00000000"  # none of these checks asks for it


def find_warm_problems(scene: Scene) -> Iterator[Finding]:
    """Look at a standby that runs: its state, its node and its zone."""
    subject, cluster = f"standby '{scene.plan.standby_id}'", scene.standby
    if cluster is None or cluster.state not in READY_STATES:
        state = f"it is {cluster.state}" if cluster else f"EMR does not know it in region '{scene.region}'"
        yield error(
            subject,
            what=state,
            why="it cannot take over",
            mend="start a standby, or wait until it is WAITING",
        )
        return
    if scene.standby_instance is None or scene.standby_instance.state != "running":
        yield error(
            subject, what="its primary node does not run", why="it cannot take over", mend="start another standby"
        )
    allocation_id = scene.plan.allocation_id
    if allocation_id and cluster.tags.get(ALLOCATION_TAG) != allocation_id:
        yield warning(
            subject,
            what=f"it has no tag {ALLOCATION_TAG}={allocation_id}",
            why="the policy that airflow-eip iam-policy prints lets Airflow change only clusters that have it",
            mend=f"give it the tag: aws emr add-tags --resource-id {cluster.job_flow_id} --tags "
            f"{ALLOCATION_TAG}={allocation_id}",
        )
    if scene.primary is not None and cluster.zone and cluster.zone == scene.primary.zone:
        yield warning(
            subject,
            what=f"it is in {cluster.zone}, as the primary is",
            why="it is down, too, when that zone is",
            mend="keep the standby in a subnet of another zone",
        )


def missing_services(scene: Scene) -> str | None:
    """Say why the standby's services cannot be asked."""
    if scene.plan.is_cold:
        return "the standby is cold"
    if not scene.plan.services:
        return "no service is to be asked (--service none)"
    return None if scene.standby_instance else "no primary node is known"


def find_service_problems(scene: Scene) -> Iterator[Finding]:
    """Ask the standby's services."""
    if scene.standby_instance is None:
        return
    for result in scene.ask(scene.standby_instance):
        if result.failed:
            yield warning(
                f"service '{result.check}' of standby '{scene.plan.standby_id}'",
                what=result.problem,
                why="the standby takes over without it, or this machine does not reach it",
                mend="repair the standby, or run the drill where Airflow runs",
            )


def find_zone_problems(scene: Scene) -> Iterator[Finding]:
    """Compare the zones of a cold standby with the primary's."""
    subnets = cold_subnets(scene)
    primary = scene.primary.zone if scene.primary else None
    known = {subnet.zone for subnet in subnets if subnet.zone}
    if primary and known == {primary}:
        yield warning(
            "standby",
            what=f"it is launched in {primary}, where the primary is",
            why="it does not start when that zone is down",
            mend="give it a subnet of another zone, or a fallback that has one",
        )


def examine_launch(scene: Scene) -> Iterator[Outcome]:
    """Make the checks of ``airflow-eip doctor`` for a cold standby and its fallbacks."""
    yield from examine_plans(launch_plans(scene))


def launch_plans(scene: Scene) -> Sequence[Plan]:
    """Return what is checked of each way to launch a cold standby."""
    plan, hooks = scene.plan, scene.hooks
    shape = scene.emr.meta.service_model.operation_model("RunJobFlow").input_shape
    setup = Setup(
        allocation_id=plan.allocation_id or _NO_ADDRESS,
        eip=hooks.eip,
        emr=hooks.emr,
        lock_store=plan.lock_store,
        store_client=hooks.client_for,
        environment=own_environment(),
    )
    candidates = read_candidates(dict(plan.job_flow or {}), list(plan.fallbacks), shape=shape)
    plans = plans_of(setup, candidates, rounds=1, binding_of=lambda _: PrimaryNode())
    return plans if plan.allocation_id else [Plan(each.setup, _LAUNCH_CHECKS) for each in plans]


def cold_subnets(scene: Scene) -> list[Subnet]:
    """Return the subnets in which a cold standby may be launched."""
    found = [subnet for plan in launch_plans(scene) for subnet in plan.setup.subnets.values()]
    return [subnet for subnet in found if subnet is not None]
