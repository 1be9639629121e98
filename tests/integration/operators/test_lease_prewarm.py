"""Clusters that start while the holder still works: bound soon after its release, and never left behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from airflow_eip_provider.lease.record import LIMITS
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.triggers.observed import Observed
from harness.leases import vanish
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, run_queued

pytestmark = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)


@pytest.fixture
def holder(leased, queue):
    task = leased("holder")
    run_queued(queue, task)
    return task


def start(task, queue, emr, clusters):
    """Let a task queue, and its cluster start."""
    task.start()
    queue.until(lambda: len(active_clusters(emr)) == clusters, task)


def test_the_first_of_the_queue_starts_its_cluster_early_and_binds_within_a_poll_of_the_release(
    clocked, leased, queue, record, emr, holder, terminate_operator, lock_store
):
    first, second = leased("first", prewarm=True), leased("second", prewarm=True)
    first.start()
    second.start()
    queue.pass_time(300, first, second)
    assert len(active_clusters(emr)) == 2, "the holder's and one more"
    early = record().queue[0].resource_id
    assert early is not None
    assert record().queue[1].prewarmed_at is None
    Task(terminate_operator(holder.result, lock_store=lock_store, deferrable=True), dag_id="holder").start()
    freed = record().free_since
    queue.until(lambda: first.ended, first)
    assert first.result == early, "the cluster that was started early"
    bound = [e for e in clocked.events.read(kind="address") if e["change"] == "associated"][-1]
    assert bound["job_flow_id"] == early
    assert record().lease.acquired_at - freed <= 15


def test_once_the_first_has_the_lease_the_next_starts_early(leased, ended, queue, record, emr, holder):
    first, second = leased("first", prewarm=True), leased("second", prewarm=True)
    first.start()
    second.start()
    queue.pass_time(60, first, second)
    ended(holder.result)
    queue.until(lambda: first.ended, first, second)
    queue.pass_time(60, second)
    assert record().queue[0].resource_id in active_clusters(emr)
    assert record().lease.resource_id == first.result


def test_two_places_may_start_early_when_both_allow_it(leased, queue, record, emr, holder):
    tasks = [leased(name, prewarm=2) for name in ("first", "second", "third")]
    for task in tasks:
        task.start()
    queue.pass_time(120, *tasks)
    assert [entry.resource_id is not None for entry in record().queue] == [True, True, False]
    assert len(active_clusters(emr)) == 3


def test_who_gives_up_takes_its_early_cluster_with_it(leased, queue, record, emr, holder):
    task = leased("impatient", prewarm=True, lock_timeout=timedelta(minutes=5))
    start(task, queue, emr, 2)
    task.go_on()
    assert "held by" in str(task.error)
    assert active_clusters(emr) == [holder.result]
    assert record().queue == ()


def test_a_kill_ends_the_early_cluster(leased, queue, record, emr, holder):
    task = leased("killed", prewarm=True)
    start(task, queue, emr, 2)
    operator = task._pristine
    operator.pre_execute(task.context)
    operator.on_kill()
    assert active_clusters(emr) == [holder.result]
    assert record().queue == ()


def test_an_early_cluster_that_died_is_replaced_when_the_lease_comes(
    clocked, leased, ended, queue, record, emr, holder
):
    task = leased("unlucky", prewarm=True)
    start(task, queue, emr, 2)
    queue.pass_time(30, task)
    early = record().queue[0].resource_id
    clocked.end_cluster(early, state="TERMINATED_WITH_ERRORS", message="no capacity")
    ended(holder.result)
    queue.until(lambda: task.ended, task)
    assert task.error is None
    assert task.result != early
    assert active_clusters(emr) == [task.result]


@pytest.mark.parametrize(
    ("kind", "after", "nth"), [("launch", False, 1), ("launch", True, 1), ("write_record", True, 1)]
)
def test_a_retry_finds_the_cluster_that_a_vanished_try_started_early(
    clocked, leased, ended, queue, record, monkeypatch, emr, holder, kind, after, nth
):
    gone, retry = leased("daily", prewarm=True), leased("daily", prewarm=True, try_number=2)
    gone.start()
    _vanish_when_woken(monkeypatch, queue, gone, kind, after=after, nth=nth)
    retry.start()
    queue.pass_time(60, retry)
    ended(holder.result)
    queue.until(lambda: retry.ended, retry)
    assert retry.error is None
    assert active_clusters(emr) == [retry.result]
    assert len(clocked.events.calls("RunJobFlow")) == 2


def test_an_early_cluster_of_a_waiter_that_vanished_is_ended_by_who_passes_it_over_for_the_last_time(
    leased, ended, queue, record, emr, holder, boto, lock_store, allocation_id
):
    gone, following = leased("gone", prewarm=True), leased("following")
    start(gone, queue, emr, 2)
    queue.pass_time(30, gone)
    following.start()
    _pass_over(LIMITS.turns, boto, lock_store, allocation_id)
    ended(holder.result)
    queue.until(lambda: following.ended, following)
    ended(following.result)
    last = leased("last")
    run_queued(queue, last)
    assert active_clusters(emr) == [last.result]


def _pass_over(times, boto, lock_store, allocation_id):
    """Say that the first of the queue was passed over so often."""
    kind = lock_store.split(":", maxsplit=1)[0]
    client = boto(kind)
    store = open_store(lock_store, lambda *_: client)
    seen = store.read(allocation_id)
    first, *others = seen.record.queue
    passed = replace(seen.record, queue=(replace(first, passed=times), *others))
    store.write(allocation_id, passed, expected_version=seen.version)


def _vanish_when_woken(monkeypatch, queue, task, kind, *, after, nth):
    """Let the process crash in the phase that starts the cluster early."""
    trigger = task.trigger()
    queue._aws.clock.advance(15)
    verdict = trigger.judge(Observed(lambda service, _: queue._client_for(service)))
    assert verdict.data["action"] == "prewarm"
    payload = trigger.payload(verdict)
    resume = task.resume
    task.go_on = lambda: resume(payload)
    vanish(monkeypatch, task, kind, after=after, nth=nth)
