"""
Whether a load balancer will reach a node as a target: what is wrong is found before anything is registered.

A target that is registered wrongly stays "unused" or "unhealthy" for ever, and says little about the cause.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.aws.load_balancers import read_is_cross_zone, read_load_balancers
from airflow_eip_provider.aws.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_eip_provider.aws.load_balancers import LoadBalancer, Target, TargetGroup

_TARGET_TYPES = frozenset({"instance", "ip"})
_ANY_PROTOCOL, _TCP = "-1", frozenset({"tcp", "6"})


@dataclass(frozen=True)
class Node:
    """
    An EC2 instance as a target sees itself.

    :param zone: the name of its Availability Zone.
    :param group_ids: the security groups of its primary network interface.
    """

    instance_id: str
    state: str
    private_ip: str | None
    vpc_id: str | None
    zone: str | None
    group_ids: tuple[str, ...]

    def id_in(self, group: TargetGroup) -> str | None:
        """Return what the node is called in a group; ``None`` when the group takes no such targets."""
        return {"instance": self.instance_id, "ip": self.private_ip}.get(group.target_type)


@dataclass(frozen=True)
class TargetProblem:
    """
    What keeps a load balancer from a target, or may.

    :param is_error: the target could never become healthy.
    """

    is_error: bool
    text: str

    def __str__(self) -> str:
        return self.text


def read_node(ec2: Any, instance_id: str) -> Node | None:
    """Read an instance; ``None`` when EC2 does not know it."""
    try:
        groups = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    except ClientError as error:
        if error_code(error) == "InvalidInstanceID.NotFound":
            return None
        raise
    return next((_node(item) for group in groups for item in group["Instances"]), None)


def read_nodes_at(ec2: Any, private_ip: str, *, vpc_id: str) -> list[Node]:
    """Read the instances that have a private address in a VPC now."""
    filters = {"private-ip-address": private_ip, "vpc-id": vpc_id}
    wanted = [{"Name": name, "Values": [value]} for name, value in filters.items()]
    found = read_pages(ec2.describe_instances, "Reservations", Filters=wanted)
    return [_node(item) for group in found for item in group["Instances"]]


def _node(item: Mapping[str, Any]) -> Node:
    interfaces = item.get("NetworkInterfaces", ())
    primary = next((i for i in interfaces if i.get("Attachment", {}).get("DeviceIndex") == 0), item)
    groups = primary.get("Groups") or item.get("SecurityGroups", ())
    return Node(
        instance_id=item["InstanceId"],
        state=item["State"]["Name"],
        private_ip=primary.get("PrivateIpAddress") or item.get("PrivateIpAddress"),
        vpc_id=item.get("VpcId"),
        zone=item.get("Placement", {}).get("AvailabilityZone"),
        group_ids=tuple(group["GroupId"] for group in groups),
    )


def find_group_problems(group: TargetGroup) -> Iterator[TargetProblem]:
    """Say what is wrong with a group whatever the target."""
    where = f"target group '{group.name}'"
    if group.target_type not in _TARGET_TYPES:
        yield _error(f"{where} takes targets of type '{group.target_type}', and no instances or IP addresses")
    if not group.load_balancers:
        yield _error(f"{where} is used by no load balancer, so its targets stay 'unused': add a listener for it")


def find_target_problems(
    elbv2: Any, ec2: Any, group: TargetGroup, node: Node, target: Target
) -> Iterator[TargetProblem]:
    """
    Say what keeps the load balancers of a group from a node, or may.

    Needs elasticloadbalancing:DescribeLoadBalancers, …:DescribeLoadBalancerAttributes,
    …:DescribeTargetGroupAttributes, ec2:DescribeSecurityGroups, ec2:DescribeSubnets.
    """
    where = f"target group '{group.name}'"
    if node.vpc_id != group.vpc_id:
        yield _error(f"{where} is in VPC '{group.vpc_id}', and {node.instance_id} in '{node.vpc_id}'")
        return
    if group.health_check_port not in {None, target.port}:
        yield _warning(f"{where} checks the health of port {group.health_check_port} for traffic to {target.port}")
    for load_balancer in read_load_balancers(elbv2, group.load_balancers):
        yield from _find_zone_problems(elbv2, group, load_balancer, node)
        yield from _find_ingress_problems(ec2, group, load_balancer, node, target)


def _find_zone_problems(
    elbv2: Any, group: TargetGroup, load_balancer: LoadBalancer, node: Node
) -> Iterator[TargetProblem]:
    """
    Look at the zones.

    A target in a zone that is not enabled is "unused", with cross-zone load balancing too (Elastic Load Balancing User
    Guide for Network Load Balancers, "Target health status", Target.NotInUse).
    """
    name = f"load balancer '{load_balancer.name}'"
    if node.zone not in load_balancer.subnets:
        zones = ", ".join(sorted(load_balancer.subnets))
        yield _error(f"{name} is enabled in {zones}, and {node.instance_id} is in {node.zone}: enable that zone")
    elif len(load_balancer.subnets) > 1 and not read_is_cross_zone(elbv2, group, load_balancer):
        yield _warning(
            f"cross-zone load balancing of {name} is off for target group '{group.name}': its addresses in other zones "
            f"than {node.zone} send nothing to {node.instance_id}"
        )


def _find_ingress_problems(
    ec2: Any, group: TargetGroup, load_balancer: LoadBalancer, node: Node, target: Target
) -> Iterator[TargetProblem]:
    """
    Look whether the node's security groups let the load balancer in.

    Traffic to targets of type "instance" keeps the client's address unless that was changed, so of them only the port
    of the health checks, which come from the load balancer itself, can be judged.
    """
    rules = _read_rules(ec2, node.group_ids)
    networks = _read_networks(ec2, list(load_balancer.subnets.values()))
    ports = {group.health_port_of(target), *([target.port] if group.target_type == "ip" else [])}
    for port in sorted(ports):
        relevant = [rule for rule in rules if _covers(rule, port)]
        if any(_admits(rule, load_balancer, networks) for rule in relevant):
            continue
        source = ", ".join(load_balancer.security_groups or map(str, networks))
        text = (
            f"the security groups of {node.instance_id} ({', '.join(node.group_ids)}) do not let load balancer "
            f"'{load_balancer.name}' in on TCP port {port}: allow it from {source}"
        )
        if any(rule.get("PrefixListIds") for rule in relevant):
            yield _warning(f"{text}, unless a prefix list of theirs does")
        else:
            yield _error(text)


def _read_rules(ec2: Any, group_ids: Sequence[str]) -> list[Mapping[str, Any]]:
    if not group_ids:
        return []
    groups = read_pages(ec2.describe_security_groups, "SecurityGroups", GroupIds=list(group_ids))
    return [rule for group in groups for rule in group.get("IpPermissions", ())]


def _read_networks(ec2: Any, subnet_ids: Sequence[str]) -> list[ipaddress.IPv4Network]:
    wanted = sorted(filter(None, subnet_ids))
    found = read_pages(ec2.describe_subnets, "Subnets", SubnetIds=wanted) if wanted else []
    return sorted(ipaddress.IPv4Network(item["CidrBlock"]) for item in found)


def _covers(rule: Mapping[str, Any], port: int) -> bool:
    if rule.get("IpProtocol") == _ANY_PROTOCOL:
        return True
    return rule.get("IpProtocol") in _TCP and int(rule.get("FromPort", 0)) <= port <= int(rule.get("ToPort", 0))


def _admits(rule: Mapping[str, Any], load_balancer: LoadBalancer, networks: Sequence[ipaddress.IPv4Network]) -> bool:
    """Whether a rule lets in the load balancer's security group, or its addresses in every zone."""
    sources = {pair.get("GroupId") for pair in rule.get("UserIdGroupPairs", ())}
    if sources & set(load_balancer.security_groups):
        return True
    ranges = [ipaddress.IPv4Network(r["CidrIp"], strict=False) for r in rule.get("IpRanges", ()) if r.get("CidrIp")]
    return bool(networks) and all(any(network.subnet_of(range_) for range_ in ranges) for network in networks)


def _error(text: str) -> TargetProblem:
    return TargetProblem(is_error=True, text=text)


def _warning(text: str) -> TargetProblem:
    return TargetProblem(is_error=False, text=text)
