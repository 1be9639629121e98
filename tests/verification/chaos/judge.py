"""The checks of a lease period with a fault, from the local EMR's event log and the lock's records."""

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

# After these a run may fail, because its cluster has ended or lost its address; but nothing may be left behind.
_FATAL = frozenset({"cluster dies", "primary replaced"})


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    The evidence of a lease period.

    :param kind: of the fault; ``None`` if there was none.
    :param records: the record of each address; none without a lock store.
    :param forbids_reassociation: whether the operators promise never to take the address from its holder.
    :param replaces: whether the first cluster cannot start, and is replaced by a fallback.
    :param addresses: the allocation IDs, if there are several.
    :param stays: the owner that has the lease of the first address all the time.
    """

    kind: str | None
    events: Sequence[Event]
    tasks: Mapping[str, Tries]
    records: Sequence[Record] = ()
    forbids_reassociation: bool = True
    replaces: bool = False
    addresses: Sequence[str] = ()
    stays: str | None = None


def problems(evidence: Evidence) -> list[str]:
    """Return the problems; there are none if the fault was survived."""
    evidence = replace(evidence, events=judge.with_clusters(evidence.events))
    events, gateways = evidence.events, judge.gateways(evidence.events)
    by_address = [judge.of_address(events, name) for name in evidence.addresses] or [events]
    steps: list[str] = []
    if evidence.kind not in _FATAL:  # a fatal fault itself disturbs steps
        steps = [problem for log in by_address for problem in judge.follow(log).problems] + gateways.routeless
    return [
        *(f"{name} ended only because it was idle" for name in judge.idle_endings(events)),
        *judge.clusters_left(events),
        *steps,
        *(problem for log in by_address for problem in judge.address_left(log)),
        *gateways.left,
        *(judge.unsafe_associations(events) if evidence.forbids_reassociation else ()),
        *_replaced(evidence),
        *_outcome(evidence),
        *_lease(evidence),
    ]


def _outcome(evidence: Evidence) -> list[str]:
    """Check that the run succeeded if it could, that its step ran once, and that no failure counts as a success."""
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
    """Check that a fallback comes after the end of the first cluster; with stale reads it may be launched twice."""
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
