"""Killing a task's process at the worst moment: EMR has launched its cluster, and the answer has not come yet."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import psutil

from demo.timeline import owner_dag
from harness.judge import launches
from harness.processes import task_of_title

if TYPE_CHECKING:
    from demo.local import LocalAws
    from harness.airflow import TaskState
    from harness.judge import Event

# In simulated seconds. The task cannot go on until the answer comes, so its process is surely there to be killed; the
# cluster could be bound a minute later.
_ANSWER_SECONDS = 150


class TaskKill:
    """
    Kills the creating task of one DAG, once; call :meth:`kill_if_launched` until :attr:`killed_pid`.

    :param scheduler_pid: the process whose descendants run the tasks.
    """

    def __init__(self, *, aws: LocalAws, scheduler_pid: int, dag_id: str, task_id: str) -> None:
        self._aws = aws
        self._scheduler_pid = scheduler_pid
        self._dag_id = dag_id
        self._task_id = task_id
        self.killed_pid = 0

    def hold_answer(self) -> None:
        """Let the answer of the next RunJobFlow come late; with nothing else running it is this DAG's."""
        self._aws.fault(operation="RunJobFlow", kind="hold_answer", seconds=_ANSWER_SECONDS, times=1)

    def kill_if_launched(self, events: list[Event], tasks: list[TaskState]) -> bool:
        """Kill the process with SIGKILL if its cluster has been launched; return whether that has happened now."""
        launched = any(owner_dag(launch) == self._dag_id for launch in launches(events))
        if not launched or self.killed_pid:
            return False
        ids = {task.id for task in tasks if (task.dag_id, task.task_id) == (self._dag_id, self._task_id)}
        for process in psutil.Process(self._scheduler_pid).children(recursive=True):
            # Of the two processes of a task, the supervisor and its child, the child runs the operator.
            if _task(process) in ids and _task(process.parent()) in ids:
                os.kill(process.pid, signal.SIGKILL)
                self.killed_pid = process.pid
                return True
        return False


def _task(process: psutil.Process | None) -> str | None:
    try:
        return task_of_title(" ".join(process.cmdline())) if process else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
