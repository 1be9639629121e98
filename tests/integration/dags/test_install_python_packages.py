"""The bootstrap action of the example DAGs, with a ``sudo`` in place of the real one."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.integration.dags.conftest import DAGS

if TYPE_CHECKING:
    from pathlib import Path

SCRIPT = DAGS / "jobs" / "install_python_packages.sh"
PROGRAMS = {
    "python3": "exit {status}",  # whether pytds is there
    "sudo": 'echo "$*" >> calls; [ "$(wc -l < calls)" -gt {failures} ]',
    "sleep": 'echo "$1" >> sleeps',
}


def run(directory: Path, *, failures: int, installed: bool = False) -> tuple[int, list[str]]:
    """Run the script, in which pip fails some times; return its status and the calls of pip."""
    for name, text in PROGRAMS.items():
        program = directory / name
        program.write_text(f"#!/bin/bash\n{text.format(status=int(not installed), failures=failures)}\n")
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{directory}:{os.environ['PATH']}"}
    ended = subprocess.run(["bash", SCRIPT], cwd=directory, env=environment, capture_output=True, check=False)
    calls = directory / "calls"
    return ended.returncode, calls.read_text().splitlines() if calls.exists() else []


@pytest.mark.parametrize(("failures", "status", "attempts"), [(0, 0, 1), (2, 0, 3), (9, 1, 5)])
def test_pip_is_tried_again_and_after_the_last_failure_the_cluster_fails(
    tmp_path: Path, failures: int, status: int, attempts: int
) -> None:
    found, calls = run(tmp_path, failures=failures)
    assert (found, len(calls)) == (status, attempts)


def test_nothing_is_installed_where_python_tds_is(tmp_path: Path) -> None:
    assert run(tmp_path, failures=0, installed=True) == (0, [])


def test_every_package_has_a_version(tmp_path: Path) -> None:
    _, (call,) = run(tmp_path, failures=0)
    packages = call.split("--quiet ")[1].split()
    assert len(packages) == 4
    assert [package for package in packages if not re.fullmatch(r"[\w-]+==[\w.]+", package)] == []
