"""The demo's checks: each a pure function from what was seen to a verdict, and each fails when it saw nothing."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.calls import TRIGGERER
from harness.judge import calls, follow, thefts

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from demo.observe import Sample
    from demo.queue import Standing
    from demo.timeline import Session
    from harness.airflow import TaskState
    from harness.judge import Event

Row = tuple[str, ...]

# A task says "deferred" first and ends then: its process at once, and the worker that supervises it looks every five
# seconds ([workers] min_heartbeat_interval).
EXIT_SECONDS = 8.0
# What tasks of one lease period need, waits aside: checks, the lock, launch, binding, step, teardown; about 43 here,
# where what the killed task may have left is looked for, too, and more when a wait ends early and is resumed.
TASK_CALLS = 60
# The costliest look of a trigger: record, address, steps, cluster, holder.
CALLS_A_LOOK = 5
SHORTEST_WAIT_SECONDS = 10.0
REFUSED = 40615


@dataclass(frozen=True, kw_only=True)
class Check:
    """A verdict and its grounds."""

    name: str
    passed: bool
    detail: str

    @property
    def verdict(self) -> str:
        """The word for the table."""
        return "PASS" if self.passed else "FAIL"


def rows_equal(dag_id: str, *, expected: Sequence[Row], found: Sequence[Row]) -> Check:
    """See that a job wrote exactly the rows that the database has, each as often."""
    name = f"{dag_id}: rows read equal the database's"
    if not expected or not found:
        return Check(name=name, passed=False, detail=f"{len(found)} rows read, {len(expected)} in the database")
    if sorted(expected) == sorted(found):
        return Check(name=name, passed=True, detail=f"{len(found):,} rows of {len(found[0])} columns")
    wrong = sorted(set(expected) ^ set(found))
    example = f", for example {wrong[0]!s:.80}" if wrong else ""
    detail = f"{len(found)} rows read, {len(expected)} in the database; {len(wrong)} on one side only{example}"
    return Check(name=name, passed=False, detail=detail)


def read_from_the_address(events: Sequence[Event], *, found: Sequence[Session], public_ip: str) -> Check:
    """See that the database saw every connection of the DAGs' clusters come from the registered address."""
    name = "the database saw the jobs come from the Elastic IP only"
    clusters = [session.job_flow_id for session in found]
    connections = [event for event in _database_connections(events) if event["job_flow_id"] in clusters]
    silent = [cluster for cluster in clusters if cluster not in {event["job_flow_id"] for event in connections}]
    strange = [event for event in connections if event["from_ip"] != public_ip or not event["admitted"]]
    if strange:
        detail = f"{strange[0]['job_flow_id']} came from {strange[0]['from_ip']}"
    elif silent or not clusters:
        detail = f"no connection seen from {', '.join(silent) or 'any cluster'}"
    else:
        detail = f"{len(connections)} connections from {public_ip}"
    return Check(name=name, passed=bool(clusters) and not silent and not strange, detail=detail)


def refused_without_address(events: Sequence[Event], *, job_flow_id: str, step_state: str, log: str) -> Check:
    """See in its log and in the database's words that the same step was refused on a cluster without the address."""
    name = "the same step without the address is refused (40615)"
    refused = [
        event
        for event in _database_connections(events)
        if event["job_flow_id"] == job_flow_id and not event["admitted"] and event["error_code"] == REFUSED
    ]
    had_address = any(event["kind"] == "address" and event.get("job_flow_id") == job_flow_id for event in events)
    problems = [
        text
        for wrong, text in (
            (step_state != "FAILED", f"the step is {step_state}"),
            (str(REFUSED) not in log, "the step's log does not say 40615"),
            (not refused, "the database refused no connection of it"),
            (had_address, f"cluster {job_flow_id} had an Elastic IP"),
        )
        if wrong
    ]
    detail = "; ".join(problems) or f"step FAILED, refused as {refused[0]['from_ip']}, 40615 in its log in S3"
    return Check(name=name, passed=not problems, detail=detail)


def _database_connections(events: Sequence[Event]) -> list[Event]:
    return [event for event in events if event["kind"] == "connection" and event["service"] == "azure_sql"]


def sessions_do_not_overlap(events: Sequence[Event], *, found: Sequence[Session]) -> Check:
    """See that one cluster at a time had the address, and that every step ran inside its own cluster's time."""
    name = "the lease periods do not overlap"
    problems = follow(events, clusters={session.job_flow_id for session in found}).problems
    for session in found:
        if not (session.bound and session.freed and session.step_running and session.step_ended):
            problems.append(f"{session.job_flow_id} was not bound, used and freed")
        elif session.freed.seq < session.step_ended.seq:
            problems.append(f"the address left {session.job_flow_id} before its step ended")
    if len({session.owner for session in found}) < 2:  # noqa: PLR2004 - one lease period cannot overlap
        problems.append("fewer than two DAGs had the address")
    return Check(name=name, passed=not problems, detail="; ".join(problems) or _gaps(found))


def _gaps(found: Sequence[Session]) -> str:
    ordered = sorted((session for session in found if session.bound), key=lambda session: session.bound.seq)  # type: ignore[union-attr]
    gaps = [
        (after.bound.time - before.freed.time).total_seconds()
        for before, after in pairwise(ordered)
        if before.freed and after.bound
    ]
    return f"free for {', '.join(f'{gap:.0f} s' for gap in gaps)} between them (simulated)"


def second_waited(samples: Sequence[Sample], *, found: Sequence[Session], waiting_dag: str) -> Check:
    """See that the DAGs really met: one waited, deferred and without a cluster, while the other had the address."""
    name = "the second DAG waited while the first had the address"
    first = next((session for session in found if session.owner != waiting_dag), None)
    if first is None or not (first.bound and first.freed):
        return Check(name=name, passed=False, detail="no other DAG had the address")
    waiting = [
        sample
        for sample in samples
        if first.bound.time < sample.aws_time < first.freed.time
        and any(task.dag_id == waiting_dag and task.deferred_since for task in sample.tasks)
    ]
    return Check(name=name, passed=bool(waiting), detail=f"seen deferred in {len(waiting)} samples of that time")


def killed_was_adopted(found: Sequence[Session], *, killed: str) -> Check:
    """See that the run whose task was killed after RunJobFlow has one cluster, which its retry bound."""
    name = "the killed task's retry went on with the cluster it found"
    mine = [session for session in found if session.owner == killed]
    passed = len(mine) == 1 and mine[0].bound is not None
    detail = f"{len(mine)} RunJobFlow" + (f", {mine[0].job_flow_id} bound" if passed else "")
    return Check(name=name, passed=passed, detail=detail)


def first_come_first_served(states: Sequence[Standing], *, found: Sequence[Session]) -> Check:
    """See that DAGs queued, and that the order in which they had the address is the order in which they came."""
    name = "first come, first served"
    queued = {dag_id for state in states for dag_id in state.queue}
    came = list(dict.fromkeys(dag_id for state in states for dag_id in (state.holder, *state.queue) if dag_id))
    served = [session for session in found if session.bound]
    order = [session.owner for session in sorted(served, key=lambda t: t.bound.seq)]  # type: ignore[union-attr]
    # Who never queued and had no cluster is no part of the order.
    expected = [dag_id for dag_id in came if dag_id in queued or dag_id in order]
    longest = max((len(state.queue) for state in states), default=0)
    passed = bool(queued) and len(order) > 1 and order == expected
    detail = f"{' → '.join(order)}; up to {longest} queued"
    if order != expected:
        detail += f"; they arrived as {' → '.join(expected)}"
    return Check(name=name, passed=passed, detail=detail)


def nobody_pays_for_waiting(found: Sequence[Session]) -> Check:
    """See that no cluster was launched before the one before it had given the address back."""
    name = "nobody launched a cluster that had to wait for the address"
    ordered = sorted(found, key=lambda session: session.launched.seq)
    early = [
        after.job_flow_id
        for before, after in pairwise(ordered)
        if before.freed is None or before.freed.seq > after.launched.seq
    ]
    detail = f"launched early: {', '.join(early)}" if early else f"{len(ordered)} clusters, one after the other"
    return Check(name=name, passed=len(ordered) > 1 and not early, detail=detail)


def three_writes_a_session(states: Sequence[Standing], *, retries: int) -> Check:
    """
    See what the lock cost: three writes a lease period, one more for who queues, and one for a retry.

    :param retries: how many there were.
    """
    name = "a lease period costs three writes of the lock's record"
    sessions = len(states[-1].ended) if states else 0
    queued = len({dag_id for state in states for dag_id in state.queue})
    expected = 3 * sessions + queued + retries
    detail = f"{len(states)} writes: 3 x {sessions} lease periods + {queued} queued"
    if retries:
        detail += f" + {retries} retry"
    return Check(name=name, passed=sessions > 0 and len(states) == expected, detail=detail)


def lease_is_free(states: Sequence[Standing]) -> Check:
    """See that the record ends without lease and queue, and that tokens grew one by one."""
    name = "the lease is free, and nobody queues"
    last = states[-1] if states else None
    if last is None:
        return Check(name=name, passed=False, detail="nothing was ever written")
    grew = last.ended == tuple(range(1, len(last.ended) + 1))
    passed = not last.holder and not last.queue and grew
    return Check(
        name=name, passed=passed and len(last.ended) > 1, detail=f"tokens of ended lease periods: {last.ended}"
    )


def bound_before_ready(found: Sequence[Session]) -> Check:
    """See that each cluster had the address before it was ready to run steps."""
    name = "each address was bound before its cluster was ready"
    late = [
        session.job_flow_id
        for session in found
        if not (session.bound and session.ready and session.bound.seq < session.ready.seq)
    ]
    if late or not found:
        return Check(name=name, passed=False, detail=f"not so for {', '.join(late) or 'any: no cluster seen'}")
    margins = [
        (session.ready.time - session.bound.time).total_seconds()
        for session in found
        if session.ready and session.bound
    ]
    return Check(
        name=name, passed=True, detail=f"{', '.join(f'{margin:.0f} s' for margin in margins)} before (simulated)"
    )


def never_steals(events: Sequence[Event], *, periods_seen: int) -> Check:
    """See on the wire that no AssociateAddress call may take the address from anyone."""
    name = "no AssociateAddress call may re-associate"
    made = calls(events, "AssociateAddress")
    if dangerous := thefts(events):
        return Check(name=name, passed=False, detail=dangerous[0])
    enough = periods_seen > 0 and len(made) >= periods_seen
    detail = f"AllowReassociation=false and a NetworkInterfaceId on all {len(made)} calls"
    return Check(name=name, passed=enough, detail=detail if enough else f"only {len(made)} calls seen")


def create_takes_no_worker(samples: Sequence[Sample], *, session: Session, task_id: str) -> Check:
    """See that no process of the creating task exists while it is deferred between RunJobFlow and the binding."""
    name = f"{session.owner}: no worker from RunJobFlow to bound"
    if session.bound is None:
        return Check(name=name, passed=False, detail="never bound")
    window = [sample for sample in samples if session.launched.time < sample.aws_time < session.bound.time]
    waits = [
        (sample, task) for sample, task in _waits(window) if (task.dag_id, task.task_id) == (session.owner, task_id)
    ]
    return _no_process(name, waits, control=_processes_seen(samples))


def waits_take_no_worker(samples: Sequence[Sample]) -> Check:
    """See the same for every deferred task of the demo."""
    return _no_process("no worker for any deferred task", _waits(samples), control=_processes_seen(samples))


def _waits(samples: Sequence[Sample]) -> list[tuple[Sample, TaskState]]:
    """Return each task that was deferred in a sample, and had been for long enough that its process had left."""
    return [
        (sample, task)
        for sample in samples
        for task in sample.tasks
        if task.deferred_since and (sample.taken_at - task.deferred_since).total_seconds() >= EXIT_SECONDS
    ]


def _processes_seen(samples: Sequence[Sample]) -> int:
    """Count the tasks seen with a process: were there none, seeing none for deferred tasks would mean nothing."""
    return sum(len(sample.process_owners) for sample in samples)


def _no_process(name: str, waits: Sequence[tuple[Sample, TaskState]], *, control: int) -> Check:
    busy = [(sample, task) for sample, task in waits if task.id in sample.process_owners]
    if control == 0:
        return Check(
            name=name, passed=False, detail="no process of any task was ever seen: the look at processes is blind"
        )
    detail = f"{len(waits)} samples while deferred, {len(busy)} with a process ({control} seen of running tasks)"
    if busy:
        sample, task = busy[0]
        detail += (
            f"; {task.dag_id}.{task.task_id} at {sample.taken_at:%H:%M:%S}, deferred at {task.deferred_since:%H:%M:%S}"
        )
    return Check(name=name, passed=bool(waits) and not busy, detail=detail)


def nothing_left(
    *, active_clusters: Sequence[str], association_id: str | None, step_processes: int, seen: int
) -> Check:
    """
    See that everything has ended.

    :param step_processes: processes below the local EMR now.
    :param seen: the most that were there at any time.
    """
    name = "no cluster, association or step process is left"
    problems = [
        text
        for wrong, text in (
            (active_clusters, f"active: {', '.join(active_clusters)}"),
            (association_id, f"the address is associated ({association_id})"),
            (step_processes, f"{step_processes} step processes"),
            (not seen, "no step process was ever seen: the look at processes is blind"),
        )
        if wrong
    ]
    return Check(name=name, passed=not problems, detail="; ".join(problems) or f"of up to {seen} step processes, 0 now")


def runs_succeeded(states: Mapping[str, str], *, tries: Mapping[str, int], killed: str | None) -> Check:
    """
    See that Airflow calls all runs successful, and that a retry was needed where a task was killed, and only there.

    :param tries: the most tries that any task of a DAG has needed.
    :param killed: the DAG whose task was killed, if one was.
    """
    detail = ", ".join(f"{dag_id} {state} (tries: {tries.get(dag_id, 0)})" for dag_id, state in states.items())
    smooth = all(tries.get(dag_id) == (2 if dag_id == killed else 1) for dag_id in states)
    seen = len(states) > 1 and (killed is None or killed in states)
    return Check(
        name="all DAG runs succeeded" + ("; only the killed task was retried" if killed else ", without a retry"),
        passed=seen and set(states.values()) == {"success"} and smooth,
        detail=detail or "no run",
    )


def calls_bounded(counts: dict[str, Counter[str]], *, waited_seconds: float) -> Check:
    """
    See that tasks make a fixed number of calls, and the triggerer only as many as the waits are long.

    :param waited_seconds: how long tasks were deferred, all together, in real seconds.
    """
    name = "a lease period's AWS calls are bounded"
    looks = waited_seconds / SHORTEST_WAIT_SECONDS + 1
    limits = {who: looks * CALLS_A_LOOK if who == TRIGGERER else TASK_CALLS for who in counts}
    passed = bool(counts) and all(0 < counts[who].total() <= limits[who] for who in counts)
    detail = ", ".join(f"{who} {counts[who].total()} of at most {limits[who]:.0f}" for who in counts)
    return Check(name=name, passed=passed, detail=detail or "no call seen")


def deferred_seconds(samples: Sequence[Sample]) -> float:
    """Return how long tasks were deferred, all together, from the samples."""
    total = 0.0
    for before, after in pairwise(samples):
        waiting = {task.id for task in before.tasks if task.deferred_since}
        gap = (after.taken_at - before.taken_at).total_seconds()
        total += gap * len(waiting)
    return total
