"""What the undo of a failover leaves alone: what was handed over, an early release, a cluster without the service."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.operators.emr import EmrTerminateWithStaticIpOperator
from airflow_eip_provider.operators.failover.operator import EmrFailoverOperator
from airflow_eip_provider.operators.launch import Launcher
from airflow_eip_provider.triggers.undo import undo_stored
from harness.life import Task
from tests.integration.operators.aws_state import STORE
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


@pytest.fixture
def begin_release(clocked: Any, steps_operator: Any, release: Any, step: Any, lease: Any) -> Any:
    """Begin the early release of a cluster on which a fenced step runs."""

    def begin(job_flow_id: str) -> None:
        given = {"lock_store": STORE, "deferrable": True}
        steps = Task(steps_operator(job_flow_id, steps=[step("--sleep", "9000")], **given), dag_id="service")
        steps.start()
        assert steps.error is None
        clocked.clock.advance(120)
        Task(release(job_flow_id=job_flow_id, **given), dag_id="service").start()
        assert (lease().phase, lease().resource_id) == (Phase.RELEASING, job_flow_id)

    return begin


def test_a_stale_trigger_leaves_the_early_release_of_the_old_cluster_alone(clocked, staged, lease, begin_release):
    stage = staged(warm=False)
    task = stage.failover(force=True, **stage.cold())
    task.start()
    kind, what = task.trigger().undo
    undo_stored(kind, what, connection=CONNECTION)
    clocked.clock.advance(300)
    check_old_serves(stage, lease)
    begin_release(stage.old)
    undo_stored(kind, what, connection=CONNECTION)
    assert lease() is not None
    assert stage.live() == {stage.old}


def test_a_stale_trigger_leaves_the_early_release_of_the_new_cluster_alone(clocked, staged, begin_release):
    stage = staged(warm=False)
    task = stage.failover(force=True, **stage.cold())
    task.start()
    kind, what = task.trigger().undo
    task.go_on()
    clocked.clock.advance(300)
    begin_release(task.result)
    undo_stored(kind, what, connection=CONNECTION)
    clocked.clock.advance(120)
    assert stage.live() == {task.result}


def test_a_second_undo_of_a_killed_failover_leaves_the_old_cluster_alone(
    clocked, staged, lease, monkeypatch, begin_release
):
    """The first undo moves the lease back; an early release begins; then the process that was killed undoes, too."""
    stage = staged(warm=False)
    task = stage.failover(force=True, **stage.cold())

    def launch(*_: Any, **__: Any) -> None:
        task.operator.on_kill()
        check_old_serves(stage, lease)
        begin_release(stage.old)
        raise RuntimeError("killed before RunJobFlow")

    monkeypatch.setattr(Launcher, "launch", launch)
    task.start()
    clocked.clock.advance(120)
    assert stage.live() == {stage.old}
    assert lease() is not None


def test_a_stale_trigger_leaves_a_cluster_in_charge_alone_whose_lease_was_released(
    clocked, staged, lease, release, monkeypatch
):
    """The failover failed after the hand-over, which undoes nothing: the new cluster has the service."""
    stage = staged(warm=False)
    task = stage.failover(force=True, try_number=3, **stage.cold())
    task.start()
    kind, what = task.trigger().undo
    with monkeypatch.context() as patch:
        patch.setattr(EmrFailoverOperator, "_retire", fail)
        while not task.ended:
            task.go_on()
    assert task.error is not None
    new = lease().resource_id
    assert new != stage.old
    Task(release(job_flow_id=new, lock_store=STORE), dag_id="service").run()
    assert lease() is None
    clocked.clock.advance(300)
    undo_stored(kind, what, connection=CONNECTION, spare_handed_over=False)
    clocked.clock.advance(120)
    assert new in stage.live()


@STORES
def test_a_cluster_whose_address_was_released_early_does_not_get_it_from_an_undo(
    clocked, staged, lease, monkeypatch, release, store
):
    stage = staged(store=store)
    Task(release(job_flow_id=stage.old, lock_store=STORE if store else None), dag_id="service").run()
    assert stage.holder() is None
    clocked.clock.advance(120)
    failed_at_association(monkeypatch, stage.failover(force=True, try_number=3))
    assert stage.holder() is None
    if store:
        assert lease() is None


def test_a_failover_that_was_in_the_queue_gives_the_address_to_the_queue(
    clocked, staged, leased, queue, lease, monkeypatch, release
):
    stage = staged()
    Task(release(job_flow_id=stage.old, lock_store=STORE), dag_id="service").run()
    clocked.clock.advance(120)
    other = leased("other", lock_store=STORE)
    other.start()
    queue.until(lambda: other.ended, other)
    assert other.error is None
    task = stage.failover(force=True, try_number=3)
    task.start()
    assert not task.ended, "it is in the queue"
    waiter = leased("waiter", lock_store=STORE, prewarm=False)
    waiter.start()
    given = {"allocation_id": stage.allocation_id, "lock_store": STORE, "aws_conn_id": None}
    Task(EmrTerminateWithStaticIpOperator(task_id="end", job_flow_id=other.result, **given), dag_id="other").run()
    with monkeypatch.context() as patch:
        patch.setattr(BIND, fail)
        queue.until(lambda: task.ended, task)
    assert isinstance(task.error, RuntimeError)
    queue.until(lambda: waiter.ended, waiter)
    assert waiter.error is None
    assert lease().resource_id == waiter.result


@STORES
def test_after_a_failed_failover_a_cluster_that_is_healthy_again_is_left_alone(
    clocked, staged, monkeypatch, lease, store
):
    stage = staged(store=store)
    stage.break_livy()
    failed_at_association(monkeypatch, stage.failover(try_number=3))
    check_old_serves(stage, lease)
    stage.aws.mend_service(stage.old, "livy")
    clocked.clock.advance(300)
    seen = clocked.events.last
    assert stage.failover(dag_id="next").run() == stage.old
    assert stage.changes(after=seen) == []


def test_without_an_address_a_cluster_that_is_healthy_again_is_left_alone(clocked, staged, monkeypatch):
    stage = staged(store=False, address=False, balanced=True)
    stage.break_livy()
    with monkeypatch.context() as patch:
        patch.setattr(EmrFailoverOperator, "_move_address", fail)
        failed(stage.failover(try_number=3))
    stage.aws.mend_service(stage.old, "livy")
    clocked.clock.advance(300)
    assert stage.failover(dag_id="next").run() == stage.old
