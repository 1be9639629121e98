"""
Output on a terminal, with rich, which Airflow's own command line uses.

Airflow's ``AirflowConsole`` is not used: it takes lists of dictionaries only, assumes 200 columns where there is no
terminal, and imports Airflow's plugin manager. For files and pipes see ``output``.
"""

from __future__ import annotations

import re
import textwrap
import threading
from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.live import Live
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import RenderableType

# Colours of results that need attention: red for errors, yellow for warnings.
_STYLES = {"ok": "green", "error": "red", "stranger": "red", "warning": "yellow", "reap": "yellow", "unknown": "yellow"}
_PREFIX = re.compile(r"^(error|warning):")
_GAP = 2
_MIN_LAST_COLUMN = 30  # a narrower one is hard to read
_SILENT_SECONDS = 2.0


def _console() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def columns() -> int:
    """Return the width of the terminal."""
    return _console().width


def print_note(text: str, line: ProgressLine | None) -> None:
    """
    Print a message on standard error, wrapped between words.

    :param line: the progress line that is shown there; it stays below the message.
    """
    message = Text(text)
    if match := _PREFIX.match(text):
        message.stylize(f"bold {_STYLES[match[1]]}", *match.span())
    console = line.console if line else Console(stderr=True)
    console.print(message, highlight=False, emoji=False)


def show(shown: RenderableType) -> None:
    """Print on standard output. The terminal itself breaks a line with a word that is too long, so it can be copied."""
    _console().print(shown, soft_wrap=True)


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, fold: bool = False) -> RenderableType:
    """
    Return a table; if the terminal is too narrow, each row as a list of names and cells.

    :param fold: break also a word that is longer than the line.
    """
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    before_last = sum(widths[:-1]) + _GAP * (len(widths) - 1)
    if before_last + min(widths[-1], _MIN_LAST_COLUMN) <= columns():
        heading = _line(header, widths, ["bold"] * len(header), fold=fold)
        styles = [[_STYLES.get(row[0], ""), *[""] * (len(row) - 1)] for row in rows]
        return Group(heading, *(_line(row, widths, style, fold=fold) for row, style in zip(rows, styles, strict=True)))
    return _below_each_other(header, rows, fold=fold)


def _below_each_other(header: Sequence[str], rows: Sequence[Sequence[str]], *, fold: bool) -> Group:
    parts: list[RenderableType] = []
    for row in rows:
        if parts:
            parts.append(Text())
        parts.append(pairs_table([(name, cell) for name, cell in zip(header, row, strict=True) if cell], fold=fold))
    return Group(*parts)


def pairs_table(pairs: Iterable[tuple[str, str]], *, fold: bool = False) -> Group:
    """
    Return pairs of a name and a text.

    :param fold: break also a word that is longer than the line.
    """
    given = list(pairs)
    widths = [max((len(name) for name, _ in given), default=0), 0]
    return Group(*(_line(pair, widths, ["bold", _STYLES.get(pair[1], "")], fold=fold) for pair in given))


def _line(cells: Sequence[str], widths: Sequence[int], styles: Sequence[str], *, fold: bool) -> Text:
    """Return cells side by side; the last one is wrapped between words."""
    line = Text()
    for cell, width, style in zip(cells[:-1], widths, styles, strict=False):
        line.append(cell, style).append(" " * (width - len(cell) + _GAP))
    indent = len(line)
    left = max(columns() - indent, 1)
    wrapped = [
        part
        for text in cells[-1].splitlines()
        for part in textwrap.wrap(text, left, break_long_words=fold, break_on_hyphens=False)
    ]
    return line.append(("\n" + " " * indent).join(wrapped), styles[-1])


def live() -> Live:
    """Return a display that can be refreshed; it is cut off at the height of the terminal."""
    return Live(console=_console(), auto_refresh=False)


class ProgressLine:
    """A line on standard error that shows, after two seconds, what the command does and for how long."""

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
        """Show the line after two seconds."""
        self._timer.start()

    def update(self, text: str) -> None:
        """Change the text."""
        self._progress.update(self._task, description=text)

    def stop(self) -> None:
        """Remove the line."""
        self._timer.cancel()
        self._timer.join()  # the timer may be showing the line just now
        if self._progress.live.is_started:
            self._progress.stop()
