"""A real Airflow: its processes, its settings, and a small client of its REST API."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import httpx

from harness.processes import LOCAL_ONLY, ProcessError, free_port
from harness.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from harness.processes import Child, Children

_MIGRATE_SECONDS = 120.0
_HEALTHY_SECONDS = 600.0
_PARSED_SECONDS = 240.0
# All processes of a small Airflow write one SQLite file. On a slow disk, one may wait longer for it than the 5 s after
# which Python gives up by default ("database is locked"). A request waits longer than that, to read the error.
_BUSY_SECONDS = 60
_REQUEST_SECONDS = 90.0
# Airflow's answer has the SQL statement before the database's own error.
_ERROR_CHARACTERS = 4000
_PRELOAD_PLUGIN = Path(__file__).with_name("preload_plugin.py")
FINAL_RUN_STATES = frozenset({"success", "failed"})


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """
    A task instance, as Airflow's API describes it.

    :param deferred_since: when its trigger was created; None unless it is deferred.
    """

    id: str
    dag_id: str
    task_id: str
    state: str | None
    try_number: int
    deferred_since: datetime | None


def sqlite_url(path: Path) -> str:
    """Return the URL of a metadata database in a file, whose connections wait a minute for the lock of the file."""
    return f"sqlite:///{path}?timeout={_BUSY_SECONDS}"


def aws_connection(url: str, *, region: str) -> str:
    """Return the URI of an AWS connection to a local EMR, for ``AIRFLOW_CONN_AWS_DEFAULT``."""
    return f"aws://testing:testing@/?{urlencode({'endpoint_url': url, 'region_name': region})}"


def settings(*, home: Path, dags: Path, port: int) -> dict[str, str]:
    """Return the environment variables of a small Airflow that listens on this machine only."""
    address = f"http://127.0.0.1:{port}"
    options = {
        "CORE__DAGS_FOLDER": str(dags),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
        "CORE__EXECUTION_API_SERVER_URL": f"{address}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": sqlite_url(home / "airflow.db"),
        "API__BASE_URL": address,
        # Errors then include the database's message; the log has the SQL statement only.
        "API__EXPOSE_STACKTRACE": "True",
        "API__SECRET_KEY": secrets.token_urlsafe(32),
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        # Runs are started through the API; a daily run that is due now would be one more.
        "SCHEDULER__USE_JOB_SCHEDULE": "False",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {"AIRFLOW_HOME": str(home)} | {f"AIRFLOW__{name}": value for name, value in options.items()}


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment, without its settings of Airflow and AWS, and with further variables."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
    return {**kept, **LOCAL_ONLY, "PYTHONUNBUFFERED": "1", **extra}


class Airflow:
    """
    An api-server, a scheduler with LocalExecutor, a dag-processor and a triggerer over a SQLite database.

    :param home: ``AIRFLOW_HOME``, which is created.
    :param extra: connections, Variables and further settings, as environment variables.
    :param python: the interpreter of the environment in which Airflow is installed.
    :param report_progress: is called with what is being waited for, whenever that changes.
    """

    def __init__(
        self,
        children: Children,
        *,
        home: Path,
        dags: Path,
        extra: Mapping[str, str],
        port: int | None = None,
        python: str = sys.executable,
        report_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._children = children
        self._report_progress = report_progress
        self._port = port or free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.home = home
        self.rest = self._client()
        self._python = python
        self._env = clean_environment({**self._settings(dags), **extra})
        self._processes: dict[str, Child] = {}

    def _client(self) -> AirflowRest:
        return AirflowRest(self.url)

    def _settings(self, dags: Path) -> dict[str, str]:
        return settings(home=self.home, dags=dags, port=self._port)

    def _commands(self) -> list[tuple[str, ...]]:
        api = ("api-server", "--host", "127.0.0.1", "--port", str(self._port), "--workers", "1")
        return [api, ("scheduler",), ("dag-processor",), ("triggerer",)]

    @property
    def scheduler_pid(self) -> int:
        """ID of the process whose descendants run the tasks."""
        return self._processes["scheduler"].process.pid

    def migrate(self) -> None:
        """Create the metadata database."""
        self.finish_migration(self.begin_migration())

    def begin_migration(self) -> Child:
        """Start to create the metadata database, in another process."""
        self.home.mkdir(parents=True)
        return self._children.start("airflow-db-migrate", self._command("db", "migrate"), env=self._env)

    def finish_migration(self, migration: Child) -> None:
        """
        Wait until the metadata database exists.

        :raises ProcessError: when the migration fails.
        """
        self._children.finish(migration, timeout_seconds=_MIGRATE_SECONDS)

    def configure(self, extra: Mapping[str, str]) -> None:
        """Add settings before the start."""
        self._env.update(extra)

    def preload(self) -> None:
        """Install the plugin that imports for all tasks what they need, before the start."""
        folder = self.home / "plugins"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(_PRELOAD_PLUGIN, folder)

    def start(self) -> None:
        """
        Start the processes and wait until every component is healthy.

        :raises ProcessError: when one is not healthy in time.
        """
        self.start_processes()
        self._wait("healthy", self.rest.unhealthy, seconds=_HEALTHY_SECONDS)

    def start_processes(self) -> None:
        """Start the processes."""
        for arguments in self._commands():
            name = arguments[0]
            self._processes[name] = self._children.start(f"airflow-{name}", self._command(*arguments), env=self._env)

    def _command(self, *arguments: str) -> list[str]:
        return [self._python, "-m", "airflow", *arguments]

    def wait_for_dags(self, dag_ids: set[str]) -> None:
        """
        Wait until the dag-processor has parsed the DAGs.

        :raises ProcessError: when one has not appeared in time, with Airflow's import errors.
        """

        def missing() -> str:
            absent = dag_ids - self.rest.dag_ids()
            return f"DAGs not parsed yet: {sorted(absent)}" if absent else ""

        try:
            self._wait("ready to run the DAGs", missing, seconds=_PARSED_SECONDS)
        except ProcessError as error:
            raise ProcessError("\n".join([str(error), *self.rest.import_errors()])) from error

    def _wait(self, state: str, problem: Callable[[], str], *, seconds: float) -> None:
        last = "no answer"

        def is_solved() -> bool:
            nonlocal last
            self._children.check()
            before = last
            try:
                last = problem()
            except httpx.TransportError as error:
                last = f"{self.url} does not answer ({error})"
            if last and last != before:
                self._report_progress(last)
            return not last

        def too_late() -> ProcessError:
            logs = ", ".join(str(child.log) for child in self._processes.values())
            return ProcessError(f"Airflow is not {state} after {seconds:.0f} s: {last}; see {logs}")

        wait_for(is_solved, seconds=seconds, error=too_late)


class AirflowRest:
    """A client of Airflow's REST API v2; the simple auth manager makes every user an admin."""

    api = "/api/v2"
    components: tuple[str, ...] = ("metadatabase", "scheduler", "triggerer", "dag_processor")

    def __init__(self, url: str, *, timeout_seconds: float = _REQUEST_SECONDS) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout_seconds, trust_env=False)
        self._authorised = False

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    @property
    def _health_path(self) -> str:
        return f"{self.api}/monitor/health"

    def unhealthy(self) -> str:
        """Return which components are not healthy yet; an empty text if all are."""
        health = self._http.get(self._health_path).raise_for_status().json()
        states = {name: (health.get(name) or {}).get("status") for name in self.components}
        return ", ".join(f"{name} is {state}" for name, state in states.items() if state != "healthy")

    def dag_ids(self) -> set[str]:
        """Return the ids of the DAGs that Airflow has parsed."""
        return {dag["dag_id"] for dag in self._request("GET", "/dags", params={"limit": 100})["dags"]}

    def import_errors(self) -> list[str]:
        """Return why DAG files could not be imported."""
        errors = self._request("GET", "/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    def unpause(self, dag_id: str) -> None:
        """Unpause a DAG."""
        self._request("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(self, dag_id: str) -> str:
        """Start a run and return its id."""
        run = self._request("POST", f"/dags/{dag_id}/dagRuns", json=self._run_request())
        return str(run["dag_run_id"])

    def _run_request(self) -> dict[str, Any]:
        return {"logical_date": None}

    def run_state(self, dag_id: str, run_id: str) -> str:
        """Return the state of a run."""
        return str(self._request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return the task instances of a run."""
        listed = self._request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return [_task_state(task) for task in listed]

    def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        if not self._authorised:
            self._authorise()
            self._authorised = True
        answer = self._http.request(method, self.api + path, **arguments)
        if answer.is_error:
            text = answer.text[:_ERROR_CHARACTERS]
            raise ProcessError(f"Airflow refused {method} {path} with {answer.status_code}: {text}")
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body

    def _authorise(self) -> None:
        token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"


def _task_state(task: Mapping[str, Any]) -> TaskState:
    trigger = task.get("trigger")
    since = trigger["created_date"] if trigger and task["state"] == "deferred" else None
    return TaskState(
        # Airflow 2 has no id of a task instance.
        id=task.get("id") or f"{task['dag_id']}/{task['dag_run_id']}/{task['task_id']}",
        dag_id=task["dag_id"],
        task_id=task["task_id"],
        state=task["state"],
        try_number=task["try_number"],
        deferred_since=datetime.fromisoformat(since) if since else None,
    )
