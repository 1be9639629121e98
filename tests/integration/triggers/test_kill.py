"""Killing a deferred task: the triggerer undoes what this try did, and nothing of another try."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.triggers import watch
from harness.life import Task
from tests.integration.operators.conftest import (
    allocation_id,
    create_operator,
    leased,
    lock_store,
    overrides,
    queue,
    record,
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
    "steps_operator",
    "subnet_id",
]
only_dynamodb = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)


@pytest.fixture
def kill(monkeypatch: pytest.MonkeyPatch) -> Callable[[Task, str | None], None]:
    """Call the trigger's on_kill as Airflow does when the task is in this state."""

    def on_kill(task: Task, state: str | None) -> None:
        monkeypatch.setattr(watch, "task_state", lambda _: state)
        asyncio.run(task.trigger().on_kill())

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


def test_without_a_lock_store_the_cluster_is_terminated(clocked, create_operator, kill, emr):
    task = Task(create_operator(deferrable=True))
    task.start()
    assert len(live(emr)) == 1
    kill(task, "failed")
    assert live(emr) == []


def test_steps_are_cancelled_and_the_cluster_stays(clocked, create_operator, steps_operator, kill, emr):
    job_flow_id = Task(create_operator()).run()
    task = Task(steps_operator(job_flow_id, deferrable=True))
    task.start()
    kill(task, None)
    assert emr.list_steps(ClusterId=job_flow_id)["Steps"][0]["Status"]["State"] == "PENDING"
    kill(task, "failed")
    assert emr.list_steps(ClusterId=job_flow_id)["Steps"][0]["Status"]["State"] == "CANCELLED"
    assert live(emr) == [job_flow_id]
