"""The model check in small: it finds nothing wrong in the protocol, and everything in a protocol without a guard."""

from __future__ import annotations

from random import Random

import pytest

from airflow_eip_provider.lock.transitions import TABLE
from tests.model.drawing import PAGE, drawn
from tests.model.explore import Explorer
from tests.model.mutations import MUTATIONS
from tests.model.scenarios import WALKED, WITHOUT_STORE, scenario

SMALL = (
    scenario(1, "crash 1, lost 1, slow 1"),
    scenario(1, "kill 1, clear 1"),
    scenario(2),
    scenario(2, early_release=True),
    WITHOUT_STORE[0],
)
# `make model` tries these, too; they take long.
LONG = {"HandOver ignores token and speaker"}


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


@pytest.mark.parametrize("mutation", [m for m in MUTATIONS if m.removed not in LONG], ids=lambda m: m.removed)
def test_a_missing_guard_is_noticed(mutation):
    assert mutation.caught().violation is not None


def test_the_page_shows_the_law_as_it_is():
    page = PAGE.read_text(encoding="utf-8")
    assert drawn(page) == page, "python -m tests.model.drawing draws it again"
    for row in TABLE:
        assert f"`{row.event.__name__}`" in page
