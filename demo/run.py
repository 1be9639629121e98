"""The scenes of the demo, played side by side in one loop, from the trigger of the first run to the end of all."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from demo.assassin import Assassin
from demo.observe import Observer
from demo.queue import standings
from demo.stranger import Stranger
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


class Scene(Protocol):
    """A part of the demo that goes on by itself, a little at each look."""

    def advance(self, events: list[Event]) -> None:
        """Do what is due."""

    def is_over(self) -> bool:
        """Whether all of it has happened, as far as :meth:`advance` has seen."""

    def where(self) -> str:
        """Say what it waits for, beside tasks."""


class Queue:
    """
    DAGs that queue for one address, and a stranger to the database beside them.

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
        self._assassin = Assassin(
            aws=aws, scheduler_pid=airflow.scheduler_pid, dag_id=killed or "", task_id="azure.create"
        )
        self._standing = ""
        self._begun = False
        self.stranger = Stranger(emr=aws.client("emr"), s3=aws.client("s3"))

    @property
    def has_met(self) -> bool:
        """Whether the DAGs that queue have been started, and nothing but their own course is to come."""
        return all(dag_id in self._runs.wanted_since for dag_id in self._waiting)

    def advance(self, events: list[Event]) -> None:
        """Start and kill what is to be started and killed, and look after the stranger."""
        self._tell_queue(events)
        if not self._begun:
            self._begin()
        elif self._killed and self._assassin.strike(events, self._runs.tasks_of(self._killed)):
            self._console.step(f"the demo kills process {self._assassin.struck}, the creating task of {self._killed}")
            self._start_all()
        if not self.stranger.launched and self.stranger.launch(events, owners=self._waiting):
            self._console.step(
                f"the demo launches cluster {self.stranger.job_flow_id}, with the same step and no address"
            )
        self.stranger.tick()

    def _begin(self) -> None:
        self._begun = True
        if self._killed:
            self._assassin.lie_in_wait()
            self._runs.start(self._killed)
        else:
            self._start_all()

    def _start_all(self) -> None:
        for dag_id in self._waiting:
            self._runs.start(dag_id)

    def is_over(self) -> bool:
        """Whether the runs have ended, and the stranger's cluster."""
        if self._killed and self._runs.states.get(self._killed) == "failed" and not self._assassin.struck:
            return True
        ended = self._runs.have_ended(*filter(None, (self._killed, *self._waiting)))
        return ended and (self.stranger.ended or not self.stranger.launched)

    def where(self) -> str:
        """Say how far the stranger is."""
        if not self.stranger.launched or self.stranger.ended:
            return ""
        return f"the cluster without the address, its step is {self.stranger.step_state}"

    def _tell_queue(self, events: list[Event]) -> None:
        """Say when the lock's record says something new."""
        found = standings(events, at=lambda event: moment(event).time, allocation_id=self._allocation_id)
        now = f"lease: {found[-1].lease}; queue: {found[-1].places}" if found else ""
        if now != self._standing:
            self._standing = now
            self._console.step(now)


class Story:
    """Plays scenes, watched all the way."""

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

    def play(self, scenes: Sequence[Scene]) -> None:
        """
        Play all of them to the end.

        :raises ProcessError: when a process ends, or the whole takes too long.
        """
        deadline = time.monotonic() + _RUNS_SECONDS
        while not all(scene.is_over() for scene in scenes):
            if time.monotonic() > deadline:
                raise ProcessError(f"not all has ended after {_RUNS_SECONDS:.0f} s: {self._where(scenes)}")
            self._children.check()
            self._observer.sample()
            events = self._aws.events()
            for scene in scenes:
                scene.advance(events)
            self._runs.look()
            if self._console.silent_seconds > _SILENT_SECONDS:
                self._tell(self._where(scenes))
            time.sleep(_SAMPLE_SECONDS)

    def _tell(self, where: str) -> None:
        """Say what is being waited for; the same again only after a while."""
        if where != self._told or self._console.silent_seconds > _SILENT_SECONDS_AGAIN:
            self._console.step(f"waiting for {where}")
            self._told = where

    def _where(self, scenes: Sequence[Scene]) -> str:
        return "; ".join(filter(None, (self._runs.where(), *(scene.where() for scene in scenes)))) or "Airflow"
