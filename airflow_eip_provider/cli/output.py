"""What a command says: its result on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def note(text: object) -> None:
    """Say something besides the result."""
    print(text, file=sys.stderr, flush=True)


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
