"""A lease period with each fault at each call; say which it survived: ``python -m tests.verification.chaos``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from tests.verification.chaos import plans, report
from tests.verification.chaos.faults import KINDS
from tests.verification.chaos.fleet import Fleet

_TELL_EVERY = 50


def main(arguments: list[str] | None = None) -> int:
    """
    Print the matrix of calls and faults.

    :return: 1 when ours did not survive a point.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.verification.chaos", description=__doc__)
    parser.add_argument("--workers", type=int, default=(os.cpu_count() or 2) + 1, help="local EMRs side by side")
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
    outcomes = []
    with Fleet(options.workers) as fleet:
        for outcome in fleet.live(chosen, kinds=options.kind or list(KINDS), every=options.every):
            outcomes.append(outcome)
            if outcome.problems and outcome.plan.operators == "ours":
                _say(f"{outcome.plan}: {outcome.point}: {'; '.join(outcome.problems)}")
            if len(outcomes) % _TELL_EVERY == 0:
                _say(f"{len(outcomes)} runs")
    _say(report.matrix(outcomes))
    _say(report.failures(outcomes, options.logs))
    lost = [one for one in outcomes if one.problems and one.plan.operators == "ours"]
    return 1 if lost else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
