"""This product in the scenarios of the other clients, with clusters and an address behind the lock."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.operators import launch, phases
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
    create,
)
from airflow_eip_provider.triggers import poller, watch
from bench.world import Address, clients, environment
from harness.leases import Queue, vanish
from harness.life import Task, put_on_clock
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
TIMED_MODULES = (phases, create, launch, watch, poller)  # where a create's life reads a clock


@dataclass(frozen=True, slots=True)
class Figures:
    """
    What the lock did.

    :param cycle: store reads and writes of an uncontended lease period.
    :param hour: store reads and writes in an hour in which four owners wait for a fifth.
    :param after_crash: seconds from the holder's crash before its launch until the next owner has the lease.
    :param after_end: seconds from the end of the holder's cluster until then.
    :param beside: whether anyone was let in while the first one's cluster carried the address.
    :param skewed: whether anyone was let in beside a holder because a clock was an hour wrong, fast or slow.
    :param paused: whether a holder that slept through its deadline went on beside the next.
    """

    cycle: tuple[int, int]
    hour: tuple[int, int]
    after_crash: float
    after_end: float
    beside: bool
    skewed: bool
    paused: bool


def measure() -> Figures:
    """Measure all of it."""
    return Figures(
        cycle=_cycle(),
        hour=_contended_hour(),
        after_crash=_after_crash(),
        after_end=_after_end(),
        beside=_beside(skew=0),
        skewed=_beside(skew=3600) or _beside(skew=-3600),
        paused=_paused(),
    )


@dataclass(slots=True)
class _Scene:
    """A local EMR, one address, and owners that want it."""

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
        step = {
            "Name": "read",
            "ActionOnFailure": "CONTINUE",
            "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["--sleep", str(_HOLD_SECONDS)]},
        }
        more = {"steps": [step]} if kind is EmrAddStepsWithStaticIpOperator else {}
        Task(kind(task_id="next", job_flow_id=task.result, **common, **more), dag_id=task.ti.dag_id).run()

    @property
    def calls(self) -> Counter[str]:
        return Counter(event["operation"] for event in self.aws.events.calls())

    @property
    def resource_ids(self) -> list[str]:
        """The clusters that carried the address, in order; raises when two did at the same time."""
        resource_ids, bound = [], None
        for event in self.aws.events.read(kind="address"):
            if event["change"] == "associated":
                if bound is not None:
                    raise RuntimeError(f"{bound} and {event['job_flow_id']} carried the address")
                bound = event["job_flow_id"]
                resource_ids.append(bound)
            else:
                bound = None
        return resource_ids


@contextmanager
def _scene() -> Iterator[_Scene]:
    with LocalAws(clock=ManualClock()) as aws, environment(aws), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW__EIP__ENVIRONMENT", "bench")
        put_on_clock(aws, patch)
        yield _Scene(aws, Address.allocated(aws), Queue(aws, clients()), patch)


def _cycle() -> tuple[int, int]:
    with _scene() as scene:
        holder = scene.holder()
        scene.after(holder, EmrAddStepsWithStaticIpOperator)
        scene.after(holder, EmrTerminateWithStaticIpOperator)
        return _reads_and_writes(scene.calls)


def _contended_hour() -> tuple[int, int]:
    """Let four owners wait in one triggerer, as they would."""
    with _scene() as scene:
        scene.holder()
        before = scene.calls
        waiting = [scene.owner(f"waiter-{number}") for number in range(_WAITERS)]
        for task in waiting:
            task.start()
        asyncio.run(_for_an_hour([task.trigger() for task in waiting], scene.aws.clock.now))
        return _reads_and_writes(scene.calls - before)


async def _for_an_hour(triggers: list[Any], now: Callable[[], Any]) -> None:
    end = now().timestamp() + _HOUR_SECONDS
    waits = [asyncio.ensure_future(anext(trigger.run())) for trigger in triggers]
    while now().timestamp() < end:  # noqa: ASYNC110 - the waits turn the clock
        await asyncio.sleep(0.001)
    for wait in waits:
        wait.cancel()
    await asyncio.gather(*waits, return_exceptions=True)


def _after_crash() -> float:
    with _scene() as scene:
        vanish(scene.patch, scene.owner("crashed"), "write_record", after=True)
        return _taken_after(scene, scene.owner("next"))


def _after_end() -> float:
    with _scene() as scene:
        holder, following = scene.holder(), scene.owner("next")
        following.start()
        scene.aws.end_cluster(holder.result, state="TERMINATED_WITH_ERRORS", message="spot interruption")
        return _taken_after(scene, following)


def _taken_after(scene: _Scene, following: Task) -> float:
    if following.deferral is None:
        following.start()
    taken = scene.queue.until(lambda: "job_flow_id" in following.ti.xcoms, following)
    scene.queue.until(lambda: following.ended, following)
    if following.error is not None:
        raise following.error
    return taken


def _beside(*, skew: float) -> bool:
    """Let the holder's clock be wrong, then let its worker be gone and a second owner wait until the cluster ends."""
    with _scene() as scene:
        holder = _with_wrong_clock(scene, scene.holder, skew)
        following = scene.owner("next")
        following.start()
        scene.queue.pass_time(_HOUR_SECONDS / 2, following)
        let_in = "job_flow_id" in following.ti.xcoms
        scene.aws.end_cluster(holder.result, state="TERMINATED", message="idle")
        scene.queue.until(lambda: following.ended, following)
        return let_in or scene.resource_ids != [holder.result, following.result]


def _with_wrong_clock(scene: _Scene, act: Callable[[], Task], skew: float) -> Task:
    """Do something in a process whose clock is wrong; raise if it never looks at its clock."""
    reads = 0

    def now() -> float:
        nonlocal reads
        reads += 1
        return float(scene.aws.clock.now().timestamp()) + skew

    with scene.patch.context() as patch:
        for module in TIMED_MODULES:
            patch.setattr(module, "time", SimpleNamespace(time=now, monotonic=now, sleep=scene.aws.clock.advance))
        done = act()
    if not reads:
        raise RuntimeError("the wrong clock was not read: nothing was shown")
    return done


def _paused() -> bool:
    """Let a holder sleep through every deadline before it binds, and wake up beside the next owner."""
    with _scene() as scene:
        slow, following = scene.owner("slow", waiter_max_attempts=20), scene.owner("next")
        slow.start()
        following.start()
        scene.queue.until(lambda: following.ended, following)
        slow.go_on()
        return slow.error is None or scene.resource_ids != [following.result]


def _reads_and_writes(calls: Counter[str]) -> tuple[int, int]:
    return sum(calls[name] for name in _READS), sum(calls[name] for name in _WRITES)


NOTES = (
    "This product's four waiters share one triggerer, and so one look a tick; each in a process of its own, they would",
    "make about 960. Its next owner is let in after the end of the holder's cluster, which a killed worker is not.",
)


def row(figures: Figures) -> tuple[str, ...]:
    """Return the figures as a row of the table of clients."""
    said = {True: "yes", False: "no"}
    return (
        "this product",
        f"{figures.cycle[0]} / {figures.cycle[1]}",
        f"{figures.hour[0]} / {figures.hour[1]}",
        f"{figures.after_end:.0f} s after the cluster's end",
        said[figures.beside],
        said[figures.skewed],
        said[figures.paused],
    )
