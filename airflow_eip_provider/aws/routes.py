"""Route tables and their default routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.aws.pages import read_pages

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ANYWHERE = "0.0.0.0/0"
NO_ROUTE = "none"

# Where a route may lead to, by the prefix of the id: the parameter of CreateRoute and ReplaceRoute, which the answer of
# DescribeRouteTables calls the same (botocore's EC2 service model). Gateway Load Balancer endpoints show as GatewayId.
ROUTE_PARAMETERS = {
    "igw": "GatewayId",
    "vgw": "GatewayId",
    "nat": "NatGatewayId",
    "tgw": "TransitGatewayId",
    "eni": "NetworkInterfaceId",
    "pcx": "VpcPeeringConnectionId",
    "vpce": "VpcEndpointId",
    "lgw": "LocalGatewayId",
    "cagw": "CarrierGatewayId",
    "arn:aws": "CoreNetworkArn",
}
NO_SUCH_TABLE = "InvalidRouteTableID.NotFound"


@dataclass(frozen=True, slots=True)
class RouteTable:
    """
    A route table.

    :param default_route: the id of what 0.0.0.0/0 leads to, or :data:`NO_ROUTE`.
    :param is_blackhole: what 0.0.0.0/0 leads to is gone.
    :param subnet_ids: the subnets that are associated with it by name.
    :param is_main: it is its VPC's for every subnet that is associated with none.
    :param leads_out: it has any route to outside the VPC, be it only a gateway endpoint's.
    :param has_gateway_endpoint: S3 or DynamoDB is reached without the internet.
    """

    table_id: str
    vpc_id: str
    default_route: str
    is_blackhole: bool
    subnet_ids: tuple[str, ...]
    is_main: bool
    leads_out: bool
    has_gateway_endpoint: bool

    @property
    def leads_to_internet_gateway(self) -> bool:
        """Whether its default route leads to an internet gateway that is there."""
        return self.default_route.startswith("igw-") and not self.is_blackhole


def _target(route: Mapping[str, Any]) -> str:
    # An instance's route shows its interface, too, which is enough to restore it.
    names = dict.fromkeys([*ROUTE_PARAMETERS.values(), "InstanceId"])
    return next((str(route[name]) for name in names if route.get(name)), NO_ROUTE)


def _table(item: Mapping[str, Any]) -> RouteTable:
    routes = item.get("Routes", ())
    default: Mapping[str, Any] = next((route for route in routes if route.get("DestinationCidrBlock") == ANYWHERE), {})
    associations = item.get("Associations", ())
    return RouteTable(
        table_id=item["RouteTableId"],
        vpc_id=item["VpcId"],
        default_route=_target(default),
        is_blackhole=default.get("State") == "blackhole",
        subnet_ids=tuple(link["SubnetId"] for link in associations if link.get("SubnetId")),
        is_main=any(link.get("Main") for link in associations),
        leads_out=any(_target(route) not in {NO_ROUTE, "local"} for route in routes),
        has_gateway_endpoint=any(_is_live_endpoint(route) for route in routes),
    )


def _is_live_endpoint(route: Mapping[str, Any]) -> bool:
    return str(route.get("GatewayId", "")).startswith("vpce-") and route.get("State") != "blackhole"


def read_table(ec2: Any, table_id: str) -> RouteTable | None:
    """Read one route table; ``None`` when there is no such."""
    try:
        response = ec2.describe_route_tables(RouteTableIds=[table_id])
    except ClientError as error:
        if error_code(error) in {NO_SUCH_TABLE, "InvalidRouteTableId.Malformed"}:
            return None
        raise
    return next((_table(item) for item in response["RouteTables"]), None)


def read_tables(ec2: Any, *, table_ids: Collection[str] = (), vpc_ids: Collection[str] = ()) -> list[RouteTable]:
    """
    Read many route tables: those of these ids, or all of these VPCs.

    What does not exist is left out: it is a filter that names it.
    """
    name, values = ("route-table-id", table_ids) if table_ids else ("vpc-id", vpc_ids)
    if not values:
        return []
    wanted = [{"Name": name, "Values": sorted(values)}]
    return [_table(item) for item in read_pages(ec2.describe_route_tables, "RouteTables", Filters=wanted)]


def table_of_subnet(tables: Collection[RouteTable], subnet_id: str, *, vpc_id: str) -> RouteTable | None:
    """
    Return the route table that decides for a subnet.

    A subnet without a route table of its own uses the VPC's main one (EC2 User Guide, "Subnet route tables").

    :param tables: all of its VPC.
    """
    own = next((table for table in tables if subnet_id in table.subnet_ids), None)
    return own or next((table for table in tables if table.is_main and table.vpc_id == vpc_id), None)


def read_table_of_subnet(ec2: Any, subnet_id: str) -> RouteTable | None:
    """Read the route table that decides for a subnet whose VPC is not known; see :func:`table_of_subnet`."""
    own = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
    response = ec2.describe_route_tables(Filters=own)
    if not response["RouteTables"]:
        found = ec2.describe_subnets(SubnetIds=[subnet_id])
        vpc_id = str(found["Subnets"][0]["VpcId"])
        main = [{"Name": "association.main", "Values": ["true"]}, {"Name": "vpc-id", "Values": [vpc_id]}]
        response = ec2.describe_route_tables(Filters=main)
    return next((_table(item) for item in response["RouteTables"]), None)
