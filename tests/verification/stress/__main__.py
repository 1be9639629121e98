"""Run the stress test: ``python -m tests.verification.stress``; its exit code is 0 when nothing is broken."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from harness.console import Console
from tests.verification.stress.plan import Options

_RUNS_A_KILL = 200


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.verification.stress", description=__doc__)
    parser.add_argument("--processes", type=int, default=16, help="worker processes (default: %(default)s)")
    parser.add_argument("--periods", type=int, default=200, help="for each of them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides on faults and kills (default: %(default)s)")
    parser.add_argument("--store", choices=("dynamodb", "s3"), default="dynamodb", help="default: %(default)s")
    parser.add_argument(
        "--time-scale", type=float, default=300.0, help="simulated seconds a real one (default: %(default)s)"
    )
    parser.add_argument("--queue", action="store_true", help="only the figures of the queue, some minutes")
    parser.add_argument("--runs", type=int, default=20, help="of each size, with --queue (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Run, report, and return the exit code."""
    given = parse(arguments)
    console = Console()
    if given.queue:
        return _show_queue(console, runs=given.runs)
    size = {name: value for name, value in vars(given).items() if name not in {"queue", "runs"}}
    options = Options(**size, kills=max(1, given.processes * given.periods // _RUNS_A_KILL))
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        os.environ["AIRFLOW_HOME"] = folder
        from tests.verification.stress.arena import Arena  # noqa: PLC0415 - Airflow reads its home when it is imported
        from tests.verification.stress.report import report  # noqa: PLC0415

        console.step(f"{options.total:,} lease periods, {options.kills} kills of processes to come")
        outcome = Arena(options, Path(folder), say=console.step).run()
    lines, passed = report(outcome, options)
    console.lines("", *lines, "", "PASS" if passed else "FAIL")
    return 0 if passed else 1


def _show_queue(console: Console, *, runs: int) -> int:
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        os.environ["AIRFLOW_HOME"] = folder
        from tests.verification.stress import queueing  # noqa: PLC0415 - Airflow reads its home when it is imported

        passed = queueing.show(console, runs=runs)
    console.lines("", "PASS" if passed else "FAIL")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
