"""The environment of the exit scenarios: one real Airflow and one local EMR, on which they run in parallel."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from airflow_eip_provider.stores.uri import open_store
from harness.airflow import FINAL_RUN_STATES, aws_connection
from harness.processes import ProcessError, task_of_title, task_processes
from harness.wait import wait_for
from local_emr import LocalAws, ScaledClock
from local_emr.durations import Durations
from tests.real_airflow import real_airflow, version_of
from tests.verification.exits.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import psutil

    from airflow_eip_provider.lease.record import Record
    from harness.airflow import TaskState
    from harness.processes import Children

log = logging.getLogger(__name__)

REGION = "eu-west-1"
LOCK_STORE = f"dynamodb://exits?region={REGION}"
_POLL_SECONDS = 1.0
_WAIT_SECONDS = 900.0
_TRIGGER_START_SECONDS = 4.0
# The DAG file never changes. On a busy machine parsing takes long, and Airflow removes DAGs that are parsed too late.
_PARSE_ONCE = {
    "CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    "CORE__DAG_FILE_PROCESSOR_TIMEOUT": "600",
    "DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "600",
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "86400",
    "DAG_PROCESSOR__STALE_DAG_THRESHOLD": "86400",
    "SCHEDULER__MIN_FILE_PROCESS_INTERVAL": "86400",
    "SCHEDULER__STALE_DAG_THRESHOLD": "86400",
}
_HERE = Path(__file__).resolve().parent


class Environment:
    """
    The Airflow and the local EMR that the scenarios share.

    :param venv: the environment that has the Airflow.
    :param dags: the parameters of each scenario's DAG, by the scenario's name.
    :param next_dags: parameters of the next owner's DAG, by the scenario's name.
    :param time_scale: simulated seconds per real second.
    """

    def __init__(
        self,
        children: Children,
        *,
        venv: Path,
        state: Path,
        dags: Mapping[str, Mapping[str, Any]],
        next_dags: Mapping[str, Mapping[str, Any]],
        time_scale: float,
    ) -> None:
        self.children = children
        self.version = version_of(venv)
        durations = Durations(fulfilment=10, instance_boot=90, starting=110, bootstrapping=40)
        self.aws = LocalAws(clock=ScaledClock(time_scale), region=REGION, durations=durations, state_dir=state / "aws")
        self.addresses: dict[str, str] = {}
        self.stopped = False
        self._dags, self._next_dags = dags, next_dags
        self._folder = state / "dags"
        extra = {
            "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(self.aws.endpoint_url, region=REGION),
            "AIRFLOW__EIP__ENVIRONMENT": "exits",
            "AIRFLOW__EIP__LOCK_STORE": LOCK_STORE + "&create=true",
            **{f"AIRFLOW__{name}": value for name, value in _PARSE_ONCE.items()},
        }
        self.airflow = real_airflow(children, venv=venv, state=state, dags=self._folder, extra=extra)

    def client(self, service: str) -> Any:
        """Return a boto3 client of the local EMR."""
        session = boto3.Session("testing", "testing", region_name=REGION)
        return session.client(service, endpoint_url=self.aws.endpoint_url)

    def start(self) -> None:
        """Start both, with an Elastic IP and two DAGs for each scenario."""
        self.aws.start()
        self._folder.mkdir(parents=True)
        ec2 = self.client("ec2")
        subnet_id = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        dags: dict[str, dict[str, Any]] = {}
        for name, parameters in self._dags.items():
            self.addresses[name] = ec2.allocate_address(Domain="vpc")["AllocationId"]
            where = {"allocation_id": self.addresses[name], "subnet_id": subnet_id}
            dags[name] = {"deferrable": True, **where, **parameters}
            dags[next_of(name)] = {"deferrable": False, **where, **self._next_dags[name]}
        (self._folder / "dags.json").write_text(json.dumps(dags), encoding="utf-8")
        shutil.copy(_HERE / "dags" / "exits.py", self._folder)
        self.airflow.migrate()
        self.airflow.preload()
        self.airflow.start()
        self.airflow.wait_for_dags(set(dags))

    def record(self, name: str) -> Record:
        """Return the lease record of a scenario's address."""
        client = self.client("dynamodb")
        store = open_store(LOCK_STORE, lambda *_: client)
        return store.read(self.addresses[name]).record

    def evidence(self, name: str) -> Evidence:
        """Return the events of a scenario's address."""
        events = self.aws.events.read()
        return Evidence(events, allocation_id=self.addresses[name], dag_ids=(name, next_of(name)))

    def stop(self) -> None:
        """Stop both, and end every wait."""
        self.stopped = True
        self.children.stop()
        self.aws.stop()


def next_of(name: str) -> str:
    """Return the id of the DAG of the next owner of the same address."""
    return f"{name}_next"


class DagRun:
    """A run of one DAG: waits for its states, and changes or kills its tasks."""

    def __init__(self, environment: Environment, name: str, *, dag_id: str | None = None) -> None:
        self.environment = environment
        self.name = name
        self.dag_id = dag_id or name
        self.run_id = ""
        self.rest = environment.airflow.rest

    def start(self) -> DagRun:
        self.run_id = self.rest.trigger(self.dag_id)
        return self

    def wait(self, what: str, condition: Callable[[], Any], *, seconds: float = _WAIT_SECONDS) -> Any:
        """
        Wait until a condition holds, and return its value.

        :raises ProcessError: when it does not hold in time.
        """

        def answer() -> Any:
            if self.environment.stopped:
                raise ProcessError(f"{self.dag_id}: stopped while waiting for {what}")
            try:
                return condition()
            except httpx.TransportError as error:  # Airflow is slow on a busy machine
                log.warning("%s: %s", self.dag_id, error)
                return None

        def too_late() -> ProcessError:
            return ProcessError(f"{self.dag_id}: no {what} after {seconds:.0f} s; tasks: {self.states()}")

        return wait_for(answer, seconds=seconds, error=too_late, pause_seconds=_POLL_SECONDS)

    def tasks(self) -> dict[str, TaskState]:
        """Return the task instances by task id without the task group's prefix."""
        return {task.task_id.removeprefix("eip."): task for task in self.rest.tasks(self.dag_id, self.run_id)}

    def states(self) -> dict[str, str | None]:
        return {task_id: task.state for task_id, task in self.tasks().items()} if self.run_id else {}

    def reach(self, task_id: str, *states: str, tries: int = 1) -> None:
        """Wait until a task is in one of these states, in this try or a later one."""

        def is_reached() -> bool:
            task = self.tasks().get(task_id)
            return task is not None and task.state in states and task.try_number >= tries

        self.wait(f"{task_id} in {' or '.join(states)}", is_reached)

    def defer(self, task_id: str) -> None:
        """
        Wait until a task is deferred and its trigger runs.

        If a task is killed before that, no version of Airflow calls on_kill.
        """
        self.reach(task_id, "deferred")
        watched = lambda: self.rest.is_watched(self.dag_id, self.run_id, f"eip.{task_id}")  # noqa: E731
        self.wait(f"triggerer for {task_id}", watched)
        time.sleep(_TRIGGER_START_SECONDS)

    def launched(self, count: int = 1) -> None:
        """Wait until the run has launched this number of clusters."""
        self.wait("cluster", lambda: len(self.environment.evidence(self.name).clusters_of(self.dag_id)) >= count)

    def step_runs(self) -> None:
        """Wait until a step of the run is running."""

        def running() -> bool:
            clusters = self.environment.evidence(self.name).clusters_of(self.dag_id)
            return any("RUNNING" in cluster.steps.values() for cluster in clusters)

        self.wait("running step", running)

    def mark(self, task_id: str, state: str) -> None:
        """Mark a task as success, failed or skipped."""
        self.rest.set_task_state(self.dag_id, self.run_id, f"eip.{task_id}", state)

    def clear(self, task_id: str, *, downstream: bool = False) -> None:
        self.rest.clear(self.dag_id, self.run_id, [f"eip.{task_id}"], downstream=downstream)

    def end(self) -> str:
        """Wait for the run's end and return its final state."""

        def final() -> str:
            state = self.rest.run_state(self.dag_id, self.run_id)
            return state if state in FINAL_RUN_STATES else ""

        return str(self.wait("end", final))

    def kill(self, task_id: str, *, supervisor: bool, number: int = signal.SIGTERM) -> None:
        """Send a signal to the process that runs a task's operator, or to its supervisor."""
        task = self.tasks()[task_id]
        pair = self.wait(f"process of {task_id}", lambda: self._processes(task), seconds=30)
        os.kill(pair[0 if supervisor else 1].pid, number)

    def _processes(self, task: TaskState) -> tuple[psutil.Process, psutil.Process] | None:
        """Return a task's supervisor and the process of its operator; ``None`` unless both exist."""
        scheduler = self.environment.airflow.scheduler_pid
        processes = task_processes(scheduler, lambda title: task.task_id if _names_task(title, task) else None)
        return processes.get(task.task_id)


def _names_task(title: str, task: TaskState) -> bool:
    """Whether a title is the one that Airflow gives to the two processes of a task."""
    words = title.replace("'", " ").replace(",", " ").split()
    airflow_2 = title.startswith("airflow task ") and task.dag_id in words and task.task_id in words
    return airflow_2 or task_of_title(title) == task.id


def summary(evidence: Evidence) -> str:
    """Return one line with every cluster, its steps, and what ended it."""
    clusters = [
        f"{c.job_flow_id[:6]}… ({c.dag_id.rsplit('_', maxsplit=1)[-1] if c.dag_id.endswith('_next') else 'first'}"
        f", token {c.token}): steps {json.dumps(sorted(c.steps.values()))}, ended by {c.ended_by}"
        for c in evidence.clusters
    ]
    return "; ".join(clusters) or "no cluster"
