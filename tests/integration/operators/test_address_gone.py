"""An Elastic IP is released from the account while tasks wait for it: none of them launches a cluster for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.lease_client import reads
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, dynamodb_only, launched, run_instance, run_queued

GONE = "it does not exist in region"


@pytest.fixture
def holder(leased, queue):
    task = leased("holder")
    run_queued(queue, task)
    return task


def hide(monkeypatch, clocked, seconds):
    """Let EC2 not show any single address for a time; return how often it was asked."""
    until, asked, real = clocked.clock.now() + timedelta(seconds=seconds), [], reads.read_address

    def read(ec2, allocation_id):
        asked.append(allocation_id)
        return None if clocked.clock.now() < until else real(ec2, allocation_id)

    monkeypatch.setattr(reads, "read_address", read)
    return asked


def test_queued_tasks_fail_without_a_cluster_and_leave_the_queue(
    clocked, leased, queue, holder, record, ended, ec2, allocation_id
):
    tasks = [leased(name, prewarm=False) for name in ("first", "second")]
    for task in tasks:
        task.start()
    ended(holder.result)
    ec2.release_address(AllocationId=allocation_id)
    queue.until(lambda: all(task.ended for task in tasks), *tasks)
    assert len(launched(clocked)) == 1, "the holder's"
    for task in tasks:
        assert isinstance(task.error, AirflowFailException)
        assert GONE in str(task.error)
    assert record().queue == ()
    assert record().lease is None
    assert record().possible_orphans == ()


def test_a_task_that_waits_in_a_worker_fails_without_a_cluster(
    clocked, leased, holder, record, ended, ec2, allocation_id
):
    def release():
        ended(holder.result)
        ec2.release_address(AllocationId=allocation_id)

    clocked.clock.call_later(120, release, name="the address is released")
    with pytest.raises(AirflowFailException, match=GONE):
        leased("first", deferrable=False, prewarm=False).run()
    assert len(launched(clocked)) == 1
    assert record().queue == ()


@pytest.mark.parametrize("deferrable", [True, False])
def test_without_a_lock_store_it_fails_without_a_cluster(
    clocked, create_operator, terminate_operator, ec2, allocation_id, deferrable
):
    holder = Task(create_operator(), dag_id="holder").run()

    def release():
        Task(terminate_operator(holder), dag_id="teardown").run()
        ec2.release_address(AllocationId=allocation_id)

    clocked.clock.call_later(120, release, name="the address is released")
    with pytest.raises(AirflowFailException, match=GONE):
        Task(create_operator(deferrable=deferrable), dag_id="first").run()
    assert len(launched(clocked)) == 1


@dynamodb_only
def test_no_cluster_is_started_early_for_it(clocked, leased, queue, holder, record, ec2, allocation_id):
    first, second = leased("first", prewarm=False), leased("second", prewarm=True)
    first.start()
    second.start()
    here = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
    ec2.disassociate_address(AssociationId=here["AssociationId"])
    ec2.release_address(AllocationId=allocation_id)
    first.fail_deferral()
    queue.until(lambda: second.ended, second)
    assert GONE in str(second.error)
    assert len(launched(clocked)) == 1
    assert record().queue == ()
    assert record().lease.resource_id == holder.result, "the holder's lease is not touched"


@dynamodb_only
def test_an_early_cluster_ends_when_the_address_is_gone(
    clocked, leased, queue, holder, record, ended, emr, ec2, allocation_id
):
    first = leased("first", prewarm=True)
    first.start()
    queue.until(lambda: len(active_clusters(emr)) == 2, first)
    ended(holder.result)
    ec2.release_address(AllocationId=allocation_id)
    queue.until(lambda: first.ended, first)
    assert GONE in str(first.error)
    assert active_clusters(emr) == []
    assert record().queue == ()


@dynamodb_only
def test_an_instance_does_not_take_the_lease_of_it(
    clocked, leased, queue, holder, record, ended, associate, lock_store, ec2, allocation_id
):
    instance = run_instance(ec2, clocked)
    task = Task(associate(instance_id=instance, lock_store=lock_store, deferrable=True), dag_id="instance")
    task.start()
    ended(holder.result)
    ec2.release_address(AllocationId=allocation_id)
    queue.until(lambda: task.ended, task)
    assert GONE in str(task.error)
    assert (record().lease, record().queue) == (None, ())


@dynamodb_only
@pytest.mark.parametrize("ending", ["release", "terminate"])
def test_its_lease_can_be_released(
    clocked, holder, record, lock_store, release, terminate_operator, emr, ec2, allocation_id, ending
):
    here = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
    ec2.disassociate_address(AssociationId=here["AssociationId"])
    ec2.release_address(AllocationId=allocation_id)
    if ending == "release":
        assert Task(release(job_flow_id=holder.result, lock_store=lock_store)).run() is False
    else:
        Task(terminate_operator(holder.result, lock_store=lock_store)).run()
        assert active_clusters(emr) == []
    assert record().lease is None


@dynamodb_only
def test_an_old_answer_that_does_not_show_it_fails_nothing(
    clocked, leased, queue, holder, ended, allocation_id, monkeypatch
):
    first = leased("first", prewarm=False)
    first.start()
    ended(holder.result)
    asked = hide(monkeypatch, clocked, seconds=45)
    queue.until(lambda: first.ended, first)
    assert first.error is None
    assert first.ti.xcoms["static_ip"]["allocation_id"] == allocation_id
    assert len(asked) > 1


def test_without_a_lock_store_an_old_answer_that_does_not_show_it_fails_nothing(
    clocked, create_operator, terminate_operator, allocation_id, monkeypatch
):
    holder = Task(create_operator(), dag_id="holder").run()
    first = Task(create_operator(deferrable=True), dag_id="first")
    first.start()
    Task(terminate_operator(holder), dag_id="teardown").run()
    asked = hide(monkeypatch, clocked, seconds=45)
    first.go_on()
    assert first.error is None
    assert asked
