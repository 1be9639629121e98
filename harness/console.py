"""What the demo says to the person who runs it."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Console:
    """Print the story, each line with the seconds since the start."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._started = self._last = time.monotonic()

    @property
    def silent_seconds(self) -> float:
        """How long nothing has been said."""
        return time.monotonic() - self._last

    @property
    def elapsed_seconds(self) -> float:
        """How long the demo has been running."""
        return time.monotonic() - self._started

    def step(self, text: str) -> None:
        """Say what happens now."""
        self.lines(f"[{self.elapsed_seconds:5.0f} s] {text}")

    def lines(self, *lines: str) -> None:
        """Print lines as they are."""
        for line in lines:
            self._stream.write(f"{line}\n")
        self._stream.flush()
        self._last = time.monotonic()

    def heading(self, text: str) -> None:
        """Begin a section."""
        self.lines("", text, "-" * len(text))


def table(rows: list[tuple[str, ...]], *, header: tuple[str, ...], right: frozenset[int] = frozenset()) -> list[str]:
    """
    Lay rows out in columns.

    :param right: the numbers of the columns that are aligned to the right.
    """
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]

    def line(row: tuple[str, ...]) -> str:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return "  ".join(cells).rstrip()

    return [line(header), "  ".join("-" * width for width in widths), *(line(row) for row in rows)]
