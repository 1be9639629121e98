"""Samples of a running Airflow: the states of its tasks, and the processes that run tasks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from harness.processes import family, is_alive, task_of_title, title

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from harness.airflow import TaskState


@dataclass(frozen=True, kw_only=True)
class Sample:
    """
    The tasks and processes at one moment.

    :param taken_at: the machine's time just before the processes were listed.
    :param aws_time: the local EMR's simulated time then.
    :param tasks: task instances whose state was the same before and after the processes were listed.
    :param process_owners: ids of the task instances that had a process.
    :param step_processes: number of processes that the local EMR had for steps.
    """

    taken_at: datetime
    aws_time: datetime
    tasks: tuple[TaskState, ...]
    process_owners: frozenset[str]
    step_processes: int


def process_owners(scheduler_pid: int) -> frozenset[str]:
    """Return the ids of the task instances that have a process below the scheduler now."""
    owners = (task_of_title(title(process)) for process in family(scheduler_pid)[1:])
    return frozenset(owner for owner in owners if owner)


def count_descendants(pid: int) -> int:
    """Return the number of running processes below one; below the local EMR they are those of steps."""
    return sum(map(is_alive, family(pid)[1:]))


def settled(before: Iterable[TaskState], after: Iterable[TaskState]) -> tuple[TaskState, ...]:
    """Return the task instances whose state, and trigger if they are deferred, was the same in both reads."""
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
        """Read the tasks, list the processes, and read the tasks again."""
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
