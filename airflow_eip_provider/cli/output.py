"""What a command says: its result on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from airflow_eip_provider.cli.terminal import ProgressLine


_line: list[ProgressLine] = []  # the one that is shown, if any


def note(text: object) -> None:
    """Say something besides the result."""
    if sys.stderr.isatty():
        from airflow_eip_provider.cli import terminal

        terminal.print_note(str(text), _line[-1] if _line else None)
    else:
        print(text, file=sys.stderr, flush=True)


def progress(text: str) -> None:
    """Say what goes on now, for a person who waits: on a terminal only, and only when it takes a while."""
    if _line:
        _line[-1].says(text)


def write_or_print(text: str, path: Path | None) -> None:
    """
    Write the result into a file, and say so, or print it.

    :raises UsageError: when the file cannot be written.
    """
    if path is None:
        print(text, end="")
        return
    _write(text, path)
    note(f"written to {path}")


def as_text(result: Any) -> str:
    """Return what is written into a file of a result that is a text or JSON."""
    return result if isinstance(result, str) else json.dumps(result, indent=2, ensure_ascii=False) + "\n"


def written(result: Any, path: Path | None, *, name: str) -> dict[str, Any]:
    """
    Return such a result for programs, and write the file that is asked for.

    :param result: a text, or an object that is JSON.
    :return: the result under its name, and where it was written to.
    :raises UsageError: when the file cannot be written.
    """
    if path is not None:
        _write(as_text(result), path)
    return {name: result, "written_to": None if path is None else str(path)}


def _write(text: str, path: Path) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        problem = error.strerror or str(error)
        raise UsageError(f"writing '{path}'", problem=problem, remedy="name a file in a folder that exists") from error


def print_json(result: Any) -> None:
    """Print the result for programs."""
    print(json.dumps(result, indent=2))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the result for people; the last column may be as long as it likes."""
    if sys.stdout.isatty():
        from airflow_eip_provider.cli import terminal

        terminal.print_table(header, rows)
        return
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header) - 1)]
    for row in [header, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]))


def print_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Print short names and what they stand for."""
    if sys.stdout.isatty():
        from airflow_eip_provider.cli import terminal

        terminal.print_pairs(pairs)
        return
    for name, text in pairs:
        print(f"{name:<12}{text}")


def wrapping_width(wanted: int, *, beside: int) -> int:
    """
    Return how wide lines may be that a command breaks itself.

    :param wanted: in a file or a pipe, and on a terminal at most.
    :param beside: the columns of the terminal that something else needs.
    """
    if not sys.stdout.isatty():
        return wanted
    from airflow_eip_provider.cli import terminal

    return max(30, min(wanted, terminal.columns() - beside))


@contextlib.contextmanager
def only_the_result() -> Iterator[None]:
    """
    Keep Airflow's logs, which go to standard output in some versions, out of the result; only warnings count.

    Meanwhile a person at a terminal sees that something goes on, and what (``progress``).
    """
    with without_logs(), contextlib.redirect_stdout(sys.stderr), _progress_line():
        yield


@contextlib.contextmanager
def without_logs() -> Iterator[None]:
    """Let only warnings be logged."""
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
