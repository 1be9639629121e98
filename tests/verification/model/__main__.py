"""``make model``: explore the scenarios, walk the largest ones at random, and check that every mutation is caught."""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from random import Random
from typing import TYPE_CHECKING

from tests.verification.model.drawing import draw
from tests.verification.model.explore import Explorer, Report
from tests.verification.model.mutations import MUTATIONS
from tests.verification.model.scenarios import COMPLETE, DEEP, WALKED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.verification.model.moves import Scenario

_MOST_STATES = 250_000
_WALKS = 1500
_PROCESSES = min(os.cpu_count() or 2, 4)  # each holds all states of its scenario in memory
_EVERY_WAY = (*COMPLETE, *DEEP)


def explored(number: int) -> tuple[Report, float]:
    """Explore one scenario."""
    started = time.monotonic()
    gc.disable()  # there are millions of tuples and no cycles
    scenario = _EVERY_WAY[number]
    report = Explorer(scenario).explore(most_states=_MOST_STATES if scenario in DEEP else 10_000_000)
    if report.truncated and scenario in COMPLETE:
        report.violation = "there are too many states to explore all of them"
    return report, time.monotonic() - started


def walked(number: int) -> tuple[Report, float]:
    """Follow many random interleavings of one scenario from start to end."""
    started = time.monotonic()
    explorer, random, total = Explorer(WALKED[number]), Random(number), Report()
    for _ in range(_WALKS):
        report = explorer.walk(random)
        total.states += report.depth
        total.ends += report.ends
        total.depth = max(total.depth, report.depth)
        if report.violation is not None:
            total.violation, total.trace = report.violation, report.trace
            break
    return total, time.monotonic() - started


def mutated(number: int) -> Report:
    """Find the violation that one mutation allows."""
    return MUTATIONS[number].caught()


def main() -> int:
    """Run everything; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.verification.model", description=__doc__)
    parser.add_argument("--draw", action="store_true", help="only update the diagram and the table of docs/lock.md")
    if parser.parse_args().draw:
        return draw()
    started = time.monotonic()
    with ProcessPoolExecutor(_PROCESSES) as pool:
        ways = pool.map(explored, range(len(_EVERY_WAY)))
        walks = pool.map(walked, range(len(WALKED)))
        catches = pool.map(mutated, range(len(MUTATIONS)))
        broken = _show_ways(ways)
        broken += _show_walks(walks)
        broken += _show_mutations(catches)
    verdict = f"BROKEN: {broken}" if broken else "The model finds no violation, and catches every mutation."
    _print(f"\n{verdict} {time.monotonic() - started:.0f} s")
    return 1 if broken else 0


def _show_ways(ways: Iterable[tuple[Report, float]]) -> int:
    _print("Every interleaving; interchangeable owners are not distinguished")
    _print(f"  {'scenario':60} {'states':>9} {'depth':>5} {'ends':>5} {'seconds':>7}")
    broken, states = 0, 0
    for scenario, (report, seconds) in zip(_EVERY_WAY, ways, strict=True):
        how = f"all interleavings to depth {report.depth}" if report.truncated else "complete"
        _print(f"  {scenario.name:60} {report.states:9,} {report.depth:5} {report.ends:5} {seconds:7.1f}  {how}")
        broken += _show_violation(scenario, report)
        states += report.states
    _print(f"  {states:,} states")
    return broken


def _show_walks(walks: Iterable[tuple[Report, float]]) -> int:
    _print(f"\n{_WALKS:,} random interleavings each, from the start to the end")
    broken = 0
    for scenario, (report, seconds) in zip(WALKED, walks, strict=True):
        _print(f"  {scenario.name}")
        _print(f"    {report.states:,} steps, the longest has {report.depth}, {report.ends:,} ends, {seconds:.1f} s")
        broken += _show_violation(scenario, report)
    return broken


def _show_mutations(catches: Iterable[Report]) -> int:
    _print("\nMutations: a guard is removed, and the model must find a violation")
    missed = 0
    for mutation, report in zip(MUTATIONS, catches, strict=True):
        missed += report.violation is None
        _print(f"  {mutation.removed}")
        _print(f"    {mutation.serves} | {mutation.scenario.name}")
        _print(f"    {report.violation or 'NOT CAUGHT'} ({report.states:,} states)")
    _print(f"  {len(MUTATIONS) - missed} of {len(MUTATIONS)} caught")
    return missed


def _show_violation(scenario: Scenario, report: Report) -> int:
    if report.violation is None:
        return 0
    _print(f"    VIOLATION in {scenario.name}: {report.violation}")
    for label in report.trace:
        _print(f"      {label}")
    return 1


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
