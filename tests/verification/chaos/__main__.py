"""Run a lease period with each fault at each call, and report the result: ``python -m tests.verification.chaos``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from harness.console import Console
from tests.verification.chaos import plans, report
from tests.verification.chaos.faults import KINDS
from tests.verification.chaos.fleet import Fleet

_RUNS_PER_REPORT = 50


def main(arguments: list[str] | None = None) -> int:
    """
    Run, and print the matrix of plans and faults.

    :return: 1 if this package's operators did not survive a fault.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.verification.chaos", description=__doc__)
    parser.add_argument("--workers", type=int, default=(os.cpu_count() or 2) + 1, help="local EMRs in parallel")
    parser.add_argument("--kind", action="append", choices=sorted(KINDS), help="this kind of fault only; repeatable")
    parser.add_argument("--plan", help="plans with this text in their names only, e.g. 'S3' or 'blocking'")
    parser.add_argument(
        "--every", type=int, default=4, help="every n-th point (default: %(default)s); 1 is all of them"
    )
    parser.add_argument("--stock", action="store_true", help="the stock operators only")
    parser.add_argument("--logs", type=Path, default=Path(tempfile.gettempdir()) / "chaos-logs")
    options = parser.parse_args(arguments)
    every = plans.STOCK if options.stock else plans.OURS + plans.STOCK
    chosen = [plan for plan in every if not options.plan or options.plan in str(plan)]
    console, outcomes = Console(), []
    with Fleet(options.workers) as fleet:
        for outcome in fleet.run(chosen, kinds=options.kind or list(KINDS), every=options.every):
            outcomes.append(outcome)
            if outcome.is_failure:
                console.lines(f"{outcome.plan}: {outcome.point}: {'; '.join(outcome.problems)}")
            if len(outcomes) % _RUNS_PER_REPORT == 0:
                console.lines(f"{len(outcomes)} runs")
    console.lines(*report.matrix(outcomes), *report.failures(outcomes, options.logs))
    return 1 if any(outcome.is_failure for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
