"""The stack, controlled with compose as a user does it, in a copy of the project and on free ports."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import httpx

from demo.aws import AwsClient
from harness.airflow import AirflowRest
from harness.processes import free_port
from tests.verification.compose.engine import ROOT, EngineError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROJECT = "airflow-eip-compose-test"
_COMMAND_SECONDS = 3600.0
_HEALTHY_SECONDS = 900.0
_REQUEST_SECONDS = 180.0  # a busy machine is slow


class StackError(Exception):
    """The stack does not start, or a command fails; the message shows what failed, and logs."""


class Stack:
    """
    The services of docker-compose.yaml.

    :param environment: environment variables of the engine and of the base images.
    :param folder: an empty directory for a copy of the project.
    """

    def __init__(self, environment: dict[str, str], *, folder: Path) -> None:
        self.folder = folder
        _copy_project(folder)
        ports = {name: str(free_port()) for name in ("AIRFLOW_PORT", "LOCAL_AWS_PORT", "AZURE_SQL_PORT")}
        self._environment = environment | ports
        self._compose = _compose(environment)
        url = "http://127.0.0.1"
        self.airflow = AirflowRest(f"{url}:{ports['AIRFLOW_PORT']}", timeout_seconds=_REQUEST_SECONDS)
        self.aws = AwsClient(f"{url}:{ports['LOCAL_AWS_PORT']}", timeout_seconds=_REQUEST_SECONDS)

    def build(self) -> None:
        self.compose("build")

    def up(self) -> None:
        """
        Start everything; wait until the engine reports every service as healthy, and Airflow its components.

        :raises StackError: when a service fails, or is not healthy in time.
        """
        try:
            self.compose("up", "-d")
        except StackError as error:
            # Compose names the container that failed; why it failed is in the container's own log.
            raise StackError(f"{error}\n{self.logs()}") from error

        def problem() -> str:
            waiting = [name for name, container in self.containers().items() if not _is_healthy(container)]
            try:
                return f"not healthy: {', '.join(sorted(waiting))}" if waiting else self.airflow.unhealthy()
            except httpx.HTTPError as error:
                return f"Airflow does not answer: {error}"

        self.wait(problem, seconds=_HEALTHY_SECONDS)

    def wait(self, problem: Callable[[], str], *, seconds: float) -> None:
        """
        Wait until a function returns no problem.

        :raises StackError: when there is still one at the end.
        """
        deadline = time.monotonic() + seconds
        while last := problem():
            if time.monotonic() > deadline:
                raise StackError(f"after {seconds:.0f} s: {last}\n{self.logs()}")
            time.sleep(2)

    def down(self, *options: str) -> None:
        """Remove the containers; with ``--volumes``, also the data."""
        self.compose("--profile", "cli", "down", "--remove-orphans", "--timeout", "60", *options)

    def logs(self) -> str:
        """Return the last lines of each service's log."""
        return self.compose("logs", "--no-color", "--tail", "30", check=False)

    def containers(self) -> dict[str, dict[str, Any]]:
        """Return the engine's description of each service's container, without one-off containers."""
        label = f"label=com.docker.compose.project={PROJECT}"
        ids = self.docker("ps", "--all", "--quiet", "--no-trunc", "--filter", label).split()
        described = json.loads(self.docker("inspect", *ids)) if ids else []
        labels = [(container["Config"]["Labels"], container) for container in described]
        return {
            names["com.docker.compose.service"]: container
            for names, container in labels
            if names.get("com.docker.compose.oneoff") != "True"
        }

    def volumes(self) -> list[str]:
        """Return the names of the stack's volumes."""
        label = f"label=com.docker.compose.project={PROJECT}"
        return self.docker("volume", "ls", "--quiet", "--filter", label).split()

    def compose(self, *arguments: str, check: bool = True) -> str:
        """Run a compose command and return its output."""
        command = [*self._compose, "--project-name", PROJECT, *arguments]
        return self._run(command, check=check)

    def docker(self, *arguments: str) -> str:
        """Run a docker command and return its output."""
        return self._run(["docker", *arguments])

    def _run(self, command: list[str], *, check: bool = True) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_COMMAND_SECONDS,
            errors="replace",
        )
        if check and done.returncode != 0:
            output = (done.stdout + done.stderr)[-3000:]
            raise StackError(f"'{' '.join(command)}' ended with {done.returncode}:\n{output}")
        return done.stdout


def _is_healthy(container: dict[str, Any]) -> bool:
    """Whether a service is healthy, or has completed its task."""
    state = container["State"]
    if "Health" in state:
        return bool(state["Health"]["Status"] == "healthy")
    return bool(state["Status"] == "exited" and state["ExitCode"] == 0)


def _copy_project(folder: Path) -> None:
    """Copy every file that git tracks, so that the images are built from what a clone contains."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name, follow_symlinks=False)


def _compose(environment: dict[str, str]) -> list[str]:
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            version = subprocess.run([*command, "version"], env=environment, capture_output=True, check=False)
            if version.returncode == 0:
                return command
    raise EngineError("an engine runs, but neither 'docker compose' nor 'docker-compose' is installed")
