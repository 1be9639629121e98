"""Runs the scenarios of the demo in parallel in one loop, from the start of the first run to the end of the last."""

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
    """A part of the demo, advanced by polling."""

    def advance(self, events: list[Event]) -> None:
        """Take the actions that are due."""

    def is_over(self) -> bool:
        """Whether it had ended at the last call of :meth:`advance`."""

    def waits_for(self) -> str:
        """Return what it waits for, besides tasks."""


class Queue:
    """
    DAGs that queue for one address, and a cluster without the address.

    :param dag_ids: the DAGs.
    :param killed: a DAG that runs before them, whose creating task is killed, if any.
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
        """Whether the DAGs that queue have been started, so other scenarios can no longer disturb them."""
        return all(dag_id in self._runs.wanted_since for dag_id in self._waiting)

    def advance(self, events: list[Event]) -> None:
        """Start and kill what is due, and advance the cluster without the address."""
        self._print_queue(events)
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

    def waits_for(self) -> str:
        """Return the state of the cluster without the address."""
        if not self.without_address.launched or self.without_address.ended:
            return ""
        return f"the cluster without the address, its step is {self.without_address.step_state}"

    def _print_queue(self, events: list[Event]) -> None:
        """Print the lease and the queue if they have changed."""
        versions = standings(events, at=lambda event: moment(event).time, allocation_id=self._allocation_id)
        now = f"lease: {versions[-1].lease}; queue: {versions[-1].places}" if versions else ""
        if now != self._standing:
            self._standing = now
            self._console.step(now)


class ScenarioLoop:
    """Runs scenarios, and takes samples of the processes."""

    def __init__(self, *, console: Console, children: Children, airflow: Airflow, aws: LocalAws, runs: Runs) -> None:
        self._console = console
        self._children = children
        self._aws = aws
        self._runs = runs
        self._observer = Observer(
            tasks=runs.tasks, aws_time=aws.time, scheduler_pid=airflow.scheduler_pid, local_aws_pid=aws.pid
        )
        self.samples = self._observer.samples
        self._printed = ""

    def run(self, scenarios: Sequence[Scenario]) -> None:
        """
        Run all scenarios to their end.

        :raises ProcessError: when a process ends, or the scenarios take too long.
        """
        deadline = time.monotonic() + _RUNS_SECONDS
        while not all(scenario.is_over() for scenario in scenarios):
            if time.monotonic() > deadline:
                raise ProcessError(f"not all has ended after {_RUNS_SECONDS:.0f} s: {self._waits_for(scenarios)}")
            self._children.check()
            self._observer.sample()
            events = self._aws.events()
            for scenario in scenarios:
                scenario.advance(events)
            self._runs.read_states()
            if self._console.silent_seconds > _SILENT_SECONDS:
                self._print_waiting(self._waits_for(scenarios))
            time.sleep(_SAMPLE_SECONDS)

    def _print_waiting(self, waits_for: str) -> None:
        """Print what is being waited for; the same text again only after a while."""
        if waits_for != self._printed or self._console.silent_seconds > _SILENT_SECONDS_AGAIN:
            self._console.step(f"waiting for {waits_for}")
            self._printed = waits_for

    def _waits_for(self, scenarios: Sequence[Scenario]) -> str:
        parts = (self._runs.unfinished_tasks(), *(scenario.waits_for() for scenario in scenarios))
        return "; ".join(filter(None, parts)) or "Airflow"
