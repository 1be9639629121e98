"""A real Airflow for the demo: its processes, its settings, and a small client of its REST API."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx

from harness.processes import ProcessError, free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from harness.processes import Child, Children

_MIGRATE_SECONDS = 120.0
_HEALTHY_SECONDS = 600.0
_PARSED_SECONDS = 240.0
# All processes of a small Airflow write one SQLite file. Behind a slow disk, one may wait longer for it than the 5 s
# after which Python gives up by default ("database is locked"). A request waits longer than that, to read the error.
_BUSY_SECONDS = 60
_REQUEST_SECONDS = 90.0
# So much of an error; Airflow's answer has the SQL statement before the database's own error.
_ERROR_CHARACTERS = 4000
_COMPONENTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
# A proxy of this machine's user has no business with 127.0.0.1.
LOCAL_ONLY = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
FINAL_RUN_STATES = frozenset({"success", "failed"})


@dataclass(frozen=True, kw_only=True)
class TaskState:
    """
    What Airflow says of a task instance.

    :param deferred_since: when the trigger that it waits for was made; None unless it is deferred.
    """

    id: str
    dag_id: str
    task_id: str
    state: str | None
    try_number: int
    deferred_since: datetime | None


def sqlite_url(path: Path) -> str:
    """Return the address of a metadata database in a file, whose connections wait long for another one's write."""
    return f"sqlite:///{path}?timeout={_BUSY_SECONDS}"


def settings(*, home: Path, dags: Path, port: int) -> dict[str, str]:
    """Return the environment that makes Airflow small, private to this machine, and the demo's own."""
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
        # The answer then says what the database refused; the log has the SQL statement only.
        "API__EXPOSE_STACKTRACE": "True",
        "API__SECRET_KEY": secrets.token_urlsafe(32),
        "API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
        # The demo starts its runs itself; a daily run that is due right now would make a third one.
        "SCHEDULER__USE_JOB_SCHEDULE": "False",
        "DAG_PROCESSOR__PARSING_PROCESSES": "1",
        "LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
        "USAGE_DATA_COLLECTION__ENABLED": "False",
    }
    return {"AIRFLOW_HOME": str(home)} | {f"AIRFLOW__{name}": value for name, value in options.items()}


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment without anybody's Airflow or AWS settings, and with those of the demo."""
    mine = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
    return {**mine, **LOCAL_ONLY, "PYTHONUNBUFFERED": "1", **extra}


class Airflow:
    """
    An api-server, a scheduler with LocalExecutor, a dag-processor and a triggerer over a SQLite database.

    :param home: ``AIRFLOW_HOME``, made by the demo.
    :param extra: connections, Variables and further settings, as environment variables.
    :param python: of the environment that Airflow is installed in.
    :param tell: is told what is being waited for, whenever that changes.
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
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._children = children
        self._tell = tell
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
        """The process whose descendants run the tasks."""
        return self._processes["scheduler"].process.pid

    def migrate(self) -> None:
        """Make the metadata database."""
        self.finish_migration(self.begin_migration())

    def begin_migration(self) -> Child:
        """Begin to make the metadata database, in a process beside this one."""
        self.home.mkdir(parents=True)
        return self._children.start("airflow-db-migrate", self._command("db", "migrate"), env=self._env)

    def finish_migration(self, migration: Child) -> None:
        """
        Wait until the metadata database is there.

        :raises ProcessError: when it does not come to that.
        """
        self._children.finish(migration, timeout_seconds=_MIGRATE_SECONDS)

    def configure(self, extra: Mapping[str, str]) -> None:
        """Add settings before the start."""
        self._env.update(extra)

    def preload(self, plugin: Path) -> None:
        """
        Install a plugin before the start.

        What it imports, the scheduler has imported, and so have the processes of the tasks, which it forks.
        """
        folder = self.home / "plugins"
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(plugin, folder)

    def start(self) -> None:
        """Start the processes and wait until each says that it is healthy."""
        self.start_processes()
        self.wait_until_healthy()

    def start_processes(self) -> None:
        """Start the processes."""
        for arguments in self._commands():
            name = arguments[0]
            self._processes[name] = self._children.start(f"airflow-{name}", self._command(*arguments), env=self._env)

    def wait_until_healthy(self) -> None:
        """
        Wait until every component says that it is healthy.

        :raises ProcessError: when one does not in time.
        """
        self._wait("healthy", self.rest.unhealthy, seconds=_HEALTHY_SECONDS)

    def _command(self, *arguments: str) -> list[str]:
        return [self._python, "-m", "airflow", *arguments]

    def wait_for_dags(self, dag_ids: set[str]) -> None:
        """
        Wait until the dag-processor has read the DAGs.

        :raises ProcessError: when one has not appeared in time, with the import errors that Airflow has.
        """

        def missing() -> str:
            absent = dag_ids - self.rest.dag_ids()
            return f"DAGs not read yet: {sorted(absent)}" if absent else ""

        try:
            self._wait("ready to run the DAGs", missing, seconds=_PARSED_SECONDS)
        except ProcessError as error:
            raise ProcessError("\n".join([str(error), *self.rest.import_errors()])) from error

    def _wait(self, what: str, problem: Any, *, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        last = told = "no answer"
        while time.monotonic() < deadline:
            self._children.check()
            try:
                last = problem()
            except httpx.TransportError as error:
                last = f"{self.url} does not answer ({error})"
            if not last:
                return
            if last != told:
                self._tell(last)
                told = last
            time.sleep(0.5)
        logs = ", ".join(str(child.log) for child in self._processes.values())
        raise ProcessError(f"Airflow is not {what} after {seconds:.0f} s: {last}; see {logs}")


class AirflowRest:
    """Airflow's REST API v2, as the admin that the simple auth manager lets anyone be on this machine."""

    api = "/api/v2"
    components = _COMPONENTS

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
        """Return which components are not healthy yet; nothing when all are."""
        health = self._http.get(self._health_path).raise_for_status().json()
        states = {name: (health.get(name) or {}).get("status") for name in self.components}
        return ", ".join(f"{name} is {state}" for name, state in states.items() if state != "healthy")

    def dag_ids(self) -> set[str]:
        """Return the ids of the DAGs that Airflow knows."""
        return {dag["dag_id"] for dag in self._request("GET", "/dags", params={"limit": 100})["dags"]}

    def import_errors(self) -> list[str]:
        """Return why DAG files could not be read."""
        errors = self._request("GET", "/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler start the runs of a DAG that is paused when it is new."""
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
        found = self._request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
        return [_task_state(task) for task in found]

    def _request(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        if not self._authorised:
            self._authorise()
            self._authorised = True
        answer = self._http.request(method, self.api + path, **arguments)
        if answer.is_error:
            said = answer.text[:_ERROR_CHARACTERS]
            raise ProcessError(f"Airflow refused {method} {path} with {answer.status_code}: {said}")
        body: dict[str, Any] = answer.json() if answer.content else {}
        return body

    def _authorise(self) -> None:
        token = self._http.get("/auth/token").raise_for_status().json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"


def _task_state(task: Mapping[str, Any]) -> TaskState:
    trigger = task.get("trigger")
    since = trigger["created_date"] if trigger and task["state"] == "deferred" else None
    return TaskState(
        # Airflow 2 has no such id.
        id=task.get("id") or f"{task['dag_id']}/{task['dag_run_id']}/{task['task_id']}",
        dag_id=task["dag_id"],
        task_id=task["task_id"],
        state=task["state"],
        try_number=task["try_number"],
        deferred_since=datetime.fromisoformat(since) if since else None,
    )
