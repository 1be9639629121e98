"""What a command says: its result on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.exceptions import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


def note(text: object) -> None:
    """Say something besides the result."""
    print(text, file=sys.stderr, flush=True)


def write_or_print(text: str, path: Path | None) -> None:
    """
    Write the result into a file, and say so, or print it.

    :raises UsageError: when the file cannot be written.
    """
    if path is None:
        print(text, end="")
        return
    try:
        path.write_text(text, encoding="utf-8", newline="\n")
    except OSError as error:
        problem = error.strerror or str(error)
        raise UsageError(f"writing '{path}'", problem=problem, remedy="name a file in a folder that exists") from error
    note(f"written to {path}")


def print_json(result: Any) -> None:
    """Print the result for programs."""
    print(json.dumps(result, indent=2))


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print the result for people; the last column may be as long as it likes."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header) - 1)]
    for row in [header, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]))


@contextlib.contextmanager
def only_the_result() -> Iterator[None]:
    """Keep Airflow's logs, which go to standard output in some versions, out of the result; only warnings count."""
    disabled = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        logging.disable(disabled)
