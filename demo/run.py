"""The three DAG runs, from the trigger of the first to the end of all, watched all the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from demo.airflow import FINAL_RUN_STATES
from demo.assassin import Assassin
from demo.observe import Observer
from demo.processes import DemoError
from demo.queue import standings
from demo.stranger import Stranger
from demo.timeline import moment

if TYPE_CHECKING:
    from datetime import datetime

    from demo.airflow import Airflow, TaskState
    from demo.console import Console
    from demo.local import LocalAws
    from demo.observe import Sample
    from demo.processes import Children
    from demo.timeline import Event

_SAMPLE_SECONDS = 1.5
_RUNS_SECONDS = 900.0


class Story:
    """
    Starts one DAG and kills its creating task, starts two more that queue behind it, and the stranger beside them.

    :param killed: the DAG whose task is killed.
    :param dag_ids: the DAGs that queue for the address.
    """

    def __init__(
        self,
        *,
        console: Console,
        children: Children,
        airflow: Airflow,
        aws: LocalAws,
        killed: str,
        dag_ids: tuple[str, str],
    ) -> None:
        self._console = console
        self._children = children
        self._airflow = airflow
        self._aws = aws
        self._killed = killed
        self._waiting = dag_ids
        self._assassin = Assassin(aws=aws, scheduler_pid=airflow.scheduler_pid, dag_id=killed, task_id="azure.create")
        self._standing = ""
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
        self._assassin.lie_in_wait()
        self._trigger(self._killed)
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
        self._tell_queue(events)
        if self._assassin.strike(events, self._tasks_of(self._killed)):
            self._console.step(f"the demo kills process {self._assassin.struck}, the creating task of {self._killed}")
            for dag_id in self._waiting:
                self._trigger(dag_id)
        if not self.stranger.launched and self.stranger.launch(events, owners=self._waiting):
            self._console.step(
                f"the demo launches cluster {self.stranger.job_flow_id}, with the same step and no address"
            )
        self.stranger.tick()
        self.states = {dag_id: self._airflow.rest.run_state(dag_id, run) for dag_id, run in self._run_ids.items()}

    def _is_over(self) -> bool:
        ended = all(self.states.get(dag_id) in FINAL_RUN_STATES for dag_id in (self._killed, *self._waiting))
        failed = self.states.get(self._killed) == "failed" and not self._assassin.struck
        return failed or (ended and (self.stranger.ended or not self.stranger.launched))

    def _tell_queue(self, events: list[Event]) -> None:
        """Say when the lock's record says something new."""
        found = standings(events, at=lambda event: moment(event).time)
        now = f"lease: {found[-1].lease}; queue: {found[-1].places}" if found else ""
        if now != self._standing:
            self._standing = now
            self._console.step(now)

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
