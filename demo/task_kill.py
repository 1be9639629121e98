"""Kills a task's process at the worst moment: EMR has launched its cluster, and has not answered yet."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from harness.judge import launches
from harness.processes import task_processes

if TYPE_CHECKING:
    from demo.local import LocalAws
    from harness.airflow import TaskState
    from harness.judge import Event

# In simulated seconds. The task cannot continue before the answer, so its process certainly exists and can be killed;
# without the delay the cluster could be bound a minute later.
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
        """Delay the answer of the next RunJobFlow, which is this DAG's, because no other DAG runs."""
        self._aws.fault(operation="RunJobFlow", kind="hold_answer", seconds=_ANSWER_SECONDS, times=1)

    def kill_if_launched(self, events: list[Event], tasks: list[TaskState]) -> bool:
        """Kill the process with SIGKILL if its cluster has been launched; return whether it was killed now."""
        launched = any(launch.dag_id == self._dag_id for launch in launches(events))
        if not launched or self.killed_pid:
            return False
        processes = task_processes(self._scheduler_pid)
        for task in tasks:
            if (task.dag_id, task.task_id) == (self._dag_id, self._task_id) and task.id in processes:
                _supervisor, process = processes[task.id]
                os.kill(process.pid, signal.SIGKILL)
                self.killed_pid = process.pid
                return True
        return False
