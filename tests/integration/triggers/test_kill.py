"""Killing a deferred task: the triggerer undoes what this try did, and nothing of another try."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.operators.eip import EipAssociateOperator
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.triggers import watch
from harness.life import Task, first_event
from tests.integration.operators.aws_state import STORE
from tests.integration.operators.conftest import (
    allocation_id,
    create_operator,
    leased,
    lock_store,
    overrides,
    queue,
    record,
    release,
    staged,
    steps_operator,
    subnet_id,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "allocation_id",
    "create_operator",
    "leased",
    "lock_store",
    "overrides",
    "queue",
    "record",
    "release",
    "staged",
    "steps_operator",
    "subnet_id",
]
only_dynamodb = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)
with_and_without_a_store = pytest.mark.parametrize("with_store", [True, False], ids=["store", "no store"])


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[Task, str | None], None]:
    """Call the trigger's on_kill as Airflow does when the task is in this state."""

    def on_kill(task: Task | Any, state: str | None) -> None:
        monkeypatch.setattr(watch, "task_state", lambda _: state)
        asyncio.run((task.trigger() if isinstance(task, Task) else task).on_kill())

    return on_kill


def live(emr: Any) -> list[str]:
    states = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
    return [cluster["Id"] for cluster in emr.list_clusters(ClusterStates=states)["Clusters"]]


@only_dynamodb
@pytest.mark.parametrize("state", ["failed", "success", "skipped", "removed"])
def test_a_launched_cluster_is_terminated_and_its_lease_released(leased, kill, record, emr, state):
    task = leased("daily")
    task.start()
    assert task.deferrals == ["EmrClusterTrigger"]
    kill(task, state)
    assert live(emr) == []
    assert record().lease is None
    assert record().history[-1].why == "undone"


@only_dynamodb
@pytest.mark.parametrize("state", ["deferred", "running", "queued", "up_for_retry", None])
def test_a_trigger_that_moves_or_whose_task_runs_again_undoes_nothing(leased, kill, record, emr, state):
    task = leased("daily")
    task.start()
    kill(task, state)
    assert len(live(emr)) == 1
    assert not record().lease.to_be_terminated


@only_dynamodb
def test_a_cluster_that_a_newer_try_has_adopted_is_kept(leased, kill, record, queue, emr):
    old, new = leased("daily"), leased("daily", try_number=2)
    old.start()
    new.start()
    kill(old, "failed")
    queue.until(lambda: new.ended, new)
    assert new.error is None
    assert live(emr) == [new.result]
    assert record().lease.resource_id == new.result


@only_dynamodb
def test_the_place_in_the_queue_is_released(leased, kill, record, emr):
    holder, waiting = leased("holder"), leased("waiting")
    holder.start()
    waiting.start()
    assert waiting.deferrals == ["EipLeaseTrigger"]
    kill(waiting, "failed")
    assert record().queue == ()
    assert len(live(emr)) == 1, "the holder's"


@pytest.mark.parametrize("state", ["failed", "success"])
def test_without_a_lock_store_the_cluster_is_terminated(clocked, create_operator, kill, emr, state):
    task = Task(create_operator(deferrable=True))
    task.start()
    assert len(live(emr)) == 1
    kill(task, state)
    assert live(emr) == []


@only_dynamodb
@with_and_without_a_store
def test_a_stale_trigger_leaves_a_cluster_whose_address_was_released_early(
    clocked, create_operator, release, kill, emr, lock_store, with_store
):
    store = lock_store if with_store else None
    task = Task(create_operator(lock_store=store, deferrable=True))
    task.start()
    stale = task.trigger()
    task.go_on()
    Task(release(job_flow_id=task.result, lock_store=store), dag_id="release").run()
    kill(stale, "success")
    clocked.clock.advance(600)
    kill(stale, "success")
    assert live(emr) == [task.result]


@only_dynamodb
def test_a_stale_trigger_leaves_a_cluster_whose_address_is_being_released_early(
    clocked, leased, steps_operator, release, lock_store, kill, record, emr
):
    task = leased("daily")
    task.start()
    stale = task.trigger()
    task.go_on()
    clocked.clock.advance(600)
    steps = [{"Name": "a", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["--sleep", "900"]}}]
    Task(steps_operator(task.result, lock_store=lock_store, deferrable=True, steps=steps)).start()
    releasing = Task(release(job_flow_id=task.result, lock_store=lock_store, deferrable=True), dag_id="release")
    releasing.start()
    assert record().lease.phase.name == "RELEASING"
    kill(stale, "success")
    assert live(emr) == [task.result]


@only_dynamodb
def test_an_interrupted_undo_of_a_task_that_was_marked_as_success_is_finished(leased, kill, record, emr, boto):
    task = leased("daily")
    task.start()
    store = open_store(STORE, lambda service, _region: boto(service))
    snapshot = store.read(task.operator.allocation_id)
    undoing = replace(snapshot.record.lease, phase=Phase.RELEASING, to_be_terminated=True)
    store.write(task.operator.allocation_id, replace(snapshot.record, lease=undoing), expected_version=snapshot.version)
    kill(task, "success")
    assert live(emr) == []
    assert record().lease is None


@only_dynamodb
@with_and_without_a_store
@pytest.mark.usefixtures("lock_store")
def test_a_stale_trigger_of_a_failover_leaves_a_cluster_whose_address_was_released_early(
    clocked, staged, release, kill, with_store
):
    stage = staged(store=with_store, warm=False)
    task = stage.failover(force=True, deferrable=True, **stage.cold())
    task.start()
    stale = [task.trigger()]
    while not task.ended:
        stale.append(task.trigger())
        task.resume(asyncio.run(first_event(stale[-1])))
    assert task.error is None
    clocked.clock.advance(600)
    Task(release(job_flow_id=task.result, lock_store=stage.lock_store), dag_id="release").run()
    for trigger in stale:
        kill(trigger, "success")
    assert task.result in stage.live()


@only_dynamodb
def test_a_stale_trigger_of_an_association_leaves_a_later_one_of_the_same_cluster(
    clocked, leased, release, allocation_id, lock_store, kill, record, emr, ec2
):
    created = leased("daily")
    created.run()
    clocked.clock.advance(600)
    Task(release(job_flow_id=created.result, lock_store=lock_store), dag_id="release").run()
    parameters = {"allocation_id": allocation_id, "job_flow_id": created.result, "lock_store": lock_store}
    holder = leased("holder")
    holder.start()
    first = Task(EipAssociateOperator(task_id="first", aws_conn_id=None, deferrable=True, **parameters))
    first.start()
    stale = first.trigger()
    kill(holder, "failed")
    first.go_on()
    assert first.error is None
    Task(release(job_flow_id=created.result, lock_store=lock_store), dag_id="release").run()
    Task(EipAssociateOperator(task_id="second", aws_conn_id=None, **parameters)).run()
    stale.undo[1]["launched"] = created.result  # as in a wait after the association
    kill(stale, "success")
    assert record().lease.resource_id == created.result
    assert "AssociationId" in ec2.describe_addresses()["Addresses"][0]


def test_steps_are_cancelled_and_the_cluster_stays(clocked, create_operator, steps_operator, kill, emr):
    job_flow_id = Task(create_operator()).run()
    task = Task(steps_operator(job_flow_id, deferrable=True))
    task.start()
    kill(task, None)
    assert emr.list_steps(ClusterId=job_flow_id)["Steps"][0]["Status"]["State"] == "PENDING"
    kill(task, "failed")
    assert emr.list_steps(ClusterId=job_flow_id)["Steps"][0]["Status"]["State"] == "CANCELLED"
    assert live(emr) == [job_flow_id]
