"""The verdicts on a soak, from the event log and from what Airflow says of its runs; none asks the code under test."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from harness.airflow import FINAL_RUN_STATES
from harness.calls import TRIGGERER, caller
from harness.judge import Check, calls, idle_endings, launches, thefts
from tests.verification.soak.gauge import longest_life, quarters
from tests.verification.stress.traces import Stored, seconds
from tests.verification.stress.weather import CLUSTER_REASON

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from tests.verification.soak.airflow import Run, Try
    from tests.verification.soak.gauge import Reading
    from tests.verification.stress.traces import Event

# The triggerer's growth from the second to the fourth quarter of its life.
RSS_GROWTH, RSS_GROWTH_MB = 0.05, 8.0
HANDLES_GROWTH = 4
LEAST_READINGS = 20
_FAILED = frozenset({"failed", "up_for_retry"})


def _when(event: Event) -> datetime:
    return datetime.fromisoformat(event["time"])


def writes(events: Iterable[Event]) -> list[Stored]:
    """Return every state of the record, from the calls that wrote it."""
    return [
        Stored(event["seq"], seconds(event), None, json.loads(event["request"]["Item"]["record"]["S"]))
        for event in events
        if event["kind"] == "call" and event["operation"] == "PutItem" and event["status"] == HTTPStatus.OK
    ]


def owners(events: Iterable[Event]) -> dict[str, tuple[str, str]]:
    """Return DAG and run id of the owner of each cluster, from its tags."""
    return {found.job_flow_id: (found.owner[1], found.owner[2]) for found in launches(events) if found.owner}


def no_theft(events: Sequence[Event]) -> Check:
    """See on the wire that no AssociateAddress call may take the address from anyone, and names an interface."""
    made, problems = calls(events, "AssociateAddress"), thefts(events)
    if not made:
        problems.append("no AssociateAddress call was seen")
    return Check("no theft", tuple(problems), f"AllowReassociation=false on all {len(made)} AssociateAddress calls")


def one_owner(events: Sequence[Event]) -> Check:
    """
    See that the address went from owner to owner only through being free, and that each bound cluster has an owner.

    :func:`tests.verification.stress.judge.exclusion` compares clusters; this compares whom they belong to.
    """
    whose = owners(events)
    problems, held, bound = [], "", 0
    for event in events:
        if event["kind"] != "address":
            continue
        cluster = event["job_flow_id"]
        owner = "/".join(whose.get(cluster, ("", ""))).strip("/")
        if event["change"] != "associated":
            held = ""
            continue
        bound += 1
        if not owner:
            problems.append(f"{event['seq']}: the address went to {cluster or event['instance_id']}, which nobody owns")
        if held and held != owner:
            problems.append(f"{event['seq']}: {owner} got the address while {held} had it")
        held = owner
    if not bound:
        problems.append("the address was never bound")
    return Check("one owner at a time", tuple(problems), f"{bound} associations of {len(set(whose.values()))} owners")


def history_is_honest(events: Sequence[Event], stored: Sequence[Stored]) -> Check:
    """
    See that each ended lease period of the record tells the truth about its cluster, by the log.

    Its carrier was launched by that owner, its lease was the record's until it ended, and its cluster did not have the
    address any more. Every lease that there was ends in the history.
    """
    whose = owners(events)
    has = _associated(events)
    problems, told = [], {}
    for write in stored:
        for ended in write.record["history"]:
            if ended["token"] not in told:
                told[ended["token"]] = ended
                problems += _lies(ended, write, whose, has)
    leased = {write.token for write in stored if write.token is not None}
    problems += [f"the lease of token {token} is not in the history" for token in sorted(leased - told.keys())]
    problems += [f"the history has token {token}, which had no lease" for token in sorted(told.keys() - leased)]
    if not told:
        problems.append("no lease period has ended")
    whys = Counter(ended["why"] for ended in told.values())
    return Check("honest history", tuple(problems), ", ".join(f"{n} {why}" for why, n in whys.most_common()))


def _lies(ended: dict[str, Any], write: Stored, whose: dict[str, tuple[str, str]], has: _Associated) -> list[str]:
    token, resource_id = ended["token"], ended["carrier"]
    problems = []
    if resource_id is not None:
        owner = "/".join(whose.get(resource_id, ("", "")))
        if f"/{owner}/" not in ended["owner"]:
            problems.append(f"token {token}: {resource_id} is {owner}'s, not {ended['owner']}'s")
        if has.at(write.seq) == resource_id:
            problems.append(f"token {token} ended while {resource_id} had the address")
    if not ended["taken_at"] <= ended["ended_at"] <= write.time + 1:
        problems.append(f"token {token}: from {ended['taken_at']} to {ended['ended_at']}, written {write.time}")
    return problems


class _Associated:
    """Which cluster had the address, by the log's numbers."""

    def __init__(self) -> None:
        self.changes: list[tuple[int, str | None]] = []

    def at(self, seq: int) -> str | None:
        """Return the cluster that had it just before an event."""
        return next((cluster for when, cluster in reversed(self.changes) if when < seq), None)


def _associated(events: Iterable[Event]) -> _Associated:
    found = _Associated()
    for event in events:
        if event["kind"] == "address":
            found.changes.append((event["seq"], event["job_flow_id"] if event["change"] == "associated" else None))
    return found


def no_orphans(events: Sequence[Event]) -> Check:
    """
    See that no cluster was left to EMR's idle termination, the net under everything else, but for a killed run.

    That all have ended in the end is :func:`tests.verification.stress.judge.nothing_lost`'s to see.
    """
    whose = owners(events)
    launched = [event["job_flow_id"] for event in events if event["kind"] == "cluster" and event["to"] == "STARTING"]
    harmed = {(event.get("dag_id"), event.get("run_id")) for event in events if event["kind"] == "harm"}
    idle = idle_endings(events)
    problems = [
        f"{cluster} of {'/'.join(whose.get(cluster, ('nobody',)))} ended by being idle"
        for cluster in idle
        if whose.get(cluster) not in harmed
    ]
    problems += [f"{cluster} carries no owner's tag" for cluster in launched if cluster not in whose]
    if not launched:
        problems.append("no cluster was launched")
    return Check("no orphans", tuple(problems), f"{len(launched)} clusters, {len(idle)} ended by being idle")


def submitted_once(events: Sequence[Event], tries: Sequence[Try], *, task_id: str) -> Check:
    """See that no try of a task submitted its steps twice: AddJobFlowSteps has no token, and answers get lost."""
    whose = owners(events)
    tried = Counter((one.dag_id, one.run_id) for one in tries if one.task_id == task_id and one.started)
    submitted = Counter(
        whose.get(event["request"]["JobFlowId"])
        for event in events
        if event["kind"] == "call" and event["operation"] == "AddJobFlowSteps" and event["status"] == HTTPStatus.OK
    )
    known = {(one.dag_id, one.run_id) for one in tries}
    problems = [
        f"{'/'.join(run)} submitted {count} times in {tried[run]} tries"
        for run, count in submitted.items()
        if run in known and count > tried[run]
    ]
    if not submitted:
        problems.append("no step was ever submitted")
    detail = f"{submitted.total()} submissions, {tried.total()} tries of {task_id}"
    return Check("submitted once", tuple(problems), detail)


def none_stuck(runs: Sequence[Run], *, expected: int, last: Run | None) -> Check:
    """See that every run came to its end, and one more after all of them to success."""
    problems = [f"{run.dag_id} {run.run_id} is {run.state}" for run in runs if run.state not in FINAL_RUN_STATES]
    if len(runs) != expected:
        problems.append(f"{len(runs)} of {expected} runs were created")
    if last is None or last.state != "success":
        problems.append(f"the run after all others is {last.state if last else 'missing'}")
    states = Counter(run.state for run in runs)
    detail = ", ".join(f"{count} {state}" for state, count in states.most_common())
    return Check("no run stuck", tuple(problems), f"{detail}; and one more after them")


class Causes:
    """
    What was done to a run, for the tries of its tasks that failed.

    A call belongs to a DAG, not to a run, so a fault of a call explains a try of any run of its DAG at that time.

    :param lost: the ids of the tries that Airflow gave up by itself.
    """

    def __init__(
        self, events: Sequence[Event], *, dag_ids: Sequence[str], slack: timedelta, lost: Collection[str] = ()
    ) -> None:
        self._slack, self._lost = slack, lost
        self._harm: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        self._ended: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        self._calls: dict[str, list[datetime]] = defaultdict(list)
        whose = owners(events)
        for event in events:
            if event["kind"] == "harm" and "run_id" in event:
                self._harm[event["dag_id"], event["run_id"]].append(_when(event))
            if event["kind"] == "cluster" and (event["reason"] or {}).get("Code") == CLUSTER_REASON:
                self._ended[whose.get(event["job_flow_id"], ("", ""))].append(_when(event))
        for event in faulty_calls(events):
            who = caller(event["user_agent"], dag_ids=dag_ids)
            if who is not None:
                self._calls[who].append(_when(event))

    def of(self, one: Try) -> str:
        """Return what explains that a try failed; nothing if nothing does."""
        run = (one.dag_id, one.run_id)
        if self._any(self._ended[run], since=None, until=one.ended):
            return "its cluster ended by itself"
        if self._any(self._harm[run], since=one.started, until=one.ended):
            return "killed or cleared"
        if self._any(self._calls[one.dag_id] + self._calls[TRIGGERER], since=one.started, until=one.ended):
            return "a call failed"
        if one.id in self._lost:
            return "Airflow missed its heartbeat"
        return ""

    def _any(self, moments: Iterable[datetime], *, since: datetime | None, until: datetime | None) -> bool:
        return any(
            (since is None or moment >= since - self._slack) and (until is None or moment <= until + self._slack)
            for moment in moments
        )


def failures_explained(runs: Sequence[Run], tries: Sequence[Try], causes: Causes) -> Check:
    """See that each try that failed has a cause that was injected, and each run that failed has such a try."""
    problems, counted = [], Counter()
    # Airflow calls it failed, too, when a task is cleared that was never tried.
    failed = [one for one in tries if one.state in _FAILED and one.started]
    for one in failed:
        cause = causes.of(one)
        counted[cause or "nothing"] += 1
        if not cause:
            problems.append(f"{one.dag_id} {one.run_id} {one.task_id}, try {one.number}, failed without a cause")
    whose = {(one.dag_id, one.run_id) for one in failed}
    lost = [run for run in runs if run.state == "failed"]
    problems += [
        f"{run.dag_id} {run.run_id} failed, and no try of it" for run in lost if (run.dag_id, run.run_id) not in whose
    ]
    if not tries:
        problems.append("no task was ever tried")
    told = ", ".join(f"{count} {cause}" for cause, count in counted.most_common()) or "none"
    return Check(
        "failures explained", tuple(problems), f"{len(lost)} runs; {len(failed)} of {len(tries)} tries: {told}"
    )


def triggerer_is_flat(readings: Sequence[Reading]) -> Check:
    """See that memory and handles of the longest-lived triggerer do not grow from its second quarter to its fourth."""
    found = quarters(longest_life(readings))
    if found is None or found.readings < LEAST_READINGS:
        return Check("flat triggerer", ("too few readings",), f"{len(readings)} readings")
    problems = []
    _, rss, _, rss_last = found.rss_mb
    bound = rss + max(rss * RSS_GROWTH, RSS_GROWTH_MB)
    if rss_last > bound:
        problems.append(f"memory grew from {rss:.1f} MB to {rss_last:.1f} MB, more than to {bound:.1f} MB")
    _, handles, _, handles_last = found.handles
    if handles_last > handles + HANDLES_GROWTH:
        problems.append(f"file handles grew from {handles:.0f} to {handles_last:.0f}")
    detail = (
        f"{found.minutes:.0f} min: {_arrow(found.rss_mb, '.1f')} MB, {_arrow(found.handles, '.0f')} file handles, "
        f"{_arrow(found.threads, '.0f')} threads"
    )
    return Check("flat triggerer", tuple(problems), detail)


def _arrow(numbers: Sequence[float], form: str) -> str:
    return " → ".join(format(number, form) for number in numbers)


def faulty_calls(events: Sequence[Event]) -> list[Event]:
    """Return the calls that a fault hit: the next one of its operation in the log."""
    waiting: Counter[str] = Counter()
    found = []
    for event in events:
        if event["kind"] == "fault" and event["fault"] != "delay" and "operation" in event:
            waiting[event["operation"]] += 1
        elif event["kind"] == "call" and waiting[event["operation"]]:
            waiting[event["operation"]] -= 1
            found.append(event)
    return found
