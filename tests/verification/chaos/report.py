"""The matrix: calls and faults, tried and survived."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from tests.verification.chaos.faults import KINDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.verification.chaos.world import Outcome


def matrix(outcomes: Sequence[Outcome]) -> str:
    """Return a table: a row for each kind of fault, a column for each plan, survived of tried."""
    plans = list(dict.fromkeys(outcome.plan for outcome in sorted(outcomes, key=_order)))
    tried: Counter[tuple[str, str]] = Counter()
    survived: Counter[tuple[str, str]] = Counter()
    for outcome in outcomes:
        kind = outcome.point.kind if outcome.point else "no fault"
        for key in ((kind, str(outcome.plan)), ("all", str(outcome.plan))):
            tried[key] += 1
            survived[key] += not outcome.problems
    rows = [["", *(str(plan) for plan in plans)]]
    for kind in ("no fault", *KINDS, "all"):
        cells = [f"{survived[kind, str(plan)]}/{tried[kind, str(plan)]}" for plan in plans]
        rows.append([kind, *(cell if cell != "0/0" else "-" for cell in cells)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    calls = ", ".join(f"{len(one.boundaries)} ({one.plan})" for one in outcomes if one.point is None)
    totals = []
    for operators in ("ours", "stock"):
        its = [outcome for outcome in outcomes if outcome.plan.operators == operators and outcome.point]
        if its:
            totals.append(f"{operators}: {sum(not one.problems for one in its):,} of {len(its):,} points survived")
    return "\n".join([*lines, "", f"calls of a clean run: {calls}", *totals])


def failures(outcomes: Sequence[Outcome], directory: Path) -> str:
    """Return what was not survived, ours in full and the stock operators' by what is left behind; keep the logs."""
    lines = []
    directory.mkdir(parents=True, exist_ok=True)
    ours = [outcome for outcome in outcomes if outcome.problems and outcome.plan.operators == "ours"]
    for number, outcome in enumerate(sorted(ours, key=_order)):
        kept = directory / f"{number}.log"
        kept.write_text(outcome.log)
        lines += [f"NOT SURVIVED {outcome.plan}: {outcome.point or 'no fault'}; {outcome.tasks}; log: {kept}"]
        lines += [f"    {problem}" for problem in outcome.problems]
    left: dict[str, int] = defaultdict(int)
    for outcome in outcomes:
        if outcome.plan.operators == "stock" and outcome.point:
            for problem in {_general(problem) for problem in outcome.problems}:
                left[problem] += 1
    lines += [f"stock: in {count} runs {problem}" for problem, count in sorted(left.items(), key=lambda item: -item[1])]
    return "\n".join(lines)


def _order(outcome: Outcome) -> tuple[str, str, bool, int]:
    plan, point = outcome.plan, outcome.point
    return plan.operators, plan.store, plan.deferrable, point.boundary.number if point else 0


def _general(problem: str) -> str:
    words = problem.split(": ", 1)[-1].split()
    return " ".join(
        "a cluster" if word.startswith("j-") else "a step" if word.startswith("s-") else word for word in words
    )
