"""Checks of a soak from the event log and Airflow's runs; none uses the code under test."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from harness.airflow import FINAL_RUN_STATES
from harness.calls import TRIGGERER, caller
from harness.judge import Check, calls, idle_endings, launches, unsafe_associations
from tests.verification.soak.resource_usage import longest_lived, quarter_medians
from tests.verification.stress.log_reader import RecordVersion, seconds
from tests.verification.stress.random_faults import CLUSTER_REASON

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from tests.verification.soak.airflow_api import Run, Try
    from tests.verification.soak.resource_usage import Sample
    from tests.verification.stress.log_reader import Event

# The allowed growth of the triggerer from the second to the fourth quarter of its lifetime.
RSS_GROWTH, RSS_GROWTH_MB = 0.05, 8.0
HANDLES_GROWTH = 4
MIN_SAMPLES = 20
_FAILED = frozenset({"failed", "up_for_retry"})


def _time(event: Event) -> datetime:
    return datetime.fromisoformat(event["time"])


def writes(events: Iterable[Event]) -> list[RecordVersion]:
    """Return every version of the record, from the calls that wrote it."""
    return [
        RecordVersion(event["seq"], seconds(event), None, json.loads(event["request"]["Item"]["record"]["S"]))
        for event in events
        if event["kind"] == "call" and event["operation"] == "PutItem" and event["status"] == HTTPStatus.OK
    ]


def owners(events: Iterable[Event]) -> dict[str, tuple[str, str]]:
    """Return the DAG id and run id of each cluster's owner, from the cluster's tags."""
    return {launch.job_flow_id: (launch.owner[1], launch.owner[2]) for launch in launches(events) if launch.owner}


def no_theft(events: Sequence[Event]) -> Check:
    """Check in each AssociateAddress request that it forbids reassociation and names an interface."""
    made, problems = calls(events, "AssociateAddress"), unsafe_associations(events)
    if not made:
        problems.append("no AssociateAddress call was seen")
    return Check("no theft", tuple(problems), f"AllowReassociation=false on all {len(made)} AssociateAddress calls")


def one_owner(events: Sequence[Event]) -> Check:
    """
    Check that the address was free between two owners, and that each associated cluster has an owner.

    :func:`tests.verification.stress.judge.exclusion` compares clusters; this compares their owners.
    """
    owner_of = owners(events)
    problems, holder, bound = [], "", 0
    for event in events:
        if event["kind"] != "address":
            continue
        cluster = event["job_flow_id"]
        owner = "/".join(owner_of.get(cluster, ("", ""))).strip("/")
        if event["change"] != "associated":
            holder = ""
            continue
        bound += 1
        if not owner:
            problems.append(f"{event['seq']}: {cluster or event['instance_id']} got the address and has no owner")
        if holder and holder != owner:
            problems.append(f"{event['seq']}: {owner} got the address while {holder} had it")
        holder = owner
    if not bound:
        problems.append("the address was never associated")
    detail = f"{bound} associations of {len(set(owner_of.values()))} owners"
    return Check("one owner at a time", tuple(problems), detail)


def history_is_correct(events: Sequence[Event], stored: Sequence[RecordVersion]) -> Check:
    """
    Check each ended lease period in the record's history against the event log.

    Its cluster was launched by its owner and had lost the address, and its times are in order. The history has exactly
    the leases of the record.
    """
    owner_of = owners(events)
    moves = [
        (event["seq"], event["job_flow_id"] if event["change"] == "associated" else None)
        for event in events
        if event["kind"] == "address"
    ]
    problems, ended_leases = [], {}
    for write in stored:
        holder = next((cluster for seq, cluster in reversed(moves) if seq < write.seq), None)
        for ended in write.record["history"]:
            if ended["token"] not in ended_leases:
                ended_leases[ended["token"]] = ended
                problems += _wrong_facts(ended, write, owner_of, holder)
    leased = {write.token for write in stored if write.token is not None}
    problems += [f"the lease of token {token} is not in the history" for token in sorted(leased - ended_leases.keys())]
    problems += [f"the history has token {token}, which had no lease" for token in sorted(ended_leases.keys() - leased)]
    if not ended_leases:
        problems.append("no lease period has ended")
    reasons = Counter(ended["why"] for ended in ended_leases.values())
    return Check("correct history", tuple(problems), ", ".join(f"{n} {reason}" for reason, n in reasons.most_common()))


def _wrong_facts(
    ended: dict[str, Any], write: RecordVersion, owner_of: dict[str, tuple[str, str]], holder: str | None
) -> list[str]:
    token, resource_id = ended["token"], ended["carrier"]
    problems = []
    if resource_id is not None:
        owner = "/".join(owner_of.get(resource_id, ("", "")))
        if f"/{owner}/" not in ended["owner"]:
            problems.append(f"token {token}: {resource_id} is {owner}'s, not {ended['owner']}'s")
        if holder == resource_id:
            problems.append(f"token {token} ended while {resource_id} had the address")
    if not ended["taken_at"] <= ended["ended_at"] <= write.time + 1:
        problems.append(f"token {token}: from {ended['taken_at']} to {ended['ended_at']}, written {write.time}")
    return problems


def no_orphans(events: Sequence[Event]) -> Check:
    """
    Check that no cluster was left to EMR's idle termination, except those of runs with a disruption.

    :func:`tests.verification.stress.judge.nothing_left` checks that all clusters have ended.
    """
    owner_of = owners(events)
    launched = [event["job_flow_id"] for event in events if event["kind"] == "cluster" and event["to"] == "STARTING"]
    disrupted = {(event.get("dag_id"), event.get("run_id")) for event in events if event["kind"] == "disruption"}
    idle = idle_endings(events)
    problems = [
        f"{cluster} of {'/'.join(owner_of.get(cluster, ('nobody',)))} was ended by its idle timeout"
        for cluster in idle
        if owner_of.get(cluster) not in disrupted
    ]
    problems += [f"{cluster} has no owner tag" for cluster in launched if cluster not in owner_of]
    if not launched:
        problems.append("no cluster was launched")
    return Check("no orphans", tuple(problems), f"{len(launched)} clusters, {len(idle)} ended by their idle timeout")


def submitted_once(events: Sequence[Event], tries: Sequence[Try], *, task_id: str) -> Check:
    """Check that no try submitted its steps twice: AddJobFlowSteps has no idempotency token, and answers get lost."""
    owner_of = owners(events)
    tried = Counter(each.run for each in tries if each.task_id == task_id and each.started)
    submitted = Counter(
        owner_of.get(event["request"]["JobFlowId"])
        for event in events
        if event["kind"] == "call" and event["operation"] == "AddJobFlowSteps" and event["status"] == HTTPStatus.OK
    )
    runs = {each.run for each in tries}
    problems = [
        f"{'/'.join(run)} submitted {count} times in {tried[run]} tries"
        for run, count in submitted.items()
        if run in runs and count > tried[run]
    ]
    if not submitted:
        problems.append("no step was ever submitted")
    detail = f"{submitted.total()} submissions, {tried.total()} tries of {task_id}"
    return Check("submitted once", tuple(problems), detail)


def no_run_stuck(runs: Sequence[Run], *, expected: int, last: Run | None) -> Check:
    """Check that every run ended, and that one more run after them succeeded."""
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
    The injected faults and disruptions by run, as causes of failed tries.

    A call names its DAG, not its run, so a fault of a call explains a failure in any run of that DAG at that time.

    :param slack: by how much a cause may be before the start or after the end of a try.
    :param lost: the ids of the tries that Airflow failed because of a missing heartbeat.
    """

    def __init__(
        self, events: Sequence[Event], *, dag_ids: Sequence[str], slack: timedelta, lost: Collection[str] = ()
    ) -> None:
        self._slack, self._lost = slack, lost
        self._disrupted: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        self._ended: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        self._calls: dict[str, list[datetime]] = defaultdict(list)
        owner_of = owners(events)
        for event in events:
            if event["kind"] == "disruption" and "run_id" in event:
                self._disrupted[event["dag_id"], event["run_id"]].append(_time(event))
            if event["kind"] == "cluster" and (event["reason"] or {}).get("Code") == CLUSTER_REASON:
                self._ended[owner_of.get(event["job_flow_id"], ("", ""))].append(_time(event))
        for event in faulty_calls(events):
            calling = caller(event["user_agent"], dag_ids=dag_ids)
            if calling is not None:
                self._calls[calling].append(_time(event))

    def of(self, failed: Try) -> str:
        """Return the cause of a try's failure; "" if there is none."""
        period = {"since": failed.started, "until": failed.ended}
        if self._any(self._ended[failed.run], since=None, until=failed.ended):
            return "cluster failed"
        if self._any(self._disrupted[failed.run], **period):
            return "killed or cleared"
        if self._any(self._calls[failed.dag_id] + self._calls[TRIGGERER], **period):
            return "a call failed"
        return "missing heartbeat" if failed.id in self._lost else ""

    def _any(self, moments: Iterable[datetime], *, since: datetime | None, until: datetime | None) -> bool:
        return any(
            (since is None or moment >= since - self._slack) and (until is None or moment <= until + self._slack)
            for moment in moments
        )


def failures_explained(runs: Sequence[Run], tries: Sequence[Try], causes: Causes) -> Check:
    """Check that each failed try has an injected cause, and that each failed run has such a try."""
    problems, counted = [], Counter()
    # Airflow also gives the state "failed" to a cleared task that never ran.
    failed = [each for each in tries if each.state in _FAILED and each.started]
    for each in failed:
        cause = causes.of(each)
        counted[cause or "nothing"] += 1
        if not cause:
            problems.append(f"{each.dag_id} {each.run_id} {each.task_id}, try {each.number}, failed without a cause")
    with_failed_try = {each.run for each in failed}
    failed_runs = [run for run in runs if run.state == "failed"]
    problems += [
        f"{run.dag_id} {run.run_id} failed, and no try of it"
        for run in failed_runs
        if (run.dag_id, run.run_id) not in with_failed_try
    ]
    if not tries:
        problems.append("no task was ever tried")
    causes_text = ", ".join(f"{count} {cause}" for cause, count in counted.most_common()) or "none"
    detail = f"{len(failed_runs)} runs; {len(failed)} of {len(tries)} tries: {causes_text}"
    return Check("failures explained", tuple(problems), detail)


def triggerer_does_not_grow(samples: Sequence[Sample]) -> Check:
    """Check that memory and handles of the longest-lived triggerer do not grow from its 2nd to its 4th quarter."""
    medians = quarter_medians(longest_lived(samples))
    if medians is None or medians.samples < MIN_SAMPLES:
        return Check("triggerer does not grow", ("too few samples",), f"{len(samples)} samples")
    problems = []
    _, rss, _, rss_last = medians.rss_mb
    bound = rss + max(rss * RSS_GROWTH, RSS_GROWTH_MB)
    if rss_last > bound:
        problems.append(f"memory grew from {rss:.1f} MB to {rss_last:.1f} MB; the limit is {bound:.1f} MB")
    _, handles, _, handles_last = medians.handles
    if handles_last > handles + HANDLES_GROWTH:
        problems.append(f"file handles grew from {handles:.0f} to {handles_last:.0f}")
    detail = (
        f"{medians.minutes:.0f} min: {_arrow(medians.rss_mb, '.1f')} MB, {_arrow(medians.handles, '.0f')} file "
        f"handles, {_arrow(medians.threads, '.0f')} threads"
    )
    return Check("triggerer does not grow", tuple(problems), detail)


def _arrow(numbers: Sequence[float], form: str) -> str:
    return " → ".join(format(number, form) for number in numbers)


def faulty_calls(events: Sequence[Event]) -> list[Event]:
    """Return the calls that got a fault: for each fault in the log, the next call of its operation."""
    pending: Counter[str] = Counter()
    faulty = []
    for event in events:
        if event["kind"] == "fault" and event["fault"] != "delay" and "operation" in event:
            pending[event["operation"]] += 1
        elif event["kind"] == "call" and pending[event["operation"]]:
            pending[event["operation"]] -= 1
            faulty.append(event)
    return faulty
