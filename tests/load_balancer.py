"""A Network Load Balancer of the local EMR, with target groups for the services of primary nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    Subnet = Mapping[str, Any]

ZONES = ("eu-west-1a", "eu-west-1b")
DRAIN_SECONDS = 60


def create_load_balancer(
    elb: Any, subnets: Collection[Subnet], ports: Mapping[str, int], *, by_instance: Collection[str] = ()
) -> tuple[str, dict[str, str]]:
    """
    Create a load balancer and a target group for each service.

    :param ports: the ports by the names of the services.
    :param by_instance: the services with targets of type "instance".
    :return: the host name of the load balancer, and the ARNs of the target groups by service.
    """
    subnet_ids = [subnet["SubnetId"] for subnet in subnets]
    (balancer,) = elb.create_load_balancer(Name="emr", Type="network", Scheme="internal", Subnets=subnet_ids)[
        "LoadBalancers"
    ]
    groups: dict[str, str] = {}
    for name, port in ports.items():
        (group,) = elb.create_target_group(
            Name=name,
            Protocol="TCP",
            Port=port,
            VpcId=next(iter(subnets))["VpcId"],
            TargetType="instance" if name in by_instance else "ip",
            HealthCheckIntervalSeconds=10,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )["TargetGroups"]
        groups[name] = str(group["TargetGroupArn"])
        delay = [{"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN_SECONDS)}]
        elb.modify_target_group_attributes(TargetGroupArn=groups[name], Attributes=delay)
        listen(elb, balancer["LoadBalancerArn"], groups[name], port=port)
    return str(balancer["DNSName"]), groups


def listen(elb: Any, balancer_arn: str, group_arn: str, *, port: int) -> None:
    """Forward a port of a load balancer to a target group."""
    forward = [{"Type": "forward", "TargetGroupArn": group_arn}]
    elb.create_listener(LoadBalancerArn=balancer_arn, Protocol="TCP", Port=port, DefaultActions=forward)


def allow_ports(ec2: Any, instance_id: str, subnets: Iterable[Subnet], ports: Iterable[int]) -> None:
    """Allow traffic from these subnets in the security groups of an instance."""
    (reservation,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
    ranges = [{"CidrIp": subnet["CidrBlock"]} for subnet in subnets]
    for port in ports:
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}
        for security_group in reservation["Instances"][0]["NetworkInterfaces"][0]["Groups"]:
            try:
                ec2.authorize_security_group_ingress(GroupId=security_group["GroupId"], IpPermissions=[rule])
            except ClientError as error:
                assert error.response["Error"]["Code"] == "InvalidPermission.Duplicate"  # noqa: PT017
