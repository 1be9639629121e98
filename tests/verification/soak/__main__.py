"""Run the soak test: ``python -m tests.verification.soak``; its exit code is 0 when nothing is broken."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from harness.console import Console
from harness.processes import ProcessError, children_of_command
from tests.verification.soak.plan import Options


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.verification.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="number of DAG runs (default: %(default)s)")
    parser.add_argument("--dags", type=int, default=4, help="DAGs that share the address (default: %(default)s)")
    parser.add_argument(
        "--seed", type=int, default=1, help="decides on faults, kills and clears (default: %(default)s)"
    )
    parser.add_argument("--depth", type=int, default=6, help="runs that are active at any time (default: %(default)s)")
    parser.add_argument(
        "--time-scale", type=float, default=20.0, help="simulated seconds per real second (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=120.0, help="create no run after this (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a new directory for logs and the database, which is kept")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    parameters = vars(parse(arguments))
    keep: Path | None = parameters.pop("keep")
    options = Options(**parameters)
    console = Console()
    if keep:
        keep.mkdir(parents=True)
    directory = keep.resolve() if keep else Path(tempfile.mkdtemp(prefix="soak-"))
    passed = False
    try:
        with children_of_command(directory) as children:
            from tests.verification.soak.environment import Environment  # noqa: PLC0415 - moto reads the environment when it is imported
            from tests.verification.soak.report import report  # noqa: PLC0415

            console.step(
                f"seed {options.seed}: {options.runs} runs with {options.task_kills} kills of task processes, "
                f"{options.triggerer_kills} of the triggerer, and {options.clears} clears"
            )
            outcome = Environment(options, directory, children=children, report_progress=console.step).run()
            lines, passed = report(outcome, options)
            console.lines("", *lines, "", "PASS" if passed else "FAIL")
    except ProcessError as error:
        console.lines("", f"The soak stopped: {error}")
    except KeyboardInterrupt:
        console.lines("", "Interrupted.")
    finally:
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
