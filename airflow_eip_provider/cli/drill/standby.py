"""The checks of the standby: a cluster that already runs, or one that is launched when it is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.aws.clusters import READY_STATES
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.cli.drill.finding import NotApplicable, find_silent_services
from airflow_eip_provider.operators.bindings import PrimaryNode
from airflow_eip_provider.operators.bindings.unaddressed import WithoutAddress
from airflow_eip_provider.operators.owner import own_environment
from airflow_eip_provider.preflight import Setup, examine_plans, plans_of, read_candidates
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from airflow_eip_provider.cli.drill.resources import Resources
    from airflow_eip_provider.preflight import Finding, Outcome, Plan

_NO_ADDRESS = "eipalloc-00000000"  # a Setup needs one; these checks do not use it


def find_warm_problems(resources: Resources) -> Iterator[Finding]:
    """Check the state, the primary node and the zone of a running standby."""
    plan, cluster = resources.plan, resources.standby
    if plan.is_cold:
        raise NotApplicable("the standby is cold: it is launched when it is needed")
    subject = f"standby '{plan.standby_job_flow_id}'"
    if cluster is None or cluster.state not in READY_STATES:
        what = f"it is {cluster.state}" if cluster else f"EMR does not know it in region '{resources.region}'"
        remedy = "start a standby, or wait until it is WAITING"
        yield error(subject, what=what, why="it cannot take over", remedy=remedy)
        return
    if resources.standby_instance is None or resources.standby_instance.state != "running":
        what = "its primary node does not run"
        yield error(subject, what=what, why="it cannot take over", remedy="start another standby")
    tag = f"{ALLOCATION_TAG}={plan.allocation_id}"
    if plan.allocation_id and cluster.tags.get(ALLOCATION_TAG) != plan.allocation_id:
        yield warning(
            subject,
            what=f"it has no tag {tag}",
            why="the policy that airflow-eip iam-policy prints lets Airflow change only clusters that have it",
            remedy=f"add the tag: aws emr add-tags --resource-id {cluster.job_flow_id} --tags {tag}",
        )
    if resources.primary is not None and cluster.zone and cluster.zone == resources.primary.zone:
        yield warning(
            subject,
            what=f"it is in {cluster.zone}, as the primary is",
            why="when that zone fails, the standby fails as well",
            remedy="keep the standby in a subnet of another zone",
        )


def find_service_problems(resources: Resources) -> Iterator[Finding]:
    """Check the standby's services."""
    if resources.plan.is_cold:
        raise NotApplicable("the standby is cold")
    yield from find_silent_services(
        resources,
        resources.standby_instance,
        f"standby '{resources.plan.standby_job_flow_id}'",
        why="the standby takes over without it, or this machine does not reach it",
        remedy="repair the standby, or run the drill where Airflow runs",
    )


def find_zone_problems(resources: Resources) -> Iterator[Finding]:
    """Compare the zones of a cold standby with the primary's."""
    if not resources.plan.is_cold:
        raise NotApplicable("the standby runs already")
    subnets = [subnet for plan in launch_plans(resources) for subnet in plan.setup.subnets.values()]
    zones_of_standby = {subnet.zone for subnet in subnets if subnet is not None and subnet.zone}
    primary = resources.primary.zone if resources.primary else None
    if primary and zones_of_standby == {primary}:
        yield warning(
            "standby",
            what=f"it is launched in {primary}, where the primary is",
            why="it does not start when that zone is down",
            remedy="give it a subnet of another zone, or a fallback that has one",
        )


def run_launch_checks(resources: Resources) -> Iterator[Outcome]:
    """Run the checks of ``airflow-eip doctor`` for a cold standby and its fallbacks."""
    yield from examine_plans(launch_plans(resources))


def launch_plans(resources: Resources) -> Sequence[Plan]:
    """Return the checks of each way to launch a cold standby."""
    plan, hooks = resources.plan, resources.hooks
    shape = resources.emr.meta.service_model.operation_model("RunJobFlow").input_shape
    setup = Setup(
        allocation_id=plan.allocation_id or _NO_ADDRESS,
        eip=hooks.eip,
        emr=hooks.emr,
        lock_store=plan.lock_store,
        store_client=hooks.client_for,
        environment=own_environment(),
        ends_idle=False,  # as EmrFailoverOperator by default: a standby runs until somebody ends it
    )
    binding = PrimaryNode() if plan.allocation_id else WithoutAddress()
    candidates = read_candidates(dict(plan.job_flow_overrides or {}), list(plan.fallbacks), shape=shape)
    return plans_of(setup, candidates, rounds=1, binding_of=lambda _: binding)
