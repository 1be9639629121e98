"""``airflow-eip reap`` and the lock store: a lease is released, or left to its next owner."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.operators.emr import EmrTerminateWithStaticIpOperator
from harness.life import Task
from tests.integration.cli.test_reap import is_bound, state_of

if TYPE_CHECKING:
    from harness.leases import Queue

# Both kinds of store give the same answers; tests/integration/stores shows that.
pytestmark = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)


@pytest.fixture(autouse=True)
def environment(lock_store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")
    monkeypatch.setenv("AIRFLOW__EIP__LOCK_STORE", lock_store)


def test_the_lease_of_a_gone_environment_ends_with_its_cluster(left, reap, record, emr, ec2, allocation_id):
    job_flow_id = left("gone")
    assert record().lease.resource_id == job_flow_id
    said = reap("--environment", "gone", "--yes")
    assert said.status == 0
    assert record().lease is None
    assert record().history[-1].resource_id == job_flow_id
    assert state_of(emr, job_flow_id) in {"TERMINATING", "TERMINATED"}
    assert not is_bound(ec2, allocation_id)
    assert reap("--environment", "gone", "--yes").status == 0


def test_a_live_lease_of_an_environment_that_is_not_gone_keeps_its_cluster(left, reap, record, emr):
    job_flow_id = left("elsewhere")
    before = record()
    said = reap("--environment", "gone", "--yes")
    assert said.status == 0
    assert said.decisions == {job_flow_id: "keep"}
    assert "it has the address by the lease of 'elsewhere/daily/run-1/create/-1'" in said.reasons[job_flow_id]
    assert record() == before
    assert state_of(emr, job_flow_id) == "WAITING"


def test_the_next_owner_in_the_queue_takes_the_address_that_was_reaped(
    clocked, left, reap, record, queue, create_operator, monkeypatch
):
    left("gone")
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")
    following = Task(create_operator(deferrable=True), dag_id="following")
    following.start()
    assert following.deferral is not None
    assert reap("--environment", "gone", "--yes").status == 0
    queue.until(lambda: following.ended, following)
    assert following.error is None
    assert record().lease.resource_id == following.result


@pytest.fixture
def assert_next_owner_gets_it(create_operator: Any, queue: Queue, record: Any) -> Any:
    def run() -> None:
        following = Task(create_operator(deferrable=True), dag_id="following")
        following.start()
        queue.until(lambda: following.ended, following)
        assert following.error is None
        assert record().lease.resource_id == following.result

    return run


def test_a_cluster_with_a_running_step_leaves_its_lease_to_the_next_owner(
    left, reap, record, running_step, assert_next_owner_gets_it
):
    running_step(left("gone"))
    assert reap("--environment", "gone", "--yes").status == 0
    assert record().lease.to_be_terminated
    assert_next_owner_gets_it()


def test_without_the_store_the_lease_is_left_to_the_next_owner(
    left, reap, record, monkeypatch, assert_next_owner_gets_it
):
    job_flow_id = left("gone")
    with monkeypatch.context() as patch:
        patch.delenv("AIRFLOW__EIP__LOCK_STORE")
        said = reap("--environment", "gone", "--yes")
    assert said.status == 0
    assert "its lease is left to the next owner" in said.err
    assert record().lease.resource_id == job_flow_id
    assert_next_owner_gets_it()


def test_an_owner_whose_tag_is_cut_is_known_by_the_record(left, reap):
    job_flow_id = left("gone", run_id="r" * 250)
    assert reap("--environment", "gone").decisions == {job_flow_id: "reap"}


def test_a_cluster_that_another_owner_bound_the_address_to_is_kept(
    clocked, left, reap, record, emr, ec2, allocation_id, monkeypatch
):
    from airflow_eip_provider.operators.eip import EipAssociateOperator, EipReleaseOperator  # noqa: PLC0415

    job_flow_id = left("gone")
    target = {"allocation_id": allocation_id, "job_flow_id": job_flow_id, "aws_conn_id": None}
    Task(EipReleaseOperator(task_id="release", **target), dag_id="daily").run()
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "elsewhere")
    Task(EipAssociateOperator(task_id="associate", **target), dag_id="other").run()
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")
    said = reap("--environment", "gone", "--yes")
    assert said.decisions == {job_flow_id: "keep"}
    assert "elsewhere/other/run-1/associate/-1" in said.reasons[job_flow_id]
    assert reap("--environment", "gone", "--environment", "elsewhere", "--yes").status == 0
    assert record().lease is None
    assert not is_bound(ec2, allocation_id)


def test_a_cluster_that_was_started_early_goes_with_its_place_in_the_queue(
    clocked, left, reap, record, queue, create_operator, emr, monkeypatch
):
    holding = left("elsewhere")
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "gone")
    waiting = Task(create_operator(deferrable=True, prewarm=True, idle_timeout=timedelta(days=7)), dag_id="waiting")
    waiting.start()
    queue.until(lambda: bool(record().queue and record().queue[0].resource_id), waiting)
    early = record().queue[0].resource_id
    clocked.clock.advance(7200)
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")
    said = reap("--environment", "gone", "--yes")
    assert said.decisions == {holding: "keep", early: "reap"}
    assert record().queue == ()
    assert record().lease.resource_id == holding
    assert state_of(emr, early) in {"TERMINATING", "TERMINATED"}


def test_a_cluster_without_a_lease_is_ended_and_another_owners_lease_is_left_alone(
    clocked, left, reap, record, ec2, emr, allocation_id
):
    stray = left("gone", lock_store=None)
    address = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
    ec2.disassociate_address(AssociationId=address["AssociationId"])
    holding = left("elsewhere", run_id="run-2", age=0)
    before = record()
    assert reap("--environment", "gone", "--yes").status == 0
    assert state_of(emr, stray) in {"TERMINATING", "TERMINATED"}
    assert record() == before
    assert is_bound(ec2, allocation_id)
    assert state_of(emr, holding) not in {"TERMINATING", "TERMINATED"}


def test_a_store_that_gives_no_answer_stops_everything(clocked, left, reap, emr):
    job_flow_id = left("gone")
    clocked.faults.add(operation="GetItem", kind="error", times=50)
    said = reap("--environment", "gone", "--yes")
    assert said.status == 1
    assert "it does not respond" in said.err
    assert state_of(emr, job_flow_id) == "WAITING"


def test_a_late_teardown_of_a_reaped_cluster_succeeds(left, reap, allocation_id, record):
    job_flow_id = left("gone")
    reap("--environment", "gone", "--yes")
    teardown = EmrTerminateWithStaticIpOperator(
        task_id="terminate", allocation_id=allocation_id, job_flow_id=job_flow_id, aws_conn_id=None
    )
    Task(teardown, dag_id="daily").run()
    assert record().lease is None
