"""The scenario with core nodes: a cluster with the address on its primary node, and one behind a NAT gateway."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from demo.checks import database_connections
from demo.timeline import sessions
from local_emr.testing import private_subnet

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from demo.local import LocalAws
    from demo.runs import Runs
    from harness.judge import Event

PRIMARY = "three_nodes_primary"
GATEWAY = "three_nodes_gateway"
TABLE = "sales.customers"


def private_network(ec2: Any) -> dict[str, str]:
    """Create the network of a cluster behind a NAT gateway: a private subnet with a route to S3 only."""
    public = ec2.describe_subnets()["Subnets"][0]
    private = private_subnet(ec2)
    endpoint = {"VpcEndpointType": "Gateway", "ServiceName": f"com.amazonaws.{ec2.meta.region_name}.s3"}
    ec2.create_vpc_endpoint(VpcId=public["VpcId"], RouteTableIds=[private.route_table_id], **endpoint)
    return {
        "public_subnet_id": public["SubnetId"],
        "subnet_id": private.subnet_id,
        "route_table_id": private.route_table_id,
    }


@dataclass(frozen=True, kw_only=True)
class Network:
    """
    The parts of the network that a lease period behind a NAT gateway changes, and restores.

    :param routes: for each route table, the target of each destination.
    :param gateways: the NAT gateways that are not deleted.
    :param association_id: of the address.
    """

    routes: dict[str, dict[str, str]]
    gateways: tuple[str, ...]
    association_id: str | None

    @classmethod
    def read(cls, ec2: Any, *, allocation_id: str) -> Network:
        """Read the current state."""
        tables = ec2.describe_route_tables()["RouteTables"]
        (address,) = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"]
        gateways = ec2.describe_nat_gateways()["NatGateways"]
        return cls(
            routes={table["RouteTableId"]: dict(_route(route) for route in table["Routes"]) for table in tables},
            gateways=tuple(gateway["NatGatewayId"] for gateway in gateways if gateway["State"] != "deleted"),
            association_id=address.get("AssociationId"),
        )


def _route(route: dict[str, Any]) -> tuple[str, str]:
    destination = route.get("DestinationCidrBlock") or route.get("DestinationPrefixListId", "")
    return destination, route.get("NatGatewayId") or route.get("GatewayId", "")


class ManyNodes:
    """
    Runs the same step on two clusters of three nodes; the second is launched while the first has the address.

    :param allocation_id: their address.
    :param may_begin: whether they can start without disturbing other scenarios.
    """

    def __init__(self, *, aws: LocalAws, runs: Runs, allocation_id: str, may_begin: Callable[[], bool]) -> None:
        self._ec2 = aws.client("ec2")
        self._allocation_id = allocation_id
        self._runs = runs
        self._may_begin = may_begin
        self._started: list[str] = []
        self.before = self._network()
        self.after = self.before

    def _network(self) -> Network:
        return Network.read(self._ec2, allocation_id=self._allocation_id)

    def advance(self, events: list[Event]) -> None:
        """Start the runs that are due, and read the network."""
        if not self._started:
            if self._may_begin():
                self._start(PRIMARY)
            return
        if GATEWAY not in self._started and (cluster_of(events, PRIMARY) or self._runs.have_ended(PRIMARY)):
            self._start(GATEWAY)
        self.after = self._network()

    def _start(self, dag_id: str) -> None:
        self._started.append(dag_id)
        self._runs.start(dag_id)

    def is_over(self) -> bool:
        """Whether both runs have ended, and EC2 has deleted the gateway."""
        return self._runs.have_ended(PRIMARY, GATEWAY) and not self.after.gateways

    def is_at_last_step(self) -> bool:
        """Whether the step of the second cluster runs or has ended, so that a new cluster cannot disturb it."""
        if GATEWAY not in self._started:
            return False
        states = [task.state for task in self._runs.tasks_of(GATEWAY) if task.task_id == "azure.read"]
        return bool(states) and states[0] not in {None, "scheduled", "queued"}

    def waits_for(self) -> str:
        """Return the gateways that exist."""
        return f"NAT gateway {', '.join(self.after.gateways)}" if self.after.gateways else ""


def cluster_of(events: Sequence[Event], dag_id: str) -> str:
    """Return the cluster that a DAG launched; an empty text if it launched none."""
    return next((session.job_flow_id for session in sessions(events) if session.owner == dag_id), "")


def connections(events: Sequence[Event], job_flow_id: str) -> list[Event]:
    """Return the connections of a cluster to the database."""
    return [event for event in database_connections(events) if event["job_flow_id"] == job_flow_id]


def rows(events: Sequence[Event], clusters: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return a row for each address from which each cluster's nodes were seen."""
    nodes: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for name, job_flow_id in clusters.items():
        for event in connections(events, job_flow_id):
            answer = "admitted" if event["admitted"] else f"refused ({event['error_code']})"
            nodes[name, str(event["from_ip"]), answer].append(event["instance_id"])
    return [(*key, str(len(set(ids))), str(len(ids))) for key, ids in nodes.items()]
