"""The network of a cluster: subnets, their routes, security groups, and EMR's block public access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.pages import as_filters, read_pages
from airflow_eip_provider.aws.routes import RouteTable, read_tables, table_of_subnet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_INTERNET = frozenset({"0.0.0.0/0", "::/0"})
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Subnet:
    """
    A subnet and its route table.

    :param zone: the name of its Availability Zone.
    :param assigns_public_ip: EC2 assigns a public address to each instance at launch (MapPublicIpOnLaunch).
    """

    subnet_id: str
    vpc_id: str
    zone: str
    assigns_public_ip: bool
    table: RouteTable | None

    @property
    def has_internet_gateway(self) -> bool:
        """Whether its default route leads to an internet gateway, as an Elastic IP needs."""
        return self.table is not None and self.table.leads_to_internet_gateway

    @property
    def has_gateway_endpoint(self) -> bool:
        """Whether it has a route to S3 or DynamoDB without the internet."""
        return self.table is not None and self.table.has_gateway_endpoint


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """A range of ports, including both ends."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def within(self, others: Iterable[Ports]) -> bool:
        """Whether one of the other ranges contains this one."""
        return any(other.first <= self.first and self.last <= other.last for other in others)


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """
    A security group.

    :param open_to_all: the ports that are open to the whole internet, over IPv4 or IPv6.
    """

    group_id: str
    name: str
    vpc_id: str
    open_to_all: Sequence[Ports]


@dataclass(frozen=True, slots=True)
class BlockPublicAccess:
    """
    EMR's block public access in this account and region (EMR Management Guide, "Using Amazon EMR block public access").

    :param exceptions: the ports that may be open to the internet.
    """

    enabled: bool
    exceptions: Sequence[Ports]


def read_subnets(ec2: Any, subnet_ids: Collection[str]) -> dict[str, Subnet]:
    """
    Read subnets and their route tables by the subnet IDs, in two calls; those that do not exist are left out.

    It uses filters, because one unknown ID in SubnetIds fails the whole call.
    """
    items = _filtered(ec2.describe_subnets, "Subnets", **{"subnet-id": subnet_ids})
    tables = read_tables(ec2, vpc_ids={str(item["VpcId"]) for item in items})
    return {
        item["SubnetId"]: Subnet(
            item["SubnetId"],
            item["VpcId"],
            zone=str(item.get("AvailabilityZone", "")),
            assigns_public_ip=bool(item.get("MapPublicIpOnLaunch")),
            table=table_of_subnet(tables, item["SubnetId"], vpc_id=item["VpcId"]),
        )
        for item in items
    }


def read_security_groups(ec2: Any, group_ids: Collection[str]) -> dict[str, SecurityGroup]:
    """Read security groups by their IDs; those that do not exist are left out."""
    items = _filtered(ec2.describe_security_groups, "SecurityGroups", **{"group-id": group_ids})
    return {item["GroupId"]: _group(item) for item in items}


def read_named_security_groups(ec2: Any, names: Collection[str], *, vpc_ids: Collection[str]) -> list[SecurityGroup]:
    """Read the security groups with these names in these VPCs, sorted by VPC ID."""
    filters = {"group-name": names, "vpc-id": vpc_ids}
    items = _filtered(ec2.describe_security_groups, "SecurityGroups", **filters)
    return [_group(item) for item in sorted(items, key=lambda item: str(item.get("VpcId")))]


def _filtered(describe: Any, key: str, **filters: Collection[str]) -> list[Mapping[str, Any]]:
    """Read the items that match all filters; none if a filter has no values."""
    return read_pages(describe, key, Filters=as_filters(filters)) if all(filters.values()) else []


def _group(item: Mapping[str, Any]) -> SecurityGroup:
    open_to_all = sorted(set(_open_to_all(item.get("IpPermissions", ()))))
    return SecurityGroup(item["GroupId"], item["GroupName"], str(item.get("VpcId", "")), open_to_all)


def _open_to_all(rules: Iterable[Mapping[str, Any]]) -> Iterable[Ports]:
    for rule in rules:
        sources = {r.get("CidrIp") for r in rule.get("IpRanges", ())}
        sources |= {r.get("CidrIpv6") for r in rule.get("Ipv6Ranges", ())}
        if not sources & _INTERNET:
            continue
        if rule["IpProtocol"] in {"tcp", "udp", "6", "17"}:
            yield Ports(rule["FromPort"], rule["ToPort"])
        elif rule["IpProtocol"] == "-1":  # all protocols; ICMP opens no ports
            yield Ports(0, _HIGHEST_PORT)


def read_block_public_access(emr: Any) -> BlockPublicAccess:
    """Read EMR's block public access."""
    given = emr.get_block_public_access_configuration()["BlockPublicAccessConfiguration"]
    ranges = given.get("PermittedPublicSecurityGroupRuleRanges", ())
    exceptions = [Ports(r["MinRange"], r.get("MaxRange", r["MinRange"])) for r in ranges]
    return BlockPublicAccess(given["BlockPublicSecurityGroupRules"], exceptions)
