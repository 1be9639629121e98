"""The check of the target groups: the primary is healthy there, and the standby can become so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.aws.load_balancers import HEALTHY, Target, read_load_balancers, read_target_health
from airflow_eip_provider.aws.target_checks import Node, find_group_problems, find_target_problems, read_node
from airflow_eip_provider.cli.drill.standby import launch_plans
from airflow_eip_provider.preflight.finding import error, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.aws.load_balancers import TargetGroup
    from airflow_eip_provider.aws.target_checks import TargetProblem
    from airflow_eip_provider.cli.drill.scene import Scene
    from airflow_eip_provider.preflight import Finding, Setup

_NEW_NODE = "the new primary node"


def find(scene: Scene) -> Iterator[Finding]:
    """Look at each group: itself, the primary's target, and the one that the standby will be."""
    for name, port in scene.plan.target_groups:
        group = scene.groups[name]
        if group is None:
            yield error(
                f"target group '{name}'",
                what=f"there is none in region '{scene.region}'",
                why="nobody can be registered there",
                mend="give the name or the ARN of one, and check the region",
            )
            continue
        problems = list(find_group_problems(group))
        yield from (_found(group, problem) for problem in problems)
        if any(problem.is_error for problem in problems):
            continue
        yield from _find_primary_problems(scene, group, port)
        standby = _warm(scene, group, port) if not scene.plan.is_cold else _cold(scene, group)
        yield from dict.fromkeys(standby)


def _find_primary_problems(scene: Scene, group: TargetGroup, port: int | None) -> Iterator[Finding]:
    node = read_node(scene.ec2, scene.primary_instance.instance_id) if scene.primary_instance else None
    if node is None:
        return
    target = Target(node.id_in(group) or node.instance_id, port or group.port)
    (health,) = read_target_health(scene.elbv2, group.arn, [target])
    if health.state != HEALTHY:
        yield warning(
            f"target group '{group.name}'",
            what=f"the primary is not healthy there: {health}",
            why="clients do not reach it through the load balancer now, so there is nothing to recover",
            mend="register it (NlbTargetsOperator), and wait until it is healthy",
        )


def _warm(scene: Scene, group: TargetGroup, port: int | None) -> Iterator[Finding]:
    node = read_node(scene.ec2, scene.standby_instance.instance_id) if scene.standby_instance else None
    if node is None:
        return
    target = Target(node.id_in(group) or node.instance_id, port or group.port)
    for problem in find_target_problems(scene.elbv2, scene.ec2, group, node, target):
        yield _found(group, problem)


def _cold(scene: Scene, group: TargetGroup) -> Iterator[Finding]:
    """Look at what is known of a node before there is one: its zone, and the security groups that are named."""
    for plan in launch_plans(scene):
        setup = plan.setup
        named = tuple(setup.security_group_ids["Master"])
        if not named:
            yield warning(
                f"target group '{group.name}'",
                what="the standby names no security groups for its primary node",
                why="EMR's own ones have to let the load balancer in, and that is not known before they are there",
                mend="name one in AdditionalMasterSecurityGroups that does; deploy/ has a template that makes it",
            )
        for subnet in setup.subnets.values():
            if subnet is None:
                continue
            node = Node(_NEW_NODE, "pending", None, subnet.vpc_id, subnet.zone, named)
            if named:
                target = Target(_NEW_NODE, group.port)
                for problem in find_target_problems(scene.elbv2, scene.ec2, group, node, target):
                    yield _found(group, problem)
            else:
                yield from _find_zone_problems(scene, group, setup, subnet.zone)


def _find_zone_problems(scene: Scene, group: TargetGroup, setup: Setup, zone: str | None) -> Iterator[Finding]:
    for balancer in read_load_balancers(scene.elbv2, group.load_balancers):
        if zone not in balancer.subnets:
            yield error(
                f"load balancer '{balancer.name}'",
                what=f"it is enabled in {', '.join(sorted(balancer.subnets))}, and the standby is launched in {zone}",
                why="a target in a zone that is not enabled is never used",
                mend=f"enable {zone} (aws elbv2 set-subnets), or launch the standby elsewhere"
                + (f" ({setup.candidate})" if setup.candidate else ""),
            )


def _found(group: TargetGroup, problem: TargetProblem) -> Finding:
    finding = error if problem.is_error else warning
    return finding(
        f"target group '{group.name}'",
        what=problem.text,
        why="the standby never becomes healthy there" if problem.is_error else "it may not serve every client",
        mend="correct that before the primary fails",
    )
