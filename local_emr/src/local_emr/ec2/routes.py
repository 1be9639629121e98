"""Route tables where moto's differ from AWS's: blackhole routes, and a log of changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.ec2.models.route_tables import Route

from local_emr.errors import AwsError

if TYPE_CHECKING:
    from local_emr.events import EventLog

Params = dict[str, Any]
CHANGES = {"CreateRoute": "created", "ReplaceRoute": "replaced", "DeleteRoute": "deleted"}
_TARGETS = (
    "gateway_id",
    "nat_gateway_id",
    "network_interface_id",
    "instance_id",
    "vpc_peering_connection_id",
    "transit_gateway_id",
)
_NAT_GATEWAY_ENDS = {"deleting", "deleted", "failed"}


class LiveRoute(Route):
    """A route whose state shows whether its target exists; in moto every route is always active."""

    @property
    def state(self) -> str:
        """``blackhole`` when its NAT gateway or internet gateway was deleted (docs: EC2 API, Route, ``state``)."""
        if self.nat_gateway is not None:
            gone = self.nat_gateway.state in _NAT_GATEWAY_ENDS
        else:
            vpc = getattr(self.gateway, "vpc", None)
            gone = self.gateway is not None and (vpc is None or vpc.id != self.route_table.vpc_id)
        return "blackhole" if gone else "active"

    @property
    def target(self) -> str | None:
        """The id of its target."""
        return next((value for name in _TARGETS if (value := getattr(self, name)) is not None), None)


class Routes:
    """The routes of one region."""

    def __init__(self, backend: Any, events: EventLog) -> None:
        self._backend = backend
        self._events = events
        self._enliven()

    def check(self, operation: str, params: Params) -> None:
        """Raise an error for what moto would accept.

        :raises AwsError: ``InvalidNatGatewayID.NotFound`` for a gateway that does not exist,
            ``InvalidParameterValue`` for the local route, which cannot be removed.
        """
        nat_gateway_id = params.get("NatGatewayId")
        if nat_gateway_id is not None and operation in {"CreateRoute", "ReplaceRoute"}:
            gateway = self._backend.nat_gateways.get(nat_gateway_id)
            if gateway is None or gateway.state in _NAT_GATEWAY_ENDS:
                raise AwsError("InvalidNatGatewayID.NotFound", f"The natGateway ID '{nat_gateway_id}' does not exist")
        if operation == "DeleteRoute":
            route = self._find(params)
            if route is not None and route.local:
                table, cidr = params["RouteTableId"], params["DestinationCidrBlock"]
                raise AwsError("InvalidParameterValue", f"cannot remove local route {cidr} in route table {table}")

    def changed(self, operation: str, params: Params) -> None:
        """Process a change that moto made, and log it."""
        self._enliven()
        route = self._find(params)
        self._events.append(
            "route",
            change=CHANGES[operation],
            route_table_id=params["RouteTableId"],
            destination=params.get("DestinationCidrBlock"),
            target=route.target if route is not None else None,
        )

    def _find(self, params: Params) -> LiveRoute | None:
        table = self._backend.route_tables.get(params.get("RouteTableId"))
        routes = table.routes if table else []
        wanted = params.get("DestinationCidrBlock")
        return next((route for route in routes if wanted and route.destination_cidr_block == wanted), None)

    def _enliven(self) -> None:
        """Convert every route to :class:`LiveRoute`; moto cannot be configured with another class."""
        for table in self._backend.route_tables.values():
            for route in table.routes:
                route.__class__ = LiveRoute
