"""Route tables and their default routes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.errors import IgnoreCodes
from airflow_eip_provider.aws.pages import as_filters, read_pages

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

ANYWHERE = "0.0.0.0/0"
NO_ROUTE = "none"

# The parameter of CreateRoute and ReplaceRoute for each kind of target, by the prefix of the ID. DescribeRouteTables
# uses the same names (botocore's EC2 service model), but shows Gateway Load Balancer endpoints as GatewayId.
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

    :param default_route: the target ID of 0.0.0.0/0, or :data:`NO_ROUTE`.
    :param is_blackhole: the target of 0.0.0.0/0 was deleted.
    :param subnet_ids: the subnets that are explicitly associated with it.
    :param is_main: it is the main table of its VPC, which subnets without an explicit association use.
    :param leads_out: it has a route to outside the VPC, such as that of a gateway endpoint.
    :param has_gateway_endpoint: it has a route to S3 or DynamoDB without the internet.
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
        """Whether its default route leads to an existing internet gateway."""
        return self.default_route.startswith("igw-") and not self.is_blackhole


def _target(route: Mapping[str, Any]) -> str:
    # A route to an instance shows the interface, too; that is enough to restore it.
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
        has_gateway_endpoint=any(
            str(route.get("GatewayId", "")).startswith("vpce-") and route.get("State") != "blackhole"
            for route in routes
        ),
    )


def read_table(ec2: Any, table_id: str) -> RouteTable | None:
    """Read one route table; ``None`` when it does not exist."""
    with IgnoreCodes(NO_SUCH_TABLE, "InvalidRouteTableId.Malformed"):
        response = ec2.describe_route_tables(RouteTableIds=[table_id])
        return next((_table(item) for item in response["RouteTables"]), None)
    return None


def read_tables(ec2: Any, *, table_ids: Collection[str] = (), vpc_ids: Collection[str] = ()) -> list[RouteTable]:
    """Read route tables by their IDs, or all of some VPCs; those that do not exist are left out."""
    name, values = ("route-table-id", table_ids) if table_ids else ("vpc-id", vpc_ids)
    if not values:
        return []
    items = read_pages(ec2.describe_route_tables, "RouteTables", Filters=as_filters({name: values}))
    return [_table(item) for item in items]


def table_of_subnet(tables: Collection[RouteTable], subnet_id: str, *, vpc_id: str) -> RouteTable | None:
    """
    Return the route table of a subnet.

    A subnet without an explicit association uses the main table of its VPC (EC2 User Guide, "Subnet route tables").

    :param tables: all tables of the VPC.
    """
    explicit = next((table for table in tables if subnet_id in table.subnet_ids), None)
    return explicit or next((table for table in tables if table.is_main and table.vpc_id == vpc_id), None)


def read_table_of_subnet(ec2: Any, subnet_id: str) -> RouteTable | None:
    """Read the route table of a subnet, as :func:`table_of_subnet`, if its VPC is not known."""
    response = ec2.describe_route_tables(Filters=as_filters({"association.subnet-id": [subnet_id]}))
    if not response["RouteTables"]:
        vpc_id = str(ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"][0]["VpcId"])
        response = ec2.describe_route_tables(Filters=as_filters({"association.main": ["true"], "vpc-id": [vpc_id]}))
    return next((_table(item) for item in response["RouteTables"]), None)
