"""The checks of the scenario with three nodes; each fails if nothing was observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.checks import REFUSED, Check, checked
from demo.nodes import GATEWAY, PRIMARY, connections
from harness.judge import calls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.nodes import Network
    from harness.judge import Event


def executors_refused(events: Sequence[Event], *, job_flow_id: str, public_ip: str, state: str) -> Check:
    """Check that the driver on a primary node with the address was admitted, and its executors were refused."""
    seen = connections(events, job_flow_id)
    admitted = [event for event in seen if event["admitted"]]
    refused = [event for event in seen if event["error_code"] == REFUSED]
    others = {event["instance_id"] for event in refused} - {event["instance_id"] for event in admitted}
    return checked(
        "beside a primary with the address executors are refused (40615)",
        f"the driver was admitted; {len(others)} core nodes were refused, {len(refused)} times",
        (state != "failed", f"the DAG run is {state or 'not seen'}"),
        (not admitted, "the driver was never admitted"),
        (any(event["from_ip"] != public_ip for event in admitted), "another address was admitted"),
        (not others, "no other node was refused"),
        (any(event["from_ip"] == public_ip for event in refused), "the address was refused"),
    )


def every_node_admitted(events: Sequence[Event], *, job_flow_id: str, public_ip: str, state: str) -> Check:
    """Check that several nodes behind a NAT gateway connected, all of them from the address."""
    name = "behind a NAT gateway every node leaves from the Elastic IP"
    seen = connections(events, job_flow_id)
    wrong = sorted({str(event["from_ip"]) for event in seen if event["from_ip"] != public_ip or not event["admitted"]})
    nodes = {event["instance_id"] for event in seen}
    detail = f"{len(seen)} connections of {len(nodes)} nodes from {public_ip}; the DAG run is {state or 'not seen'}"
    if wrong:
        detail += f"; not admitted, or another address: {', '.join(wrong)}"
    return Check(name=name, passed=len(nodes) > 1 and not wrong and state == "success", detail=detail)


def as_before(before: Network, after: Network, *, events: Sequence[Event], clusters: Mapping[str, str]) -> Check:
    """Check that a route led to a gateway, and that routes, gateways and the address are as they were before."""
    changes = [*calls(events, "CreateRoute"), *calls(events, "ReplaceRoute")]
    led = [event for event in changes if event["request"].get("NatGatewayId") and not event.get("error_code")]
    return checked(
        "afterwards routes, gateways and address are as before",
        f"{len(before.routes)} route tables; {len(led)} route led to a gateway, and was deleted with it",
        (not all(clusters.get(dag_id) for dag_id in (PRIMARY, GATEWAY)), "not both clusters were launched"),
        (not led, "no route ever led to a gateway"),
        (after.routes != before.routes, f"the routes are {after.routes}, they were {before.routes}"),
        (after.gateways != before.gateways, f"gateways: {', '.join(after.gateways)}"),
        (after.association_id != before.association_id, f"the address is associated ({after.association_id})"),
    )
