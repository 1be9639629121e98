"""The network around a cluster: its subnets, their routes, its security groups, and EMR's block public access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.pages import read_pages
from airflow_eip_provider.aws.routes import RouteTable, read_tables, table_of_subnet

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

_EVERYBODY = frozenset({"0.0.0.0/0", "::/0"})
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Subnet:
    """
    A subnet and where its routes lead.

    :param zone: the name of its Availability Zone.
    :param assigns_public_ip: EC2 gives each instance a public address of its own at launch.
    :param table: the route table that decides for it.
    """

    subnet_id: str
    vpc_id: str
    zone: str
    assigns_public_ip: bool
    table: RouteTable | None

    @property
    def has_internet_gateway(self) -> bool:
        """Whether its default route leads to one, without which an Elastic IP is useless in it."""
        return self.table is not None and self.table.leads_to_internet_gateway

    @property
    def has_gateway_endpoint(self) -> bool:
        """Whether S3 or DynamoDB is reached without the internet."""
        return self.table is not None and self.table.has_gateway_endpoint


@dataclass(frozen=True, slots=True, order=True)
class Ports:
    """A range of ports, both ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def within(self, others: Iterable[Ports]) -> bool:
        """Whether one of the others covers this whole range."""
        return any(other.first <= self.first and self.last <= other.last for other in others)


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    """
    A security group.

    :param open_to_all: the ports on which it lets in the whole internet, by IPv4 or IPv6.
    """

    group_id: str
    name: str
    vpc_id: str
    open_to_all: Sequence[Ports]


@dataclass(frozen=True, slots=True)
class BlockPublicAccess:
    """
    EMR's setting for this account and region (EMR Management Guide, "Using Amazon EMR block public access").

    :param exceptions: the ports that may be open to all.
    """

    enabled: bool
    exceptions: Sequence[Ports]


def read_subnets(ec2: Any, subnet_ids: Collection[str]) -> dict[str, Subnet]:
    """
    Read subnets and their route tables, by the subnets' ids; those that do not exist are left out.

    Two calls, however many subnets: filters, because one unknown id in SubnetIds fails the whole call.
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
    """Read security groups, by their ids; those that do not exist are left out."""
    items = _filtered(ec2.describe_security_groups, "SecurityGroups", **{"group-id": group_ids})
    return {item["GroupId"]: _group(item) for item in items}


def read_named_security_groups(ec2: Any, names: Collection[str], *, vpc_ids: Collection[str]) -> list[SecurityGroup]:
    """Read the security groups of these names in these VPCs, in the order of the VPCs' ids."""
    filters = {"group-name": names, "vpc-id": vpc_ids}
    items = _filtered(ec2.describe_security_groups, "SecurityGroups", **filters)
    return [_group(item) for item in sorted(items, key=lambda item: str(item.get("VpcId")))]


def _filtered(describe: Any, key: str, **filters: Collection[str]) -> list[Mapping[str, Any]]:
    """Read what the filters leave; nothing when one of them names nothing."""
    if not all(filters.values()):
        return []
    wanted = [{"Name": name, "Values": sorted(values)} for name, values in filters.items()]
    return read_pages(describe, key, Filters=wanted)


def _group(item: Mapping[str, Any]) -> SecurityGroup:
    open_to_all = sorted(set(_open_to_all(item.get("IpPermissions", ()))))
    return SecurityGroup(item["GroupId"], item["GroupName"], str(item.get("VpcId", "")), open_to_all)


def _open_to_all(rules: Iterable[Mapping[str, Any]]) -> Iterable[Ports]:
    for rule in rules:
        sources = {r.get("CidrIp") for r in rule.get("IpRanges", ())}
        sources |= {r.get("CidrIpv6") for r in rule.get("Ipv6Ranges", ())}
        if not sources & _EVERYBODY:
            continue
        if rule["IpProtocol"] in {"tcp", "udp", "6", "17"}:
            yield Ports(rule["FromPort"], rule["ToPort"])
        elif rule["IpProtocol"] == "-1":  # all protocols; what ICMP has instead of ports opens none
            yield Ports(0, _HIGHEST_PORT)


def read_block_public_access(emr: Any) -> BlockPublicAccess:
    """Read EMR's block public access of this account and region."""
    response = emr.get_block_public_access_configuration()
    given = response["BlockPublicAccessConfiguration"]
    ranges = given.get("PermittedPublicSecurityGroupRuleRanges", ())
    exceptions = [Ports(r["MinRange"], r.get("MaxRange", r["MinRange"])) for r in ranges]
    return BlockPublicAccess(given["BlockPublicSecurityGroupRules"], exceptions)
