"""What must be true after a lease period that met a fault, read from the local EMR's event log and from the record."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness import judge
from tests.verification.chaos.faults import LAGS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.lease.record import Record
    from harness.judge import Event
    from tests.verification.chaos.scheduler import Tries

# After these a run may fail, as long as nothing stays behind: its cluster is gone, or lost its address.
_FATAL = frozenset({"cluster dies", "primary replaced"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What is left of a lease period.

    :param kind: of the fault; ``None`` when there was none.
    :param records: of the lock store, of each address; none without one.
    :param forbids_theft: whether the operators promise never to take the address from another.
    :param replaces: the first choice cannot start, and is followed by a fallback.
    :param addresses: where there are several, their allocation IDs.
    :param stays: the owner that has the lease of the first of them from the begin to the end.
    """

    kind: str | None
    events: Sequence[Event]
    tasks: Mapping[str, Tries]
    records: Sequence[Record] = ()
    forbids_theft: bool = True
    replaces: bool = False
    addresses: Sequence[str] = ()
    stays: str | None = None


def problems(evidence: Evidence) -> list[str]:
    """Return what is wrong; nothing is, when the fault was survived."""
    evidence = replace(evidence, events=judge.with_clusters(evidence.events))
    events, gateways = evidence.events, judge.gateways(evidence.events)
    # What the fault itself did to a step is not the judge's business.
    each = [judge.of_address(events, name) for name in evidence.addresses] or [events]
    steps = [] if evidence.kind in _FATAL else [*(p for one in each for p in judge.follow(one).problems)]
    steps += [] if evidence.kind in _FATAL else gateways.routeless
    return [
        *(f"{name} ended only because it was idle" for name in judge.idle_endings(events)),
        *judge.clusters_left(events),
        *steps,
        *(problem for one in each for problem in judge.address_left(one)),
        *gateways.left,
        *(judge.unsafe_associations(events) if evidence.forbids_theft else ()),
        *_replaced(evidence),
        *_outcome(evidence),
        *_lease(evidence),
    ]


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


def _replaced(evidence: Evidence) -> list[str]:
    """With fallbacks one cluster of a lease follows the other; a launch that reads show late may be made twice."""
    if not evidence.replaces or evidence.kind in LAGS:
        return []
    return judge.two_clusters_of_a_lease(evidence.events)


def _lease(evidence: Evidence) -> list[str]:
    left, ended = [], set()
    for record in evidence.records:
        left += [record.lease.attempt.name] if record.lease else []
        left += [entry.attempt.name for entry in record.queue]
        ended |= {ended.resource_id for ended in record.history if ended.resource_id and ended.why != "undone"}
    if evidence.stays in left:
        left.remove(evidence.stays)
    elif evidence.stays is not None:
        return [f"the lease of {evidence.stays} was ended"]
    return judge.record_disagrees(evidence.events, left=left, ended=ended)
