"""The scenarios of the demo, run side by side in one loop, from the trigger of the first run to the end of all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from demo.cluster_without_address import ClusterWithoutAddress
from demo.observe import Observer
from demo.queue import standings
from demo.task_kill import TaskKill
from demo.timeline import moment
from harness.processes import ProcessError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from demo.local import LocalAws
    from demo.runs import Runs
    from harness.airflow import Airflow
    from harness.console import Console
    from harness.judge import Event
    from harness.processes import Children

_SAMPLE_SECONDS = 1.5
_SILENT_SECONDS = 15.0
_SILENT_SECONDS_AGAIN = 60.0
_RUNS_SECONDS = 1200.0


class Scenario(Protocol):
    """A part of the demo that goes on by itself, a little at each look."""

    def advance(self, events: list[Event]) -> None:
        """Do what is due."""

    def is_over(self) -> bool:
        """Whether all of it has happened, as far as :meth:`advance` has seen."""

    def where(self) -> str:
        """Say what it waits for, beside tasks."""


class Queue:
    """
    DAGs that queue for one address, and a cluster without the address beside them.

    :param dag_ids: the DAGs.
    :param killed: a DAG that comes before them, whose creating task is killed; none unless given.
    :param allocation_id: the address.
    """

    def __init__(
        self,
        *,
        console: Console,
        airflow: Airflow,
        aws: LocalAws,
        runs: Runs,
        dag_ids: tuple[str, ...],
        killed: str | None,
        allocation_id: str,
    ) -> None:
        self._console = console
        self._runs = runs
        self._waiting = dag_ids
        self._killed = killed
        self._allocation_id = allocation_id
        self._task_kill = TaskKill(
            aws=aws, scheduler_pid=airflow.scheduler_pid, dag_id=killed or "", task_id="azure.create"
        )
        self._standing = ""
        self._begun = False
        self.without_address = ClusterWithoutAddress(emr=aws.client("emr"), s3=aws.client("s3"))

    @property
    def has_met(self) -> bool:
        """Whether the DAGs that queue have been started, and nothing but their own course is to come."""
        return all(dag_id in self._runs.wanted_since for dag_id in self._waiting)

    def advance(self, events: list[Event]) -> None:
        """Start and kill what is to be started and killed, and look after the cluster without the address."""
        self._tell_queue(events)
        if not self._begun:
            self._begin()
        elif self._killed and self._task_kill.kill_if_launched(events, self._runs.tasks_of(self._killed)):
            self._console.step(
                f"the demo kills process {self._task_kill.killed_pid}, the creating task of {self._killed}"
            )
            self._start_all()
        if not self.without_address.launched and self.without_address.launch(events, owners=self._waiting):
            self._console.step(
                f"the demo launches cluster {self.without_address.job_flow_id}, with the same step and no address"
            )
        self.without_address.tick()

    def _begin(self) -> None:
        self._begun = True
        if self._killed:
            self._task_kill.hold_answer()
            self._runs.start(self._killed)
        else:
            self._start_all()

    def _start_all(self) -> None:
        for dag_id in self._waiting:
            self._runs.start(dag_id)

    def is_over(self) -> bool:
        """Whether the runs have ended, and the cluster without the address."""
        if self._killed and self._runs.states.get(self._killed) == "failed" and not self._task_kill.killed_pid:
            return True
        ended = self._runs.have_ended(*filter(None, (self._killed, *self._waiting)))
        return ended and (self.without_address.ended or not self.without_address.launched)

    def where(self) -> str:
        """Say how far the cluster without the address is."""
        if not self.without_address.launched or self.without_address.ended:
            return ""
        return f"the cluster without the address, its step is {self.without_address.step_state}"

    def _tell_queue(self, events: list[Event]) -> None:
        """Say when the lock's record says something new."""
        found = standings(events, at=lambda event: moment(event).time, allocation_id=self._allocation_id)
        now = f"lease: {found[-1].lease}; queue: {found[-1].places}" if found else ""
        if now != self._standing:
            self._standing = now
            self._console.step(now)


class ScenarioLoop:
    """Runs scenarios, and samples the processes meanwhile."""

    def __init__(self, *, console: Console, children: Children, airflow: Airflow, aws: LocalAws, runs: Runs) -> None:
        self._console = console
        self._children = children
        self._aws = aws
        self._runs = runs
        self._observer = Observer(
            tasks=runs.tasks, aws_time=aws.time, scheduler_pid=airflow.scheduler_pid, local_aws_pid=aws.pid
        )
        self.samples = self._observer.samples
        self._told = ""

    def run(self, scenarios: Sequence[Scenario]) -> None:
        """
        Run all of them to the end.

        :raises ProcessError: when a process ends, or the whole takes too long.
        """
        deadline = time.monotonic() + _RUNS_SECONDS
        while not all(scenario.is_over() for scenario in scenarios):
            if time.monotonic() > deadline:
                raise ProcessError(f"not all has ended after {_RUNS_SECONDS:.0f} s: {self._where(scenarios)}")
            self._children.check()
            self._observer.sample()
            events = self._aws.events()
            for scenario in scenarios:
                scenario.advance(events)
            self._runs.look()
            if self._console.silent_seconds > _SILENT_SECONDS:
                self._tell(self._where(scenarios))
            time.sleep(_SAMPLE_SECONDS)

    def _tell(self, where: str) -> None:
        """Say what is being waited for; the same again only after a while."""
        if where != self._told or self._console.silent_seconds > _SILENT_SECONDS_AGAIN:
            self._console.step(f"waiting for {where}")
            self._told = where

    def _where(self, scenarios: Sequence[Scenario]) -> str:
        return "; ".join(filter(None, (self._runs.where(), *(scenario.where() for scenario in scenarios)))) or "Airflow"
