"""Two faults of the chaos test: one that this package's operators survive, and one that the stock operators do not."""

from __future__ import annotations

import pytest

from tests.verification.chaos import plans
from tests.verification.chaos.faults import Point
from tests.verification.chaos.fleet import Fleet


@pytest.fixture(scope="module")
def fleet():
    with Fleet(1) as fleet:
        yield fleet


@pytest.mark.parametrize("plan", [plans.Plan("ours", "DynamoDB", deferrable=True)], ids=str)
def test_a_kill_after_the_launch_is_survived(fleet, plan):
    (clean,) = fleet.run([plan], kinds=[])
    assert clean.problems == ()
    launch = next(call for call in clean.boundaries if call.operation == "RunJobFlow")
    outcome = fleet.run_with_fault(plan, Point("killed after", launch))
    assert outcome.problems == ()
    assert outcome.tasks["create"] == "succeeded after 2"
    assert [call.operation for call in outcome.boundaries].count("RunJobFlow") == 1, "the retry adopted it"


def test_the_stock_operators_leave_a_cluster_behind(fleet):
    plan = plans.STOCK[0]
    (clean,) = fleet.run([plan], kinds=[])
    assert clean.problems == ()
    launch = next(call for call in clean.boundaries if call.operation == "RunJobFlow")
    assert any("is left" in problem for problem in fleet.run_with_fault(plan, Point("killed after", launch)).problems)
