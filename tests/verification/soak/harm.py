"""What is done to processes and tasks while they work: SIGKILL, a triggerer's end, a clear."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from harness.processes import ProcessError, task_of_title
from tests.verification.soak import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.real_airflow import RealAirflow
    from tests.verification.soak.airflow import SoakRest, Try
    from tests.verification.soak.plan import Options

TASK, SUPERVISOR, TRIGGERER, CLEAR = "task", "supervisor", "triggerer", "clear"
# So many of the processes that are killed are those that supervise a task: its own goes on, and nobody hears of it.
_SUPERVISORS = 0.2
_CLEARED = ("azure.read", "azure.create")
_NOT_NOW = 0.5


@dataclass(frozen=True, slots=True)
class _Plan:
    """
    Something that is done once.

    :param due: after so many ended runs.
    :param task_id: to whom; "" for the triggerer.
    """

    due: int
    what: str
    task_id: str = ""


class Harm:
    """
    Does it, when as many runs have ended as the seed says; call :meth:`tick` often.

    :param note: writes into the event log what was done.
    """

    def __init__(self, options: Options, airflow: RealAirflow, rest: SoakRest, *, note: Callable[..., Any]) -> None:
        self._airflow = airflow
        self._rest = rest
        self._note = note
        self._dice = random.Random(f"{options.seed}/harm")
        self._pending = self._plans(options)

    def _plans(self, options: Options) -> list[_Plan]:
        last = max(1, options.runs - options.depth // 2)
        plans = []
        for number in range(options.task_kills):
            what = SUPERVISOR if number % round(1 / _SUPERVISORS) == 1 else TASK
            plans.append(_Plan(self._dice.randrange(last), what, plan.TASKS[number % len(plan.TASKS)]))
        plans += [
            _Plan(self._dice.randrange(last), CLEAR, _CLEARED[number % len(_CLEARED)])
            for number in range(options.clears)
        ]
        # They come early, so that the last triggerer has a long life to be measured.
        early = max(2, options.runs // 3)
        plans += [_Plan(self._dice.randrange(1, early), TRIGGERER) for _ in range(options.triggerer_kills)]
        return sorted(plans, key=lambda one: one.due)

    def tick(self, ended: int) -> None:
        """Do one thing that is due, if there is something to do it to."""
        due = [one for one in self._pending if one.due <= ended]
        # A tick at which nothing happens puts the next blow at another moment of a task's life.
        if not due or self._dice.random() < _NOT_NOW:
            return
        active = self._rest.active()
        for one in due:
            if self._strike(one, active):
                self._pending.remove(one)
                return

    def _strike(self, one: _Plan, active: Sequence[Try]) -> bool:
        """Return whether there was something to do it to."""
        if one.what == TRIGGERER:
            self._airflow.end_triggerer()
            self._airflow.start_triggerer()
            self._note(what=TRIGGERER)
            return True
        its = [task for task in active if task.task_id == one.task_id]
        return self._clear(its) if one.what == CLEAR else self._kill(its, one.what)

    def _clear(self, mine: Sequence[Try]) -> bool:
        """Clear a task that works or waits, and what follows it; of a run that reads, its creating task as often."""
        if not mine:
            return False
        chosen = self._dice.choice(mine)
        task_id = self._dice.choice(sorted({"azure.create", chosen.task_id}))
        with contextlib.suppress(ProcessError):
            self._rest.clear(chosen.dag_id, chosen.run_id, [task_id], downstream=True)
            self._note(what=CLEAR, dag_id=chosen.dag_id, run_id=chosen.run_id, task_id=task_id, during=chosen.task_id)
            return True
        return False

    def _kill(self, active: Sequence[Try], what: str) -> bool:
        tasks = {one.id: one for one in active}
        found = []
        for process in psutil.Process(self._airflow.scheduler_pid).children(recursive=True):
            parent = _parent(process)
            # Of the two processes of a task, the supervisor and its child, the child runs the operator.
            if (task := _task(process)) in tasks and parent is not None and _task(parent) == task:
                found.append((tasks[task], parent if what == SUPERVISOR else process))
        if not found:
            return False
        one, process = self._dice.choice(sorted(found, key=lambda pair: pair[0].id))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
            self._note(what=what, dag_id=one.dag_id, run_id=one.run_id, task_id=one.task_id, number=one.number)
            return True
        return False


def _parent(process: psutil.Process) -> psutil.Process | None:
    try:
        return process.parent()
    except psutil.NoSuchProcess:
        return None


def _task(process: psutil.Process) -> str | None:
    try:
        return task_of_title(" ".join(process.cmdline()))
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
