"""Default routes of a VPC's route tables: the EC2 calls, typed."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.calls import Call, Reading, error_code, perform

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

ANYWHERE = "0.0.0.0/0"
NO_ROUTE = "none"

# Where a route may lead to, by the prefix of the id: the parameter of CreateRoute and ReplaceRoute, which the answer of
# DescribeRouteTables calls the same (botocore's EC2 service model). Gateway Load Balancer endpoints show as GatewayId.
_PARAMETERS = {
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
_NO_SUCH_TABLE = "InvalidRouteTableID.NotFound"


@dataclass(frozen=True, slots=True)
class RouteTable:
    """
    A route table.

    :param default_route: the id of what 0.0.0.0/0 leads to, or :data:`NO_ROUTE`.
    :param subnet_ids: the subnets that are associated with it by name.
    :param is_main: it is its VPC's for every subnet that is associated with none.
    :param leads_out: it has any route to outside the VPC, be it only a gateway endpoint's.
    """

    table_id: str
    vpc_id: str
    default_route: str
    subnet_ids: tuple[str, ...]
    is_main: bool
    leads_out: bool


def _target(route: Mapping[str, Any]) -> str:
    # An instance's route shows its interface, too, which is enough to restore it.
    names = dict.fromkeys([*_PARAMETERS.values(), "InstanceId"])
    return next((str(route[name]) for name in names if route.get(name)), NO_ROUTE)


def _table(item: Mapping[str, Any]) -> RouteTable:
    routes = item.get("Routes", ())
    defaults = [_target(route) for route in routes if route.get("DestinationCidrBlock") == ANYWHERE]
    associations = item.get("Associations", ())
    return RouteTable(
        table_id=item["RouteTableId"],
        vpc_id=item["VpcId"],
        default_route=next(iter(defaults), NO_ROUTE),
        subnet_ids=tuple(link["SubnetId"] for link in associations if link.get("SubnetId")),
        is_main=any(link.get("Main") for link in associations),
        leads_out=any(_target(route) not in {NO_ROUTE, "local"} for route in routes),
    )


def read_table(table_id: str) -> Reading[RouteTable | None]:
    """Read one route table; ``None`` when there is no such."""
    try:
        response = yield Call("ec2", "describe_route_tables", {"RouteTableIds": [table_id]})
    except ClientError as error:
        if error_code(error) in {_NO_SUCH_TABLE, "InvalidRouteTableId.Malformed"}:
            return None
        raise
    return next((_table(item) for item in response["RouteTables"]), None)


def read_table_of_subnet(subnet_id: str, *, vpc_id: str | None = None) -> Reading[RouteTable | None]:
    """
    Read the route table that decides for a subnet; ``None`` when there is no such subnet.

    A subnet without a route table of its own uses the VPC's main one (EC2 User Guide, "Subnet route tables").

    :param vpc_id: the subnet's, if it is known.
    """
    own = [{"Name": "association.subnet-id", "Values": [subnet_id]}]
    response = yield Call("ec2", "describe_route_tables", {"Filters": own})
    if not response["RouteTables"]:
        if vpc_id is None:
            found = yield Call("ec2", "describe_subnets", {"SubnetIds": [subnet_id]})
            vpc_id = str(found["Subnets"][0]["VpcId"])
        main = [{"Name": "association.main", "Values": ["true"]}, {"Name": "vpc-id", "Values": [vpc_id]}]
        response = yield Call("ec2", "describe_route_tables", {"Filters": main})
    return next((_table(item) for item in response["RouteTables"]), None)


def lead(conn: Any, table_id: str, *, target: str) -> None:
    """
    Let a table's default route lead somewhere; nothing is changed when it does (ec2:CreateRoute, ec2:ReplaceRoute).

    :param conn: a boto3 client of EC2.
    :param target: the id of what it leads to.
    """
    table = perform(read_table(table_id), {"ec2": conn})
    if table is not None and table.default_route == target:
        return
    route = {"RouteTableId": table_id, "DestinationCidrBlock": ANYWHERE, **_parameter(target)}
    log.info("The default route of %s leads to %s now", table_id, target)
    if table is not None and table.default_route != NO_ROUTE:
        conn.replace_route(**route)
        return
    try:
        conn.create_route(**route)
    except ClientError as error:
        if error_code(error) != "RouteAlreadyExists":  # botocore's own retry after a lost answer, too
            raise
        conn.replace_route(**route)


def restore(conn: Any, table_id: str, *, before: str, instead_of: str) -> None:
    """
    Put a table's default route back, if it still leads to where it was led (ec2:ReplaceRoute, ec2:DeleteRoute).

    :param before: what it led to, or :data:`NO_ROUTE`. When that is gone, the route is deleted.
    :param instead_of: what it leads to now; a route that leads anywhere else is somebody else's doing, and left.
    """
    table = perform(read_table(table_id), {"ec2": conn})
    if table is None or table.default_route != instead_of:
        return
    log.info("The default route of %s leads to %s again", table_id, before)
    if before != NO_ROUTE:
        try:
            conn.replace_route(RouteTableId=table_id, DestinationCidrBlock=ANYWHERE, **_parameter(before))
        except ClientError as error:
            if not error_code(error).endswith((".NotFound", "NotFound")):
                raise
            log.warning("%s is gone, so %s has no default route any more: %s", before, table_id, error)
        else:
            return
    try:
        conn.delete_route(RouteTableId=table_id, DestinationCidrBlock=ANYWHERE)
    except ClientError as error:
        if error_code(error) not in {"InvalidRoute.NotFound", _NO_SUCH_TABLE}:
            raise


def _parameter(target: str) -> dict[str, str]:
    prefix = next(prefix for prefix in sorted(_PARAMETERS, key=len, reverse=True) if target.startswith(prefix))
    return {_PARAMETERS[prefix]: target}
