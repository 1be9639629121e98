"""
How results look on a terminal, by rich, which Airflow's own command line uses.

Not by Airflow's ``AirflowConsole``: that takes lists of dictionaries only, is 200 columns wide where it is not on a
terminal, and imports Airflow's plugin manager. Files and pipes get plain text: see ``output``.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

# Results that mean something: red for what must be looked at, yellow for what may.
_STYLES = {"ok": "green", "error": "red", "stranger": "red", "warning": "yellow", "reap": "yellow", "unknown": "yellow"}
_PREFIX = re.compile(r"^(error|warning):")
_GAP = 2
# A last column that is narrower than this is hard to read.
_NARROWEST = 30
_SILENT_SECONDS = 2.0


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def columns() -> int:
    """Return how wide the terminal is."""
    return _console().width


def print_note(text: str, line: ProgressLine | None) -> None:
    """
    Say something on standard error, its lines broken between words.

    :param line: what is shown there meanwhile; it stays below.
    """
    shown = Text(text)
    if match := _PREFIX.match(text):
        shown.stylize(f"bold {_STYLES[match[1]]}", *match.span())
    console = line.console if line else Console(stderr=True)
    console.print(shown, highlight=False, emoji=False)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows side by side; below each other, name by name, where the terminal is too narrow for that."""
    console = _console()
    console.print(table(header, rows, width=console.width))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, width: int) -> RenderableType:
    """Return what :func:`print_table` prints."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    before_last = sum(widths[:-1]) + _GAP * (len(widths) - 1)
    if before_last + min(widths[-1], _NARROWEST) <= width:
        return _side_by_side(header, rows, widths)
    return _below_each_other(header, rows)


def _side_by_side(header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int]) -> Table:
    shown = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for name, width in zip(header[:-1], widths[:-1], strict=True):
        shown.add_column(name, no_wrap=True, min_width=width)
    shown.add_column(header[-1], overflow="fold")
    for row in rows:
        shown.add_row(Text(row[0], _STYLES.get(row[0], "")), *map(Text, row[1:]))
    return shown


def _below_each_other(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Group:
    parts: list[RenderableType] = []
    for row in rows:
        if parts:
            parts.append(Text())
        parts.append(pairs_table([(name, cell) for name, cell in zip(header, row, strict=True) if cell]))
    return Group(*parts)


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print names and what they stand for, one below the other."""
    _console().print(pairs_table(pairs))


def pairs_table(pairs: Iterable[tuple[str, str]]) -> Table:
    """Return what :func:`print_pairs` prints."""
    shown = Table.grid(Column(no_wrap=True, style="bold"), Column(overflow="fold"), padding=(0, _GAP, 0, 0))
    for name, text in pairs:
        shown.add_row(name, Text(text, _STYLES.get(text, "")))
    return shown


def live() -> Live:
    """Return what shows something that changes; what is higher than the terminal is cut off."""
    return Live(console=_console(), auto_refresh=False)


class ProgressLine:
    """One line on standard error that says what goes on and for how long, from the third second on."""

    def __init__(self, text: str) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis")),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            refresh_per_second=4,
        )
        self._task = self._progress.add_task(text, total=None)
        self._timer = threading.Timer(_SILENT_SECONDS, self._progress.start)
        self._timer.daemon = True

    def start(self) -> None:
        """Show it when the silence has lasted too long."""
        self._timer.start()

    def says(self, text: str) -> None:
        """Change what it says."""
        self._progress.update(self._task, description=text)

    def stop(self) -> None:
        """Take it away."""
        self._timer.cancel()
        self._timer.join()  # what has begun to show it goes on until it is shown
        if self._progress.live.is_started:
            self._progress.stop()
