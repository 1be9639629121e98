"""What must be true after a tenancy that met a fault, read from the local EMR's event log and from the record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.tags import JOB_FLOW_TAG
from tests.verification.chaos.faults import LAGS
from tests.verification.stress.judge import Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.lease.record import Record
    from tests.verification.chaos.scheduler import Tries

Event = dict[str, Any]
_GATEWAY_ENDED = frozenset({"deleted", "failed"})
_ENDED = frozenset({"TERMINATED", "TERMINATED_WITH_ERRORS"})
# After these a run may fail, as long as nothing stays behind: its cluster is gone, or lost its address.
_FATAL = frozenset({"cluster dies", "primary replaced"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What is left of a tenancy.

    :param kind: of the fault; ``None`` when there was none.
    :param record: of the lock store; ``None`` without one.
    :param forbids_theft: whether the operators promise never to take the address from another.
    """

    kind: str | None
    events: Sequence[Event]
    tasks: Mapping[str, Tries]
    record: Record | None = None
    forbids_theft: bool = True


def problems(evidence: Evidence) -> list[str]:
    """Return what is wrong; nothing is, when the fault was survived."""
    evidence = replace(evidence, events=_with_clusters(evidence.events))
    return [
        *_clusters(evidence.events),
        *_address(evidence.events, evidence.kind),
        *_gateways(evidence.events, evidence.kind),
        *(_theft(evidence.events) if evidence.forbids_theft else ()),
        *_outcome(evidence),
        *_lease(evidence),
    ]


def _clusters(events: Sequence[Event]) -> list[str]:
    """Every cluster has ended, by a call or by what befell it, and none because it stood idle."""
    states: dict[str, str] = {}
    found = []
    for event in events:
        if event["kind"] != "cluster":
            continue
        states[event["job_flow_id"]] = event["to"]
        if event["to"] == "TERMINATING" and "idle" in ((event["reason"] or {}).get("Message") or ""):
            found.append(f"{event['job_flow_id']} ended only because it was idle")
    return found + [f"{name} is left {state}" for name, state in states.items() if state not in _ENDED]


def _address(events: Sequence[Event], kind: str | None) -> list[str]:
    """The address was on one cluster at a time, under every step that ran, and is free at the end."""
    place = Place()
    for event in events:
        if event["kind"] == "address":
            place.address(event)
        elif event["kind"] == "step":
            place.step(event)
    # What the fault itself did to a step is not the judge's business.
    blamed = [] if kind in _FATAL else place.problems
    return blamed + ([f"the address is left on {place.holder}"] if place.holder else [])


def _clusters_of_gateways(events: Sequence[Event]) -> dict[str, str]:
    """Return the cluster that each NAT gateway was made for, by the tags that it was asked for with."""
    asked = {}
    for event in events:
        if event["kind"] == "call" and event["operation"] == "CreateNatGateway" and "DryRun" not in event["request"]:
            given = event["request"]
            keys = {given[name]: given.get(f"{name.removesuffix('Key')}Value") for name in given if ".Key" in name}
            asked[given["ClientToken"]] = str(keys[JOB_FLOW_TAG])
    made = [event for event in events if event["kind"] == "nat_gateway"]
    return {event["nat_gateway_id"]: asked[event["client_token"]] for event in made if event["client_token"] in asked}


def _with_clusters(events: Sequence[Event]) -> list[Event]:
    """Name the cluster in what befell an address on a NAT gateway that was made for one."""
    clusters = _clusters_of_gateways(events)
    told = []
    for event in events:
        gateway = str(event.get("cause")).rpartition(" ")[2] if event["kind"] == "address" else ""
        told.append({**event, "job_flow_id": clusters[gateway]} if gateway in clusters else event)
    return told


def _gateways(events: Sequence[Event], kind: str | None) -> list[str]:
    """Every NAT gateway is gone, its routes were there under every step that ran, and are gone, too."""
    clusters = _clusters_of_gateways(events)
    states: dict[str, str] = {}
    routes: dict[str, str | None] = {}
    running: dict[str, str] = {}
    found = []
    for event in events:
        if event["kind"] == "nat_gateway":
            states[event["nat_gateway_id"]] = event["state"]
        elif event["kind"] == "route":
            routes[event["route_table_id"]] = event["target"] if event["change"] != "deleted" else None
        elif event["kind"] == "step":
            running[event["step_id"]] = event["job_flow_id"]
            if event["state"] != "RUNNING":
                del running[event["step_id"]]
        for step, cluster in running.items():
            if clusters and cluster not in {clusters.get(str(target)) for target in routes.values()}:
                found.append(f"{step} ran on {cluster} while no route led to its NAT gateway")
    blamed = [] if kind in _FATAL else sorted(set(found))
    blamed += [f"NAT gateway {name} is left {state}" for name, state in states.items() if state not in _GATEWAY_ENDED]
    return blamed + [f"{table} is left to lead to {target}" for table, target in routes.items() if target]


def _theft(events: Sequence[Event]) -> list[str]:
    calls = [event for event in events if event["kind"] == "call" and event["operation"] == "AssociateAddress"]
    thieves = [call for call in calls if call["request"].get("AllowReassociation") is not False]
    return [f"{len(thieves)} calls of AssociateAddress would have taken the address from another"] if thieves else []


def _outcome(evidence: Evidence) -> list[str]:
    """The run succeeded if it could, its step ran once, and what did not succeed says so."""
    failed = [name for name, tries in evidence.tasks.items() if tries.state != "succeeded"]
    states = Counter(e["state"] for e in evidence.events if e["kind"] == "step")
    done, started = states["COMPLETED"], states["RUNNING"]
    if evidence.kind not in _FATAL and failed:
        return [f"{', '.join(failed)} did not succeed"]
    if evidence.kind not in _FATAL and done != 1:
        return [f"the step was completed {done} times"]
    if evidence.kind in LAGS and started != 1:
        return [f"the step was started {started} times"]
    if not failed and done != 1:
        return [f"the run succeeded, its step was completed {done} times"]
    last = list(evidence.tasks)[-1]
    return [f"the teardown {last} did not succeed"] if last in failed and len(failed) < len(evidence.tasks) else []


def _lease(evidence: Evidence) -> list[str]:
    record = evidence.record
    if record is None:
        return []
    found = [f"the lease is left with {record.lease.resource_id}"] if record.lease else []
    found += [f"{len(record.queue)} are left in the queue"] if record.queue else []
    bound = {e["job_flow_id"] for e in evidence.events if e["kind"] == "address" and e["change"] == "associated"}
    told = {ended.resource_id for ended in record.history if ended.resource_id and ended.why != "undone"}
    return found + [f"the history says that {name} had the address" for name in told - bound]
