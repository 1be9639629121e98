"""The report: which faults each plan survived."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from harness.console import table
from tests.verification.chaos.faults import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.verification.chaos.world import Outcome


def matrix(outcomes: Sequence[Outcome]) -> list[str]:
    """Return a table with a row for each kind of fault and a column for each plan: survived / tried."""
    plans = list(dict.fromkeys(outcome.plan for outcome in sorted(outcomes, key=_order)))
    tried: Counter[tuple[str, str]] = Counter()
    survived: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        kind = outcome.point.kind if outcome.point else "no fault"
        for key in ((kind, str(outcome.plan)), ("all", str(outcome.plan))):
            tried[key] += 1
            survived[key] += not outcome.problems
    rows: list[tuple[str, ...]] = []
    for kind in ("no fault", *KINDS, "all"):
        cells = [f"{survived[kind, str(plan)]}/{tried[kind, str(plan)]}" for plan in plans]
        rows.append((kind, *(cell if cell != "0/0" else "-" for cell in cells)))
    calls = ", ".join(f"{len(outcome.boundaries)} ({outcome.plan})" for outcome in outcomes if outcome.point is None)
    totals = []
    for operators in ("ours", "stock"):
        faulty = [outcome for outcome in outcomes if outcome.plan.operators == operators and outcome.point]
        if faulty:
            count = sum(not outcome.problems for outcome in faulty)
            totals.append(f"{operators}: {count:,} of {len(faulty):,} points survived")
    lines = table(rows, header=("", *map(str, plans)), right=frozenset(range(len(plans) + 1)))
    return [*lines, "", f"calls of a clean run: {calls}", *totals]


def failures(outcomes: Sequence[Outcome], directory: Path) -> list[str]:
    """
    Return the faults that were not survived: each one of ours, and a summary of the stock operators' problems.

    :param directory: for the logs of ours.
    """
    lines = []
    directory.mkdir(parents=True, exist_ok=True)
    for number, outcome in enumerate(sorted((each for each in outcomes if each.is_failure), key=_order)):
        kept = directory / f"{number}.log"
        kept.write_text(outcome.log)
        lines += [f"NOT SURVIVED {outcome.plan}: {outcome.point or 'no fault'}; {outcome.tasks}; log: {kept}"]
        lines += [f"    {problem}" for problem in outcome.problems]
    left = Counter(
        problem
        for outcome in outcomes
        if outcome.plan.operators == "stock" and outcome.point
        for problem in {_without_ids(problem) for problem in outcome.problems}
    )
    lines += [f"stock: in {count} runs {problem}" for problem, count in left.most_common()]
    return lines


def _order(outcome: Outcome) -> tuple[str, str, bool, int]:
    plan, point = outcome.plan, outcome.point
    return plan.operators, plan.store, plan.deferrable, point.boundary.number if point else 0


def _without_ids(problem: str) -> str:
    words = problem.split(": ", 1)[-1].split()
    return " ".join(
        "a cluster" if word.startswith("j-") else "a step" if word.startswith("s-") else word for word in words
    )
