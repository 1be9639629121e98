"""The checks of the scenario with a standby; each fails if nothing was observed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from demo.checks import Check, checked
from demo.standby import AFTER, LOST, batches, clusters, has_ended
from demo.timeline import moment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from harness.judge import Event

_PAIR = 2


def service_moved(events: Sequence[Event], *, lost_at: datetime | None, allocation_id: str, state: str) -> Check:
    """Check that the address moved from the lost primary node to the standby, and measure the time."""
    name = "emr_standby: the standby has the address and its targets are healthy"
    pair = clusters(events)
    if len(pair) != _PAIR or lost_at is None or state != "success":
        detail = f"{len(pair)} clusters, primary lost: {lost_at is not None}, the DAG run is {state or 'not seen'}"
        return Check(name=name, passed=False, detail=detail)
    bound = [
        event
        for event in events
        if event["kind"] == "address" and event["change"] == "associated" and event["allocation_id"] == allocation_id
    ]
    targets = [moment(event).time for event in events if event["kind"] == "target" and event["state"] == "healthy"]
    targets = [time for time in targets if time > lost_at]
    clusters_bound = [event["job_flow_id"] for event in bound]
    if clusters_bound != pair or not targets:
        detail = f"associated with {clusters_bound}, {len(targets)} targets became healthy"
        return Check(name=name, passed=False, detail=detail)
    moved, healthy = ((time - lost_at).total_seconds() for time in (moment(bound[-1]).time, max(targets)))
    detail = f"{moved:.0f} s after the loss, healthy after {healthy:.0f} s (simulated; checks in real time)"
    return Check(name=name, passed=True, detail=detail)


def one_live_primary(events: Sequence[Event], *, standby_state: str) -> Check:
    """
    Check that the lost cluster was ended, and that the other one ran until the demo ended it.

    :param standby_state: the state of the standby's cluster before the demo ended it; empty if it was not read.
    """
    pair = clusters(events)
    return checked(
        "emr_standby: one live primary",
        "the old one ended, the standby WAITING",
        (len(pair) != _PAIR, f"{len(pair)} clusters"),
        (pair and not has_ended(events, pair[0]), "the lost cluster was not ended"),
        (standby_state != "WAITING", f"the standby was {standby_state or 'not seen'} after the failover"),
    )


def batches_succeed(events: Sequence[Event], *, states: Mapping[str, str], tries: Mapping[str, int]) -> Check:
    """Check that the batch of the lost primary node succeeded on the standby, in a retry, and the next one at once."""
    pair = clusters(events)
    ended = {
        dag_id: [event["job_flow_id"] for event in batches(events, dag_id) if event["state"] == "success"]
        for dag_id in (LOST, AFTER)
    }
    began = [event["job_flow_id"] for event in batches(events, LOST)][:1]
    return checked(
        "emr_standby: batches succeed after it, none by another's end",
        f"the lost one in try {tries.get(LOST)}, the next one in try 1; each ended once, on the standby",
        (any(states.get(dag_id) != "success" for dag_id in ended), f"runs: {dict(states)}"),
        (len(pair) != _PAIR or began != pair[:1], f"the first batch began on {began}"),
        *((on != pair[1:], f"{dag_id} succeeded on {on}") for dag_id, on in ended.items()),
        (tries.get(LOST, 0) < 2, f"the lost batch's task took {tries.get(LOST, 0)} tries"),  # noqa: PLR2004 - a retry
        (tries.get(AFTER) != 1, f"the next one's took {tries.get(AFTER)}"),
    )
