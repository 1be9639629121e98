"""The network around a cluster: its subnets, their routes, its security groups, and EMR's block public access."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.aws.routes import RouteTable, read_table_of_subnet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_EVERYBODY = frozenset({"0.0.0.0/0", "::/0"})
_NO_SUBNET = frozenset({"InvalidSubnetID.NotFound", "InvalidSubnetID.Malformed", "InvalidSubnetId.Malformed"})
_NO_GROUP = frozenset({"InvalidGroup.NotFound", "InvalidGroupId.Malformed", "InvalidGroupId.NotFound"})
_HIGHEST_PORT = 65535


@dataclass(frozen=True, slots=True)
class Subnet:
    """
    A subnet and where its routes lead.

    :param assigns_public_ip: EC2 gives each instance a public address of its own at launch.
    :param table: the route table that decides for it.
    """

    subnet_id: str
    vpc_id: str
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
    open_to_all: Sequence[Ports]


@dataclass(frozen=True, slots=True)
class BlockPublicAccess:
    """
    EMR's setting for this account and region (EMR Management Guide, "Using Amazon EMR block public access").

    :param exceptions: the ports that may be open to all.
    """

    enabled: bool
    exceptions: Sequence[Ports]


def read_subnet(ec2: Any, subnet_id: str) -> Subnet | None:
    """Read a subnet and its route table; ``None`` when there is no such subnet."""
    try:
        response = ec2.describe_subnets(SubnetIds=[subnet_id])
    except ClientError as error:
        if error_code(error) in _NO_SUBNET:
            return None
        raise
    for item in response["Subnets"]:
        table = read_table_of_subnet(ec2, subnet_id, vpc_id=item["VpcId"])
        return Subnet(subnet_id, item["VpcId"], assigns_public_ip=bool(item.get("MapPublicIpOnLaunch")), table=table)
    return None


def read_security_group(ec2: Any, group_id: str) -> SecurityGroup | None:
    """Read a security group; ``None`` when there is no such group."""
    try:
        response = ec2.describe_security_groups(GroupIds=[group_id])
    except ClientError as error:
        if error_code(error) in _NO_GROUP:
            return None
        raise
    return next((_group(item) for item in response["SecurityGroups"]), None)


def read_named_security_group(ec2: Any, name: str, *, vpc_id: str) -> SecurityGroup | None:
    """Read the security group of a name in a VPC; ``None`` when there is none."""
    filters = [{"Name": "group-name", "Values": [name]}, {"Name": "vpc-id", "Values": [vpc_id]}]
    response = ec2.describe_security_groups(Filters=filters)
    return next((_group(item) for item in response["SecurityGroups"]), None)


def _group(item: Mapping[str, Any]) -> SecurityGroup:
    return SecurityGroup(item["GroupId"], item["GroupName"], sorted(set(_open_to_all(item.get("IpPermissions", ())))))


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
