"""Load balancers, their target groups, and the targets and their health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.errors import IgnoreCodes
from airflow_eip_provider.aws.tags import tags_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Instance

_CROSS_ZONE = "load_balancing.cross_zone.enabled"  # attribute of load balancers; that of a target group overrides it
HEALTHY = "healthy"
NOT_REGISTERED = "Target.NotRegistered"


@dataclass(frozen=True)
class Target:
    """
    A target of a target group.

    :param target_id: the instance ID or the IP address, depending on the target type of the group.
    """

    target_id: str
    port: int

    def __str__(self) -> str:
        return f"{self.target_id}:{self.port}"

    def as_request(self) -> dict[str, Any]:
        """Return it as a parameter of the API."""
        return {"Id": self.target_id, "Port": self.port}


@dataclass(frozen=True)
class TargetGroup:
    """
    A target group (Elastic Load Balancing API Reference, TargetGroup).

    :param port: the default port of its targets.
    :param target_type: "instance", "ip", "lambda" or "alb".
    :param health_check_port: ``None`` for the port of the target.
    :param load_balancers: the ARNs of the load balancers that send traffic to it.
    """

    arn: str
    name: str
    port: int
    target_type: str
    vpc_id: str | None
    health_check_port: int | None
    load_balancers: tuple[str, ...]

    def health_port_of(self, target: Target) -> int:
        """Return the port of the health checks of a target."""
        return target.port if self.health_check_port is None else self.health_check_port

    def target_id_of(self, instance: Instance) -> str | None:
        """Return the ID of an instance as a target; ``None`` when the target type does not allow instances."""
        return {"instance": instance.instance_id, "ip": instance.private_ip}.get(self.target_type)


@dataclass(frozen=True)
class LoadBalancer:
    """
    A load balancer.

    :param kind: "network", "application" or "gateway".
    :param subnets: by the names of their zones.
    :param security_groups: empty for a Network Load Balancer without security groups.
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
    The health of a target.

    :param state: "initial", "healthy", "unhealthy", "draining", "unused", …
    :param reason: a code such as "Target.FailedHealthChecks", and ``description`` its text.
    """

    target: Target
    state: str
    reason: str = ""
    description: str = ""

    @property
    def is_registered(self) -> bool:
        """Whether the target is in the group; a draining target still is."""
        return self.reason != NOT_REGISTERED

    def __str__(self) -> str:
        if not self.is_registered:
            return f"{self.target} is not registered"
        why = ": ".join(part for part in (self.reason, self.description) if part)
        return f"{self.target} is {self.state}" + (f" ({why})" if why else "")


@dataclass(frozen=True)
class Member:
    """
    A target and its target group as plain values, which ``asdict`` turns into JSON.

    :param target_group: the name of the group.
    :param target: the instance ID or the IP address.
    """

    target_group: str
    target_group_arn: str
    target: str
    port: int

    @classmethod
    def of(cls, group: TargetGroup, target: Target) -> Member:
        """Return a target of a group as a member."""
        return cls(group.name, group.arn, target.target_id, target.port)

    @property
    def as_target(self) -> Target:
        """The target."""
        return Target(self.target, self.port)

    def __str__(self) -> str:
        return f"{self.target}:{self.port} in target group '{self.target_group}'"


def read_target_group(elbv2: Any, name_or_arn: str) -> TargetGroup | None:
    """Read a target group by its name or ARN; ``None`` when it does not exist."""
    which = {"TargetGroupArns": [name_or_arn]} if name_or_arn.startswith("arn:") else {"Names": [name_or_arn]}
    with IgnoreCodes("TargetGroupNotFound"):
        return next((_group(item) for item in elbv2.describe_target_groups(**which)["TargetGroups"]), None)
    return None


def _group(item: Mapping[str, Any]) -> TargetGroup:
    health_port = str(item.get("HealthCheckPort", "traffic-port"))
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
    of_group = tags_of(elbv2.describe_target_group_attributes(TargetGroupArn=group.arn)["Attributes"])
    if of_group.get(_CROSS_ZONE) in {"true", "false"}:
        return of_group[_CROSS_ZONE] == "true"
    response = elbv2.describe_load_balancer_attributes(LoadBalancerArn=load_balancer.arn)
    return tags_of(response["Attributes"]).get(_CROSS_ZONE) == "true"


def read_target_health(elbv2: Any, group_arn: str, targets: Sequence[Target] = ()) -> list[TargetHealth]:
    """
    Read the health of the targets of a group.

    :param targets: return the health of each of these, registered or not; empty for all registered targets.
    """
    request = {"Targets": [target.as_request() for target in targets]} if targets else {}
    items = elbv2.describe_target_health(TargetGroupArn=group_arn, **request)["TargetHealthDescriptions"]
    registered = [
        TargetHealth(
            Target(item["Target"]["Id"], int(item["Target"].get("Port", 0))),
            item["TargetHealth"]["State"],
            item["TargetHealth"].get("Reason", ""),
            item["TargetHealth"].get("Description", ""),
        )
        for item in items
    ]
    known = {health.target for health in registered}
    missing = [target for target in targets if target not in known]
    return [*registered, *(TargetHealth(target, "unused", NOT_REGISTERED) for target in missing)]


def register_targets(elbv2: Any, group_arn: str, targets: Sequence[Target]) -> None:
    """Register targets; a target that is already registered stays as it is (API Reference, RegisterTargets)."""
    elbv2.register_targets(TargetGroupArn=group_arn, Targets=[target.as_request() for target in targets])


def deregister_targets(elbv2: Any, group_arn: str, targets: Sequence[Target]) -> None:
    """Deregister targets: they get no new connections and are drained."""
    elbv2.deregister_targets(TargetGroupArn=group_arn, Targets=[target.as_request() for target in targets])
