"""Disruptions of a soak: SIGKILL of task processes, restarts of the triggerer, and clears of tasks."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.processes import ProcessError, task_processes
from tests.verification.soak import plan

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.real_airflow import RealAirflow
    from tests.verification.soak.airflow_api import SoakApi, Try
    from tests.verification.soak.plan import Options

TASK, SUPERVISOR, TRIGGERER, CLEAR = "task", "supervisor", "triggerer", "clear"
# The share of kills that hit the supervisor of a task: the task continues, but sends no more heartbeats.
_SUPERVISOR_SHARE = 0.2
_CLEARED = ("azure.read", "azure.create")
_SKIPPED_TICKS = 0.5


@dataclass(frozen=True, slots=True)
class _Planned:
    """
    A planned disruption.

    :param due: the number of ended runs from which it is due.
    :param task_id: the task that is disrupted; "" for the triggerer.
    """

    due: int
    what: str
    task_id: str = ""


class Disruptions:
    """
    Disrupts processes and tasks at times that follow from the seed; call :meth:`tick` often.

    :param log: writes a disruption to the event log.
    """

    def __init__(self, options: Options, airflow: RealAirflow, api: SoakApi, *, log: Callable[..., Any]) -> None:
        self._airflow = airflow
        self._api = api
        self._log = log
        self._random = random.Random(f"{options.seed}/harm")
        self._pending = self._plan(options)

    def _plan(self, options: Options) -> list[_Planned]:
        last = max(1, options.runs - options.depth // 2)
        planned = []
        for number in range(options.task_kills):
            what = SUPERVISOR if number % round(1 / _SUPERVISOR_SHARE) == 1 else TASK
            planned.append(_Planned(self._random.randrange(last), what, plan.TASKS[number % len(plan.TASKS)]))
        planned += [
            _Planned(self._random.randrange(last), CLEAR, _CLEARED[number % len(_CLEARED)])
            for number in range(options.clears)
        ]
        # In the first third, so that the last triggerer runs long enough for its memory to be measured.
        early = max(2, options.runs // 3)
        planned += [_Planned(self._random.randrange(1, early), TRIGGERER) for _ in range(options.triggerer_kills)]
        return sorted(planned, key=lambda disruption: disruption.due)

    def tick(self, ended: int) -> None:
        """Carry out at most one disruption that is due and possible now."""
        due = [disruption for disruption in self._pending if disruption.due <= ended]
        # Some ticks are skipped at random, so that disruptions hit a task at different points.
        if not due or self._random.random() < _SKIPPED_TICKS:
            return
        active = self._api.active()
        for disruption in due:
            if self._disrupt(disruption, active):
                self._pending.remove(disruption)
                return

    def _disrupt(self, disruption: _Planned, active: Sequence[Try]) -> bool:
        """Carry out a disruption; return whether it was possible."""
        if disruption.what == TRIGGERER:
            self._airflow.end_triggerer()
            self._airflow.start_triggerer()
            self._log(what=TRIGGERER)
            return True
        tries = [task for task in active if task.task_id == disruption.task_id]
        return self._clear(tries) if disruption.what == CLEAR else self._kill(tries, disruption.what)

    def _clear(self, tries: Sequence[Try]) -> bool:
        """Clear an active task or, as often, the creating task of its run, with all downstream tasks."""
        if not tries:
            return False
        chosen = self._random.choice(tries)
        task_id = self._random.choice(sorted({"azure.create", chosen.task_id}))
        with contextlib.suppress(ProcessError):
            self._api.clear(chosen.dag_id, chosen.run_id, [task_id], downstream=True)
            self._log(what=CLEAR, dag_id=chosen.dag_id, run_id=chosen.run_id, task_id=task_id, during=chosen.task_id)
            return True
        return False

    def _kill(self, active: Sequence[Try], what: str) -> bool:
        tries = {task.id: task for task in active}
        candidates = [
            (tries[task], supervisor if what == SUPERVISOR else process)
            for task, (supervisor, process) in task_processes(self._airflow.scheduler_pid).items()
            if task in tries
        ]
        if not candidates:
            return False
        task, process = self._random.choice(sorted(candidates, key=lambda pair: pair[0].id))
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
            self._log(what=what, dag_id=task.dag_id, run_id=task.run_id, task_id=task.task_id, number=task.number)
            return True
        return False
