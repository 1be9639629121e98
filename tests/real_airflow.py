"""
A real Airflow of any supported version, for tests that need its processes.

    children = Children(directory=state)
    airflow = real_airflow(children, venv=Path(".venv"), state=state, dags=dags, extra={...})
    airflow.migrate(); airflow.start(); airflow.wait_for_dags({...})
    run_id = airflow.rest.trigger("daily"); …; children.stop()

It uses LocalExecutor, with every wait inside Airflow shortened. The metadata database is a private PostgreSQL server
if PostgreSQL is installed (Debian: ``apt-get install postgresql``) and the environment has the drivers (psycopg2, and
asyncpg for Airflow 3). Otherwise Airflow 3 uses SQLite, which is too slow for many runs in parallel. Airflow 2, whose
tasks write to the database themselves, needs PostgreSQL.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.airflow import Airflow, AirflowRest
from harness.processes import ProcessError, free_port
from harness.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.processes import Child, Children

ROOT = Path(__file__).resolve().parent.parent
_POSTGRES_SECONDS = 60.0
# With these, Airflow notices a killed task after 10 to 12 seconds, and the end of a triggerer after 10.
_SHORT_WAITS = {
    "CORE__PARALLELISM": "16",
    "CORE__MAX_ACTIVE_TASKS_PER_DAG": "16",
    "CORE__KILLED_TASK_CLEANUP_TIME": "20",
    "SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "2",
    "SCHEDULER__TRIGGER_TIMEOUT_CHECK_INTERVAL": "2",
    "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
}
_SHORT_WAITS_3 = {
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "2",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "10",
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
}
_SHORT_WAITS_2 = {
    "SCHEDULER__LOCAL_TASK_JOB_HEARTBEAT_SEC": "2",
    "SCHEDULER__SCHEDULER_ZOMBIE_TASK_THRESHOLD": "10",
    "SCHEDULER__ZOMBIE_DETECTION_INTERVAL": "2",
    "SCHEDULER__PARSING_PROCESSES": "1",
}


def version_of(venv: Path) -> tuple[int, ...]:
    """
    Return the version of the Airflow in a virtual environment, e.g. ``(2, 11, 2)``.

    :raises ProcessError: when it has no Airflow.
    """
    code = "import importlib.metadata as m; print(m.version('apache-airflow'))"
    asked = subprocess.run([venv / "bin" / "python", "-c", code], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise ProcessError(f"there is no Airflow in {venv}: {asked.stderr.strip()[-400:]}")
    return tuple(int(part) for part in asked.stdout.strip().split(".")[:3])


def real_airflow(
    children: Children, *, venv: Path, state: Path, dags: Path, extra: Mapping[str, str], port: int | None = None
) -> RealAirflow:
    """
    Return an Airflow that is not started yet, with this source tree on its import path.

    :param venv: where it is installed.
    :param extra: connections, Variables and settings, as environment variables; they override all others.
    """
    version = version_of(venv)
    made = RealAirflow if version >= (3,) else RealAirflow2
    waits = _SHORT_WAITS | (_SHORT_WAITS_3 if version >= (3,) else _SHORT_WAITS_2)
    environment = {
        # Airflow 2 starts gunicorn by name; it must be the one of this environment.
        "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        **{f"AIRFLOW__{name}": value for name, value in waits.items()},
        **extra,
    }
    postgres = None
    programs = _postgres_programs()
    if programs and _has(venv, "psycopg2") and (version < (3,) or _has(venv, "asyncpg")):
        postgres = Postgres(children, programs=programs, directory=state / "postgres")
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = f"postgresql+psycopg2://{postgres.place}"
        environment["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC"] = f"postgresql+asyncpg://{postgres.place}"
    elif version < (3,):
        raise ProcessError(
            f"Airflow 2 needs PostgreSQL; install that (Debian: postgresql), and psycopg2-binary into {venv}"
        )
    python = str(venv / "bin" / "python")
    airflow = made(children, home=state / "airflow", dags=dags, extra=environment, port=port, python=python)
    airflow.postgres = postgres
    return airflow


def _has(venv: Path, module: str) -> bool:
    asked = subprocess.run([venv / "bin" / "python", "-c", f"import {module}"], capture_output=True, check=False)
    return asked.returncode == 0


class Rest(AirflowRest):
    """A REST client that can also change tasks and runs, as a person does in the UI."""

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark one task as success, failed or skipped."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self._request("PATCH", path, json={"new_state": state, **self._really()})

    def set_run_state(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as success or failed."""
        self._request("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", json={"state": state})

    def clear(self, dag_id: str, run_id: str, task_ids: Iterable[str], *, downstream: bool) -> None:
        """Clear tasks, so that they run again."""
        request = {
            "dag_run_id": run_id,
            "task_ids": list(task_ids),
            "dry_run": False,
            "only_failed": False,
            "only_running": False,
            "include_downstream": downstream,
            "reset_dag_runs": True,
        }
        self._request("POST", f"/dags/{dag_id}/clearTaskInstances", json=request)

    def delete_dag(self, dag_id: str) -> None:
        """Delete a DAG from Airflow's database; its file stays."""
        self._request("DELETE", f"/dags/{dag_id}")

    def run_ids(self, dag_id: str, *, state: str) -> list[str]:
        """Return the ids of a DAG's runs in a state, oldest first."""
        asked = {"state": state, "order_by": "run_after", "limit": 100}
        return [
            str(run["dag_run_id"]) for run in self._request("GET", f"/dags/{dag_id}/dagRuns", params=asked)["dag_runs"]
        ]

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return what a task pushed; ``None`` when there is nothing."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        try:
            return self._request("GET", path)["value"]
        except ProcessError:
            return None

    def is_watched(self, dag_id: str, run_id: str, task_id: str) -> bool:
        """Whether a triggerer runs the deferred task's trigger."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        return bool(self._request("GET", path).get("triggerer_job"))

    def _really(self) -> dict[str, Any]:
        return {}


class Rest2(Rest):
    """The same for Airflow 2, whose API v1 needs no login here."""

    api = "/api/v1"
    components = ("metadatabase", "scheduler", "triggerer")

    @property
    def _health_path(self) -> str:
        return f"{self.api}/health"

    def _run_request(self) -> dict[str, Any]:
        return {}

    def _really(self) -> dict[str, Any]:
        return {"dry_run": False}

    def _authorise(self) -> None:
        pass


class RealAirflow(Airflow):
    """Airflow 3, whose triggerers can be killed, stopped and multiplied."""

    rest: Rest
    postgres: Postgres | None = None

    def migrate(self) -> None:
        """Create the metadata database."""
        if self.postgres is not None:
            self.postgres.start()
        super().migrate()

    def _client(self) -> AirflowRest:
        return Rest(self.url)

    @property
    def triggerers(self) -> list[str]:
        """The names of the triggerers that run."""
        return [name for name in self._processes if name.startswith("triggerer")]

    def pid_of(self, name: str = "triggerer") -> int:
        """Return the process id of a component; a triggerer's supervises the process with the triggers."""
        return self._processes[name].process.pid

    def start_triggerer(self, name: str = "triggerer") -> None:
        """
        Start a triggerer.

        :param name: begins with "triggerer".
        """
        command = self._command("triggerer", "--skip-serve-logs")
        self._processes[name] = self._children.start(f"airflow-{name}", command, env=self._env)

    def end_triggerer(self, name: str = "triggerer", *, number: int = signal.SIGKILL) -> None:
        """End a triggerer and all its processes, as the loss of its container does."""
        self._children.end(self._processes.pop(name), number=number)

    def signal_triggerer(self, name: str, number: int) -> None:
        """Send a signal to a triggerer and all its processes, e.g. SIGSTOP."""
        os.killpg(self._processes[name].process.pid, number)


class RealAirflow2(RealAirflow):
    """Airflow 2: a webserver, a scheduler and a triggerer."""

    rest: Rest

    def _client(self) -> AirflowRest:
        return Rest2(self.url)

    def _settings(self, dags: Path) -> dict[str, str]:
        three = super()._settings(dags)
        dropped = ("AIRFLOW__API", "AIRFLOW__DAG_PROCESSOR", "AIRFLOW__CORE__SIMPLE", "AIRFLOW__CORE__EXECUTION")
        kept = {name: value for name, value in three.items() if not name.startswith(dropped)}
        options = {
            "WEBSERVER__SECRET_KEY": three["AIRFLOW__API__SECRET_KEY"],
            "WEBSERVER__CONFIG_FILE": str(self.home / "webserver_config.py"),
            # On a busy machine the webserver creates the permissions of all roles for minutes.
            "WEBSERVER__WEB_SERVER_MASTER_TIMEOUT": "600",
            "WEBSERVER__WORKER_REFRESH_INTERVAL": "0",
            "API__AUTH_BACKENDS": "airflow.api.auth.backend.default",
        }
        return kept | {f"AIRFLOW__{name}": value for name, value in options.items()}

    def _commands(self) -> list[tuple[str, ...]]:
        web = ("webserver", "--hostname", "127.0.0.1", "--port", str(self._port), "--workers", "1")
        return [web, ("scheduler",), ("triggerer", "--skip-serve-logs")]

    def migrate(self) -> None:
        """Create the metadata database, and the webserver's configuration."""
        super().migrate()
        (self.home / "webserver_config.py").write_text("AUTH_ROLE_PUBLIC = 'Admin'\nWTF_CSRF_ENABLED = False\n")


class Postgres:
    """A private PostgreSQL server; for root it runs as the user postgres, because it refuses to run as root."""

    def __init__(self, children: Children, *, programs: Path, directory: Path) -> None:
        self._children = children
        self._programs = programs
        self._directory = directory
        self._port = free_port()
        self.place = f"airflow@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        """
        Create a database and start the server.

        :raises ProcessError: when it does not answer in time.
        """
        self._directory.mkdir(parents=True)
        as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(self._directory, "postgres")
            as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]
        env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
        data = str(self._directory / "data")
        init = [str(self._programs / "initdb"), "-D", data, "-U", "airflow", "--auth=trust", "-E", "UTF8"]
        self._children.run("postgres-init", [*as_user, *init], env=env, timeout_seconds=_POSTGRES_SECONDS)
        serve = [str(self._programs / "postgres"), "-D", data, "-p", str(self._port), "-c", "max_connections=300"]
        serve += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k", str(self._directory)]
        server = self._children.start("postgres", [*as_user, *serve], env=env)
        self._wait(server, [str(self._programs / "pg_isready"), "-h", "127.0.0.1", "-p", str(self._port)])

    def _wait(self, server: Child, ready: list[str]) -> None:
        def is_ready() -> bool:
            self._children.check()
            return subprocess.run(ready, capture_output=True, check=False).returncode == 0

        problem = f"PostgreSQL does not answer after {_POSTGRES_SECONDS:.0f} s; its log: {server.log}"
        wait_for(is_ready, seconds=_POSTGRES_SECONDS, error=lambda: ProcessError(problem))


def _postgres_programs() -> Path | None:
    """Return the folder of the newest PostgreSQL server's programs."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return debian[-1].parent if debian else None
