"""The last try of a failover fails before it has the lease: it undoes what an earlier, crashed try did."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.operators.failover.operator import EmrFailoverOperator
from harness.leases import Vanished
from tests.integration.operators.aws_state import STORE
from tests.integration.operators.failover_stage import STANDBY, after_call, run_to_end, vanish_after
from tests.integration.operators.test_failover_undone import STORES, check_old_serves, fail, failed

pytestmark = pytest.mark.usefixtures("no_pause")

WARM = pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
WRONG = {"unhealthy_after": "4/3"}  # a parameter that was changed between two tries


def crash(monkeypatch: pytest.MonkeyPatch, stage: Any, operation: str, **given: Any) -> None:
    """Let the first try end without an undo, after a call that it makes also after a deferral."""
    first = stage.failover(force=True, **given)
    first._pristine.undo = lambda *_: None

    def vanish() -> None:
        raise Vanished

    with monkeypatch.context() as patch:
        after_call(patch, operation, vanish)
        with pytest.raises(Vanished):
            run_to_end(first)


@STORES
@pytest.mark.parametrize(
    ("warm", "operation"),
    [
        (True, "DisassociateAddress"),
        (True, "AssociateAddress"),
        (False, "RunJobFlow"),
        (False, "DisassociateAddress"),
        (False, "AssociateAddress"),
    ],
)
def test_a_last_try_that_is_refused_gives_back_what_an_earlier_one_moved(
    clocked, staged, monkeypatch, lease, store, warm, operation
):
    stage = staged(store=store, warm=warm)
    given = {} if warm else stage.cold()
    crash(monkeypatch, stage, operation, **given)
    clocked.clock.advance(120)
    failed(stage.failover(force=True, try_number=3, **WRONG, **given))
    clocked.clock.advance(300)
    if operation == "AssociateAddress" and not store:
        # Only the address says which cluster has the service.
        new = next(name for name in stage.live() if name != stage.old)
        assert stage.holder() == clocked.cluster(new).primary.id
    else:
        check_old_serves(stage, lease)


@WARM
@pytest.mark.parametrize("how", ["killed at its start", "refused"])
def test_after_a_last_try_that_ends_early_the_old_cluster_or_the_queue_has_the_address(
    clocked, staged, monkeypatch, lease, leased, queue, how, warm
):
    stage = staged(warm=warm)
    given = {} if warm else stage.cold()
    crash(monkeypatch, stage, "AssociateAddress", **given)
    clocked.clock.advance(60 if warm else 1000)
    if how == "refused":
        failed(stage.failover(force=True, try_number=3, **WRONG, **given))
    else:
        last = stage.failover(force=True, try_number=2, **given)
        with monkeypatch.context() as patch:
            patch.setattr(EmrFailoverOperator, "_decide", lambda self, *_: self.on_kill())
            last.start()
        assert last.error is not None
    waiter = leased("waiter", lock_store=STORE, prewarm=False)
    waiter.start()
    if not waiter.ended:
        queue.pass_time(3600, waiter)
    if not waiter.ended:
        check_old_serves(stage, lease)


@pytest.mark.parametrize("seconds", [120, 1200])
def test_when_the_old_cluster_has_ended_what_an_earlier_try_launched_is_terminated(
    clocked, staged, monkeypatch, lease, seconds
):
    stage = staged(warm=False)
    vanish_after(monkeypatch, stage.failover(force=True, **stage.cold()), "RunJobFlow")
    clocked.clock.advance(seconds)
    assert len(stage.live()) == 2
    stage.boto("emr").terminate_job_flows(JobFlowIds=[stage.old])
    clocked.clock.advance(120)
    with monkeypatch.context() as patch:
        patch.setattr(EmrFailoverOperator, "run_preflight", fail)  # such as: the subnet no longer exists
        failed(stage.failover(force=True, try_number=3, **stage.cold()))
    clocked.clock.advance(600)
    assert (lease(), stage.live()) == (None, set())


@pytest.mark.parametrize("refusals", [0, 1, 5, 8])
def test_an_undo_that_is_throttled_is_repeated_by_the_same_attempt(clocked, staged, monkeypatch, lease, refusals):
    stage = staged()
    vanish_after(monkeypatch, stage.failover(force=True), "DisassociateAddress")
    clocked.clock.advance(60)
    assert lease().phase is Phase.ACQUIRED
    if refusals:
        clocked.faults.add(operation="AssociateAddress", kind="throttle", times=refusals)
    failed(stage.failover(force=True, try_number=3, **WRONG))
    check_old_serves(stage, lease)


@pytest.fixture
def warm_or_cold(clocked: Any, staged: Any, lease: Any) -> tuple[Any, dict[str, Any]]:
    """A failover that kept its lease for a retry after it had found a standby, which has ended since."""
    stage = staged()
    overrides = stage.in_zone("eu-west-1b")
    given = {"force": True, "standby_job_flow_id": None, "standby_tags": STANDBY, "job_flow_overrides": overrides}
    clocked.faults.add(operation="AssociateAddress", kind="throttle", times=1000)
    stage.boto("emr").terminate_job_flows(JobFlowIds=[stage.old])
    clocked.clock.advance(120)
    failed(stage.failover(**given))
    clocked.faults.clear()
    assert lease().phase is Phase.ACQUIRED
    stage.boto("emr").terminate_job_flows(JobFlowIds=[stage.standby])
    clocked.clock.advance(300)
    return stage, given


def test_a_cold_retry_of_a_warm_failover_continues_with_the_cluster_of_a_crashed_one(
    clocked, warm_or_cold, monkeypatch
):
    stage, given = warm_or_cold
    vanish_after(monkeypatch, stage.failover(**given, try_number=2), "RunJobFlow")
    clocked.clock.advance(120)
    (launched,) = stage.live()
    assert stage.failover(**given, try_number=3).run() == launched
    clocked.clock.advance(600)
    assert stage.live() == {launched}


def test_others_wait_while_the_cluster_of_a_cold_retry_starts(clocked, warm_or_cold, leased, lease):
    stage, given = warm_or_cold
    before = clocked.durations.starting
    object.__setattr__(clocked.durations, "starting", 1500)  # seconds; longer than others wait for a warm failover
    try:
        task = stage.failover(**given, try_number=2)
        task.start()
        assert task.error is None
        clocked.clock.advance(1000)
    finally:
        object.__setattr__(clocked.durations, "starting", before)
    waiter = leased("waiter", lock_store=STORE, prewarm=False)
    waiter.start()
    assert lease().attempt.name.startswith("testing/watch")
