"""Output of a command: lines with the time since the start, and tables."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.judge import Check


class Console:
    """Prints progress, with the seconds since the start."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._started = self._last = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last output."""
        return time.monotonic() - self._last

    @property
    def elapsed_seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def step(self, text: str) -> None:
        """Print one line of progress."""
        self.lines(f"[{self.elapsed_seconds:5.0f} s] {text}")

    def lines(self, *lines: str) -> None:
        """Print lines as they are."""
        for line in lines:
            self._stream.write(f"{line}\n")
        self._stream.flush()
        self._last = time.monotonic()

    def heading(self, text: str) -> None:
        """Print the heading of a section."""
        self.lines("", text, "-" * len(text))

    def targets(self, targets: dict[str, bool]) -> bool:
        """Print whether each target is met, and return whether all are."""
        self.lines(*(f"{'met    ' if is_met else 'NOT MET'}  {name}" for name, is_met in targets.items()))
        return all(targets.values())


def table(rows: list[tuple[str, ...]], *, header: tuple[str, ...], right: frozenset[int] = frozenset()) -> list[str]:
    """
    Return the lines of a table.

    :param right: indexes of the columns that are aligned to the right.
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [line(header), "  ".join("-" * width for width in widths), *(line(row) for row in rows)]


def check_lines(checks: Sequence[Check], *, most_problems: int = 20) -> list[str]:
    """
    Return a table of checks, followed by their problems if there are any.

    :param most_problems: how many problems of one check are shown.
    """
    rows: list[tuple[str, ...]] = [(check.name, "PASS" if check.passed else "FAIL", check.detail) for check in checks]
    problems = [f"  {check.name}: {problem}" for check in checks for problem in check.problems[:most_problems]]
    return [*table(rows, header=("check", "", "")), *(["", "Problems", *problems] if problems else [])]
