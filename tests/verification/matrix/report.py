"""The results: as a table on the screen and in the README, and saved in the folders of the environments."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.console import table
from tests.verification.matrix.cells import ROOT
from tests.verification.matrix.suites import Outcome

if TYPE_CHECKING:
    from tests.verification.matrix.cells import Cell

HEADER = ("environment", "Python", "Airflow", "Amazon provider", "tests", "a day on a real Airflow")
_BEGIN, _END = "<!-- matrix: written by make matrix -->", "<!-- end of matrix -->"
_NOT_RUN = "-"
_RELEASED = ("pyproject.toml", "airflow_eip_provider", "local_emr/pyproject.toml", "local_emr/src")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """
    The result of a cell.

    :param skipped: why it was not run; the other fields are empty then.
    :param day: the result of the daily run on a real Airflow; ``None`` if the cell has none.
    """

    cell: Cell
    airflow: str = ""
    amazon: str = ""
    tests: Outcome | None = None
    day: Outcome | None = None
    skipped: str = ""

    @property
    def outcomes(self) -> list[Outcome]:
        """The results of the tests and of the daily run, as far as they were run."""
        return [outcome for outcome in (self.tests, self.day) if outcome is not None]

    @property
    def failed(self) -> bool:
        return any(outcome.failed for outcome in self.outcomes)

    def texts(self) -> tuple[str, ...]:
        """Return the row's cells, for :data:`HEADER`."""
        tests = "skipped" if self.skipped else _tests_text(self.tests)
        day = _NOT_RUN if self.day is None else "FAILS" if self.day.failed else "passes"
        return (self.cell.title, self.cell.python, self.airflow, self.amazon, tests, day)


def _tests_text(tests: Outcome | None) -> str:
    if tests is None:
        return _NOT_RUN
    failed = f", {tests.failed} FAILED" if tests.failed else ""
    skipped = f", {sum(tests.skipped.values())} skipped" if tests.skipped else ""
    again = f" ({tests.again} only on a second run)" if tests.again else ""
    return f"{tests.passed:,} pass{again}{failed}{skipped}"


def screen_lines(rows: list[Row]) -> list[str]:
    """Return the table, followed by the reasons of skips and the logs of failures."""
    notes = [f"{row.cell.name}: skipped: {row.skipped}" for row in rows if row.skipped]
    for row in rows:
        for outcome in row.outcomes:
            notes += [f"{row.cell.name}: {count} skipped: {reason}" for reason, count in outcome.skipped.items()]
            notes += [f"{row.cell.name}: see {outcome.log}"] if outcome.failed else []
    return ["", *table([row.texts() for row in rows], header=HEADER), "", *notes]


def write_readme(rows: list[Row], readme: Path) -> None:
    """
    Write the table between its marks in the README.

    :raises ValueError: when a cell failed or was not run, because the README shows successful results only.
    """
    if unfit := [row.cell.name for row in rows if row.failed or row.skipped]:
        raise ValueError(f"not written into {readme.name}, because of {', '.join(unfit)}")
    before, rest = readme.read_text(encoding="utf-8").split(_BEGIN)
    after = rest.split(_END)[1]
    lines = [HEADER, tuple("---" for _ in HEADER), *(row.texts() for row in rows)]
    markdown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    readme.write_text(f"{before}{_BEGIN}\n{markdown}\n{_END}{after}", encoding="utf-8")


def code_digest(root: Path = ROOT) -> str:
    """Return a digest of the released code, because a saved result is valid for that code only."""
    digest = hashlib.sha256()
    for name in _RELEASED:
        path = root / name
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            if file.is_file() and "__pycache__" not in file.parts:
                digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def save(row: Row, folder: Path, *, code: str) -> None:
    """Save a cell's result, with the digest of the code, so that the matrix can be run in parts."""
    saved = {"code": code, **asdict(row)}
    del saved["cell"], saved["skipped"]
    (folder / "row.json").write_text(json.dumps(saved, default=str, indent=1), encoding="utf-8")


def load(cell: Cell, folder: Path, *, code: str) -> Row:
    """Return a cell's saved result; a skipped row if there is none for this code."""
    path = folder / "row.json"
    saved: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if saved.pop("code", None) != code:
        return Row(cell=cell, skipped="it was not run with this code")
    for name in ("tests", "day"):
        if (outcome := saved[name]) is not None:
            saved[name] = Outcome(**{**outcome, "log": Path(outcome["log"])})
    return Row(cell=cell, **saved)
