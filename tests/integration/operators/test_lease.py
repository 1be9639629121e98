"""Lease periods under a lock store: what a user sees of queue, lease and cost, the same with each store."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from airflow_eip_provider.lease.record import LIMITS
from harness.life import Task
from tests.integration.operators.aws_state import run_queued

READS = ("GetItem", "GetObject")
WRITES = ("PutItem", "PutObject")


def store_calls(aws: Any) -> Counter[str]:
    return Counter(event["operation"] for event in aws.events.calls() if event["operation"] in READS + WRITES)


def waiting(entry: Any) -> str:
    """Return the DAG that a queue entry is of."""
    return str(entry.attempt.name.split("/")[1])


def test_an_uncontended_lease_needs_three_writes_three_reads_and_one_read_for_each_poll_of_its_steps(
    clocked,
    create_operator,
    steps_operator,
    terminate_operator,
    deferrable,
    lock_store,
    record,
):
    common = {"lock_store": lock_store, "deferrable": deferrable}
    create = Task(create_operator(**common))
    job_flow_id = create.run()
    assert create.ti.xcoms["static_ip"]["token"] == 1
    reads = sum(store_calls(clocked)[name] for name in READS)
    looks = len(clocked.events.calls("DescribeAddresses"))
    Task(steps_operator(job_flow_id, **common)).run()
    reads_of_steps = sum(store_calls(clocked)[name] for name in READS) - reads
    looks = len(clocked.events.calls("DescribeAddresses")) - looks
    assert reads_of_steps == looks + 1, "the check after the submission reads the lease alone"
    Task(terminate_operator(job_flow_id, **common)).run()
    calls = store_calls(clocked)
    assert sum(calls[name] for name in WRITES) == 3
    # The store is checked by the first of them; the first owner's finds no table, and it reads again when that is made.
    makes_the_table = lock_store.startswith("dynamodb")
    assert sum(calls[name] for name in READS) - reads_of_steps == 3 + makes_the_table
    after = record()
    assert after.lease is None
    assert after.queue == ()
    assert after.possible_orphans == ()
    assert [(ended.token, ended.resource_id) for ended in after.history] == [(1, job_flow_id)]


def test_the_second_owner_waits_without_a_cluster_and_logs_its_place_and_the_holder(
    clocked, leased, ended, queue, record, logged
):
    first, second, third = leased("first"), leased("second"), leased("third")
    run_queued(queue, first)
    second.start()
    third.start()
    queue.pass_time(60, second, third)
    assert "place 2 of 2 in the queue; held by 'testing/first/run-1/create/-1'" in logged()
    assert third.ti.xcoms["queue"]["place"] == 2
    assert first.result in third.ti.xcoms["queue"]["holder"]
    assert len(clocked.events.calls("RunJobFlow")) == 1, "nobody pays for a cluster that waits"
    assert [entry.attempt.name.split("/")[1] for entry in record().queue] == ["second", "third"]
    ended(first.result)
    queue.until(lambda: second.ended, second, third)
    assert second.ti.xcoms["static_ip"]["token"] == 2
    assert not third.ended
    ended(second.result)
    queue.until(lambda: third.ended, third)
    assert [ended.token for ended in record().history] == [1, 2]
    assert record().lease.token == 3


def test_blocking_and_deferred_waits_share_one_queue(clocked, leased, create_operator, lock_store, ended, queue):
    first = leased("first")
    run_queued(queue, first)
    clocked.clock.call_later(
        200, lambda: clocked.end_cluster(first.result, state="TERMINATED", message="done"), name="the holder's end"
    )
    blocking = Task(create_operator(lock_store=lock_store), dag_id="blocking")
    assert blocking.run()
    assert blocking.ti.xcoms["static_ip"]["token"] == 2


def test_an_entry_without_a_task_delays_the_others_by_one_grace_and_keeps_its_place_at_first(
    clocked, leased, ended, queue, record
):
    holder, dead, alive = leased("holder"), leased("dead"), leased("alive")
    run_queued(queue, holder)
    dead.start()
    alive.start()
    ended(holder.result)
    freed = record().free_since
    queue.until(lambda: alive.ti.xcoms.get("job_flow_id") is not None, alive)
    assert LIMITS.grace <= record().lease.acquired_at - freed <= LIMITS.grace + 2 * 15
    assert [(waiting(entry), entry.passed) for entry in record().queue] == [("dead", 1)]


def test_a_waiter_that_was_passed_over_keeps_its_place_before_those_that_come_later(
    clocked, leased, ended, queue, record
):
    holder, slow, quick, later = leased("holder"), leased("slow"), leased("quick"), leased("later")
    run_queued(queue, holder)
    slow.start()
    quick.start()
    ended(holder.result)
    queue.until(lambda: quick.ended, quick)
    later.start()
    assert [waiting(entry) for entry in record().queue] == ["slow", "later"]
    ended(quick.result)
    window = 2 * LIMITS.grace  # twice as long as the first time
    queue.pass_time(record().free_since + window - 30 - clocked.clock.now().timestamp(), later)
    assert not later.ti.xcoms.get("job_flow_id")
    queue.until(lambda: slow.ended, slow, later)
    assert slow.error is None
    assert slow.ti.xcoms["static_ip"]["token"] == 2
    assert [waiting(entry) for entry in record().queue] == ["later"]


def test_the_first_writer_sets_the_grace_and_others_log_that_theirs_is_ignored(
    leased, lock_store, queue, record, monkeypatch, logged
):
    holder = leased("holder", lock_store=f"{lock_store}{'&' if '?' in lock_store else '?'}grace=300")
    run_queued(queue, holder)
    assert record().grace == 300
    monkeypatch.setenv("AIRFLOW__EIP__GRACE", "45")
    waits = leased("waits")
    waits.start()
    queue.pass_time(120, waits)
    assert record().grace == 300
    said = "is kept 300 s for the task whose turn it is, as its record says; the 45 s that are configured here"
    assert logged().count(said) == 1


def test_a_grace_that_is_no_number_of_seconds_is_refused_before_anything_changes(
    leased, assert_nothing_changed, monkeypatch
):
    monkeypatch.setenv("AIRFLOW__EIP__GRACE", "two minutes")
    task = leased("first")
    task.start()
    assert "grace is 'two minutes', not a number of seconds from 1 to 86400" in str(task.error)
    assert_nothing_changed()


def test_a_wait_that_is_too_long_leaves_the_queue_and_names_the_holder(leased, queue, record):
    holder, late = leased("holder"), leased("late", lock_timeout=timedelta(minutes=2))
    run_queued(queue, holder)
    late.start()
    late.go_on()
    assert "held by 'testing/holder/run-1/create/-1' on " in str(late.error)
    assert holder.result in str(late.error)
    assert record().queue == ()
    assert record().lease.resource_id == holder.result


def test_a_kill_in_the_queue_gives_the_place_up(leased, queue, record):
    holder, killed = leased("holder"), leased("killed")
    run_queued(queue, holder)
    killed.start()
    operator = killed._pristine
    operator.pre_execute(killed.context)
    operator.on_kill()
    assert record().queue == ()


def test_an_address_that_a_stranger_carries_is_waited_for_without_a_lease(
    clocked, leased, queue, record, ec2, allocation_id
):
    stolen = clocked.steal(allocation_id)
    task = leased("patient")
    task.start()
    queue.pass_time(120, task)
    assert record().lease is None
    assert len(record().queue) == 1
    assert clocked.events.calls("RunJobFlow") == []
    ec2.disassociate_address(AssociationId=ec2.describe_addresses()["Addresses"][0]["AssociationId"])
    queue.until(lambda: task.ended, task)
    assert task.error is None, stolen
