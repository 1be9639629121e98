"""When a holder's process crashes, at any point: the next owner gets the address, and no cluster is left."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.lease.transitions import Release, step
from airflow_eip_provider.stores.uri import open_store
from harness.leases import vanish
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, is_associated, launch_calls, run_queued

pytestmark = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)
BEFORE_LAUNCH = [("write_record", False), ("write_record", True), ("launch", False)]


@pytest.mark.parametrize(("method", "after"), BEFORE_LAUNCH)
def test_a_holder_that_vanished_before_it_launched_is_followed_by_the_next_owner(
    clocked, leased, queue, record, monkeypatch, method, after
):
    gone, following = leased("gone"), leased("following")
    vanish(monkeypatch, gone, method, after=after)
    run_queued(queue, following)
    assert following.error is None
    assert record().lease.resource_id == following.result
    assert launch_calls(clocked) == 1


def test_a_holder_that_vanished_after_it_launched_is_closed_by_the_next_owner_once_it_is_late(
    clocked, leased, queue, record, monkeypatch, emr
):
    gone, following = leased("gone", waiter_max_attempts=40), leased("following")
    vanish(monkeypatch, gone, "launch", after=True)
    left = active_clusters(emr)
    acquired_at = record().lease.acquired_at
    run_queued(queue, following)
    assert following.error is None
    assert active_clusters(emr) == [following.result]
    assert clocked.cluster(left[0]).state == "TERMINATED"
    assert record().lease.acquired_at - acquired_at >= 40 * 15 + 900, "not before its own deadline"
    assert "taken over" in record().history[-1].why


@pytest.mark.parametrize(("method", "after"), [*BEFORE_LAUNCH, ("launch", True)])
def test_a_retry_continues_where_the_previous_try_vanished(
    clocked, leased, queue, record, monkeypatch, emr, method, after
):
    gone, retry = leased("daily"), leased("daily", try_number=2)
    vanish(monkeypatch, gone, method, after=after)
    run_queued(queue, retry)
    assert retry.error is None
    assert launch_calls(clocked) == 1, "adopted"
    assert active_clusters(emr) == [retry.result]
    assert record().lease.resource_id == retry.result


def test_a_retry_after_the_hand_over_finds_its_cluster_bound(clocked, leased, queue, record):
    gone, retry = leased("daily"), leased("daily", try_number=2)
    run_queued(queue, gone)
    token = record().lease.token
    run_queued(queue, retry)
    assert retry.result == gone.result
    assert launch_calls(clocked) == 1
    assert record().lease.token == token


def test_a_bound_cluster_that_ends_by_itself_hands_the_address_on(clocked, leased, queue, record):
    holder, following = leased("holder"), leased("following")
    run_queued(queue, holder)
    following.start()
    queue.pass_time(60, following)
    clocked.end_cluster(holder.result, state="TERMINATED_WITH_ERRORS", message="spot interruption")
    took = queue.until(lambda: following.ended, following)
    assert took <= 300
    assert record().history[-1].why == f"taken over: {holder.result} has ended"


def test_a_held_address_is_never_taken_over_while_its_cluster_lives_however_long(clocked, leased, queue, record):
    holder, following = leased("holder", idle_timeout=timedelta(days=7)), leased("following")
    run_queued(queue, holder)
    following.start()
    for _ in range(20):
        clocked.clock.advance(1800)
        queue.tick(following)
    assert record().lease.resource_id == holder.result
    assert len(record().queue) == 1
    assert launch_calls(clocked) == 1


@pytest.mark.parametrize(
    ("method", "after", "nth"),
    [("write_record", True, 1), ("read_location", False, 1), ("read_location", True, 1), ("write_record", False, 2)],
)
def test_an_early_release_that_stopped_halfway_ends_without_a_human(
    clocked, leased, queue, record, monkeypatch, lock_store, release, ended, method, after, nth
):
    holder, following = leased("holder"), leased("following")
    run_queued(queue, holder)
    following.start()
    releasing = Task(release(job_flow_id=holder.result, lock_store=lock_store), dag_id="holder")
    vanish(monkeypatch, releasing, method, after=after, nth=nth)
    if record().lease is not None and following.ended is False:
        queue.pass_time(120, following)
    if not following.ended:
        ended(holder.result)  # the teardown, which comes in any case
    queue.until(lambda: following.ended, following)
    assert following.error is None
    assert record().lease.resource_id == following.result
    taken_over = f"taken over: the release from {holder.result} was not finished"
    assert record().history[-1].why == ("terminated" if (method, after) == ("write_record", True) else taken_over)


def test_a_teardown_that_vanished_after_the_termination_is_followed_by_the_next_owner(
    leased, queue, record, monkeypatch, terminate_operator, lock_store
):
    holder, following = leased("holder"), leased("following")
    run_queued(queue, holder)
    following.start()
    teardown = Task(terminate_operator(holder.result, lock_store=lock_store), dag_id="holder")
    vanish(monkeypatch, teardown, "read_record", after=False)
    queue.until(lambda: following.ended, following)
    assert following.error is None
    assert record().lease.resource_id == following.result


def test_a_clean_up_that_vanished_is_finished_by_the_next_owner(clocked, leased, queue, record, monkeypatch, emr):
    failing, following = leased("failing"), leased("following")
    failing.start()
    operator = failing._pristine
    operator.pre_execute(failing.context)
    undo = operator.undo
    vanish(monkeypatch, _Killed(failing, undo), "terminate", after=False)
    assert len(active_clusters(emr)) == 1
    run_queued(queue, following)
    assert following.error is None
    assert active_clusters(emr) == [following.result]


class _Killed:
    """A task whose kill is all that runs."""

    def __init__(self, task: Task, undo: Any) -> None:
        self._task, self._undo = task, undo
        self._pristine = task._pristine
        self.deferral: Any = None

    def start(self) -> None:
        self._undo(self._task.context, None)


def test_a_lost_answer_of_any_write_neither_loses_nor_doubles_a_lease(clocked, leased, ended, record, lock_store):
    operation = "PutItem" if lock_store.startswith("dynamodb") else "PutObject"
    for number in (1, 2, 3):
        clocked.faults.add(operation=operation, kind="lost_response", times=number)
        task = leased(f"daily-{number}")
        assert task.run()
        clocked.faults.add(operation=operation, kind="lost_response", times=number)
        ended(task.result)
        assert record().lease is None
    assert [ended.token for ended in record().history] == [1, 2, 3]
    assert launch_calls(clocked) == 3


def test_a_lost_answer_of_run_job_flow_does_not_launch_twice(clocked, leased, record):
    clocked.faults.add(operation="RunJobFlow", kind="lost_response", times=1)
    task = leased("daily")
    assert task.run()
    assert launch_calls(clocked) == 1
    assert record().lease.resource_id == task.result


def test_an_owner_that_was_passed_over_while_it_slept_undoes_what_it_did(
    clocked, leased, queue, record, boto, lock_store, allocation_id, emr, ec2
):
    slow = leased("slow")
    slow.start()
    _evict(record(), boto, lock_store, allocation_id)
    slow.go_on()
    assert "the lease no longer belongs to this task" in str(slow.error)
    assert active_clusters(emr) == []
    assert not is_associated(ec2)


def _evict(record: Any, boto: Any, lock_store: str, allocation_id: str) -> None:
    """End a lease although its cluster is active."""
    kind = lock_store.split(":", maxsplit=1)[0]
    client = boto(kind)
    store = open_store(lock_store, lambda *_: client)
    seen = store.read(allocation_id)
    after = step(seen.record, Release(record.lease.token, None, "by hand"), seen.now)
    store.write(allocation_id, after, expected_version=seen.version)


def test_an_older_try_that_wakes_up_touches_nothing_of_the_newer_ones(clocked, leased, queue, record, emr):
    older, newer = leased("daily"), leased("daily", try_number=2)
    older.start()
    run_queued(queue, newer)
    older.go_on()
    assert older.error is not None
    operator = older._pristine
    operator.pre_execute(older.context)
    operator.on_kill()
    assert active_clusters(emr) == [newer.result]
    assert record().lease.resource_id == newer.result


def test_of_two_environments_with_one_name_one_continues_and_the_other_fails(clocked, leased, queue, record, emr):
    here, there = leased("daily"), leased("daily")
    here.start()
    there.start()
    queue.until(lambda: here.ended and there.ended, here, there)
    failed = [task for task in (here, there) if task.error is not None]
    assert len(failed) == 1
    assert active_clusters(emr) == [record().lease.resource_id]
    assert launch_calls(clocked) == 1
