"""Samples of a running Airflow: the states of its tasks, and the processes that run tasks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import psutil

from harness.processes import task_of_title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.airflow import TaskState


@dataclass(frozen=True, kw_only=True)
class Sample:
    """
    What was seen at one moment.

    :param taken_at: the machine's time just before the processes were listed.
    :param aws_time: the local EMR's simulated time then.
    :param tasks: task instances whose state was the same before and after the processes were listed.
    :param process_owners: ids of the task instances for which a process was there.
    :param step_processes: how many processes the local EMR had for steps.
    """

    taken_at: datetime
    aws_time: datetime
    tasks: tuple[TaskState, ...]
    process_owners: frozenset[str]
    step_processes: int


def process_owners(scheduler_pid: int) -> frozenset[str]:
    """Return the ids of the task instances that have a process below the scheduler now."""
    owners = set()
    for process in psutil.Process(scheduler_pid).children(recursive=True):
        try:
            owner = task_of_title(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if owner:
            owners.add(owner)
    return frozenset(owners)


def count_descendants(pid: int) -> int:
    """Return how many processes live below one: below the local EMR, those of the steps that run."""
    return sum(_is_alive(process) for process in psutil.Process(pid).children(recursive=True))


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def settled(before: Iterable[TaskState], after: Iterable[TaskState]) -> tuple[TaskState, ...]:
    """Return the task instances that were in one state, and for a deferral behind one trigger, at both looks."""
    seen_before = set(before)
    return tuple(task for task in after if task in seen_before)


class Observer:
    """
    Takes samples.

    :param tasks: reads the task instances from Airflow.
    :param aws_time: reads the simulated time from the local EMR.
    """

    def __init__(
        self,
        *,
        tasks: Callable[[], list[TaskState]],
        aws_time: Callable[[], datetime],
        scheduler_pid: int,
        local_aws_pid: int,
    ) -> None:
        self._tasks = tasks
        self._aws_time = aws_time
        self._scheduler_pid = scheduler_pid
        self._local_aws_pid = local_aws_pid
        self.samples: list[Sample] = []

    def sample(self) -> Sample:
        """Look at the tasks, at the processes, and at the tasks again."""
        before = self._tasks()
        aws_time = self._aws_time()
        taken_at = datetime.now(UTC)
        owners = process_owners(self._scheduler_pid)
        sample = Sample(
            taken_at=taken_at,
            aws_time=aws_time,
            tasks=settled(before, self._tasks()),
            process_owners=owners,
            step_processes=count_descendants(self._local_aws_pid),
        )
        self.samples.append(sample)
        return sample
