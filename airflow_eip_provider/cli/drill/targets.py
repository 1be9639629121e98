"""The check of the target groups: the primary is healthy in them, and the standby can become healthy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.aws.addresses import Instance, read_instance
from airflow_eip_provider.aws.load_balancers import HEALTHY, Target, read_load_balancers, read_target_health
from airflow_eip_provider.aws.target_checks import find_group_problems as find_attribute_problems
from airflow_eip_provider.aws.target_checks import find_target_problems
from airflow_eip_provider.cli.drill.finding import NotApplicable
from airflow_eip_provider.cli.drill.standby import launch_plans
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.aws.load_balancers import TargetGroup
    from airflow_eip_provider.aws.target_checks import TargetProblem
    from airflow_eip_provider.cli.drill.resources import Resources
    from airflow_eip_provider.preflight import Finding, Setup

_NEW_NODE = "the new primary node"


def find_group_problems(resources: Resources) -> Iterator[Finding]:
    """Check each target group: its attributes, the primary's target, and the future target of the standby."""
    if not resources.plan.groups:
        raise NotApplicable("no target group is named")
    for name, port in resources.plan.groups:
        group = resources.groups[name]
        if group is None:
            yield error(
                f"target group '{name}'",
                what=f"there is none in region '{resources.region}'",
                why="no target can be registered there",
                remedy="give the name or the ARN of an existing one, and check the region",
            )
            continue
        problems = list(find_attribute_problems(group))
        yield from (_finding(group, problem) for problem in problems)
        if any(problem.is_error for problem in problems):
            continue
        yield from _find_primary_problems(resources, group, port)
        find = _find_cold_problems if resources.plan.is_cold else _find_warm_problems
        yield from dict.fromkeys(find(resources, group, port))


def _find_primary_problems(resources: Resources, group: TargetGroup, port: int | None) -> Iterator[Finding]:
    for _, target in _targets(resources, resources.primary_instance, group, port):
        (health,) = read_target_health(resources.elbv2, group.arn, [target])
        if health.state != HEALTHY:
            yield warning(
                f"target group '{group.name}'",
                what=f"the primary is not healthy there: {health}",
                why="clients do not reach it through the load balancer now, so there is nothing to recover",
                remedy="register it (NlbTargetsOperator), and wait until it is healthy",
            )


def _find_warm_problems(resources: Resources, group: TargetGroup, port: int | None) -> Iterator[Finding]:
    for node, target in _targets(resources, resources.standby_instance, group, port):
        for problem in find_target_problems(resources.elbv2, resources.ec2, group, node, target):
            yield _finding(group, problem)


def _targets(
    resources: Resources, instance: Instance | None, group: TargetGroup, port: int | None
) -> Iterator[tuple[Instance, Target]]:
    """Yield a primary node and its target, if the node is known."""
    node = read_instance(resources.ec2, instance.instance_id) if instance else None
    if node is not None:
        yield node, Target(group.target_id_of(node) or node.instance_id, port or group.port)


def _find_cold_problems(resources: Resources, group: TargetGroup, port: int | None) -> Iterator[Finding]:
    """Check what is known of a node before it is launched: its zone, and the security groups of the parameters."""
    for plan in launch_plans(resources):
        setup = plan.setup
        security_groups = tuple(setup.security_group_ids["Master"])
        if not security_groups:
            yield warning(
                f"target group '{group.name}'",
                what="the standby names no security groups for its primary node",
                why="EMR's own security groups must admit the load balancer; this is unknown until EMR creates them",
                remedy="name one that does in AdditionalMasterSecurityGroups; deploy/ has a template that creates it",
            )
        for subnet in filter(None, setup.subnets.values()):
            if security_groups:
                node = Instance(
                    _NEW_NODE,
                    "pending",
                    subnet.subnet_id,
                    None,
                    subnet.vpc_id,
                    zone=subnet.zone,
                    group_ids=security_groups,
                )
                target = Target(_NEW_NODE, port or group.port)
                for problem in find_target_problems(resources.elbv2, resources.ec2, group, node, target):
                    yield _finding(group, problem)
            else:
                yield from _find_zone_problems(resources, group, setup, subnet.zone)


def _find_zone_problems(resources: Resources, group: TargetGroup, setup: Setup, zone: str | None) -> Iterator[Finding]:
    for balancer in read_load_balancers(resources.elbv2, group.load_balancers):
        if zone not in balancer.subnets:
            yield error(
                f"load balancer '{balancer.name}'",
                what=f"it is enabled in {', '.join(sorted(balancer.subnets))}, and the standby is launched in {zone}",
                why="the load balancer does not use targets in zones that are not enabled",
                remedy=f"enable {zone} (aws elbv2 set-subnets), or launch the standby elsewhere"
                + (f" ({setup.candidate})" if setup.candidate else ""),
            )


def _finding(group: TargetGroup, problem: TargetProblem) -> Finding:
    make_finding = error if problem.is_error else warning
    return make_finding(
        f"target group '{group.name}'",
        what=problem.text,
        why="the standby never becomes healthy there" if problem.is_error else "it may not serve every client",
        remedy="correct that before the primary fails",
    )
