"""A wrong, missing or failing lock store: a clear error before anything is changed, or a wait."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.exceptions import LockStoreUnavailableError
from airflow_eip_provider.operators.phases import PhasedOperator
from harness.life import Task
from tests.integration.operators.aws_state import STORE, cluster_state, is_associated, run_queued

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.watch import WatchTrigger


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("redis://cache", "its scheme is 'redis'"),
        ("dynamodb://", "is not the name of a table"),
        ("dynamodb://leases?crate=true", "no option 'crate'"),
        ("s3://leases/eip?create=true", "no option 'create'"),
        ("dynamodb://missing", "it does not exist in region 'eu-west-1'; check the region, add create=true"),
        ("s3://missing-bucket/eip", "it does not exist; create the bucket"),
    ],
)
def test_a_wrong_store_is_refused_before_anything_is_changed(
    create_operator, assert_nothing_changed, deferrable, uri, says
):
    task = Task(create_operator(lock_store=uri, deferrable=deferrable))
    with pytest.raises(Exception, match="lock store") as error:
        task.run()
    assert says in str(error.value)
    assert_nothing_changed()


def test_a_table_with_another_key_is_refused(create_operator, assert_nothing_changed, boto):
    boto("dynamodb").create_table(
        TableName="orders",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(Exception, match="whose only key is the partition key 'address'"):
        Task(create_operator(lock_store="dynamodb://orders")).run()
    assert_nothing_changed()


def test_a_bucket_in_another_region_is_refused(create_operator, assert_nothing_changed, boto):
    boto("s3", region_name="eu-central-1").create_bucket(
        Bucket="elsewhere", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    with pytest.raises(Exception, match="add region=eu-central-1"):
        Task(create_operator(lock_store="s3://elsewhere/eip")).run()
    assert_nothing_changed()


def test_a_store_needs_the_name_of_the_environment(create_operator, assert_nothing_changed, monkeypatch):
    monkeypatch.delenv("AIRFLOW__EIP__ENVIRONMENT")
    with pytest.raises(Exception, match="environment is not set"):
        Task(create_operator(lock_store=STORE)).run()
    assert_nothing_changed()


def test_the_store_of_airflow_cfg_is_used_and_none_turns_it_off(clocked, create_operator, monkeypatch):
    monkeypatch.setenv("AIRFLOW__EIP__LOCK_STORE", STORE)
    locked, physical = Task(create_operator("locked")), Task(create_operator("physical", lock_store=None))
    assert locked.run()
    clocked.end_cluster(locked.result, state="TERMINATED", message="done")
    assert physical.run()
    assert locked.ti.xcoms["static_ip"]["token"] == 1
    assert physical.ti.xcoms["static_ip"]["token"] is None


@pytest.mark.parametrize(("operation", "says"), [("GetItem", "dynamodb:GetItem"), ("PutItem", "dynamodb:PutItem")])
def test_a_missing_permission_is_named_before_a_cluster_is_launched(
    clocked, create_operator, assert_nothing_changed, operation, says
):
    clocked.deny(operation)
    with pytest.raises(Exception, match=says):
        Task(create_operator(lock_store=STORE)).run()
    assert_nothing_changed()


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ("not json", "is not a lease record"),
        (json.dumps({"schema": 1, "issued": 3}), "is not a lease record"),
        (json.dumps({"schema": 3}), "upgrade airflow-eip-provider"),
    ],
)
def test_a_record_that_cannot_be_read_is_left_as_it_is(
    create_operator, assert_nothing_changed, boto, allocation_id, lock_store, stored, says
):
    client = boto(lock_store.split(":")[0])
    if lock_store.startswith("s3"):
        client.put_object(Bucket="leases", Key=f"eip/{allocation_id}.json", Body=stored)
    else:
        Task(create_operator("makes-the-table", lock_store=lock_store, prewarm=-1)).start()
        client.create_table(
            TableName="leases",
            KeySchema=[{"AttributeName": "address", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "address", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        item = {"address": {"S": allocation_id}, "version": {"S": "v"}, "record": {"S": stored}}
        client.put_item(TableName="leases", Item=item)
    with pytest.raises(Exception, match=says):
        Task(create_operator(lock_store=lock_store)).run()
    assert_nothing_changed()
    if lock_store.startswith("s3"):
        kept = client.get_object(Bucket="leases", Key=f"eip/{allocation_id}.json")["Body"].read().decode()
    else:
        kept = client.get_item(TableName="leases", Key={"address": {"S": allocation_id}})["Item"]["record"]["S"]
    assert kept == stored


@pytest.mark.parametrize("prewarm", [True, 1])
def test_prewarming_needs_a_store(create_operator, assert_nothing_changed, prewarm):
    with pytest.raises(Exception, match="without a lock store there is no queue"):
        Task(create_operator(prewarm=prewarm)).run()
    assert_nothing_changed()


@pytest.mark.parametrize("kind", ["throttle", "error"])
def test_a_store_that_fails_for_a_while_is_waited_out_in_the_queue(
    clocked, leased, queue, record, ended, lock_store, kind
):
    read = "GetItem" if lock_store.startswith("dynamodb") else "GetObject"
    holder, waiting = leased("holder"), leased("waiting")
    run_queued(queue, holder)
    waiting.start()
    code = {"status": 503} if kind == "error" else {}
    clocked.faults.add(operation=read, kind=kind, times=10, **code)
    waiting.trigger()
    clocked.clock.call_later(
        300, lambda: clocked.end_cluster(holder.result, state="TERMINATED", message=""), name="end"
    )
    waiting.go_on()
    assert waiting.error is None
    assert record().lease.resource_id == waiting.result


def test_a_store_that_refuses_writes_at_the_hand_over_is_retried_and_no_cluster_is_lost(
    clocked, leased, queue, record, lock_store
):
    put = "PutItem" if lock_store.startswith("dynamodb") else "PutObject"
    task = leased("daily")
    task.start()
    clocked.faults.add(operation=put, kind="error", times=40, status=503)
    queue.until(lambda: task.ended, task)
    assert task.error is None
    assert len(clocked.events.calls("RunJobFlow")) == 1
    assert record().lease.resource_id == task.result


def test_a_store_that_never_takes_a_write_is_named_with_its_reason(clocked, leased, lock_store):
    put = "PutItem" if lock_store.startswith("dynamodb") else "PutObject"
    clocked.faults.add(operation=put, kind="error", times=1000, status=503)
    task = leased("daily")
    task.start()
    assert isinstance(task.error, LockStoreUnavailableError)
    assert lock_store.split("?")[0] in str(task.error)
    assert put in str(task.error)
    assert clocked.events.calls("RunJobFlow") == []


def test_a_role_that_cannot_be_assumed_for_a_while_is_waited_out_in_the_queue(
    clocked, leased, queue, record, deferrable, role_conn_id, monkeypatch
):
    holder, waiting = leased("holder"), leased("waiting", deferrable=deferrable, aws_conn_id=role_conn_id)
    run_queued(queue, holder)
    wait = PhasedOperator._wait
    faults = iter([3])

    def wait_without_sts(operator: PhasedOperator, trigger: WatchTrigger) -> dict[str, Any]:
        for times in faults:
            clocked.faults.add(operation="AssumeRole", kind="throttle", times=times)
        return wait(operator, trigger)

    monkeypatch.setattr(PhasedOperator, "_wait", wait_without_sts)
    clocked.clock.call_later(
        300, lambda: clocked.end_cluster(holder.result, state="TERMINATED", message=""), name="end"
    )
    waiting.run()
    assert record().lease.resource_id == waiting.result


def test_a_store_that_is_down_while_a_session_runs_concerns_no_step_and_delays_the_release(
    clocked, leased, queue, record, steps_operator, terminate_operator, lock_store, ec2
):
    put, get = ("PutItem", "GetItem") if lock_store.startswith("dynamodb") else ("PutObject", "GetObject")
    holder = leased("holder")
    run_queued(queue, holder)
    steps = Task(steps_operator(holder.result, lock_store=lock_store, deferrable=True), dag_id="holder")
    steps.start()
    for operation in (put, get):
        clocked.faults.add(operation=operation, kind="error", times=12, status=503)
    steps.go_on()
    assert steps.error is None, "nobody asks the store while a step runs"
    Task(terminate_operator(holder.result, lock_store=lock_store), dag_id="holder").run()
    assert not is_associated(ec2)
    assert record().lease is None


def test_a_step_is_refused_after_an_early_release_and_the_next_owner_continues(
    clocked, leased, queue, record, ended, steps_operator, lock_store, release, emr
):
    first, second = leased("first"), leased("second")
    run_queued(queue, first)
    second.start()
    assert Task(release(job_flow_id=first.result, lock_store=lock_store), dag_id="first").run() is True
    with pytest.raises(Exception, match="Elastic IP"):
        Task(steps_operator(first.result, lock_store=lock_store), dag_id="first").run()
    queue.until(lambda: second.ended, second)
    assert cluster_state(emr, first.result) in {"STARTING", "BOOTSTRAPPING"}, "it works on"
    assert record().history[-1].why == "released early"
    ended(first.result)
    assert record().lease.resource_id == second.result, "the first teardown leaves the second lease alone"


def test_a_step_is_refused_while_the_lease_is_closing(
    clocked, leased, queue, steps_operator, lock_store, release, step
):
    first = leased("first")
    run_queued(queue, first)
    running = Task(
        steps_operator(first.result, lock_store=lock_store, steps=[step("--sleep", "300")], deferrable=True),
        dag_id="first",
    )
    running.start()
    releasing = Task(release(job_flow_id=first.result, lock_store=lock_store, deferrable=True), dag_id="first")
    releasing.start()
    assert not releasing.ended, "it waits for the step"
    with pytest.raises(Exception, match="the lease is releasing"):
        Task(steps_operator(first.result, "late", lock_store=lock_store), dag_id="first").run()
    running.go_on()
    releasing.go_on()
    assert (running.error, releasing.error, releasing.result) == (None, None, True)
