"""The checks of the scenario with three nodes, like those of the queue: they fail when they saw nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.checks import REFUSED, Check
from demo.nodes import GATEWAY, PRIMARY, connections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.nodes import Network
    from harness.judge import Event


def executors_refused(events: Sequence[Event], *, job_flow_id: str, public_ip: str, state: str) -> Check:
    """See that beside a primary node with the address its driver was admitted, and its executors were not."""
    name = "beside a primary with the address executors are refused (40615)"
    seen = connections(events, job_flow_id)
    admitted = [event for event in seen if event["admitted"]]
    refused = [event for event in seen if event["error_code"] == REFUSED]
    others = {event["instance_id"] for event in refused} - {event["instance_id"] for event in admitted}
    problems = [
        text
        for wrong, text in (
            (state != "failed", f"the DAG run is {state or 'not seen'}"),
            (not admitted, "the driver was never admitted"),
            (any(event["from_ip"] != public_ip for event in admitted), "another address was admitted"),
            (not others, "no other node was refused"),
            (any(event["from_ip"] == public_ip for event in refused), "the address was refused"),
        )
        if wrong
    ]
    detail = f"the driver was admitted; {len(others)} core nodes were refused, {len(refused)} times"
    return Check(name=name, passed=not problems, detail="; ".join(problems) or detail)


def every_node_admitted(events: Sequence[Event], *, job_flow_id: str, public_ip: str, state: str) -> Check:
    """See that behind a NAT gateway several nodes connected, all of them from the address."""
    name = "behind a NAT gateway every node leaves from the Elastic IP"
    seen = connections(events, job_flow_id)
    strange = sorted(
        {str(event["from_ip"]) for event in seen if event["from_ip"] != public_ip or not event["admitted"]}
    )
    nodes = {event["instance_id"] for event in seen}
    detail = f"{len(seen)} connections of {len(nodes)} nodes from {public_ip}; the DAG run is {state or 'not seen'}"
    if strange:
        detail += f"; not admitted, or another address: {', '.join(strange)}"
    return Check(name=name, passed=len(nodes) > 1 and not strange and state == "success", detail=detail)


def as_before(before: Network, after: Network, *, events: Sequence[Event], clusters: Mapping[str, str]) -> Check:
    """See that a route was led to a gateway, and that routes, gateways and the address are as they were before."""
    name = "afterwards routes, gateways and address are as before"
    changes = [
        event for event in events if event["kind"] == "call" and event["operation"] in {"CreateRoute", "ReplaceRoute"}
    ]
    led = [event for event in changes if event["request"].get("NatGatewayId") and not event.get("error_code")]
    problems = [
        text
        for wrong, text in (
            (not all(clusters.get(dag_id) for dag_id in (PRIMARY, GATEWAY)), "not both clusters were launched"),
            (not led, "no route was ever led to a gateway"),
            (after.routes != before.routes, f"the routes are {after.routes}, they were {before.routes}"),
            (after.gateways != before.gateways, f"gateways: {', '.join(after.gateways)}"),
            (after.association_id != before.association_id, f"the address is associated ({after.association_id})"),
        )
        if wrong
    ]
    detail = f"{len(before.routes)} route tables; {len(led)} route was led to a gateway, and is gone with it"
    return Check(name=name, passed=not problems, detail="; ".join(problems) or detail)
