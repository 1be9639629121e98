"""The checks of the scenario with a standby: pure functions that fail when they saw nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.checks import Check
from demo.standby import AFTER, LOST, batches, clusters, has_ended
from demo.timeline import moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from harness.judge import Event

_PAIR = 2


def service_moved(events: Sequence[Event], *, lost_at: datetime | None, allocation_id: str, state: str) -> Check:
    """See that the address went from the lost primary node to the standby, and what that took."""
    name = "emr_standby: the standby has the address and its targets are healthy"
    pair = clusters(events)
    if len(pair) != _PAIR or lost_at is None or state != "success":
        detail = f"{len(pair)} clusters, primary lost: {lost_at is not None}, the DAG run is {state or 'not seen'}"
        return Check(name=name, passed=False, detail=detail)
    bound = _associations(events, allocation_id)
    targets = _healthy_since(events, lost_at)
    places = [event["job_flow_id"] for event in bound]
    if places != pair or not targets:
        return Check(name=name, passed=False, detail=f"associated with {places}, {len(targets)} targets became healthy")
    seconds = [(when - lost_at).total_seconds() for when in (moment(bound[-1]).time, max(targets))]
    return Check(
        name=name,
        passed=True,
        detail=f"{seconds[0]:.0f} s after the loss, healthy after {seconds[1]:.0f} s (simulated; checks in real time)",
    )


def _associations(events: Sequence[Event], allocation_id: str) -> list[Event]:
    return [
        event
        for event in events
        if event["kind"] == "address" and event["change"] == "associated" and event["allocation_id"] == allocation_id
    ]


def _healthy_since(events: Sequence[Event], lost_at: datetime) -> list[datetime]:
    times = [moment(event).time for event in events if event["kind"] == "target" and event["state"] == "healthy"]
    return [when for when in times if when > lost_at]


def one_live_primary(events: Sequence[Event], *, standby_state: str) -> Check:
    """
    See that the lost cluster was ended, and that the other one lived on until the demo ended it.

    :param standby_state: the state of the standby's cluster before the demo ended it; empty when nobody looked.
    """
    name = "emr_standby: one live primary"
    pair = clusters(events)
    problems = [
        text
        for wrong, text in (
            (len(pair) != _PAIR, f"{len(pair)} clusters"),
            (pair and not has_ended(events, pair[0]), "the lost cluster was not ended"),
            (standby_state != "WAITING", f"the standby was {standby_state or 'not seen'} after the failover"),
        )
        if wrong
    ]
    return Check(name=name, passed=not problems, detail="; ".join(problems) or "the old one ended, the standby WAITING")


def batches_succeed(events: Sequence[Event], *, states: Mapping[str, str], tries: Mapping[str, int]) -> Check:
    """See that the batch of the lost primary node succeeded on the standby, in a retry, and the next one at once."""
    name = "emr_standby: batches succeed after it, none by another's end"
    pair = clusters(events)
    ended = {dag_id: [e for e in batches(events, dag_id) if e["state"] == "success"] for dag_id in (LOST, AFTER)}
    began = [event["job_flow_id"] for event in batches(events, LOST)][:1]
    problems = [
        text
        for wrong, text in (
            (any(states.get(dag_id) != "success" for dag_id in ended), f"runs: {dict(states)}"),
            (len(pair) != _PAIR or began != pair[:1], f"the first batch began on {began}"),
            (any([e["job_flow_id"] for e in found] != pair[1:] for found in ended.values()), _where(ended)),
            (tries.get(LOST, 0) < 2, f"the lost batch's task took {tries.get(LOST, 0)} tries"),  # noqa: PLR2004 - a retry
            (tries.get(AFTER) != 1, f"the next one's took {tries.get(AFTER)}"),
        )
        if wrong
    ]
    detail = f"the lost one in try {tries.get(LOST)}, the next one in try 1; each ended once, on the standby"
    return Check(name=name, passed=not problems, detail="; ".join(problems) or detail)


def _where(ended: Mapping[str, Sequence[Event]]) -> str:
    return "; ".join(f"{dag_id} succeeded on {[e['job_flow_id'] for e in found]}" for dag_id, found in ended.items())
