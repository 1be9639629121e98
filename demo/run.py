"""The two DAG runs, from the trigger of the first to the end of both, watched all the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from demo.airflow import FINAL_RUN_STATES
from demo.observe import Observer
from demo.processes import DemoError
from demo.stranger import Stranger
from demo.timeline import tenancies

if TYPE_CHECKING:
    from datetime import datetime

    from demo.airflow import Airflow, TaskState
    from demo.console import Console
    from demo.local import LocalAws
    from demo.observe import Sample
    from demo.processes import Children

_SAMPLE_SECONDS = 1.5
_RUNS_SECONDS = 600.0


class Story:
    """
    Starts the first DAG, the second as soon as the first has the address, and the stranger beside them.

    :param dag_ids: the DAG that gets the address first, and the one that then waits for it.
    """

    def __init__(
        self, *, console: Console, children: Children, airflow: Airflow, aws: LocalAws, dag_ids: tuple[str, str]
    ) -> None:
        self._console = console
        self._children = children
        self._airflow = airflow
        self._aws = aws
        self._first, self._second = dag_ids
        self._observer = Observer(
            tasks=self._tasks, aws_time=aws.time, scheduler_pid=airflow.scheduler_pid, local_aws_pid=aws.pid
        )
        self._told: dict[str, str | None] = {}
        self._run_ids: dict[str, str] = {}
        self.stranger = Stranger(emr=aws.client("emr"), s3=aws.client("s3"))
        self.wanted_since: dict[str, datetime] = {}
        self.states: dict[str, str] = {}

    @property
    def samples(self) -> list[Sample]:
        """What was seen."""
        return self._observer.samples

    @property
    def tries(self) -> dict[str, int]:
        """How many tries the most tried task of each DAG has needed."""
        return {dag_id: max(task.try_number for task in self._tasks_of(dag_id)) for dag_id in self._run_ids}

    def play(self) -> None:
        """
        Run it to the end.

        :raises DemoError: when a process ends, or the whole takes too long.
        """
        self._trigger(self._first)
        deadline = time.monotonic() + _RUNS_SECONDS
        while not self._is_over():
            if time.monotonic() > deadline:
                raise DemoError(f"the DAG runs have not ended after {_RUNS_SECONDS:.0f} s: {self._where()}")
            self._children.check()
            self._observer.sample()
            self._advance()
            time.sleep(_SAMPLE_SECONDS)

    def _advance(self) -> None:
        events = self._aws.events()
        if self._second not in self._run_ids and any(tenancy.bound for tenancy in tenancies(events)):
            self._trigger(self._second)
        if not self.stranger.launched and self.stranger.launch(events):
            self._console.step(
                f"the demo launches cluster {self.stranger.job_flow_id}, with the same step and no address"
            )
        self.stranger.tick()
        self.states = {dag_id: self._airflow.rest.run_state(dag_id, run) for dag_id, run in self._run_ids.items()}

    def _is_over(self) -> bool:
        ended = all(self.states.get(dag_id) in FINAL_RUN_STATES for dag_id in (self._first, self._second))
        failed = self.states.get(self._first) == "failed" and self._second not in self._run_ids
        return failed or (ended and (self.stranger.ended or not self.stranger.launched))

    def _trigger(self, dag_id: str) -> None:
        self._run_ids[dag_id] = self._airflow.rest.trigger(dag_id)
        self.wanted_since[dag_id] = self._aws.time()
        self._console.step(f"{dag_id}: started")

    def _tasks_of(self, dag_id: str) -> list[TaskState]:
        return self._airflow.rest.tasks(dag_id, self._run_ids[dag_id])

    def _tasks(self) -> list[TaskState]:
        """Read the task instances of all runs, and tell those that changed."""
        found = [task for dag_id in self._run_ids for task in self._tasks_of(dag_id)]
        for task in found:
            if task.state != self._told.get(task.id) and task.state not in {None, "scheduled", "queued"}:
                self._told[task.id] = task.state
                self._console.step(f"{task.dag_id}.{task.task_id}: {task.state}")
        return found

    def _where(self) -> str:
        states = [f"{task.dag_id}.{task.task_id} {task.state or 'not scheduled'}" for task in self._tasks()]
        return ", ".join([*states, f"the cluster without the address: step {self.stranger.step_state}"])
