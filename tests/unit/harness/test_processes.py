from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from harness.processes import Children, ProcessError, left_running, task_processes

if TYPE_CHECKING:
    from pathlib import Path

PYTHON = [sys.executable, "-c"]
FOREVER = [*PYTHON, "import time; print('up', flush=True); time.sleep(600)"]
STUBBORN = [
    *PYTHON,
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


CHILD = "print('up', flush=True); input()"
SUPERVISOR = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {CHILD!r}, 'task-7'])"


def start(children: Children, command: list[str]) -> int:
    """Start a process and return its id once it has spoken."""
    child = children.start("child", command, env=dict(os.environ))
    while not child.log.read_text():
        assert child.process.poll() is None
    return child.process.pid


def test_stop_ends_what_was_started(tmp_path: Path):
    children = Children(directory=tmp_path)
    pid = start(children, FOREVER)
    assert left_running(tmp_path) == [("child", pid)]
    assert children.stop() == []
    assert not psutil.pid_exists(pid)
    assert left_running(tmp_path) == []


def test_stop_kills_what_does_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.processes._TERMINATE_SECONDS", 0.1)
    children = Children(directory=tmp_path)
    pid = start(children, STUBBORN)
    assert children.stop() == ["child"]
    assert not psutil.pid_exists(pid)


def test_a_task_has_two_processes_its_supervisor_and_the_child(tmp_path: Path):
    children = Children(directory=tmp_path)
    start(children, [*PYTHON, "print('up', flush=True); import time; time.sleep(600)", "task-8"])
    read, write = os.pipe()
    supervisor = psutil.Popen([*PYTHON, SUPERVISOR, "task-7"], stdin=read, stdout=subprocess.PIPE)
    assert supervisor.stdout.readline() == b"up\n"
    found = task_processes(
        os.getpid(), lambda title: next((t for t in ("task-7", "task-8") if title.endswith(t)), None)
    )
    assert {task: [p.pid for p in pair] for task, pair in found.items()} == {
        "task-7": [supervisor.pid, supervisor.children()[0].pid]
    }
    os.write(write, b"\n")
    supervisor.wait()
    supervisor.stdout.close()
    os.close(read)
    os.close(write)
    children.stop()


def test_a_process_that_ended_is_reported_with_its_log(tmp_path: Path):
    children = Children(directory=tmp_path)
    child = children.start("child", [*PYTHON, "import sys; sys.exit('no port')"], env=dict(os.environ))
    child.process.wait()
    with pytest.raises(ProcessError, match=r"(?s)child has ended with exit code 1.*child\.log.*no port"):
        children.check()
    children.stop()


def test_a_command_that_fails_is_reported_with_its_log(tmp_path: Path):
    children = Children(directory=tmp_path)
    with pytest.raises(ProcessError, match="no database"):
        children.run("job", [*PYTHON, "import sys; sys.exit('no database')"], env=dict(os.environ), timeout_seconds=60)


def test_another_process_with_a_known_id_is_not_ours(tmp_path: Path):
    (tmp_path / "processes.json").write_text(f'[{{"name": "scheduler", "pid": {os.getpid()}, "created": 1.0}}]')
    assert left_running(tmp_path) == []
