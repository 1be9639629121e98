"""Reads runs and tries from Airflow's REST API and from the scheduler's log."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from harness.processes import ProcessError
from tests.real_airflow import Rest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PAGE = 100
_MAX_ATTEMPTS = 6


@dataclass(frozen=True, slots=True)
class Run:
    """A DAG run."""

    dag_id: str
    run_id: str
    state: str


@dataclass(frozen=True, slots=True)
class Try:
    """
    One try of a task.

    :param state: Airflow's state; None for a try that was cleared and is not scheduled again yet.
    :param started: real time; None for a try that never ran.
    """

    dag_id: str
    run_id: str
    task_id: str
    number: int
    state: str | None
    started: datetime | None
    ended: datetime | None
    id: str = ""

    @property
    def run(self) -> tuple[str, str]:
        """DAG id and run id."""
        return self.dag_id, self.run_id

    def at(self, *, zero: datetime, scale: float) -> Try:
        """Return this try with the times of a clock that has run ``scale`` times as fast since ``zero``."""

        def scaled(time: datetime | None) -> datetime | None:
            return zero + (time - zero) * scale if time else None

        return replace(self, started=scaled(self.started), ended=scaled(self.ended))


class SoakApi(Rest):
    """A client for runs and their tasks; it retries, because the machine is busy."""

    def create_run(self, dag_id: str, logical_date: datetime) -> str:
        """Create the run of a day and return its id; a retry after a lost answer does not create a second one."""
        run_id = f"soak__{logical_date:%Y-%m-%d}"
        body = {"dag_run_id": run_id, "logical_date": logical_date.isoformat()}
        with contextlib.suppress(_ExistsError):
            self._request("POST", f"/dags/{dag_id}/dagRuns", json=body)
        return run_id

    def runs(self, dag_id: str) -> list[Run]:
        listed = self._pages(f"/dags/{dag_id}/dagRuns", "dag_runs")
        return [Run(run["dag_id"], run["dag_run_id"], run["state"]) for run in listed]

    def active(self) -> list[Try]:
        """Return the task instances of all runs that are running or deferred."""
        states = ["running", "deferred"]
        listed = self._pages("/dags/~/dagRuns/~/taskInstances", "task_instances", state=states)
        return [_try(task) for task in listed]

    def tries(self, run: Run) -> list[Try]:
        """Return every try of every task of a run."""
        path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}/taskInstances"
        tries = []
        for task in self._pages(path, "task_instances"):
            answer = self._request("GET", f"{path}/{task['task_id']}/tries")
            tries += [_try(each) for each in answer["task_instances"]]
        return tries

    def _pages(self, path: str, name: str, **parameters: Any) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = []
        while True:
            page = {**parameters, "limit": _PAGE, "offset": len(entries)}
            answer = self._request("GET", path, params=page)
            entries += answer[name]
            if not answer[name] or len(entries) >= answer["total_entries"]:
                return entries

    def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        """
        Send a request, and retry while the api-server is too busy to answer.

        :raises ProcessError: when it refuses, or does not answer the last attempt.
        """
        last = ""
        for attempt in range(_MAX_ATTEMPTS):
            time.sleep(attempt)
            try:
                return super()._request(method, path, **arguments)
            except httpx.TransportError as error:
                last = repr(error)
            except ProcessError as error:
                if " with 409:" in str(error):
                    raise _ExistsError(str(error)) from error
                if " with 5" not in str(error):
                    raise
                last = str(error)
        raise ProcessError(f"Airflow does not answer {method} {path}: {last}")


class _ExistsError(ProcessError):
    """The object that was to be created exists already."""


def tries_without_heartbeat(scheduler_log: Path) -> frozenset[str]:
    """
    Return the ids of the tries that Airflow failed because of a missing heartbeat, by the scheduler's log.

    A task's supervisor sends the heartbeats. On a busy machine a live one may get no processor time to send them.
    """
    text = scheduler_log.read_text(encoding="utf-8", errors="replace") if scheduler_log.exists() else ""
    return frozenset(re.findall(r"Detected a task instance without a heartbeat: .*?\bid=UUID\('([0-9a-f-]+)'\)", text))


def _try(task: Mapping[str, Any]) -> Try:
    return Try(
        dag_id=task["dag_id"],
        run_id=task["dag_run_id"],
        task_id=task["task_id"],
        number=task["try_number"],
        state=task["state"],
        started=_time(task["start_date"]),
        ended=_time(task["end_date"]),
        id=task.get("id", ""),
    )


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
