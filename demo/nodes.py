"""A scenario: a cluster with core nodes reads beside a primary node with the address, and behind a NAT gateway."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any

from demo.timeline import sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from demo.local import LocalAws
    from demo.runs import Runs
    from harness.judge import Event

PRIMARY = "three_nodes_primary"
GATEWAY = "three_nodes_gateway"
TABLE = "sales.customers"


def private_network(ec2: Any) -> dict[str, str]:
    """Make what a cluster behind a NAT gateway needs: a private subnet whose route table leads to S3 and no further."""
    public = ec2.describe_subnets()["Subnets"]
    vpc_id = public[0]["VpcId"]
    (vpc,) = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
    taken = [ip_network(subnet["CidrBlock"]) for subnet in public]
    blocks = ip_network(vpc["CidrBlock"]).subnets(new_prefix=24)
    free = next(block for block in blocks if not any(block.overlaps(other) for other in taken))
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock=str(free))["Subnet"]["SubnetId"]
    table_id = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet_id)
    endpoint = {"VpcEndpointType": "Gateway", "ServiceName": f"com.amazonaws.{ec2.meta.region_name}.s3"}
    ec2.create_vpc_endpoint(VpcId=vpc_id, RouteTableIds=[table_id], **endpoint)
    return {"public_subnet_id": public[0]["SubnetId"], "subnet_id": subnet_id, "route_table_id": table_id}


@dataclass(frozen=True, kw_only=True)
class Network:
    """
    What a lease period behind a NAT gateway changes, and puts back.

    :param routes: each route table with what each of its routes leads to.
    :param gateways: the NAT gateways that are not deleted.
    :param association_id: of the address.
    """

    routes: dict[str, dict[str, str]]
    gateways: tuple[str, ...]
    association_id: str | None

    @classmethod
    def read(cls, ec2: Any, *, allocation_id: str) -> Network:
        """Read it as it is now."""
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
    :param may_begin: whether they can be started; they do not disturb what began before.
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
        """Start what is due, and look at the network."""
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
        """Whether the step of the second cluster runs, or has ended: what is launched now does not read beside it."""
        if GATEWAY not in self._started:
            return False
        states = [task.state for task in self._runs.tasks_of(GATEWAY) if task.task_id == "azure.read"]
        return bool(states) and states[0] not in {None, "scheduled", "queued"}

    def where(self) -> str:
        """Say which gateways there are."""
        return f"NAT gateway {', '.join(self.after.gateways)}" if self.after.gateways else ""


def cluster_of(events: Sequence[Event], dag_id: str) -> str:
    """Return the cluster that a DAG launched; empty when it launched none."""
    return next((session.job_flow_id for session in sessions(events) if session.owner == dag_id), "")


def connections(events: Sequence[Event], job_flow_id: str) -> list[Event]:
    """Return what the database saw of a cluster."""
    return [
        event
        for event in events
        if event["kind"] == "connection" and event["service"] == "azure_sql" and event["job_flow_id"] == job_flow_id
    ]


def rows(events: Sequence[Event], clusters: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return a row for each address from which each cluster's nodes were seen."""
    found: dict[tuple[str, str, str], tuple[set[str], int]] = {}
    for name, job_flow_id in clusters.items():
        for event in connections(events, job_flow_id):
            answer = "admitted" if event["admitted"] else f"refused ({event['error_code']})"
            nodes, count = found.get((name, str(event["from_ip"]), answer), (set(), 0))
            found[name, str(event["from_ip"]), answer] = ({*nodes, event["instance_id"]}, count + 1)
    return [(*key, str(len(nodes)), str(count)) for key, (nodes, count) in found.items()]
