"""Subnets of the default VPC, and load balancers in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# The services of a primary node behind a load balancer, and their ports.
SERVICES = {"yarn": 8088, "hdfs": 9870, "livy": 8998}


def default_subnets(ec2: Any) -> list[dict[str, Any]]:
    """Return the public subnets of the default VPC, one in each zone, in the order of the zones."""
    listed = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    return sorted(listed, key=lambda subnet: str(subnet["AvailabilityZone"]))


@dataclass(frozen=True, kw_only=True)
class LoadBalancer:
    """
    A Network Load Balancer.

    :param host: its DNS name.
    :param groups: ARN of the target group of each service.
    :param security_group: of nodes that it can reach.
    """

    host: str
    groups: dict[str, str]
    security_group: str


def create_load_balancer(
    client: Callable[[str], Any], name: str, *, subnets: Sequence[dict[str, Any]], services: Sequence[str]
) -> LoadBalancer:
    """
    Create a load balancer with a target group and a TCP listener for each service, and let the VPC reach their ports.

    :param client: returns a boto3 client.
    """
    elb, vpc_id = client("elbv2"), subnets[0]["VpcId"]
    security_group = _open_ports(client("ec2"), [SERVICES[service] for service in services], vpc_id=vpc_id)
    kind = {"Subnets": [subnet["SubnetId"] for subnet in subnets], "Type": "network", "Scheme": "internal"}
    (balancer,) = elb.create_load_balancer(Name=name, **kind)["LoadBalancers"]
    arn = balancer["LoadBalancerArn"]
    # Each address of the load balancer then forwards to targets in every zone.
    cross_zone = [{"Key": "load_balancing.cross_zone.enabled", "Value": "true"}]
    elb.modify_load_balancer_attributes(LoadBalancerArn=arn, Attributes=cross_zone)
    groups = {}
    for service in services:
        port = {"Protocol": "TCP", "Port": SERVICES[service]}
        target = {"TargetType": "ip", "VpcId": vpc_id, "HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2}
        checks = {"HealthCheckIntervalSeconds": 10, "HealthCheckTimeoutSeconds": 6}
        (group,) = elb.create_target_group(Name=f"{name}-{service}", **port, **target, **checks)["TargetGroups"]
        groups[service] = str(group["TargetGroupArn"])
        forward = [{"Type": "forward", "TargetGroupArn": groups[service]}]
        elb.create_listener(LoadBalancerArn=arn, DefaultActions=forward, **port)
    return LoadBalancer(host=str(balancer["DNSName"]), groups=groups, security_group=security_group)


def _open_ports(ec2: Any, ports: Sequence[int], *, vpc_id: str) -> str:
    """Let the VPC reach ports of nodes with its default security group; return the group."""
    default = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "group-name", "Values": ["default"]}]
    (group,) = ec2.describe_security_groups(Filters=default)["SecurityGroups"]
    (vpc,) = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
    rule = {"IpProtocol": "tcp", "IpRanges": [{"CidrIp": vpc["CidrBlock"]}]}
    is_open = {permission.get("FromPort") for permission in group["IpPermissions"]}
    rules = [{**rule, "FromPort": port, "ToPort": port} for port in ports if port not in is_open]
    if rules:
        ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)
    return str(group["GroupId"])
