"""The first act: three DAG runs, from the trigger of the first to the end of all, watched all the way."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from demo.assassin import Assassin
from demo.observe import Observer
from demo.queue import standings
from demo.runs import Runs
from demo.stranger import Stranger
from demo.timeline import moment
from harness.processes import ProcessError

if TYPE_CHECKING:
    from datetime import datetime

    from demo.local import LocalAws
    from demo.observe import Sample
    from harness.airflow import Airflow
    from harness.console import Console
    from harness.judge import Event
    from harness.processes import Children

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
        self._aws = aws
        self._killed = killed
        self._waiting = dag_ids
        self._assassin = Assassin(aws=aws, scheduler_pid=airflow.scheduler_pid, dag_id=killed, task_id="azure.create")
        self._standing = ""
        self._runs = Runs(console=console, airflow=airflow, aws=aws)
        self._observer = Observer(
            tasks=self._runs.tasks, aws_time=aws.time, scheduler_pid=airflow.scheduler_pid, local_aws_pid=aws.pid
        )
        self.stranger = Stranger(emr=aws.client("emr"), s3=aws.client("s3"))

    @property
    def samples(self) -> list[Sample]:
        """What was seen."""
        return self._observer.samples

    @property
    def tries(self) -> dict[str, int]:
        """How many tries the most tried task of each DAG has needed."""
        return self._runs.tries

    @property
    def states(self) -> dict[str, str]:
        """How the runs ended."""
        return self._runs.states

    @property
    def wanted_since(self) -> dict[str, datetime]:
        """Since when each DAG has wanted the address."""
        return self._runs.wanted_since

    def play(self) -> None:
        """
        Run it to the end.

        :raises ProcessError: when a process ends, or the whole takes too long.
        """
        self._assassin.lie_in_wait()
        self._runs.start(self._killed)
        deadline = time.monotonic() + _RUNS_SECONDS
        while not self._is_over():
            if time.monotonic() > deadline:
                raise ProcessError(f"the DAG runs have not ended after {_RUNS_SECONDS:.0f} s: {self._where()}")
            self._children.check()
            self._observer.sample()
            self._advance()
            time.sleep(_SAMPLE_SECONDS)

    def _advance(self) -> None:
        events = self._aws.events()
        self._tell_queue(events)
        if self._assassin.strike(events, self._runs.tasks_of(self._killed)):
            self._console.step(f"the demo kills process {self._assassin.struck}, the creating task of {self._killed}")
            for dag_id in self._waiting:
                self._runs.start(dag_id)
        if not self.stranger.launched and self.stranger.launch(events, owners=self._waiting):
            self._console.step(
                f"the demo launches cluster {self.stranger.job_flow_id}, with the same step and no address"
            )
        self.stranger.tick()
        self._runs.look()

    def _is_over(self) -> bool:
        ended = self._runs.have_ended(self._killed, *self._waiting)
        failed = self.states.get(self._killed) == "failed" and not self._assassin.struck
        return failed or (ended and (self.stranger.ended or not self.stranger.launched))

    def _tell_queue(self, events: list[Event]) -> None:
        """Say when the lock's record says something new."""
        found = standings(events, at=lambda event: moment(event).time)
        now = f"lease: {found[-1].lease}; queue: {found[-1].places}" if found else ""
        if now != self._standing:
            self._standing = now
            self._console.step(now)

    def _where(self) -> str:
        return f"{self._runs.where()}, the cluster without the address: step {self.stranger.step_state}"
