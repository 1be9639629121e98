"""An address leaves its pool while a job has it: the job continues with it, and it is given back all the same."""

from __future__ import annotations

import pytest
from botocore.exceptions import EndpointConnectionError

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import PreflightError
from airflow_eip_provider.hooks.address_pool import AddressPool
from airflow_eip_provider.lease_client import client as lease_client
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, read_record, run_instance
from tests.integration.operators.failover_stage import vanish_after
from tests.integration.operators.test_pool import carried, pool
from tests.integration.operators.test_pool_failures import opened

__all__ = ["opened", "pool"]

TAG = {"tag:purpose": "azure-sql"}


@pytest.fixture(params=[1, 2, 3])
def size(request):
    """The number of addresses of the pool before one leaves it."""
    return request.param


@pytest.fixture(params=["tag", "list"])
def named(request, size, pool, ec2):
    """Return the ``allocation_id`` of tasks before and after an address has left the pool."""
    ec2.create_tags(Resources=pool[:size], Tags=[{"Key": "purpose", "Value": "azure-sql"}])
    if request.param == "list" and size == 1:
        pytest.skip("a list of nothing is refused")
    left: list[str] = []

    def name(*, without: str | None = None):
        if without is not None and without not in left:
            left.append(without)
            ec2.delete_tags(Resources=[without], Tags=[{"Key": "purpose"}])
        return TAG if request.param == "tag" else [each for each in pool[:size] if each not in left]

    return name


@pytest.fixture
def on_instance(clocked, ec2, named, opened, associate):
    """An instance with an address that has left the pool."""
    instance = run_instance(ec2, clocked)
    held = Task(associate(allocation_id=named(), instance_id=instance, lock_store=opened)).run()["allocation_id"]
    named(without=held)
    return instance, held


def lease_of(boto, allocation_id, store):
    return None if store is None else read_record(boto, allocation_id, lock_store=store).lease


def test_steps_sensor_and_teardown_continue_with_it(
    clocked, named, pool, opened, create_operator, steps_operator, terminate_operator, emr, ec2, boto
):
    task = Task(create_operator(allocation_id=named(), lock_store=opened))
    job_flow_id, held = task.run(), task.ti.xcoms["allocation_id"]
    after = named(without=held)
    clocked.clock.advance(600)
    assert Task(steps_operator(job_flow_id, allocation_id=after, lock_store=opened)).run()
    sensor = EipAssociationSensor(task_id="bound", allocation_id=after, job_flow_id=job_flow_id, aws_conn_id=None)
    assert Task(sensor).run()["allocation_id"] == held
    Task(terminate_operator(job_flow_id, allocation_id=after, lock_store=opened)).run()
    assert active_clusters(emr) == []
    assert carried(ec2, [held]) == {held: None}
    assert lease_of(boto, held, opened) is None


def test_an_early_release_and_the_teardown_after_it(
    clocked, named, pool, opened, create_operator, release, terminate_operator, emr, ec2, boto
):
    task = Task(create_operator(allocation_id=named(), lock_store=opened))
    job_flow_id, held = task.run(), task.ti.xcoms["allocation_id"]
    after = named(without=held)
    clocked.clock.advance(600)
    shared = {"allocation_id": after, "lock_store": opened}
    found = [Task(release(job_flow_id=job_flow_id, **shared)).run() for _ in range(2)]
    assert found == [True, False]
    assert carried(ec2, [held]) == {held: None}
    assert lease_of(boto, held, opened) is None
    Task(terminate_operator(job_flow_id, **shared)).run()
    assert active_clusters(emr) == []


@pytest.mark.parametrize("store", ["dynamodb://leases?create=true"])
def test_an_instance_gives_it_back(named, on_instance, opened, release, ec2, boto):
    instance, held = on_instance
    assert Task(release(allocation_id=named(), instance_id=instance, lock_store=opened)).run() is True
    assert carried(ec2, [held]) == {held: None}
    assert lease_of(boto, held, opened) is None


@pytest.mark.parametrize("store", ["dynamodb://leases?create=true"])
@pytest.mark.parametrize("ending", ["release", "terminate"])
@pytest.mark.parametrize("size", [1, 3], indirect=True)
def test_a_cluster_without_our_tags_gives_it_back(
    clocked, named, opened, associate, release, steps_operator, terminate_operator, emr, ec2, boto, overrides, ending
):
    job_flow_id = emr.run_job_flow(**overrides)["JobFlowId"]
    clocked.clock.advance(600)
    given = {"job_flow_id": job_flow_id, "lock_store": opened}
    held = Task(associate(allocation_id=named(), **given)).run()["allocation_id"]
    after = named(without=held)
    assert Task(steps_operator(job_flow_id, allocation_id=after, lock_store=opened)).run()
    if ending == "release":
        assert Task(release(allocation_id=after, **given)).run() is True
    else:
        Task(terminate_operator(job_flow_id, allocation_id=after, lock_store=opened)).run()
    assert carried(ec2, [held]) == {held: None}
    assert lease_of(boto, held, opened) is None


@pytest.mark.parametrize("size", [3], indirect=True)
def test_an_address_of_somebody_else_on_the_instance_is_left_alone(clocked, named, pool, opened, release, ec2, logged):
    instance = run_instance(ec2, clocked)
    stranger = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=stranger, InstanceId=instance)
    assert Task(release(allocation_id=named(), instance_id=instance, lock_store=opened)).run() is False
    assert carried(ec2, [stranger]) == {stranger: instance}
    assert f"'{instance}' has Elastic IP {stranger}" in logged()


@pytest.mark.parametrize("store", [None])
@pytest.mark.parametrize("size", [3], indirect=True)
def test_without_a_store_an_instance_keeps_it_and_the_log_says_so(named, on_instance, release, ec2, logged):
    instance, held = on_instance
    assert Task(release(allocation_id=named(), instance_id=instance)).run() is False
    assert f"'{instance}' has Elastic IP {held}" in logged()
    assert Task(release(allocation_id=held, instance_id=instance)).run() is True
    assert carried(ec2, [held]) == {held: None}


@pytest.mark.parametrize("store", ["dynamodb://leases?create=true"])
@pytest.mark.parametrize("size", [3], indirect=True)
def test_while_the_lock_store_is_down_nothing_is_taken_for_released(
    named, on_instance, opened, release, ec2, boto, monkeypatch
):
    instance, held = on_instance

    def down(*_):
        raise EndpointConnectionError(endpoint_url="https://dynamodb")

    with monkeypatch.context() as patch:
        patch.setattr(lease_client.StoreLeaseClient, "read", down)
        with pytest.raises(EndpointConnectionError):
            Task(release(allocation_id=named(), instance_id=instance, lock_store=opened)).run()
    assert Task(release(allocation_id=named(), instance_id=instance, lock_store=opened), try_number=2).run() is True
    assert lease_of(boto, held, opened) is None


@pytest.mark.parametrize("size", [3], indirect=True)
def test_steps_of_a_cluster_without_any_address_are_refused(clocked, named, opened, steps_operator, emr, overrides):
    stranger = emr.run_job_flow(**overrides)["JobFlowId"]
    clocked.clock.advance(600)
    with pytest.raises(AirflowFailException, match="is on it or leased to it, and it has no tag"):
        Task(steps_operator(stranger, allocation_id=named(), lock_store=opened)).run()


@pytest.mark.parametrize("size", [2], indirect=True)
def test_a_nat_gateway_of_a_cluster_gives_it_back(clocked, named, opened, nat, terminate_operator, ec2, boto):
    task = Task(nat(allocation_id=named(), lock_store=opened))
    job_flow_id, held = task.run(), task.ti.xcoms["allocation_id"]
    after = named(without=held)
    Task(terminate_operator(job_flow_id, allocation_id=after, lock_store=opened)).run()
    assert {g["State"] for g in ec2.describe_nat_gateways()["NatGateways"]} <= {"deleting", "deleted"}
    assert lease_of(boto, held, opened) is None


@pytest.fixture(params=["deleted", "no longer admitted by Azure SQL"])
def crashed(request, clocked, ec2, emr, pool, opened, create_operator, monkeypatch):
    """The parameters of a task whose first try crashed after the launch; its address cannot be used any more."""
    given = {"allocation_id": pool[:2], "lock_store": opened, "deferrable": True}
    vanish_after(monkeypatch, Task(create_operator(**given), max_tries=1), "RunJobFlow")
    clocked.clock.advance(100)
    assert len(active_clusters(emr)) == 1
    if request.param == "deleted":
        ec2.release_address(AllocationId=pool[0])
    else:
        monkeypatch.setattr(preflight, "usable_addresses", lambda *_, **__: (AddressPool(pool[1:2]), ["not admitted"]))
    return given


def test_a_retry_ends_the_cluster_of_an_address_that_cannot_be_used_any_more(
    clocked, crashed, create_operator, terminate_operator, pool, emr, boto, opened
):
    task = Task(create_operator(**crashed), try_number=2, max_tries=1)
    task.run()
    clocked.clock.advance(300)
    assert active_clusters(emr) == [task.result]
    assert lease_of(boto, pool[0], opened) is None
    Task(terminate_operator(task.result, **{**crashed, "deferrable": False})).run()
    assert active_clusters(emr) == []


def test_a_retry_for_which_no_address_is_left_ends_the_cluster_of_the_first_try(
    clocked, crashed, create_operator, pool, emr, boto, opened, monkeypatch
):
    def none_usable(*_, **__):
        raise PreflightError(str(pool[:2]), ["not admitted"])

    monkeypatch.setattr(preflight, "usable_addresses", none_usable)
    with pytest.raises(AirflowFailException, match="not admitted"):
        Task(create_operator(**crashed), try_number=2, max_tries=1).run()
    clocked.clock.advance(300)
    assert active_clusters(emr) == []
    assert lease_of(boto, pool[0], opened) is None
