"""Child processes, each with its own session and log file; and the processes of an Airflow task."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

_TERMINATE_SECONDS = 60.0
_END_SECONDS = 300.0  # on a busy machine a triggerer takes minutes to stop
_TAIL_LINES = 12
# Requests to 127.0.0.1 must not use a proxy.
LOCAL_ONLY = {"NO_PROXY": "127.0.0.1,localhost", "no_proxy": "127.0.0.1,localhost"}
# Airflow 3 names both processes of a task after the task instance's id: the executor's worker that supervises it
# (airflow/executors/local_executor.py; "<idle>" between two tasks) and its child that runs the operator
# (airflow/sdk/execution_time/task_runner.py).
_TITLE = re.compile(r"^airflow worker -- (?:LocalExecutor: )?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\s*$")


class ProcessError(Exception):
    """A process failed, or does not answer; the message has its name and its log."""


@dataclass(frozen=True, kw_only=True)
class Child:
    """A process that :class:`Children` started."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


def task_of_title(title: str) -> str | None:
    """Return the id of the task instance that a process with this title runs; None for any other process."""
    match = _TITLE.match(title)
    return match[1] if match else None


def task_processes(
    pid: int, task_of: Callable[[str], str | None] = task_of_title
) -> dict[str, tuple[psutil.Process, psutil.Process]]:
    """
    Return the two processes of each task below a process: its supervisor, and the child that runs its operator.

    :param pid: of the scheduler.
    :param task_of: returns the id of the task that a process with a title supervises or runs, or None.
    """
    below = {process.pid: (process, task_of(title(process))) for process in family(pid)[1:]}
    tasks = {}
    for process, task in below.values():
        with suppress(psutil.NoSuchProcess):
            parent, parents_task = below.get(process.ppid(), (None, None))
            if task is not None and parent is not None and parents_task == task:
                tasks[task] = (parent, process)
    return tasks


def title(process: psutil.Process) -> str:
    """Return the title of a process; an empty text if it has ended."""
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def is_alive(process: psutil.Process) -> bool:
    """Whether a process runs."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def interrupt_on_sigterm() -> None:
    """Raise KeyboardInterrupt on SIGTERM, so that both signals end a command in the same way."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)


@contextmanager
def children_of_command(directory: Path) -> Iterator[Children]:
    """
    Yield the child processes of a command, and end them when it ends, even by SIGINT or SIGTERM.

    :param directory: see :class:`Children`.
    """
    interrupt_on_sigterm()
    os.environ.update(LOCAL_ONLY)
    children = Children(directory=directory)
    try:
        yield children
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        children.stop()


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tail(log: Path, *, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log, indented."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


class Children:
    """
    The child processes of one run.

    Their ids are kept in a file, so that the next run finds the processes that an aborted run has left.

    :param directory: for that file and the logs; the working directory of the processes.
    """

    def __init__(self, *, directory: Path) -> None:
        self._directory = directory.absolute()
        self._register = directory / "processes.json"
        self._logs = directory / "logs"
        self._logs.mkdir(parents=True, exist_ok=True)
        self._children: list[Child] = []

    def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str]) -> Child:
        """Start a process that runs until :meth:`stop`."""
        log = self._logs / f"{name}.log"
        with log.open("ab") as output:
            process = subprocess.Popen(  # noqa: S603 - fixed commands, no shell
                command,
                env=dict(env),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        child = Child(name=name, process=process, log=log)
        self._children.append(child)
        self._write_register()
        return child

    def run(self, name: str, command: Sequence[str], *, env: Mapping[str, str], timeout_seconds: float) -> None:
        """
        Run a process and wait until it has ended.

        :raises ProcessError: when it fails or takes too long.
        """
        self.finish(self.start(name, command, env=env), timeout_seconds=timeout_seconds)

    def finish(self, child: Child, *, timeout_seconds: float) -> None:
        """
        Wait until a process has ended.

        :raises ProcessError: when it fails or takes too long.
        """
        try:
            code = child.process.wait(timeout=timeout_seconds)
        except subprocess.TimeoutExpired:
            raise ProcessError(
                f"{child.name} has not ended after {timeout_seconds:.0f} s; its log: {child.log}"
            ) from None
        self._children.remove(child)
        self._write_register()
        if code != 0:
            raise ProcessError(
                f"{child.name} failed with exit code {code}; its log {child.log} ends with:\n{tail(child.log)}"
            )

    def end(self, child: Child, *, number: int) -> None:
        """Send a signal to the process group of a process, wait for its end, and stop checking that it runs."""
        self._children.remove(child)
        os.killpg(child.process.pid, number)
        child.process.wait(timeout=_END_SECONDS)
        self._write_register()

    def check(self) -> None:
        """
        Check that every process still runs.

        :raises ProcessError: when one has ended; the message has its name and its log.
        """
        for child in self._children:
            code = child.process.poll()
            if code is not None:
                raise ProcessError(
                    f"{child.name} has ended with exit code {code}; its log {child.log} ends with:\n{tail(child.log)}"
                )

    def stop(self) -> list[str]:
        """
        End every process with SIGTERM; after a timeout, end those that are left, and their children, with SIGKILL.

        :return: the names of the processes that needed SIGKILL.
        """
        families = {child.name: family(child.process.pid) for child in self._children}
        for child in self._children:
            if child.process.poll() is None:
                child.process.terminate()
        deadline = time.monotonic() + _TERMINATE_SECONDS
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        forced = []
        for name, members in families.items():
            left = [process for process in members if is_alive(process)]
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            if left:
                forced.append(name)
        for child in self._children:
            child.process.wait()
        self._children.clear()
        self._register.unlink(missing_ok=True)
        return forced

    def _write_register(self) -> None:
        entries = []
        for child in self._children:
            with suppress(psutil.NoSuchProcess):
                created = psutil.Process(child.process.pid).create_time()
                entries.append({"name": child.name, "pid": child.process.pid, "created": created})
        self._register.write_text(json.dumps(entries), encoding="utf-8")


def left_running(directory: Path) -> list[tuple[str, int]]:
    """Return name and id of the processes that an earlier run in this directory has left running."""
    register = directory / "processes.json"
    if not register.exists():
        return []
    left = []
    for entry in json.loads(register.read_text(encoding="utf-8")):
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(entry["pid"])
            # A process id can be used again; the pair of id and start time cannot.
            if process.create_time() == entry["created"] and is_alive(process):
                left.append((entry["name"], entry["pid"]))
    return left


def family(pid: int) -> list[psutil.Process]:
    """Return a process and all its descendants; an empty list if it has ended."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
