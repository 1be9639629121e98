"""``make model``: explore every scenario, walk the largest ones, and see that every mutation is caught."""

from __future__ import annotations

import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from random import Random
from typing import TYPE_CHECKING

from tests.model.explore import Explorer, Report
from tests.model.mutations import MUTATIONS
from tests.model.scenarios import COMPLETE, DEEP, WALKED, WITHOUT_STORE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.model.explore import Scenario

_MOST_STATES = 250_000
_WALKS = 1500
_PROCESSES = 2
_EVERY_WAY = (*COMPLETE, *WITHOUT_STORE, *DEEP)


def explored(number: int) -> tuple[Report, float]:
    """Explore one scenario, every way."""
    started = time.monotonic()
    scenario = _EVERY_WAY[number]
    report = Explorer(scenario).explore(most_states=_MOST_STATES if scenario in DEEP else 10_000_000)
    return report, time.monotonic() - started


def walked(number: int) -> tuple[Report, float]:
    """Walk one scenario at random, from its start to its end, again and again."""
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
    """Look for what the absence of one guard lets happen."""
    return MUTATIONS[number].caught()


def main() -> int:
    """Run all of it; return the exit code."""
    with ProcessPoolExecutor(_PROCESSES) as pool:
        ways = pool.map(explored, range(len(_EVERY_WAY)))
        walks = pool.map(walked, range(len(WALKED)))
        catches = pool.map(mutated, range(len(MUTATIONS)))
        broken = _show_ways(ways)
        broken += _show_walks(walks)
        broken += _show_mutations(catches)
    _say()
    _say("The model finds nothing wrong, and every mutation." if not broken else f"BROKEN: {broken}")
    return 1 if broken else 0


def _show_ways(ways: Iterable[tuple[Report, float]]) -> int:
    _say("Every interleaving")
    _say(f"  {'scenario':58} {'states':>9} {'depth':>5} {'ends':>5} {'seconds':>7}")
    broken, states = 0, 0
    for scenario, (report, seconds) in zip(_EVERY_WAY, ways, strict=True):
        store = "" if scenario.start.store_keeps_its_word else ", a store that lies"
        how = f"all to depth {report.depth}" if report.truncated else "complete"
        _say(f"  {scenario.name + store:58} {report.states:9,} {report.depth:5} {report.ends:5} {seconds:7.1f}  {how}")
        broken += _complain(scenario, report)
        states += report.states
    _say(f"  {states:,} states")
    return broken


def _show_walks(walks: Iterable[tuple[Report, float]]) -> int:
    _say()
    _say(f"{_WALKS:,} random ways each, from the start to the end")
    broken = 0
    for scenario, (report, seconds) in zip(WALKED, walks, strict=True):
        _say(f"  {scenario.name}")
        _say(f"    {report.states:,} steps, the longest way {report.depth}, {report.ends:,} ends, {seconds:.1f} s")
        broken += _complain(scenario, report)
    return broken


def _show_mutations(catches: Iterable[Report]) -> int:
    _say()
    _say("Mutations: a guard is taken out, and the model must find what it prevents")
    missed = 0
    for mutation, report in zip(MUTATIONS, catches, strict=True):
        missed += report.violation is None
        where = f"{report.states:,} {'ways' if mutation.walked else 'states'}"
        caught = f"{_short(report.violation)} ({where})" if report.violation else f"NOT CAUGHT in {where}"
        _say(f"  {mutation.removed:52} {mutation.serves}")
        _say(f"    {caught}")
    _say(f"  {len(MUTATIONS) - missed} of {len(MUTATIONS)} caught")
    return missed


def _complain(scenario: Scenario, report: Report) -> int:
    if report.violation is None:
        return 0
    _say(f"    VIOLATION in {scenario.name}: {report.violation}")
    for label in report.trace:
        _say(f"      {_short(label)}")
    return 1


def _short(label: str) -> str:
    """Shorten a label: of a written record, only what the lease and the queue come to."""
    return re.sub(r"\((record=).*\)$", "(…)", re.sub(r"Actor\(owner='(\w)', try_number=(\d).*?\)", r"\1\2", label))[
        :140
    ]


def _say(text: str = "") -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
