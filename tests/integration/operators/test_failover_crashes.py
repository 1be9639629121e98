"""Crashes of a failover: a retry continues, one cluster has the service, and no other cluster is left."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.operators.failover_stage import vanish_after

pytestmark = pytest.mark.usefixtures("no_pause")

WARM = [
    ("AddTags", 1),  # the standby is chosen
    ("DisassociateAddress", 1),
    ("AssociateAddress", 1),
    ("RegisterTargets", 1),
    ("AddTags", 2),  # the new cluster is in charge
    ("DeregisterTargets", 1),
    ("TerminateJobFlows", 1),
]
MOVED, HANDED_OVER = ("PutItem", 1), ("PutItem", 2)
COLD = [("RunJobFlow", 1), *WARM[1:3], WARM[-1]]


@pytest.mark.parametrize(("operation", "nth"), [*WARM, MOVED, HANDED_OVER], ids=str)
def test_a_retry_of_a_warm_failover_continues(clocked, staged, monkeypatch, operation, nth):
    stage = staged(balanced=operation.endswith("Targets"))
    stage.break_livy()
    vanish_after(monkeypatch, stage.failover(), operation, nth)
    seen = clocked.events.last
    retry = stage.failover(try_number=2)
    assert retry.run() == stage.standby
    assert stage.changes(after=seen).count("AssociateAddress") <= 1
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


@pytest.mark.parametrize(("operation", "nth"), [*WARM[:3], *WARM[-3:]], ids=str)
def test_a_retry_without_a_lock_store_continues(clocked, staged, monkeypatch, operation, nth):
    stage = staged(store=False, balanced=operation.endswith("Targets"))
    stage.break_livy()
    vanish_after(monkeypatch, stage.failover(), operation, nth)
    retry = stage.failover(try_number=2)
    assert retry.run() == stage.standby
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
@pytest.mark.parametrize(("operation", "nth"), COLD, ids=str)
def test_a_retry_of_a_cold_failover_adopts_what_was_launched(clocked, staged, monkeypatch, operation, nth, store):
    stage = staged(warm=False, store=store)
    stage.break_livy()
    vanish_after(monkeypatch, stage.failover(**stage.cold()), operation, nth)
    retry = stage.failover(try_number=2, **stage.cold())
    new = retry.run()
    assert len(clocked.events.calls("RunJobFlow")) == 2, "the service's, and the one that is adopted"
    clocked.clock.advance(300)
    stage.check_moved_to(new)


def test_a_retry_without_an_address_adopts_what_was_launched(clocked, staged, monkeypatch):
    stage = staged(warm=False, address=False)
    stage.break_livy()
    vanish_after(monkeypatch, stage.failover(**stage.cold()), "RunJobFlow")
    new = stage.failover(try_number=2, **stage.cold()).run()
    clocked.clock.advance(300)
    stage.check_moved_to(new)


@pytest.mark.parametrize(("operation", "nth"), [MOVED, ("AssociateAddress", 1)], ids=str)
def test_another_task_takes_over_when_the_first_one_never_returns(clocked, staged, monkeypatch, operation, nth):
    stage = staged()
    stage.break_livy()
    vanish_after(monkeypatch, stage.failover(dag_id="gone"), operation, nth)
    other = stage.failover(dag_id="other")
    start = clocked.clock.now()
    assert other.run() == stage.standby
    assert other.deferrals[0] == "EipLeaseMovedTrigger"
    assert 900 <= (clocked.clock.now() - start).total_seconds() <= 1200
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


def test_another_task_terminates_the_cluster_of_the_first_one_before_it_launches_its_own(clocked, staged, monkeypatch):
    stage = staged(warm=False)
    stage.break_livy()
    short = {**stage.cold(), "start_timeout": timedelta(minutes=10)}
    vanish_after(monkeypatch, stage.failover(dag_id="gone", **short), "RunJobFlow")
    new = stage.failover(dag_id="other", **short).run()
    clocked.clock.advance(300)
    stage.check_moved_to(new)
