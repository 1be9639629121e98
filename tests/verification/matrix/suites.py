"""What is run in a cell: the package's tests, and a day on a real Airflow."""

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

# Not of the package but of this repository's own tools, which are used with the development environment only.
TOOLS = (
    *(f"integration/{name}" for name in ("bench", "demo", "deploy", "docs")),
    *(f"unit/{name}" for name in ("demo", "docs")),
    *(
        f"verification/{name}"
        for name in ("chaos", "compose", "exits", "matrix", "mwaa", "package", "soak", "stress", "telemetry")
    ),
)
_DAY = ("undisturbed",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """
    What a suite said.

    :param skipped: how many tests, by the reason.
    :param log: where its output is.
    :param again: how many of those that passed did so when they were run once more.
    """

    passed: int
    failed: int
    log: Path
    skipped: Counter[str] = field(default_factory=Counter)
    again: int = 0

    def after(self, more: Outcome) -> Outcome:
        """Return what it comes to when those that failed were run once more: all of them must pass."""
        if more.failed or more.passed != self.failed:
            return self
        return replace(self, passed=self.passed + more.passed, failed=0, again=more.passed)


def run_tests(venv: Path, *, strict: bool, folder: Path, only: str = "") -> Outcome:
    """
    Run the package's tests; those that fail once more, one at a time: beside others, a busy machine may be late.

    :param strict: a warning fails a test.
    :param only: as pytest's ``-k``.
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
    ended = _run(command, venv, log)
    if not report.exists():
        return Outcome(passed=0, failed=1, log=log)
    return counted(report.read_text(encoding="utf-8"), exit_code=ended, log=log)


def counted(report: str, *, exit_code: int, log: Path) -> Outcome:
    """Read pytest's JUnit report; an exit code that no test explains counts as a failure."""
    cases = ET.fromstring(report).findall(".//testcase")
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    skips = [skip for case in cases if (skip := case.find("skipped")) is not None]
    reasons = [_reason(skip.get("message", ""), skip.text or "") for skip in skips]
    passed = len(cases) - failed - len(reasons)
    return Outcome(passed=passed, failed=failed or int(exit_code != 0), skipped=Counter(reasons), log=log)


def _reason(message: str, text: str) -> str:
    """Return why a test was skipped; that of a whole file stands in the text only: ``('FILE', LINE, 'Skipped: …')``."""
    of_file = re.search(r"Skipped: (.*?)['\"]\)?$", text.strip()) if message == "collection skipped" else None
    return of_file[1] if of_file else message


def play_day(venv: Path, *, folder: Path) -> Outcome:
    """Play two DAGs that queue for one address on a real Airflow of this environment."""
    log = folder / "day.log"
    scenarios = [word for name in _DAY for word in ("--only", name)]
    command = [
        sys.executable,
        "-m",
        "tests.verification.exits",
        "--airflow",
        venv,
        "--state",
        folder / "day",
        *scenarios,
    ]
    ended = _run(command, venv, log)
    said = re.search(r"(\d+) of (\d+) pass", log.read_text(encoding="utf-8"))
    passed, all_of_them = (int(said[1]), int(said[2])) if said else (0, len(_DAY))
    return Outcome(passed=passed, failed=all_of_them - passed or int(ended != 0), log=log)


def _run(command: list[object], venv: Path, log: Path) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in {"VIRTUAL_ENV", "PYTHONHOME"}}
    environment["PATH"] = f"{venv / 'bin'}:{environment['PATH']}"
    with log.open("w", encoding="utf-8") as output:
        ended = subprocess.run(
            [str(word) for word in command], cwd=ROOT, env=environment, stdout=output, stderr=output, check=False
        )
    return ended.returncode
