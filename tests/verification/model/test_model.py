"""A small model check: it finds no violation in the protocol, and one in each protocol without a guard."""

from __future__ import annotations

from random import Random
from unittest import mock

import pytest

from airflow_eip_provider.lease.transitions import TABLE
from tests.verification.model.drawing import PAGE, drawn
from tests.verification.model.explore import Explorer
from tests.verification.model.mutations import MUTATIONS
from tests.verification.model.scenarios import BESIDE, EARLY, LINGERING_LEASE, LYING, SERVICE, WALKED, scenario
from tests.verification.model.symmetry import Symmetry

SMALL = (
    scenario(1, "crash 1, lost 1, slow 1"),
    scenario(1, "kill 1, clear 1"),
    scenario(1, "crash 1, slow 1", start=LINGERING_LEASE),
    scenario(2, "slow 1"),
    scenario(2, first=EARLY),
    scenario(2, first=BESIDE),
    scenario(2, start=LYING),
    scenario(1, "fail 1, crash 1", fallbacks=True),
    scenario(1, "fail 1, clear 1", fallbacks=True),
    scenario(1, "crash 1", start=SERVICE),
    scenario(2, start=SERVICE),
)


@pytest.mark.parametrize("small", SMALL, ids=lambda s: s.name)
def test_every_interleaving_keeps_every_invariant_and_comes_to_its_end(small):
    report = Explorer(small).explore(most_states=200_000)
    assert report.violation is None, report.trace
    assert not report.truncated
    assert report.ends > 0


@pytest.mark.parametrize("large", WALKED, ids=lambda s: s.name)
def test_random_ways_of_three_owners_come_to_their_ends(large):
    explorer, random = Explorer(large), Random(7)
    for _ in range(40):
        report = explorer.walk(random)
        assert report.violation is None, report.trace
        assert report.ends == 1


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda m: m.removed)
def test_a_missing_guard_is_noticed(mutation):
    report = mutation.caught()
    assert report.violation is not None
    assert report.trace, "the way to it is told"
    assert Explorer(mutation.scenario).explore(most_states=2_000).violation is None, "nothing is wrong with the guard"


@pytest.mark.parametrize("small", [scenario(2), scenario(2, prewarm=1)], ids=lambda s: s.name)
def test_nothing_is_missed_when_interchangeable_owners_are_explored_once(small):
    few = Explorer(small).explore(most_states=50_000)
    with mock.patch.object(Symmetry, "canonical", lambda _, state: state):
        all_of_them = Explorer(small).explore(most_states=100_000)
    assert not few.truncated
    assert few.states < all_of_them.states <= 2 * few.states
    assert few.depth == all_of_them.depth


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if len(m.scenario.owners) > 1], ids=lambda m: m.removed)
def test_the_shortest_way_to_a_violation_is_as_short_with_names(mutation):
    with mock.patch.object(Symmetry, "canonical", lambda _, state: state):
        named = mutation.caught()
    assert len(named.trace) == len(mutation.caught().trace)


def test_the_page_shows_the_law_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    assert drawn(page) == page, "python -m tests.verification.model --draw draws it again"
    for row in TABLE:
        assert f"`{row.event.__name__}`" in page
