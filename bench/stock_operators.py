"""The same job with the stock operators of the Amazon provider, and a simple task that associates the address."""

from __future__ import annotations

import heapq
from threading import Event, Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import botocore.waiter
from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.utils import waiter_with_logging

from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from bench.environment import Address
    from local_emr import LocalAws

_POLL: dict[str, Any] = {"waiter_delay": 15, "waiter_max_attempts": 200}


def set_sleep(patch: pytest.MonkeyPatch, sleep: Callable[[float], object]) -> None:
    """Make the stock waiters sleep with a function."""
    for module in (waiter_with_logging, botocore.waiter):
        patch.setattr(module, "time", SimpleNamespace(sleep=sleep))


def run_in_slots(
    aws: LocalAws, patch: pytest.MonkeyPatch, address: Address, *, steps: Sequence[dict[str, Any]], slots: int
) -> None:
    """Run jobs as with an Airflow pool: the next one begins when a slot is free."""
    turns = _Turns(aws.clock.advance)
    set_sleep(patch, turns.sleep)
    pending = iter(enumerate(steps))

    def work() -> None:
        for number, step in pending:
            run(address, number=number, step=step)

    turns.run([work] * slots)


class _Turns:
    """
    Threads of which one runs at a time, so that runs are repeatable: when it sleeps, the one that wakes up first runs.

    :param advance: advances the simulated clock by a number of seconds.
    """

    def __init__(self, advance: Callable[[float], object]) -> None:
        self._advance = advance
        self._now = 0.0
        self._asleep: list[tuple[float, int, Event]] = []
        self._slept = 0
        self._errors: list[BaseException] = []

    def run(self, work: Sequence[Callable[[], None]]) -> None:
        """Run functions in parallel until all have ended."""
        threads = [Thread(target=self._work, args=(each, self._turn(0.0)), daemon=True) for each in work]
        for thread in threads:
            thread.start()
        self._next()
        for thread in threads:
            thread.join()
        if self._errors:
            raise self._errors[0]

    def sleep(self, seconds: float) -> None:
        """Let the other threads run for a number of simulated seconds."""
        turn = self._turn(seconds)
        self._next()
        turn.wait()

    def _turn(self, seconds: float) -> Event:
        turn = Event()
        self._slept += 1
        heapq.heappush(self._asleep, (self._now + seconds, self._slept, turn))
        return turn

    def _next(self) -> None:
        if self._asleep:
            due, _, turn = heapq.heappop(self._asleep)
            self._advance(due - self._now)
            self._now = due
            turn.set()

    def _work(self, work: Callable[[], None], turn: Event) -> None:
        turn.wait()
        try:
            work()
        except BaseException as error:
            self._errors.append(error)
        finally:
            self._next()


def run(address: Address, *, number: int, step: dict[str, Any]) -> None:
    """Create a cluster, wait until it is ready, associate, run the step, terminate and wait."""
    create = EmrCreateJobFlowOperator(
        task_id="create",
        job_flow_overrides=address.job_flow,
        emr_conn_id=None,
        aws_conn_id=None,
        wait_for_completion=True,
        **_POLL,
    )
    job_flow_id = _task(create, number).run()
    _associate(address, job_flow_id)
    steps = EmrAddStepsOperator(
        task_id="steps", job_flow_id=job_flow_id, steps=[step], aws_conn_id=None, wait_for_completion=True, **_POLL
    )
    _task(steps, number).run()
    _task(EmrTerminateJobFlowOperator(task_id="end", job_flow_id=job_flow_id, aws_conn_id=None, **_POLL), number).run()


def _associate(address: Address, job_flow_id: str) -> None:
    instances = boto3.client("emr").list_instances(ClusterId=job_flow_id, InstanceGroupTypes=["MASTER"])
    instance_id = instances["Instances"][0]["Ec2InstanceId"]
    ec2 = boto3.client("ec2")
    addresses = ec2.describe_addresses(AllocationIds=address.allocation_ids)["Addresses"]
    # A single address is taken from its holder, if it has one.
    free = next((each for each in addresses if "AssociationId" not in each), addresses[0])
    ec2.associate_address(AllocationId=free["AllocationId"], InstanceId=instance_id)


def _task(operator: Any, number: int) -> Task:
    return Task(operator, dag_id=f"run-{number}")
