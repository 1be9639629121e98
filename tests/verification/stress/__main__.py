"""Run the stress test: ``python -m tests.verification.stress``; its exit code is 0 when nothing is broken."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from harness.console import Console
from tests.verification.stress.plan import Options

_RUNS_PER_KILL = 200


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.stress", description=__doc__)
    parser.add_argument("--processes", type=int, default=16, help="worker processes (default: %(default)s)")
    parser.add_argument("--periods", type=int, default=200, help="for each of them (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="decides on faults and kills (default: %(default)s)")
    parser.add_argument("--store", choices=("dynamodb", "s3"), default="dynamodb", help="default: %(default)s")
    parser.add_argument(
        "--time-scale", type=float, default=300.0, help="simulated seconds per real second (default: %(default)s)"
    )
    parser.add_argument(
        "--addresses",
        type=int,
        default=1,
        help="Elastic IPs; with several, pools of two of them (default: %(default)s)",
    )
    parser.add_argument("--queue", action="store_true", help="only the figures of the queue, some minutes")
    parser.add_argument("--runs", type=int, default=20, help="of each size, with --queue (default: %(default)s)")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    size = vars(parse(arguments))
    queue, runs = size.pop("queue"), size.pop("runs")
    options = Options(**size, kills=max(1, size["processes"] * size["periods"] // _RUNS_PER_KILL))
    console = Console()
    with tempfile.TemporaryDirectory(prefix="stress-") as folder:
        os.environ["AIRFLOW_HOME"] = folder  # which Airflow reads when it is imported
        passed = _show_queue(console, runs=runs) if queue else _run(console, options, Path(folder))
    console.lines("", "PASS" if passed else "FAIL")
    return 0 if passed else 1


def _run(console: Console, options: Options, folder: Path) -> bool:
    from tests.verification.stress.environment import Environment  # noqa: PLC0415 - imports Airflow
    from tests.verification.stress.report import report  # noqa: PLC0415

    console.step(f"{options.total:,} lease periods; {options.kills} worker processes will be killed")
    outcome = Environment(options, folder, report_progress=console.step).run()
    lines, passed = report(outcome, options)
    console.lines("", *lines)
    return passed


def _show_queue(console: Console, *, runs: int) -> bool:
    from tests.verification.stress import queue_figures  # noqa: PLC0415 - imports Airflow

    return queue_figures.show(console, runs=runs)


if __name__ == "__main__":
    sys.exit(main())
