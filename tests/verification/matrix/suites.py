"""Runs the tests of a cell: those of the package, and a daily run on a real Airflow."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tests.verification.matrix.cells import ROOT

if TYPE_CHECKING:
    from pathlib import Path

# Tests of this repository's own tools, which are only used in the development environment.
_VERIFICATION = ("chaos", "compose", "exits", "matrix", "mwaa", "package", "soak", "stress", "telemetry")
TOOLS = (
    *(f"integration/{name}" for name in ("bench", "demo", "deploy", "docs")),
    *(f"unit/{name}" for name in ("demo", "docs")),
    *(f"verification/{name}" for name in _VERIFICATION),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """
    The result of a test run.

    :param skipped: number of skipped tests by reason.
    :param log: the file of its output.
    :param again: number of the passed tests that passed only when they were run again.
    """

    passed: int
    failed: int
    log: Path
    skipped: dict[str, int] = field(default_factory=dict)
    again: int = 0

    def after(self, more: Outcome) -> Outcome:
        """Return the result after the failed tests were run again; it changes only if all of them pass."""
        if more.failed or more.passed != self.failed:
            return self
        return replace(self, passed=self.passed + more.passed, failed=0, again=more.passed)


def run_tests(venv: Path, *, strict: bool, folder: Path, only: str = "") -> Outcome:
    """
    Run the package's tests; run those that fail again one at a time, because a busy machine is slow in parallel.

    :param strict: whether a warning fails a test.
    :param only: as for pytest's ``-k``.
    """
    options = [f"--ignore=tests/{name}" for name in TOOLS]
    options += [] if strict else ["-W", "default"]
    options += ["-k", only] if only else []
    first = _pytest(venv, folder, "tests", "--numprocesses=auto", "--dist=loadfile", *options)
    if not first.failed:
        return first
    failed = ("--last-failed", "--last-failed-no-failures=none", "--numprocesses=0")
    return first.after(_pytest(venv, folder, "tests-again", *failed, *options))


def _pytest(venv: Path, folder: Path, name: str, *options: str) -> Outcome:
    report, log = folder / f"{name}.xml", folder / f"{name}.log"
    report.unlink(missing_ok=True)
    cache = f"cache_dir={folder / 'cache'}"
    command = [venv / "bin" / "python", "-m", "pytest", "-q", f"--junitxml={report}", "-o", cache, *options]
    exit_code = _run(command, venv, log)
    if not report.exists():
        return Outcome(passed=0, failed=1, log=log)
    return read_report(report.read_text(encoding="utf-8"), exit_code=exit_code, log=log)


def read_report(report: str, *, exit_code: int, log: Path) -> Outcome:
    """Read pytest's JUnit report; an exit code that no test explains counts as a failure."""
    cases = ET.fromstring(report).findall(".//testcase")
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    skips = [skip for case in cases if (skip := case.find("skipped")) is not None]
    reasons = [_reason(skip.get("message", ""), skip.text or "") for skip in skips]
    passed = len(cases) - failed - len(reasons)
    return Outcome(passed=passed, failed=failed or int(exit_code != 0), skipped=dict(Counter(reasons)), log=log)


def _reason(message: str, text: str) -> str:
    """Return why a test was skipped; for a whole file the reason is in the text: ``('FILE', LINE, 'Skipped: …')``."""
    of_file = re.search(r"Skipped: (.*?)['\"]\)?$", text.strip()) if message == "collection skipped" else None
    return of_file[1] if of_file else message


def run_end_to_end(venv: Path, *, folder: Path) -> Outcome:
    """Run two DAGs that queue for one address on a real Airflow of this environment."""
    log = folder / "day.log"
    command = [sys.executable, "-m", "tests.verification.exits", "--only", "undisturbed"]
    exit_code = _run([*command, "--airflow", venv, "--state", folder / "day"], venv, log)
    passed = exit_code == 0 and "1 of 1 pass" in log.read_text(encoding="utf-8")
    return Outcome(passed=int(passed), failed=int(not passed), log=log)


def _run(command: list[object], venv: Path, log: Path) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONHOME"}}
    environment["PATH"] = f"{venv / 'bin'}:{environment['PATH']}"
    words = [str(word) for word in command]
    with log.open("w", encoding="utf-8") as output:
        return subprocess.run(words, cwd=ROOT, env=environment, stdout=output, stderr=output, check=False).returncode
