"""The table of the results, on the screen and in the README."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.console import table

if TYPE_CHECKING:
    from pathlib import Path

    from tests.verification.matrix.cells import Cell
    from tests.verification.matrix.suites import Outcome

HEADER = ("environment", "Python", "Airflow", "Amazon provider", "tests", "a day on a real Airflow")
_BEGIN, _END = "<!-- matrix: written by make matrix -->", "<!-- end of matrix -->"
_UNTRIED = "-"


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """
    The result of a cell.

    :param skipped: why it was not run; the other fields are empty then.
    :param day: the result of the daily run on a real Airflow; ``None`` where there is none.
    """

    cell: Cell
    python: str = ""
    airflow: str = ""
    amazon: str = ""
    tests: Outcome | None = None
    day: Outcome | None = None
    skipped: str = ""

    @property
    def failed(self) -> bool:
        """Whether anything failed."""
        return any(outcome.failed for outcome in (self.tests, self.day) if outcome is not None)

    def texts(self) -> tuple[str, ...]:
        """Return the row's cells, for :data:`HEADER`."""
        if self.skipped:
            return (self.cell.title, self.cell.python, "", "", "skipped", _UNTRIED)
        day = _UNTRIED if self.day is None else "passes" if not self.day.failed else "FAILS"
        return (self.cell.title, self.python, self.airflow, self.amazon, _tests_text(self.tests), day)


def _tests_text(tests: Outcome | None) -> str:
    if tests is None:
        return _UNTRIED
    failed = f", {tests.failed} FAILED" if tests.failed else ""
    skipped = f", {tests.skipped.total()} skipped" if tests.skipped else ""
    again = f" ({tests.again} of them when run again)" if tests.again else ""
    return f"{tests.passed:,} pass{again}{failed}{skipped}"


def screen_lines(rows: list[Row]) -> list[str]:
    """Return the table, followed by the reasons of skips and the logs of failures."""
    notes = [f"{row.cell.name}: skipped: {row.skipped}" for row in rows if row.skipped]
    for row in rows:
        for outcome in (row.tests, row.day):
            if outcome is None:
                continue
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
    text = readme.read_text(encoding="utf-8")
    before, rest = text.split(_BEGIN)
    after = rest.split(_END)[1]
    lines = [HEADER, tuple("---" for _ in HEADER), *(row.texts() for row in rows)]
    markdown = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    readme.write_text(f"{before}{_BEGIN}\n{markdown}\n{_END}{after}", encoding="utf-8")
