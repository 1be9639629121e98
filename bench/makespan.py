"""
Measures the makespan of ten runs that share one address or three, with this provider and with stock operators.

The operators are the real ones, on a local EMR with a manual clock. Simulated time is measured, so the figures are the
same on every machine. No time passes between two tasks of a run; Airflow's scheduling would add to every figure.
"""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass
from datetime import datetime
from statistics import mean
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from airflow_eip_provider.triggers.observed import Observed
from bench import stock_operators
from bench.environment import Address, clients, environment
from harness.job_flow import sleeping_step
from harness.life import Task, on_clock
from local_emr import Durations, LocalAws, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

RUNS = 10
ADDRESSES = 3  # of the pool
VARIED_DAYS = 6
START_UP, WORK, SHUTDOWN = 300, 180, 60
# Varied work differs by up to this share from run to run, and from day to day.
VARIES = 0.5
LIMIT = START_UP + RUNS * WORK
_TICK_SECONDS = 1
_ARRIVAL_SECONDS = 4  # between two runs, so that they do not poll at the same time
_POLL_SECONDS = 15
_DURATIONS = Durations(starting=START_UP - 90, bootstrapping=90, terminating=SHUTDOWN)


@dataclass(frozen=True, slots=True)
class Makespan:
    """
    The result of one way to share the address.

    :param limit: the shortest possible time, if all addresses get the same share of the work.
    :param seconds: from the first launch to the end of the last run's work.
    :param idle: the longest time between two runs in which the address was not associated.
    :param most_clusters: the greatest number of clusters that were paid for at the same time.
    :param cluster_seconds: the sum of the times for which clusters were paid for.
    :param whole: the shortest time if no run is divided, and each takes the first free address in the order of arrival.
    """

    way: str
    limit: int
    seconds: float
    idle: float
    most_clusters: int
    cluster_seconds: float
    whole: int

    @property
    def ratio(self) -> float:
        """The time as a multiple of the limit."""
        return self.seconds / self.limit

    @property
    def of_whole(self) -> float:
        """The time as a multiple of the shortest one for runs that are not divided."""
        return self.seconds / self.whole


@dataclass(slots=True)
class _Run:
    """One DAG run: create, steps, terminate, one after the other."""

    number: int
    tasks: list[Callable[[Any], Any]]
    day: int = 0
    task: Task | None = None
    job_flow_id: str | None = None
    due: float = 0.0
    trigger: Any = None

    @property
    def has_ended(self) -> bool:
        return self.task is None and not self.tasks


def works(day: int, *, varied: bool) -> list[int]:
    """Return the seconds of work of each run of a day."""
    if not varied:
        return [WORK] * RUNS
    rng = random.Random(day)  # noqa: S311 - not a secret
    drawn = [WORK * rng.uniform(1 - VARIES, 1 + VARIES) for _ in range(RUNS - 1)]
    return [round(seconds) for seconds in [*drawn, WORK]]


def limit(day: int, *, varied: bool, addresses: int = 1) -> int:
    """Return the shortest possible time of a day's runs: one start-up, and an equal share of the work."""
    return START_UP + round(sum(works(day, varied=varied)) / addresses)


def whole(day: int, *, varied: bool, addresses: int = 1) -> int:
    """Return the shortest time of a day's runs if none is divided, and each takes the first free address."""
    free = [START_UP] * addresses
    for seconds in works(day, varied=varied):
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)


def with_leases(way: str, **given: Any) -> Makespan:
    """Return the last day of :func:`with_leases_each_day`, with the record's history of the days before."""
    return with_leases_each_day(way, **given)[-1]


def with_leases_each_day(
    way: str,
    *,
    prewarm: bool | int | str,
    days: int = 1,
    first_day: int = 0,
    varied: bool = False,
    addresses: int = 1,
) -> list[Makespan]:
    """
    Run ten runs that arrive at once and share the address, or several, by leases, on several days.

    :return: of each day.
    """
    measured = []
    with _aws() as aws, environment(aws), on_clock(aws), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "bench")
        address = Address.allocated(aws, count=addresses)
        client_for = clients()
        for day in range(first_day, first_day + days):
            seconds = works(day, varied=varied)
            runs = [_Run(number, _tasks(address, work=seconds[number], prewarm=prewarm), day) for number in range(RUNS)]
            start = aws.clock.now().timestamp()
            while not all(run.has_ended for run in runs):
                now = aws.clock.now().timestamp()
                for run in runs:
                    if now - start >= run.number * _ARRIVAL_SECONDS:
                        _advance(run, now, client_for)
                aws.clock.advance(_TICK_SECONDS)
            aws.clock.advance(86_400 - (aws.clock.now().timestamp() - start))
            measured.append(_measured(way, aws, address, since=start, day=day, varied=varied))
    return measured


def in_one_slot(way: str) -> Makespan:
    """Run ten runs one after the other, as with a pool of one slot."""
    with _aws() as aws, environment(aws), on_clock(aws):
        address = Address.allocated(aws)
        for number in range(RUNS):
            job_flow_id = None
            for make in _tasks(address, prewarm=False, lock_store=None, deferrable=False):
                task = Task(make(job_flow_id), dag_id=f"run-{number}")
                job_flow_id = task.run() if job_flow_id is None else (task.run(), job_flow_id)[1]
        return _measured(way, aws, address)


def with_stock_operators(way: str, *, day: int = 0, varied: bool = False) -> Makespan:
    """Run ten runs with the Amazon provider's own operators one after the other."""
    with _aws() as aws, environment(aws), pytest.MonkeyPatch.context() as patch:
        address = Address.allocated(aws)
        stock_operators.set_sleep(patch, aws.clock.advance)
        for number in range(RUNS):
            stock_operators.run(address, number=number, step=sleeping_step(works(day, varied=varied)[number]))
        return _measured(way, aws, address, day=day, varied=varied)


def with_stock_operators_in_slots(way: str, *, addresses: int, day: int = 0, varied: bool = False) -> Makespan:
    """Run ten runs with the Amazon provider's own operators, as many at a time as there are addresses."""
    with _aws() as aws, environment(aws), pytest.MonkeyPatch.context() as patch:
        address = Address.allocated(aws, count=addresses)
        steps = [sleeping_step(seconds) for seconds in works(day, varied=varied)]
        stock_operators.run_in_slots(aws, patch, address, steps=steps, slots=addresses)
        return _measured(way, aws, address, day=day, varied=varied)


def measure() -> list[Makespan]:
    """Measure every way."""
    return [
        with_leases("leases, prewarm=2", prewarm=2),
        with_leases("leases (auto), first day", prewarm="auto"),
        with_leases("leases (auto), second day", prewarm="auto", days=2),
        _mean(
            f"leases (auto), days 2 to {VARIED_DAYS}, varied",
            with_leases_each_day("", prewarm="auto", days=VARIED_DAYS, varied=True)[1:],
        ),
        with_stock_operators("stock operators, varied", day=3, varied=True),
        with_leases("leases, prewarm=True", prewarm=True),
        with_leases("leases", prewarm=False),
        in_one_slot("no lock store, one-slot pool"),
        with_stock_operators("stock operators, one-slot pool"),
    ]


def _mean(way: str, days: Sequence[Makespan]) -> Makespan:
    """Return the mean of several days, because with varied work one day depends on chance."""
    return Makespan(
        way=way,
        limit=round(mean(day.limit for day in days)),
        seconds=mean(day.seconds for day in days),
        idle=max(day.idle for day in days),
        most_clusters=max(day.most_clusters for day in days),
        cluster_seconds=mean(day.cluster_seconds for day in days),
        whole=round(mean(day.whole for day in days)),
    )


def without_prewarm(span: Makespan) -> int:
    """Return the cluster time if no cluster waits: start-up, work, and shutdown of each."""
    return RUNS * (START_UP + SHUTDOWN) + span.limit - START_UP


BESIDE_POOL = (2, 3)  # the ways on one address that are shown in the table of the pool


def measure_pool() -> list[Makespan]:
    """Measure the ways to share several addresses."""
    pool: dict[str, Any] = {"addresses": ADDRESSES}
    return [
        with_leases("pool (auto), second day", prewarm="auto", days=2, **pool),
        with_leases("pool, prewarm=True", prewarm=True, **pool),
        with_stock_operators_in_slots("stock operators, three-slot pool", **pool),
        with_leases("pool (auto), fourth day, varied", prewarm="auto", days=4, varied=True, **pool),
        with_leases("pool, prewarm=True, varied", prewarm=True, first_day=3, varied=True, **pool),
        with_stock_operators_in_slots("stock operators, three slots, varied", day=3, varied=True, **pool),
    ]


def _aws() -> LocalAws:
    return LocalAws(clock=ManualClock(), durations=_DURATIONS)


def _tasks(
    address: Address,
    *,
    work: int = WORK,
    prewarm: bool | int | str,
    lock_store: str | None = "dynamodb://leases?create=true",
    deferrable: bool = True,
) -> list[Callable[[Any], Any]]:
    common: dict[str, Any] = {
        "allocation_id": address.allocation_ids if address.others else address.allocation_id,
        "aws_conn_id": None,
        "deferrable": deferrable,
        "lock_store": lock_store,
        "waiter_delay": _POLL_SECONDS,
    }
    return [
        lambda _: EmrCreateWithStaticIpOperator(
            task_id="create",
            job_flow_overrides=address.job_flow,
            emr_conn_id=None,
            prewarm=prewarm,
            **common,
        ),
        lambda job_flow_id: EmrAddStepsWithStaticIpOperator(
            task_id="steps", job_flow_id=job_flow_id, steps=[sleeping_step(work)], **common
        ),
        lambda job_flow_id: EmrTerminateWithStaticIpOperator(task_id="terminate", job_flow_id=job_flow_id, **common),
    ]


def _advance(run: _Run, now: float, client_for: Callable[[str], Any]) -> None:
    """Run the tasks of a run until one waits."""
    while not run.has_ended:
        if run.task is None:
            run.task = Task(run.tasks.pop(0)(run.job_flow_id), dag_id=f"job-{run.number}", run_id=f"day-{run.day}")
            run.task.start()
        elif run.task.deferral is not None:
            if not _poll(run, now, client_for):
                return
        else:
            if run.task.error is not None:
                raise run.task.error
            run.job_flow_id = run.job_flow_id or run.task.result
            run.task = None
        if run.task is not None and run.task.deferral is not None and run.trigger is None:
            run.trigger = run.task.trigger()
            run.due = now + run.trigger.waiter_delay


def _poll(run: _Run, now: float, client_for: Callable[[str], Any]) -> bool:
    """Poll a deferred task's trigger if that is due; if it fires, resume the task and return True."""
    if now < run.due or run.task is None:
        return False
    run.due += run.trigger.waiter_delay
    verdict = run.trigger.judge(Observed(lambda service, _: client_for(service)))
    if verdict.status == "pending":
        return False
    payload = run.trigger._payload(verdict)  # noqa: SLF001 - the event of its run()
    run.trigger = None
    run.task.resume(payload)
    return True


def _measured(
    way: str, aws: LocalAws, address: Address, *, since: float = 0.0, day: int = 0, varied: bool = False
) -> Makespan:
    aws.clock.advance(SHUTDOWN)  # the stock operator does not wait for the end of the last cluster
    events = [event for event in aws.events.read() if _time(event) >= since]
    first = min(_time(event) for event in events if event.get("operation") == "RunJobFlow")
    steps = [_time(event) for event in events if event["kind"] == "step" and event["state"] == "COMPLETED"]
    if len(steps) != RUNS:
        raise RuntimeError(f"{way}: {len(steps)} of {RUNS} runs completed their step")
    paid = list(_paid(events))
    if len(paid) != RUNS:
        raise RuntimeError(f"{way}: {len(paid)} clusters were paid for, not {RUNS}")
    edges = sorted([(start, 1) for start, _ in paid] + [(end, -1) for _, end in paid])
    most, now = 0, 0
    for _, edge in edges:
        now += edge
        most = max(most, now)
    return Makespan(
        way=way,
        limit=limit(day, varied=varied, addresses=len(address.allocation_ids)),
        whole=whole(day, varied=varied, addresses=len(address.allocation_ids)),
        seconds=max(steps) - first,
        idle=max(idle for allocation_id in address.allocation_ids for idle in _idle(events, allocation_id)),
        most_clusters=most,
        cluster_seconds=sum(end - start for start, end in paid),
    )


def _idle(events: list[dict[str, Any]], allocation_id: str) -> Iterator[float]:
    """Yield the times between two runs in which an address was not associated."""
    changes = [
        (_time(e), e["change"]) for e in events if e["kind"] == "address" and e["allocation_id"] == allocation_id
    ]
    bound = [at for at, change in changes if change == "associated"][1:]
    free = [at for at, change in changes if change == "disassociated"][: len(bound)]
    for end, start in zip(free, bound, strict=True):
        yield start - end


def _paid(events: list[dict[str, Any]]) -> Iterator[tuple[float, float]]:
    """Yield start and end of the time for which each cluster was paid for."""
    started: dict[str, float] = {}
    for event in events:
        if event["kind"] != "cluster":
            continue
        started.setdefault(event["job_flow_id"], _time(event))
        if event["to"] in {"TERMINATED", "TERMINATED_WITH_ERRORS"}:
            yield started[event["job_flow_id"]], _time(event)


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["time"]).timestamp()


HEADER = ("way", "makespan", "of the limit", "address idle, at most", "clusters at once", "cluster time")
NOTES = (
    f"The limit is one start-up and all the work: {LIMIT} s. With one prewarmed cluster at a time it is 2580 s: a",
    "start-up takes longer than the work before it, so two prewarmed clusters are needed to hide it completely.",
    "prewarm=True starts one, which costs least; prewarm=2 allows two. No time passes between the tasks of a run.",
)


POOL_HEADER = (*HEADER, "of whole runs")
POOL_NOTES = (
    f"The limit is one start-up and a third of the work. Ten runs of {WORK} s do not divide by three: one address gets",
    "four of them, which takes 1020 s, 1.13 of the limit. Of whole runs: as a multiple of the shortest time in which",
    "each run, in the order of arrival, takes the address that is free first.",
)


def pool_rows(spans: list[Makespan]) -> list[tuple[str, ...]]:
    """Return a row of the table for each way to share several addresses."""
    return [(*row, f"{span.of_whole:.2f}") for row, span in zip(rows(spans), spans, strict=True)]


def rows(spans: list[Makespan]) -> list[tuple[str, ...]]:
    """Return a row of the table for each way."""
    return [
        (
            span.way,
            f"{span.seconds:.0f} s",
            f"{span.ratio:.2f}",
            f"{span.idle:.0f} s",
            str(span.most_clusters),
            f"{span.cluster_seconds:.0f} s",
        )
        for span in spans
    ]
