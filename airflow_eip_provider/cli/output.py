"""Output of commands: the result on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from airflow_eip_provider.cli.terminal import ProgressLine


_line: list[ProgressLine] = []  # the progress line of the running command, if there is one


def note(text: object) -> None:
    """Print a message on standard error."""
    if sys.stderr.isatty():
        from airflow_eip_provider.cli import terminal

        terminal.print_note(str(text), _line[-1] if _line else None)
    else:
        print(text, file=sys.stderr, flush=True)


class WithoutErrors:
    """
    A stream that never raises an error: without a reader, what is written to it is discarded.

    A command that changes AWS completes its work, and its clean-up, also after ``2>&1 | head`` or with a lost terminal.
    Logs go to standard error, too, so an error could come from any line of an operator.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text, or discard it."""
        try:
            return self._stream.write(text)
        except OSError:
            drop(self._stream)
            return len(text)

    def flush(self) -> None:
        """Write what is in the buffer, or discard it."""
        try:
            self._stream.flush()
        except OSError:
            drop(self._stream)

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the stream."""
        return getattr(self._stream, name)


def drop(stream: TextIO) -> None:
    """Discard what is written to a stream from now on, also by others and by Python at its end."""
    with contextlib.suppress(OSError):  # it is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def progress(text: str) -> None:
    """Set the text of the progress line, which a terminal shows when a command takes a while."""
    if _line:
        _line[-1].update(text)


def print_document(document: str | dict[str, Any], path: Path | None, *, json_key: str = "", **facts: Any) -> None:
    """
    Print a generated document, or write it to a file.

    :param document: a text, or an object that is written as JSON.
    :param json_key: print the result as JSON, in which this is the key of the document.
    :param facts: what else that result contains.
    :raises UsageError: when the file cannot be written.
    """
    text = document if isinstance(document, str) else json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if path is not None:
        try:
            path.write_text(text, encoding="utf-8", newline="\n")
        except OSError as error:
            remedy = "name a file in a folder that exists"
            raise UsageError(f"writing '{path}'", problem=error.strerror or str(error), remedy=remedy) from error
    if json_key:
        print_json({json_key: document, "written_to": None if path is None else str(path), **facts})
    elif path is None:
        print(text, end="")
    else:
        note(f"written to {path}")


def print_json(result: Any) -> None:
    """Print a result as JSON."""
    print(json.dumps(result, indent=2))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, as wide as its cells need; on a terminal, wrapped to its width."""
    if sys.stdout.isatty():
        from airflow_eip_provider.cli import terminal

        terminal.show(terminal.table(header, rows))
        return
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header) - 1)]
    for row in [header, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]))


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print pairs of a name and a text."""
    if sys.stdout.isatty():
        from airflow_eip_provider.cli import terminal

        terminal.show(terminal.pairs_table(pairs))
        return
    for name, text in pairs:
        print(f"{name:<12}{text}")


def wrapping_width(wanted: int, *, reserved: int) -> int:
    """
    Return the width for lines that a command wraps itself.

    :param wanted: the width in a file or a pipe, and the maximum on a terminal.
    :param reserved: the columns of the terminal that are used otherwise.
    """
    if not sys.stdout.isatty():
        return wanted
    from airflow_eip_provider.cli import terminal

    return max(30, min(wanted, terminal.columns() - reserved))


@contextlib.contextmanager
def only_the_result() -> Iterator[None]:
    """
    Keep logs out of standard output, where some Airflow versions write them, and drop those below WARNING.

    A terminal shows a progress line meanwhile (``progress``).
    """
    with without_logs(), contextlib.redirect_stdout(sys.stderr), _progress_line():
        yield


@contextlib.contextmanager
def without_logs() -> Iterator[None]:
    """Drop logs below WARNING."""
    disabled = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _progress_line() -> Iterator[None]:
    if not sys.stderr.isatty():
        yield
        return
    from airflow_eip_provider.cli.terminal import ProgressLine

    line = ProgressLine("loading Airflow and the AWS SDK")
    _line.append(line)
    line.start()
    try:
        yield
    finally:
        _line.remove(line)
        line.stop()
