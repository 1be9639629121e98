"""
Run the tests in every supported environment: ``python -m tests.verification.matrix``; exit code 0 when nothing failed.

Environments are created in ``.matrix`` and kept; ``--fresh`` creates them again, e.g. after a change of pins. Results
are saved, too: the table that ``--readme`` writes includes earlier results of other environments with the same code.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from harness.console import Console
from tests.verification.matrix.cells import CELLS, ROOT, SkippedError, installed
from tests.verification.matrix.report import Row, code_digest, load, save, screen_lines, write_readme
from tests.verification.matrix.suites import run_end_to_end, run_tests

if TYPE_CHECKING:
    from tests.verification.matrix.cells import Cell

_STATE = ROOT / ".matrix"


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.verification.matrix",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [cell.name for cell in CELLS]
    parser.add_argument("--only", action="append", choices=names, help="one environment; may be repeated")
    parser.add_argument("--fresh", action="store_true", help="create the environments again")
    parser.add_argument("-k", dest="select", default="", metavar="EXPRESSION", help="only some tests, like pytest's -k")
    parser.add_argument(
        "--readme", action="store_true", help="write the table into the README if all were run and none failed"
    )
    return parser.parse_args(arguments)


def run(cell: Cell, *, fresh: bool, select: str, console: Console) -> Row:
    """Create a cell's environment, unless it exists, and run all tests in it."""
    folder = _STATE / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    venv, complete = folder / "venv", folder / "made"
    if fresh or not complete.exists():
        complete.unlink(missing_ok=True)
        console.step(f"{cell.name}: installing")
        try:
            cell.build(venv)
        except SkippedError as error:
            return Row(cell=cell, skipped=str(error))
        complete.touch()
    airflow, amazon = installed(venv, "apache-airflow", "apache-airflow-providers-amazon")
    console.step(f"{cell.name}: testing on Airflow {airflow}, Amazon provider {amazon}")
    tests = run_tests(venv, strict=cell.strict, folder=folder, only=select)
    day = None
    if cell.end_to_end:
        console.step(f"{cell.name}: a daily run on a real Airflow")
        day = run_end_to_end(venv, folder=folder)
    return Row(cell=cell, airflow=airflow, amazon=amazon, tests=tests, day=day)


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    console = Console()
    cells = [cell for cell in CELLS if not options.only or cell.name in options.only]
    code, rows = code_digest(), []
    for cell in cells:
        row = run(cell, fresh=options.fresh, select=options.select, console=console)
        if not row.skipped and not options.select:
            save(row, _STATE / cell.name, code=code)
        rows.append(row)
        console.lines(*screen_lines([row])[1:])
    console.lines(*screen_lines(rows))
    if options.readme:
        write_readme([load(cell, _STATE / cell.name, code=code) for cell in CELLS], ROOT / "README.md")
    return 1 if any(row.failed for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
