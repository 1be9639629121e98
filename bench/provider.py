"""Measures this provider in the scenarios of the other lock clients, with clusters and an address."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from bench.environment import Address, clients, environment
from harness.job_flow import sleeping_step
from harness.leases import Queue, vanish
from harness.life import Task, on_clock
from harness.simulated_clock import SimulatedClock
from local_emr import LocalAws, ManualClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_READS = ("GetItem", "GetObject")
_WRITES = ("PutItem", "PutObject")
_STORE = "dynamodb://leases?create=true"
_HOLD_SECONDS = 480
_HOUR_SECONDS = 3600
_WAITERS = 4
TICKS_AN_HOUR = 240


@dataclass(frozen=True, slots=True)
class Figures:
    """
    The figures of this provider.

    :param cycle: store reads and writes of an uncontended lease period.
    :param step_polls: number of polls of the steps in it, each with a read.
    :param hour: store reads and writes in an hour in which four owners wait for a fifth.
    :param after_crash: seconds from the holder's crash before its launch until the next owner has the lease.
    :param after_end: seconds from the end of the holder's cluster until then.
    :param beside: whether another owner got the lease while the first one's cluster had the address.
    :param skewed: whether another owner got the lease in addition to a holder because a clock was an hour fast or slow.
    :param paused: whether a holder that was paused beyond its deadline continued in addition to the next one.
    """

    cycle: tuple[int, int]
    step_polls: int
    hour: tuple[int, int]
    after_crash: float
    after_end: float
    beside: bool
    skewed: bool
    paused: bool


def measure() -> Figures:
    """Measure all figures."""
    cycle, step_polls = _cycle()
    return Figures(
        cycle=cycle,
        step_polls=step_polls,
        hour=_contended_hour(),
        after_crash=_after_crash(),
        after_end=_after_end(),
        beside=_beside(skew=0),
        skewed=_beside(skew=3600) or _beside(skew=-3600),
        paused=_paused(),
    )


@dataclass(slots=True)
class _Environment:
    """A local EMR, one address, and the owners that want it."""

    aws: LocalAws
    address: Address
    queue: Queue
    patch: pytest.MonkeyPatch

    def owner(self, name: str, *, try_number: int = 1, **parameters: Any) -> Task:
        common = {"allocation_id": self.address.allocation_id, "aws_conn_id": None, "lock_store": _STORE}
        operator = EmrCreateWithStaticIpOperator(
            task_id="create",
            job_flow_overrides=self.address.job_flow,
            emr_conn_id=None,
            deferrable=True,
            **{**common, **parameters},
        )
        return Task(operator, dag_id=name, try_number=try_number)

    def holder(self) -> Task:
        holder = self.owner("holder")
        holder.start()
        self.queue.until(lambda: holder.ended, holder)
        return holder

    def after(self, task: Task, kind: type) -> None:
        common = {"allocation_id": self.address.allocation_id, "aws_conn_id": None, "lock_store": _STORE}
        more = {"steps": [sleeping_step(_HOLD_SECONDS)]} if kind is EmrAddStepsWithStaticIpOperator else {}
        Task(kind(task_id="next", job_flow_id=task.result, **common, **more), dag_id=task.ti.dag_id).run()

    @property
    def calls(self) -> Counter[str]:
        return Counter(event["operation"] for event in self.aws.events.calls())

    @property
    def resource_ids(self) -> list[str]:
        """The clusters that had the address, in order; raises when two had it at the same time."""
        resource_ids, bound = [], None
        for event in self.aws.events.read(kind="address"):
            if event["change"] == "associated":
                if bound is not None:
                    raise RuntimeError(f"{bound} and {event['job_flow_id']} had the address at the same time")
                bound = event["job_flow_id"]
                resource_ids.append(bound)
            else:
                bound = None
        return resource_ids


@contextmanager
def _environment() -> Iterator[_Environment]:
    with LocalAws(clock=ManualClock()) as aws, environment(aws), on_clock(aws), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "bench")
        yield _Environment(aws, Address.allocated(aws), Queue(aws, clients()), patch)


def _cycle() -> tuple[tuple[int, int], int]:
    with _environment() as scenario:
        holder = scenario.holder()
        scenario.after(holder, EmrAddStepsWithStaticIpOperator)
        scenario.after(holder, EmrTerminateWithStaticIpOperator)
        return _reads_and_writes(scenario.calls), scenario.calls["ListSteps"]


def _contended_hour() -> tuple[int, int]:
    """Let four owners wait in one triggerer for an hour."""
    with _environment() as scenario:
        scenario.holder()
        before = scenario.calls
        waiting = [scenario.owner(f"waiter-{number}") for number in range(_WAITERS)]
        for task in waiting:
            task.start()
        asyncio.run(_for_an_hour([task.trigger() for task in waiting], scenario.aws.clock.now))
        return _reads_and_writes(scenario.calls - before)


async def _for_an_hour(triggers: list[Any], now: Callable[[], Any]) -> None:
    end = now().timestamp() + _HOUR_SECONDS
    waits = [asyncio.ensure_future(anext(trigger.run())) for trigger in triggers]
    while now().timestamp() < end:  # noqa: ASYNC110 - the waits advance the clock
        await asyncio.sleep(0.001)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def _after_crash() -> float:
    with _environment() as scenario:
        vanish(scenario.patch, scenario.owner("crashed"), "write_record", after=True)
        return _acquired_after(scenario, scenario.owner("next"))


def _after_end() -> float:
    with _environment() as scenario:
        holder, following = scenario.holder(), scenario.owner("next")
        following.start()
        scenario.aws.end_cluster(holder.result, state="TERMINATED_WITH_ERRORS", message="spot interruption")
        return _acquired_after(scenario, following)


def _acquired_after(scenario: _Environment, following: Task) -> float:
    if following.deferral is None:
        following.start()
    seconds = scenario.queue.until(lambda: "job_flow_id" in following.ti.xcoms, following)
    scenario.queue.until(lambda: following.ended, following)
    if following.error is not None:
        raise following.error
    return seconds


def _beside(*, skew: float) -> bool:
    """Let a second owner wait until the cluster of a holder ends, whose clock is wrong and whose worker was killed."""
    with _environment() as scenario:
        holder = _with_wrong_clock(scenario, scenario.holder, skew)
        following = scenario.owner("next")
        following.start()
        scenario.queue.pass_time(_HOUR_SECONDS / 2, following)
        let_in = "job_flow_id" in following.ti.xcoms
        scenario.aws.end_cluster(holder.result, state="TERMINATED", message="idle")
        scenario.queue.until(lambda: following.ended, following)
        return let_in or scenario.resource_ids != [holder.result, following.result]


def _with_wrong_clock(scenario: _Environment, act: Callable[[], Task], skew: float) -> Task:
    """Run ``act`` with a wrong clock; raise if the clock is never read."""
    reads = 0

    def now() -> float:
        nonlocal reads
        reads += 1
        return float(scenario.aws.clock.now().timestamp()) + skew

    with clock.used(SimulatedClock(now, scenario.aws.clock.advance)):
        done = act()
    if not reads:
        raise RuntimeError("the wrong clock was not read, so this run proves nothing")
    return done


def _paused() -> bool:
    """Pause a holder before it binds until the next owner has the lease, then resume it."""
    with _environment() as scenario:
        slow, following = scenario.owner("slow", waiter_max_attempts=20), scenario.owner("next")
        slow.start()
        following.start()
        scenario.queue.until(lambda: following.ended, following)
        slow.go_on()
        return slow.error is None or scenario.resource_ids != [following.result]


def _reads_and_writes(calls: Counter[str]) -> tuple[int, int]:
    return sum(calls[name] for name in _READS), sum(calls[name] for name in _WRITES)


NOTES = (
    "This provider's four waiters share one triggerer, so they share one read a tick; in four processes they would",
    "make about 960. The next owner gets the lease when the holder's cluster ends; a killed worker does not end it.",
)


def row(figures: Figures) -> tuple[str, ...]:
    """Return the figures as a row of the table of clients."""
    text = {True: "yes", False: "no"}
    return (
        "this provider",
        f"{figures.cycle[0]} / {figures.cycle[1]}",
        f"{figures.hour[0]} / {figures.hour[1]}",
        f"{figures.after_end:.0f} s after the cluster's end",
        text[figures.beside],
        text[figures.skewed],
        text[figures.paused],
    )
