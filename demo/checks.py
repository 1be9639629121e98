"""The demo's checks: pure functions from what was observed to a result; each fails if nothing was observed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from harness.calls import TRIGGERER
from harness.judge import calls, follow, unsafe_associations

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Mapping, Sequence

    from demo.observe import Sample
    from demo.queue import Standing
    from demo.timeline import Session
    from harness.airflow import TaskState
    from harness.judge import Event

Row = tuple[str, ...]

# A task first becomes "deferred" and then ends: its process at once, and the worker that supervises it within the five
# seconds of its poll interval ([workers] min_heartbeat_interval).
EXIT_SECONDS = 8.0
# AWS calls of the tasks of one lease period, without waits: about 43 here. There are more if a retry looks for what the
# killed task has left, or if a wait ends early and is resumed.
TASK_CALLS = 60
# A trigger reads at most the record, the address, the steps, the cluster and the holder in one poll.
CALLS_PER_POLL = 5
SHORTEST_WAIT_SECONDS = 10.0
REFUSED = 40615


@dataclass(frozen=True, kw_only=True)
class Check:
    """A result and the reasons for it."""

    name: str
    passed: bool
    detail: str

    @property
    def verdict(self) -> str:
        """The word for the table."""
        return "PASS" if self.passed else "FAIL"


def checked(name: str, detail: str, *problems: tuple[object, str]) -> Check:
    """
    Return a check that passes if it has no problem.

    :param detail: of a check that passes; otherwise the detail consists of the problems.
    :param problems: conditions, each with the text of the problem that it is.
    """
    texts = [text for is_problem, text in problems if is_problem]
    return Check(name=name, passed=not texts, detail="; ".join(texts) or detail)


def rows_equal(dag_id: str, *, expected: Sequence[Row], found: Sequence[Row]) -> Check:
    """Check that a job wrote exactly the rows of the database, each the same number of times."""
    name = f"{dag_id}: rows read equal the database's"
    counts = f"{len(found)} rows read, {len(expected)} in the database"
    if not expected or not found:
        return Check(name=name, passed=False, detail=counts)
    if sorted(expected) == sorted(found):
        return Check(name=name, passed=True, detail=f"{len(found):,} rows of {len(found[0])} columns")
    wrong = sorted(set(expected) ^ set(found))
    example = f", for example {wrong[0]!s:.80}" if wrong else ""
    return Check(name=name, passed=False, detail=f"{counts}; {len(wrong)} on one side only{example}")


def read_from_the_address(events: Sequence[Event], *, found: Sequence[Session], public_ip: str) -> Check:
    """Check that all connections of the DAGs' clusters came to the database from the registered address."""
    clusters = [session.job_flow_id for session in found]
    connections = [event for event in database_connections(events) if event["job_flow_id"] in clusters]
    silent = [cluster for cluster in clusters if cluster not in {event["job_flow_id"] for event in connections}]
    wrong = [event for event in connections if event["from_ip"] != public_ip or not event["admitted"]]
    return checked(
        "the database saw the jobs come from the Elastic IP only",
        f"{len(connections)} connections from {public_ip}",
        *((True, f"{event['job_flow_id']} came from {event['from_ip']}") for event in wrong[:1]),
        (silent or not clusters, f"no connection seen from {', '.join(silent) or 'any cluster'}"),
    )


def refused_without_address(events: Sequence[Event], *, job_flow_id: str, step_state: str, log: str) -> Check:
    """Check that the database refused the same step on a cluster without the address, and that its log says so."""
    refused = [
        event["from_ip"]
        for event in database_connections(events)
        if event["job_flow_id"] == job_flow_id and not event["admitted"] and event["error_code"] == REFUSED
    ]
    had_address = any(event["kind"] == "address" and event.get("job_flow_id") == job_flow_id for event in events)
    return checked(
        "the same step without the address is refused (40615)",
        f"step FAILED, refused as {''.join(refused[:1])}, 40615 in its log in S3",
        (step_state != "FAILED", f"the step is {step_state}"),
        (str(REFUSED) not in log, "the step's log does not say 40615"),
        (not refused, "the database refused no connection of it"),
        (had_address, f"cluster {job_flow_id} had an Elastic IP"),
    )


def database_connections(events: Sequence[Event]) -> list[Event]:
    """Return the connections to the database."""
    return [event for event in events if event["kind"] == "connection" and event["service"] == "azure_sql"]


def sessions_do_not_overlap(events: Sequence[Event], *, found: Sequence[Session]) -> Check:
    """Check that one cluster at a time had the address, and that its steps ran only while it had it."""
    problems = follow(events, clusters={session.job_flow_id for session in found}).problems
    for session in found:
        if not (session.bound and session.freed and session.step_running and session.step_ended):
            problems.append(f"{session.job_flow_id} was not bound, used and freed")
        elif session.freed.seq < session.step_ended.seq:
            problems.append(f"the address left {session.job_flow_id} before its step ended")
    if len({session.owner for session in found}) < 2:  # noqa: PLR2004 - one lease period cannot overlap
        problems.append("fewer than two DAGs had the address")
    bound = sorted((session.bound.seq, session) for session in found if session.bound)
    gaps = [
        f"{(after.bound.time - before.freed.time).total_seconds():.0f} s"
        for (_, before), (_, after) in pairwise(bound)
        if before.freed and after.bound
    ]
    detail = f"free for {', '.join(gaps)} between them (simulated)"
    return checked("the lease periods do not overlap", detail, *((True, problem) for problem in problems))


def second_waited(samples: Sequence[Sample], *, found: Sequence[Session], waiting_dag: str) -> Check:
    """Check that one DAG waited, deferred and without a cluster, while the other had the address."""
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
    """Check that the run whose task was killed after RunJobFlow has one cluster, which its retry bound."""
    launched = [session for session in found if session.owner == killed]
    passed = len(launched) == 1 and launched[0].bound is not None
    detail = f"{len(launched)} RunJobFlow" + (f", {launched[0].job_flow_id} bound" if passed else "")
    return Check(name="the killed task's retry went on with the cluster it found", passed=passed, detail=detail)


def first_come_first_served(states: Sequence[Standing], *, found: Sequence[Session]) -> Check:
    """Check that DAGs queued, and that they had the address in the order of their arrival."""
    queued = {dag_id for state in states for dag_id in state.queue}
    arrived = list(dict.fromkeys(dag_id for state in states for dag_id in (state.holder, *state.queue) if dag_id))
    bound = sorted((session.bound.seq, session.owner) for session in found if session.bound)
    order = [owner for _, owner in bound]
    # A DAG that neither queued nor had a cluster is not part of the order.
    expected = [dag_id for dag_id in arrived if dag_id in queued or dag_id in order]
    longest = max((len(state.queue) for state in states), default=0)
    detail = f"{' → '.join(order)}; up to {longest} queued"
    if order != expected:
        detail += f"; they arrived as {' → '.join(expected)}"
    passed = bool(queued) and len(order) > 1 and order == expected
    return Check(name="first come, first served", passed=passed, detail=detail)


def nobody_pays_for_waiting(found: Sequence[Session]) -> Check:
    """Check that each cluster was launched after the one before it had given the address back."""
    ordered = sorted(found, key=lambda session: session.launched.seq)
    early = [
        after.job_flow_id
        for before, after in pairwise(ordered)
        if before.freed is None or before.freed.seq > after.launched.seq
    ]
    detail = f"launched early: {', '.join(early)}" if early else f"{len(ordered)} clusters, one after the other"
    name = "nobody launched a cluster that had to wait for the address"
    return Check(name=name, passed=len(ordered) > 1 and not early, detail=detail)


def three_writes_a_session(states: Sequence[Standing], *, retries: int) -> Check:
    """
    Check the cost of the lock: three writes for a lease period, one more for an owner that queues, and one for a retry.

    :param retries: number of retries.
    """
    sessions = len(states[-1].ended) if states else 0
    queued = len({dag_id for state in states for dag_id in state.queue})
    expected = 3 * sessions + queued + retries
    detail = f"{len(states)} writes: 3 x {sessions} lease periods + {queued} queued"
    if retries:
        detail += f" + {retries} retry"
    name = "a lease period costs three writes of the lock's record"
    return Check(name=name, passed=sessions > 0 and len(states) == expected, detail=detail)


def lease_is_free(states: Sequence[Standing]) -> Check:
    """Check that the record ends without a lease and a queue, and that tokens grew by one."""
    name = "the lease is free, and nobody queues"
    if not states:
        return Check(name=name, passed=False, detail="nothing was ever written")
    last = states[-1]
    grew = last.ended == tuple(range(1, len(last.ended) + 1))
    passed = not last.holder and not last.queue and grew and len(last.ended) > 1
    return Check(name=name, passed=passed, detail=f"tokens of ended lease periods: {last.ended}")


def bound_before_ready(found: Sequence[Session]) -> Check:
    """Check that each cluster had the address before it was ready to run steps."""
    early = [(s, s.ready.time - s.bound.time) for s in found if s.bound and s.ready and s.bound.seq < s.ready.seq]
    late = {session.job_flow_id for session in found} - {session.job_flow_id for session, _ in early}
    return checked(
        "each address was bound before its cluster was ready",
        f"{', '.join(f'{margin.total_seconds():.0f} s' for _, margin in early)} before (simulated)",
        (late, f"not so for {', '.join(sorted(late))}"),
        (not found, "no cluster seen"),
    )


def never_steals(events: Sequence[Event], *, periods_seen: int) -> Check:
    """Check on the wire that no AssociateAddress call could take the address from its holder."""
    made = calls(events, "AssociateAddress")
    unsafe = unsafe_associations(events)
    return checked(
        "no AssociateAddress call may re-associate",
        f"AllowReassociation=false and a NetworkInterfaceId on all {len(made)} calls",
        (unsafe, "".join(unsafe[:1])),
        (periods_seen <= 0 or len(made) < periods_seen, f"only {len(made)} calls seen"),
    )


def create_takes_no_worker(samples: Sequence[Sample], *, session: Session, task_id: str) -> Check:
    """Check that the creating task has no process while it is deferred between RunJobFlow and the binding."""
    name = f"{session.owner}: no worker from RunJobFlow to bound"
    if session.bound is None:
        return Check(name=name, passed=False, detail="never bound")
    window = [sample for sample in samples if session.launched.time < sample.aws_time < session.bound.time]
    key = (session.owner, task_id)
    waits = [(sample, task) for sample, task in _waits(window) if (task.dag_id, task.task_id) == key]
    return _no_process(name, waits, samples)


def waits_take_no_worker(samples: Sequence[Sample]) -> Check:
    """Check the same for every deferred task of the demo."""
    return _no_process("no worker for any deferred task", _waits(samples), samples)


def _waits(samples: Sequence[Sample]) -> list[tuple[Sample, TaskState]]:
    """Return each sample in which a task had been deferred for so long that its process must have ended."""
    return [
        (sample, task)
        for sample in samples
        for task in sample.tasks
        if task.deferred_since and (sample.taken_at - task.deferred_since).total_seconds() >= EXIT_SECONDS
    ]


def _no_process(name: str, waits: Sequence[tuple[Sample, TaskState]], samples: Sequence[Sample]) -> Check:
    # If no process of a running task was seen, seeing none of deferred tasks would prove nothing.
    control = sum(len(sample.process_owners) for sample in samples)
    if control == 0:
        return Check(name=name, passed=False, detail="no process of any task was ever seen: processes are not observed")
    busy = [(sample, task) for sample, task in waits if task.id in sample.process_owners]
    detail = f"{len(waits)} samples while deferred, {len(busy)} with a process ({control} seen of running tasks)"
    for sample, task in busy[:1]:
        times = f"at {sample.taken_at:%H:%M:%S}, deferred at {task.deferred_since:%H:%M:%S}"
        detail += f"; {task.dag_id}.{task.task_id} {times}"
    return Check(name=name, passed=bool(waits) and not busy, detail=detail)


def nothing_left(
    *, active_clusters: Sequence[str], association_id: str | None, step_processes: int, seen: int
) -> Check:
    """
    Check that everything has ended.

    :param step_processes: processes below the local EMR now.
    :param seen: the greatest number of them at any time.
    """
    return checked(
        "no cluster, association or step process is left",
        f"of up to {seen} step processes, 0 now",
        (active_clusters, f"active: {', '.join(active_clusters)}"),
        (association_id, f"the address is associated ({association_id})"),
        (step_processes, f"{step_processes} step processes"),
        (not seen, "no step process was ever seen: processes are not observed"),
    )


def runs_succeeded(states: Mapping[str, str], *, tries: Mapping[str, int], killed: str | None) -> Check:
    """
    Check that all runs succeeded, and that a retry was needed only where a task was killed.

    :param tries: the greatest number of tries of any task of a DAG.
    :param killed: the DAG whose task was killed, if any.
    """
    detail = ", ".join(f"{dag_id} {state} (tries: {tries.get(dag_id, 0)})" for dag_id, state in states.items())
    as_planned = all(tries.get(dag_id) == (2 if dag_id == killed else 1) for dag_id in states)
    seen = len(states) > 1 and (killed is None or killed in states)
    return Check(
        name="all DAG runs succeeded" + ("; only the killed task was retried" if killed else ", without a retry"),
        passed=seen and set(states.values()) == {"success"} and as_planned,
        detail=detail or "no run",
    )


def calls_bounded(counts: dict[str, Counter[str]], *, waited_seconds: float) -> Check:
    """
    Check that tasks make a fixed number of calls, and that the triggerer's calls are proportional to the waits.

    :param waited_seconds: for how long tasks were deferred, in total, in real seconds.
    """
    polls = waited_seconds / SHORTEST_WAIT_SECONDS + 1
    limits = {name: polls * CALLS_PER_POLL if name == TRIGGERER else TASK_CALLS for name in counts}
    passed = bool(counts) and all(0 < counts[name].total() <= limits[name] for name in counts)
    detail = ", ".join(f"{name} {counts[name].total()} of at most {limits[name]:.0f}" for name in counts)
    return Check(name="a lease period's AWS calls are bounded", passed=passed, detail=detail or "no call seen")


def deferred_seconds(samples: Sequence[Sample]) -> float:
    """Return for how long tasks were deferred, in total, from the samples."""
    total = 0.0
    for before, after in pairwise(samples):
        waiting = {task.id for task in before.tasks if task.deferred_since}
        total += (after.taken_at - before.taken_at).total_seconds() * len(waiting)
    return total
