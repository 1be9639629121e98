"""Follows docs/tutorial/first-run.md in an empty directory, with the built wheels and the page's own commands."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from harness.processes import free_port
from harness.wait import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.airflow

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "tutorial" / "first-run.md").read_text(encoding="utf-8")
_INSTALL_SECONDS = 2400.0  # two minutes of CPU; a busy machine took more than twelve
_READY_SECONDS = 600.0
_RUN_SECONDS = 900.0


def section(heading: str) -> str:
    (found,) = re.findall(rf"^## \d\. {heading}\n(.*?)(?=^## )", PAGE, re.DOTALL | re.MULTILINE)
    return found


def commands(heading: str) -> str:
    return "".join(re.findall(r"```console\n(.*?)```", section(heading), re.DOTALL))


def files() -> dict[str, str]:
    """Return the files of the page: the blocks whose first line is a comment with a path."""
    blocks = re.findall(r"```\w+\n(# ([\w/]+\.(?:sh|py))\n.*?)```", PAGE, re.DOTALL)
    return {path: text for text, path in blocks}


class Reader:
    """Follows the page, on free ports."""

    def __init__(self, directory: Path, wheels: Path) -> None:
        self.directory = directory
        self.aws_port, self.airflow_port = free_port(), free_port()
        url = f"http://127.0.0.1:{self.airflow_port}"
        self.url = url
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_", "PYTHON"))
        }
        self.environment = clean | {
            "PATH": f"{Path(sys.executable).resolve().parent}:{clean['PATH']}",
            "NO_PROXY": "127.0.0.1,localhost",
            # In place of PyPI: the two built wheels, and all other packages in the tested versions.
            "PIP_FIND_LINKS": str(wheels),
            "PIP_CONSTRAINT": str(ROOT / "requirements" / "dev.txt"),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            # Free ports, and a longer timeout for a busy machine.
            "AIRFLOW__API__PORT": str(self.airflow_port),
            "AIRFLOW__API__BASE_URL": url,
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(free_port()),
            "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        }
        self._started: list[subprocess.Popen[bytes]] = []

    def on_free_ports(self, text: str) -> str:
        return text.replace("5055", str(self.aws_port)).replace("8080", str(self.airflow_port))

    def save(self, path: str, text: str) -> None:
        (self.directory / path).write_text(self.on_free_ports(text), encoding="utf-8")

    def run(self, script: str, *, seconds: float = 300.0, check: bool = True) -> str:
        """Run commands in a new shell until one fails."""
        done = subprocess.run(
            ["bash", "-e", "-c", self.on_free_ports(script)],
            cwd=self.directory,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        assert not check or done.returncode == 0, f"{script}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
        return done.stdout if done.returncode == 0 else ""

    def leave_running(self, script: str, log: str) -> None:
        """Start commands that keep running, as in a terminal that stays open."""
        with (self.directory / log).open("wb") as output:
            self._started.append(
                subprocess.Popen(
                    ["bash", "-e", "-c", self.on_free_ports(script)],
                    cwd=self.directory,
                    env=self.environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            )

    def wait(self, what: str, condition: Any, *, seconds: float, log: str) -> Any:
        def failure() -> AssertionError:
            return AssertionError(f"{what}: {(self.directory / log).read_text(errors='replace')[-4000:]}")

        def answer() -> Any:
            if any(process.poll() is not None for process in self._started):
                raise failure()
            return condition()

        return wait_for(answer, seconds=seconds, error=failure, pause_seconds=2)

    def end(self) -> None:
        """Send SIGINT to each command, like Ctrl-C, and kill those that do not end."""
        for process in reversed(self._started):
            os.killpg(process.pid, signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(30)

    def answers(self, port: int, *, host: str = "127.0.0.1") -> bool:
        with socket.socket() as trial:
            trial.settimeout(1)
            return trial.connect_ex((host, port)) == 0

    def get(self, path: str) -> Any:
        try:
            return httpx.get(f"{self.url}/api/v2{path}", timeout=30, trust_env=False).raise_for_status().json()
        except httpx.HTTPError:
            return None


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    wheels, directory = tmp_path / "wheels", tmp_path / "empty"
    directory.mkdir()
    builds = re.findall(r"^python -m build (.*)$", section("Install"), re.MULTILINE)
    assert len(builds) == 2
    for arguments in builds:
        words = [str(wheels) if word == "dist" else word for word in arguments.split()]
        subprocess.run(
            [sys.executable, "-m", "build", "--no-isolation", *words], cwd=ROOT, check=True, capture_output=True
        )
    made = Reader(directory, wheels)
    yield made
    made.end()


def test_the_commands_of_the_page_lead_to_a_successful_run(reader):
    reader.run(commands("Install"), seconds=_INSTALL_SECONDS)
    installed = reader.run("venv/bin/python -c 'import airflow_eip_provider, local_emr; print(local_emr.__file__)'")
    assert str(reader.directory) in installed, "the wheel, not this source tree"
    assert files().keys() == {"settings.sh", "dags/first.py"}
    for path, text in files().items():
        reader.save(path, text)

    reader.leave_running(commands("Start the local EMR"), "local-emr.log")
    reader.wait("the local EMR", lambda: reader.answers(reader.aws_port), seconds=_READY_SECONDS, log="local-emr.log")
    assert reader.run(commands("Allocate an Elastic IP")).startswith("eipalloc-")
    reader.leave_running(commands("Start Airflow"), "standalone.log")
    reader.wait("the DAG", lambda: reader.get("/dags/first"), seconds=_READY_SECONDS, log="standalone.log")
    assert not reader.answers(reader.airflow_port, host="127.0.0.2"), "without a login, on this address only"
    trigger, look = re.findall(r"```console\n(.*?)```", section("Run the DAG"), re.DOTALL)
    reader.run(trigger)

    def ended() -> str | None:
        runs = (reader.get("/dags/first/dagRuns") or {"dag_runs": []})["dag_runs"]
        return next((run["state"] for run in runs if run["state"] in {"success", "failed"}), None)

    state = reader.wait("the run", ended, seconds=_RUN_SECONDS, log="standalone.log")
    tasks = reader.get("/dags/first/dagRuns/~/taskInstances")["task_instances"]
    table = re.findall(r"^\| `([\w.]+)` \|", section("Run the DAG"), re.MULTILINE)
    assert (state, {task["task_id"]: task["state"] for task in tasks}) == ("success", dict.fromkeys(table, "success"))

    shown = reader.run(f". ./settings.sh\n{look}")
    assert "first" in shown
    assert "tutorial/first/" in shown, "status shows the last owner of the address"
    calls = httpx.get(f"http://127.0.0.1:{reader.aws_port}/_local/events", trust_env=False).json()["events"]
    associations = [event["request"] for event in calls if event.get("operation") == "AssociateAddress"]
    assert associations
    assert all(request["AllowReassociation"] in {False, "false"} for request in associations if "DryRun" not in request)
