"""
The processes of Airflow: one runs a phase of a task in Airflow's task runner, or a trigger in an event loop.

The other end of the pipe is the scheduler, the database and the clock. If this process is killed, only what it has sent
counts.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import structlog
from airflow.sdk.api.datamodels._generated import DagRun, DagRunState, DagRunType, TIRunContext
from airflow.sdk.execution_time import task_runner
from airflow.sdk.serde import deserialize

from airflow_eip_provider import clock
from airflow_eip_provider.triggers.poller import Poller
from harness.polling import passing
from tests.verification.chaos import plans

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

    from tests.verification.chaos.plans import Plan, Stage

RUN_ID = "daily"
_ON_THE_CLOCK = ("airflow_eip_provider.", "airflow.providers.amazon.", "botocore.", "aiobotocore.")


@dataclass(frozen=True, slots=True)
class Job:
    """
    The job of a process.

    :param environment: environment variables of the process.
    :param log: the file for its output.
    """

    plan: Plan
    stage: Stage
    environment: dict[str, str]
    log: str


@dataclass(frozen=True, slots=True)
class Phase(Job):
    """One phase of a task."""

    ti_id: UUID
    task_id: str
    try_number: int
    next_method: str | None = None
    next_kwargs: Any = None


@dataclass(frozen=True, slots=True)
class Wait(Job):
    """A trigger's wait."""

    classpath: str
    kwargs: Any


class Parent:
    """The other end of the pipe, which answers one message at a time."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.Lock()

    def ask(self, kind: str, *content: Any) -> Any:
        """Send a message and return the answer."""
        with self._lock:
            self._pipe.send((kind, *content))
            return self._pipe.recv()

    def send(self, msg: Any) -> Any:
        """Act as the supervisor of the task runner."""
        return self.ask("supervisor", msg)

    async def asend(self, msg: Any) -> Any:
        """Act as the supervisor, for asynchronous callers."""
        return self.send(msg)


class _Module:
    """A module with some of its names replaced."""

    def __init__(self, module: Any, **replaced: Any) -> None:
        self._module = module
        self.__dict__.update(replaced)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)


def run(job: Job, pipe: Connection) -> None:
    parent = Parent(pipe)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.environ.update(job.environment)
    with _simulated_time(parent):
        if isinstance(job, Phase):
            _run_task(job, parent)
        elif isinstance(job, Wait):
            _run_trigger(job, parent)


@contextmanager
def _simulated_time(parent: Parent) -> Iterator[None]:
    """Let this provider, the Amazon provider and botocore use the parent's clock."""

    async def sleep_async(seconds: float) -> None:
        parent.ask("sleep", seconds)

    def now() -> float:
        return float(parent.ask("now"))

    def sleep(seconds: float) -> None:
        parent.ask("sleep", seconds)

    simulated = _Module(time, time=now, monotonic=now, sleep=sleep)
    loop = _Module(asyncio, sleep=sleep_async)
    Poller._pause = passing(sleep)  # type: ignore[method-assign]
    for name, module in tuple(sys.modules.items()):
        if name.startswith(_ON_THE_CLOCK):
            if getattr(module, "time", None) is time:
                module.time = simulated  # type: ignore[attr-defined]
            if getattr(module, "asyncio", None) is asyncio:
                module.asyncio = loop  # type: ignore[attr-defined]
    with clock.used(simulated):
        yield


def _run_task(phase: Phase, parent: Parent) -> None:
    now = datetime.now(UTC)
    dag_run = DagRun(
        dag_id="chaos",
        run_id=RUN_ID,
        logical_date=now,
        data_interval_start=now,
        data_interval_end=now,
        run_after=now,
        start_date=now,
        end_date=None,
        run_type=DagRunType.MANUAL,
        state=DagRunState.RUNNING,
        consumed_asset_events=[],
        partition_key=None,
    )
    from_server = TIRunContext(
        dag_run=dag_run,
        max_tries=plans.RETRIES,
        next_method=phase.next_method,
        next_kwargs=phase.next_kwargs,
        should_retry=phase.try_number <= plans.RETRIES,
    )
    ti = task_runner.RuntimeTaskInstance.model_construct(
        id=phase.ti_id,
        task_id=phase.task_id,
        dag_id="chaos",
        run_id=RUN_ID,
        try_number=phase.try_number,
        dag_version_id=UUID(int=0),
        map_index=-1,
        task=plans.build(phase.plan, phase.stage).get_task(phase.task_id),
        bundle_instance=None,
        _ti_context_from_server=from_server,
        max_tries=plans.RETRIES,
        start_date=now,
    )
    log = structlog.get_logger("task")
    task_runner.SUPERVISOR_COMMS = parent
    context = ti.get_template_context()
    state, _, error = task_runner.run(ti, context, log)
    task_runner.finalize(ti, state, context, log, error)


def _run_trigger(wait: Wait, parent: Parent) -> None:
    module, name = wait.classpath.rsplit(".", 1)
    trigger = getattr(importlib.import_module(module), name)(**deserialize(wait.kwargs))
    try:
        event = asyncio.run(_first(trigger))
    except Exception as error:  # as in the triggerer, the task is then resumed as failed
        structlog.get_logger("trigger").exception("the trigger failed")
        parent.ask("failed", f"{type(error).__name__}: {error}")
    else:
        parent.ask("event", event.payload)


async def _first(trigger: Any) -> Any:
    async for event in trigger.run():
        return event
    raise AssertionError("the trigger ended without an event")
