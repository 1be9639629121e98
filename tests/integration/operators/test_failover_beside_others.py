"""Failovers that fail beside others, or after a crash: no cluster is lost, and the address is where the service is."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.aws.tags import OWNER_DIGEST_TAG
from airflow_eip_provider.lease import protocol
from airflow_eip_provider.lease.transitions import Release
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.lease_client.physical import PhysicalLeaseClient
from airflow_eip_provider.operators.failover.operator import EmrFailoverOperator
from airflow_eip_provider.triggers.undo import undo_stored
from tests.integration.operators.aws_state import STORE
from tests.integration.operators.failover_stage import STANDBY, run_to_end, vanish_after
from tests.integration.operators.test_failover_last_try import WRONG, crash
from tests.integration.operators.test_failover_undone import (
    CONNECTION,
    STORES,
    check_old_serves,
    fail,
    failed,
    failed_at_association,
)

pytestmark = pytest.mark.usefixtures("no_pause")

BIND = "airflow_eip_provider.operators.bindings.primary_node.PrimaryNode.bind"
TAGGED = {"standby_job_flow_id": None, "standby_tags": STANDBY}


@STORES
def test_a_standby_that_was_found_by_its_tags_is_found_again_after_a_failed_try(
    clocked, staged, monkeypatch, lease, store
):
    stage = staged(store=store)
    stage.break_livy()
    failed_at_association(monkeypatch, stage.failover(**TAGGED))
    check_old_serves(stage, lease)
    clocked.clock.advance(120)
    assert stage.failover(try_number=2, **TAGGED).run() == stage.standby


@STORES
def test_no_cluster_is_launched_beside_the_standby_of_a_failed_try(clocked, staged, monkeypatch, lease, store):
    """Although job_flow_overrides would allow a launch."""
    stage = staged(store=store)
    given = {"force": True, **TAGGED, "job_flow_overrides": stage.in_zone("eu-west-1b")}
    failed_at_association(monkeypatch, stage.failover(**given))
    clocked.clock.advance(120)
    seen = clocked.events.last
    stage.failover(try_number=2, **given).run()
    assert "RunJobFlow" not in stage.changes(after=seen)


def test_a_later_failover_finds_the_standby_of_a_failed_one(clocked, staged, monkeypatch, lease):
    stage = staged()
    failed_at_association(monkeypatch, stage.failover(force=True, try_number=3, **TAGGED))
    clocked.clock.advance(86400)
    assert stage.failover(dag_id="later", force=True, **TAGGED).run() == stage.standby


def test_what_a_crashed_failover_launched_is_not_lost_when_another_one_fails(clocked, staged, monkeypatch, lease):
    """No lock store: every failover continues with the same successor."""
    stage = staged(store=False, warm=False)
    vanish_after(monkeypatch, stage.failover(force=True, **stage.cold()), "RunJobFlow")
    clocked.clock.advance(600)
    assert len(stage.live()) == 2
    failed_at_association(monkeypatch, stage.failover(dag_id="other", try_number=3, force=True, **stage.cold()))
    clocked.clock.advance(120)
    task = stage.failover(force=True, try_number=2, **stage.cold())
    new = task.run()
    clocked.clock.advance(900)
    assert stage.live() == {new}


def test_a_refused_last_try_ends_what_it_launched_after_another_failover_has_failed(
    clocked, staged, monkeypatch, lease
):
    stage = staged(store=False, warm=False)
    vanish_after(monkeypatch, stage.failover(force=True, **stage.cold()), "RunJobFlow")
    clocked.clock.advance(600)
    failed_at_association(monkeypatch, stage.failover(dag_id="other", try_number=3, force=True, **stage.cold()))
    clocked.clock.advance(120)
    failed(stage.failover(force=True, try_number=3, **WRONG, **stage.cold()))
    clocked.clock.advance(300)
    assert stage.live() == {stage.old}


@STORES
def test_what_a_crashed_try_took_off_returns_when_the_last_try_fails_at_the_association(
    clocked, staged, monkeypatch, lease, store
):
    stage = staged(store=store)
    vanish_after(monkeypatch, stage.failover(force=True), "DisassociateAddress")
    clocked.clock.advance(120)
    assert stage.holder() is None
    failed_at_association(monkeypatch, stage.failover(force=True, try_number=3))
    check_old_serves(stage, lease)


def test_after_a_crash_and_a_failed_try_the_address_is_on_the_cluster_that_the_next_failover_names(
    clocked, staged, monkeypatch, lease
):
    stage = staged(store=False)
    stage.break_livy()
    vanish_after(monkeypatch, stage.failover(), "DisassociateAddress")
    clocked.clock.advance(120)
    failed_at_association(monkeypatch, stage.failover(try_number=3))
    stage.aws.mend_service(stage.old, "livy")
    clocked.clock.advance(300)
    result = stage.failover(dag_id="next").run()
    assert stage.holder() == clocked.cluster(result).primary.id


@STORES
def test_a_failover_that_took_over_from_a_crashed_one_gives_the_address_back(
    clocked, staged, monkeypatch, lease, store
):
    """The first failover's task has no retry; the next DAG run's failover fails, too."""
    stage = staged(store=store)
    vanish_after(monkeypatch, stage.failover(force=True), "DisassociateAddress")
    clocked.clock.advance(7200)
    assert stage.holder() is None
    with monkeypatch.context() as patch:
        patch.setattr(BIND, fail)
        task = stage.failover(dag_id="next", force=True, try_number=3)
        run_to_end(task)
    assert isinstance(task.error, RuntimeError), task.error
    assert stage.holder() == stage.aws.cluster(stage.old).primary.id


def test_an_interrupted_undo_of_a_killed_deferral_can_be_repeated(clocked, staged, monkeypatch, lease):
    stage = staged(warm=False)
    task = stage.failover(force=True, **stage.cold())
    task.start()
    clocked.clock.advance(60)
    kind, what = task.trigger().undo
    assert len(stage.live()) == 2
    clocked.faults.add(operation="TerminateJobFlows", kind="throttle", times=2)
    with pytest.raises(ClientError, match="TerminateJobFlows"):
        undo_stored(kind, what, connection=CONNECTION)
    clocked.faults.clear()
    undo_stored(kind, what, connection=CONNECTION)
    clocked.clock.advance(300)
    check_old_serves(stage, lease)


def test_the_tag_of_a_standby_does_not_hide_what_a_crashed_try_launched(clocked, staged, monkeypatch, lease):
    """No store: a first failover crashed after it chose a standby; a second one launches, and crashes."""
    stage = staged(store=False)
    vanish_after(monkeypatch, stage.failover(force=True), "AddTags")
    clocked.clock.advance(600)
    vanish_after(monkeypatch, stage.failover(dag_id="other", force=True, **stage.cold()), "RunJobFlow")
    clocked.clock.advance(600)
    assert len(stage.live()) == 3
    failed(stage.failover(dag_id="other", force=True, try_number=3, **WRONG, **stage.cold()))
    clocked.clock.advance(300)
    assert stage.live() == {stage.old, stage.standby}


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
def test_a_failover_that_fails_after_another_has_finished_leaves_the_new_cluster_alone(
    clocked, staged, monkeypatch, lease, warm
):
    stage = staged(store=False, warm=warm)
    given = {} if warm else stage.cold()
    first, second = stage.failover(force=True, **given), stage.failover(dag_id="other", force=True, **given)
    if not warm:
        first.start()

    def finish(*_: Any) -> None:
        patch.undo()
        if first.deferral:
            first.go_on()
        else:
            run_to_end(first)
        raise RuntimeError("the second fails")

    with monkeypatch.context() as patch:
        patch.setattr(BIND, finish)
        run_to_end(second)
    assert first.error is None
    assert isinstance(second.error, RuntimeError)
    assert stage.holder() == clocked.cluster(first.result).primary.id


def test_a_retry_after_another_failover_has_finished_finds_the_cluster_in_charge(clocked, staged, monkeypatch, lease):
    stage = staged(store=False)
    first, second = stage.failover(force=True), stage.failover(dag_id="other", force=True, **TAGGED)

    def finish(*_: Any) -> None:
        patch.undo()
        run_to_end(first)
        raise RuntimeError("the second fails")

    with monkeypatch.context() as patch:
        patch.setattr(EmrFailoverOperator, "_end_steps", finish)
        run_to_end(second)
    assert first.result == stage.standby
    assert isinstance(second.error, RuntimeError)
    clocked.clock.advance(300)
    assert stage.holder() == clocked.cluster(stage.standby).primary.id
    assert stage.failover(dag_id="other", force=True, try_number=2, **TAGGED).run() == stage.standby


def test_a_deferral_that_is_killed_after_the_address_has_left_puts_it_back(clocked, staged, monkeypatch, lease):
    """No store: a deferral after the old cluster lost the address."""
    stage = staged(store=False)
    task = stage.failover(force=True)
    with monkeypatch.context() as patch:
        patch.setattr(BIND, lambda *_: None)
        task.start()
    assert task.deferral is not None
    assert stage.holder() is None
    kind, what = task.trigger().undo
    undo_stored(kind, what, connection=CONNECTION)
    check_old_serves(stage, lease)


def test_a_standby_that_another_task_launched_is_not_taken_for_one_of_a_failover(clocked, staged, monkeypatch):
    """No store: the standby has the owner tag of the task that created it."""
    stage = staged(store=False, warm=False)
    stage.standby = stage.launch("eu-west-1b", {**STANDBY, OWNER_DIGEST_TAG: "other"})
    stage.break_livy()
    vanish_after(monkeypatch, stage.failover(), "AddTags")
    stage.aws.mend_service(stage.old, "livy")
    clocked.clock.advance(300)
    seen = clocked.events.last
    assert stage.failover(dag_id="next").run() == stage.old
    assert stage.changes(after=seen) == []


@STORES
@pytest.mark.parametrize("operation", ["RunJobFlow", "DisassociateAddress", "AssociateAddress"])
def test_a_retry_that_is_killed_in_its_first_deferral_undoes_the_crashed_try(
    clocked, staged, monkeypatch, lease, store, operation
):
    """The first try crashed; the deferral of the second is killed: its trigger undoes everything."""
    stage = staged(warm=False, store=store)
    crash(monkeypatch, stage, operation, **stage.cold())
    second = stage.failover(force=True, try_number=2, **stage.cold())
    with monkeypatch.context() as patch:
        patch.setattr(BIND, lambda *_: None)
        second.start()
    assert second.deferral is not None, second.error
    undo = second.trigger().undo
    if operation == "AssociateAddress" and not store:
        assert undo is None, "only the address says which cluster has the service"
        return
    undo_stored(*undo, connection=CONNECTION)
    clocked.clock.advance(300)
    check_old_serves(stage, lease)


def test_a_killed_deferral_ends_its_cluster_after_the_lease_was_ended_by_hand(clocked, staged, lease):
    """Who ended it did not know the cluster; only the deferral does."""
    stage = staged(warm=False)
    task = stage.failover(force=True, **stage.cold())
    task.start()
    undo = task.trigger().undo
    assert len(stage.live()) == 2
    client = task.operator.lease_client
    protocol.apply(client.world(undoing=True), Release(lease().token, None, "taken over: by hand"), client.limits)
    assert lease() is None
    undo_stored(*undo, connection=CONNECTION)
    clocked.clock.advance(300)
    assert stage.live() == {stage.old}


def test_a_service_that_had_no_lease_gets_its_address_back(clocked, staged, monkeypatch, lease):
    """The cluster got its address before a lock store was configured; the first failover with one fails."""
    stage = staged(store=False)
    stage.lock_store = STORE
    failed_at_association(monkeypatch, stage.failover(force=True, try_number=3))
    assert stage.holder() == stage.aws.cluster(stage.old).primary.id


def test_a_service_whose_lease_was_ended_by_hand_keeps_its_address(clocked, staged, monkeypatch, lease):
    stage = staged()
    client = stage.failover()._pristine.lease_client
    protocol.apply(client.world(undoing=True), Release(lease().token, stage.old, "taken over: by hand"), client.limits)
    assert lease() is None
    assert stage.holder() == stage.aws.cluster(stage.old).primary.id
    failed_at_association(monkeypatch, stage.failover(force=True, try_number=3))
    assert stage.holder() == stage.aws.cluster(stage.old).primary.id


@pytest.fixture
def there_and_back(clocked: Any, staged: Any, store: Any) -> Any:
    """A service that was moved to the standby and back; both clusters were kept."""
    stage = staged(store=store)
    keep = {"force": True, "old_cluster": "keep"}
    assert stage.failover(**keep).run() == stage.standby
    clocked.clock.advance(600)
    back = {"job_flow_id": stage.standby, "standby_job_flow_id": stage.old}
    assert stage.failover(dag_id="back", **keep, **back).run() == stage.old
    clocked.clock.advance(600)
    return stage


@STORES
def test_a_standby_that_was_in_charge_before_is_not_in_charge(there_and_back, monkeypatch, lease, store):
    failed_at_association(monkeypatch, there_and_back.failover(dag_id="again", force=True, try_number=3))
    check_old_serves(there_and_back, lease)


@pytest.mark.parametrize("store", [True, False], ids=["StoreLeaseClient", "PhysicalLeaseClient"])
def test_a_standby_that_was_in_charge_before_gives_the_address_back(there_and_back, monkeypatch, lease, store):
    client = StoreLeaseClient if store else PhysicalLeaseClient
    with monkeypatch.context() as patch:
        patch.setattr(client, "hand_over", lambda *_, **__: fail())
        failed(there_and_back.failover(dag_id="again", force=True, try_number=3))
    check_old_serves(there_and_back, lease)


def test_a_service_that_had_no_lease_gets_its_address_back_after_a_crash(clocked, staged, monkeypatch):
    stage = staged(store=False)
    stage.lock_store = STORE
    vanish_after(monkeypatch, stage.failover(force=True), "DisassociateAddress")
    clocked.clock.advance(120)
    failed_at_association(monkeypatch, stage.failover(force=True, try_number=3))
    assert stage.holder() == stage.aws.cluster(stage.old).primary.id


def test_before_the_address_has_left_version_0_1_0_can_read_what_a_deferral_stores(staged):
    stage = staged(store=False, warm=False)
    task = stage.failover(force=True, **stage.cold())
    task.start()
    kind, what = task.trigger().undo
    assert (kind, set(what)) == ("cluster", {"allocation_id", "terminate", "job_flow_id", "try_number"})
