"""Target groups, their targets and the health of these, and the load balancers in front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NO_GROUP = "TargetGroupNotFound"
_TRAFFIC_PORT = "traffic-port"
_CROSS_ZONE = "load_balancing.cross_zone.enabled"  # of a load balancer, and of a target group, which overrides it
HEALTHY = "healthy"
NOT_REGISTERED = "Target.NotRegistered"


@dataclass(frozen=True)
class Target:
    """
    One target of a group.

    :param target_id: the instance's id or the IP address, as the group's target type says.
    """

    target_id: str
    port: int

    def __str__(self) -> str:
        return f"{self.target_id}:{self.port}"

    def as_request(self) -> dict[str, Any]:
        """Return it as the API wants it."""
        return {"Id": self.target_id, "Port": self.port}


@dataclass(frozen=True)
class TargetGroup:
    """
    A target group (Elastic Load Balancing API Reference, TargetGroup).

    :param port: the one that a target gets traffic on unless it was registered with another.
    :param target_type: "instance", "ip", "lambda" or "alb".
    :param health_check_port: ``None`` for the one that the target gets traffic on.
    :param load_balancers: the ARNs of those that send traffic to it.
    """

    arn: str
    name: str
    port: int
    target_type: str
    vpc_id: str | None
    health_check_port: int | None
    load_balancers: tuple[str, ...]

    def health_port_of(self, target: Target) -> int:
        """Return the port that a target's health is checked on."""
        return target.port if self.health_check_port is None else self.health_check_port


@dataclass(frozen=True)
class LoadBalancer:
    """
    A load balancer.

    :param kind: "network", "application" or "gateway".
    :param subnets: by the names of its zones.
    :param security_groups: empty for a Network Load Balancer that was made without any.
    """

    arn: str
    name: str
    kind: str
    vpc_id: str | None
    subnets: Mapping[str, str]
    security_groups: tuple[str, ...]


@dataclass(frozen=True)
class TargetHealth:
    """
    What a load balancer says of a target.

    :param state: "initial", "healthy", "unhealthy", "draining", "unused", …
    :param reason: a code such as "Target.FailedHealthChecks"; ``description`` the same in words.
    """

    target: Target
    state: str
    reason: str = ""
    description: str = ""

    @property
    def is_registered(self) -> bool:
        """Whether the group has the target, be it that it is leaving."""
        return self.reason != NOT_REGISTERED

    def __str__(self) -> str:
        if not self.is_registered:
            return f"{self.target} is not registered"
        why = ": ".join(part for part in (self.reason, self.description) if part)
        return f"{self.target} is {self.state}" + (f" ({why})" if why else "")


@dataclass(frozen=True)
class Member:
    """
    A target in a target group, as plain values: ``asdict`` makes JSON of it.

    :param target_group: its name; ``target_group_arn`` its ARN.
    :param target: the instance's id or the IP address.
    """

    target_group: str
    target_group_arn: str
    target: str
    port: int

    @classmethod
    def of(cls, group: TargetGroup, target: Target) -> Member:
        """Return the member that a target is of a group."""
        return cls(group.name, group.arn, target.target_id, target.port)

    @property
    def as_target(self) -> Target:
        """The target alone."""
        return Target(self.target, self.port)

    def __str__(self) -> str:
        return f"{self.target}:{self.port} in target group '{self.target_group}'"


def read_target_group(elbv2: Any, name_or_arn: str) -> TargetGroup | None:
    """Read a target group by its name or ARN; ``None`` when there is none."""
    which = {"TargetGroupArns": [name_or_arn]} if name_or_arn.startswith("arn:") else {"Names": [name_or_arn]}
    try:
        items = elbv2.describe_target_groups(**which)["TargetGroups"]
    except ClientError as error:
        if error_code(error) == _NO_GROUP:
            return None
        raise
    return next((_group(item) for item in items), None)


def _group(item: Mapping[str, Any]) -> TargetGroup:
    health_port = str(item.get("HealthCheckPort", _TRAFFIC_PORT))
    return TargetGroup(
        arn=item["TargetGroupArn"],
        name=item["TargetGroupName"],
        port=int(item.get("Port", 0)),
        target_type=item.get("TargetType", "instance"),
        vpc_id=item.get("VpcId"),
        health_check_port=int(health_port) if health_port.isdecimal() else None,
        load_balancers=tuple(item.get("LoadBalancerArns", ())),
    )


def read_load_balancers(elbv2: Any, arns: Sequence[str]) -> list[LoadBalancer]:
    """Read load balancers by their ARNs."""
    if not arns:
        return []
    items = elbv2.describe_load_balancers(LoadBalancerArns=list(arns))["LoadBalancers"]
    return [
        LoadBalancer(
            arn=item["LoadBalancerArn"],
            name=item["LoadBalancerName"],
            kind=item.get("Type", "application"),
            vpc_id=item.get("VpcId"),
            subnets={zone["ZoneName"]: zone.get("SubnetId", "") for zone in item.get("AvailabilityZones", ())},
            security_groups=tuple(item.get("SecurityGroups", ())),
        )
        for item in items
    ]


def read_is_cross_zone(elbv2: Any, group: TargetGroup, load_balancer: LoadBalancer) -> bool:
    """Read whether each zone of a load balancer sends traffic to the targets in all of its zones."""
    own = _attributes(elbv2.describe_target_group_attributes(TargetGroupArn=group.arn)).get(_CROSS_ZONE)
    if own in {"true", "false"}:
        return own == "true"
    all_ = _attributes(elbv2.describe_load_balancer_attributes(LoadBalancerArn=load_balancer.arn))
    return all_.get(_CROSS_ZONE) == "true"


def _attributes(response: Mapping[str, Any]) -> dict[str, str]:
    return {item["Key"]: item.get("Value", "") for item in response["Attributes"]}


def read_target_health(elbv2: Any, group_arn: str, targets: Sequence[Target] = ()) -> list[TargetHealth]:
    """
    Read the health of a group's targets.

    :param targets: these only, of which each has an answer, registered or not; all that are registered if none.
    """
    asked = {"Targets": [target.as_request() for target in targets]} if targets else {}
    items = elbv2.describe_target_health(TargetGroupArn=group_arn, **asked)["TargetHealthDescriptions"]
    found = [
        TargetHealth(
            Target(item["Target"]["Id"], int(item["Target"].get("Port", 0))),
            item["TargetHealth"]["State"],
            item["TargetHealth"].get("Reason", ""),
            item["TargetHealth"].get("Description", ""),
        )
        for item in items
    ]
    known = {health.target for health in found}
    missing = [TargetHealth(target, "unused", NOT_REGISTERED) for target in targets if target not in known]
    return [*found, *missing]


def register_targets(elbv2: Any, group_arn: str, targets: Sequence[Target]) -> None:
    """Register targets; one that is registered already stays as it is (API Reference, RegisterTargets)."""
    elbv2.register_targets(TargetGroupArn=group_arn, Targets=[target.as_request() for target in targets])


def deregister_targets(elbv2: Any, group_arn: str, targets: Sequence[Target]) -> None:
    """Deregister targets: they get no new connections, and are drained."""
    elbv2.deregister_targets(TargetGroupArn=group_arn, Targets=[target.as_request() for target in targets])
