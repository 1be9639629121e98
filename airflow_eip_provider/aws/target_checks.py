"""
Checks whether a load balancer can reach a node, before the node is registered as a target.

A wrongly registered target stays "unused" or "unhealthy", which says little about the cause.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.load_balancers import read_is_cross_zone, read_load_balancers
from airflow_eip_provider.aws.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Instance
    from airflow_eip_provider.aws.load_balancers import LoadBalancer, Target, TargetGroup

_TARGET_TYPES = frozenset({"instance", "ip"})
_ANY_PROTOCOL, _TCP = "-1", frozenset({"tcp", "6"})


@dataclass(frozen=True)
class TargetProblem:
    """
    A reason why a load balancer does not reach a target, or may not reach it.

    :param is_error: the target cannot become healthy.
    """

    is_error: bool
    text: str

    def __str__(self) -> str:
        return self.text


def find_group_problems(group: TargetGroup) -> Iterator[TargetProblem]:
    """Find what is wrong with a target group, whatever the target."""
    where = f"target group '{group.name}'"
    if group.target_type not in _TARGET_TYPES:
        yield _error(f"{where} has the target type '{group.target_type}', not 'instance' or 'ip'")
    if not group.load_balancers:
        yield _error(f"{where} is not used by any load balancer, so its targets stay 'unused': add a listener for it")


def find_target_problems(
    elbv2: Any, ec2: Any, group: TargetGroup, node: Instance, target: Target
) -> Iterator[TargetProblem]:
    """
    Find the reasons why the load balancers of a group do not reach a node, or may not reach it.

    Needs elasticloadbalancing:DescribeLoadBalancers, …:DescribeLoadBalancerAttributes,
    …:DescribeTargetGroupAttributes, ec2:DescribeSecurityGroups, ec2:DescribeSubnets.
    """
    where = f"target group '{group.name}'"
    if node.vpc_id != group.vpc_id:
        yield _error(f"{where} is in VPC '{group.vpc_id}', but {node.instance_id} is in '{node.vpc_id}'")
        return
    if group.health_check_port not in {None, target.port}:
        yield _warning(
            f"{where} checks the health on port {group.health_check_port}, but sends traffic to port {target.port}"
        )
    for load_balancer in read_load_balancers(elbv2, group.load_balancers):
        yield from _find_zone_problems(elbv2, group, load_balancer, node)
        yield from _find_ingress_problems(ec2, group, load_balancer, node, target)


def _find_zone_problems(
    elbv2: Any, group: TargetGroup, load_balancer: LoadBalancer, node: Instance
) -> Iterator[TargetProblem]:
    """
    Compare the zone of the node with the zones of the load balancer.

    A target in a zone that is not enabled is "unused", even with cross-zone load balancing (Elastic Load Balancing User
    Guide for Network Load Balancers, "Target health status", Target.NotInUse).
    """
    name = f"load balancer '{load_balancer.name}'"
    if node.zone not in load_balancer.subnets:
        zones = ", ".join(sorted(load_balancer.subnets))
        yield _error(f"{name} is enabled in {zones}, but {node.instance_id} is in {node.zone}: enable that zone")
    elif len(load_balancer.subnets) > 1 and not read_is_cross_zone(elbv2, group, load_balancer):
        yield _warning(
            f"cross-zone load balancing of {name} is off for target group '{group.name}': connections to its addresses "
            f"in zones other than {node.zone} do not reach {node.instance_id}"
        )


def _find_ingress_problems(
    ec2: Any, group: TargetGroup, load_balancer: LoadBalancer, node: Instance, target: Target
) -> Iterator[TargetProblem]:
    """
    Check whether the security groups of the node allow the load balancer.

    Traffic to targets of type "instance" has the client's address by default. So for them only the port of the health
    checks, which come from the load balancer itself, is checked.
    """
    rules = _read_rules(ec2, node.group_ids)
    networks = _read_networks(ec2, list(load_balancer.subnets.values()))
    ports = {group.health_port_of(target), *([target.port] if group.target_type == "ip" else [])}
    for port in sorted(ports):
        relevant = [rule for rule in rules if _covers(rule, port)]
        ranges = _allowed_ranges(relevant)
        allows_group = not _allowed_groups(relevant).isdisjoint(load_balancer.security_groups)
        if allows_group or (networks and all(any(map(network.subnet_of, ranges)) for network in networks)):
            continue
        source = ", ".join(load_balancer.security_groups or map(str, networks))
        text = (
            f"the security groups of {node.instance_id} ({', '.join(node.group_ids)}) do not allow load balancer "
            f"'{load_balancer.name}' on TCP port {port}: allow it from {source}"
        )
        if any(rule.get("PrefixListIds") for rule in relevant):
            yield _warning(f"{text}, unless one of their prefix lists allows it")
        elif networks and all(any(map(network.overlaps, ranges)) for network in networks):
            yield _warning(f"{text}, unless these rules allow the load balancer's private addresses")
        else:
            yield _error(text)


def _read_rules(ec2: Any, group_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    if not group_ids:
        return []
    groups = read_pages(ec2.describe_security_groups, "SecurityGroups", GroupIds=list(group_ids))
    return [rule for group in groups for rule in group.get("IpPermissions", ())]


def _read_networks(ec2: Any, subnet_ids: Sequence[str]) -> list[ipaddress.IPv4Network]:
    known = sorted(filter(None, subnet_ids))
    subnets = read_pages(ec2.describe_subnets, "Subnets", SubnetIds=known) if known else []
    return sorted(ipaddress.IPv4Network(item["CidrBlock"]) for item in subnets)


def _covers(rule: Mapping[str, Any], port: int) -> bool:
    if rule.get("IpProtocol") == _ANY_PROTOCOL:
        return True
    return rule.get("IpProtocol") in _TCP and int(rule.get("FromPort", 0)) <= port <= int(rule.get("ToPort", 0))


def _allowed_groups(rules: Sequence[Mapping[str, Any]]) -> set[str]:
    return {str(pair.get("GroupId")) for rule in rules for pair in rule.get("UserIdGroupPairs", ())}


def _allowed_ranges(rules: Sequence[Mapping[str, Any]]) -> list[ipaddress.IPv4Network]:
    """Return the address ranges that the rules allow together; adjacent ones are merged."""
    ranges = [r["CidrIp"] for rule in rules for r in rule.get("IpRanges", ()) if r.get("CidrIp")]
    return list(ipaddress.collapse_addresses(ipaddress.IPv4Network(text, strict=False) for text in ranges))


def _error(text: str) -> TargetProblem:
    return TargetProblem(is_error=True, text=text)


def _warning(text: str) -> TargetProblem:
    return TargetProblem(is_error=False, text=text)
