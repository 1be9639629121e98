"""EMR may not know a new cluster for some seconds: nobody takes it for one that has ended."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.aws import clusters
from airflow_eip_provider.lease.record import LIMITS
from airflow_eip_provider.operators.bindings import NatGateway
from harness.life import Task
from tests.integration.operators.aws_state import active_clusters, cluster_state, launched, run_queued

dynamodb_only = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)
_NOT_KNOWN: Any = {
    "Error": {"Code": "InvalidRequestException", "Message": "Cluster id is not valid."},
    "ResponseMetadata": {"HTTPStatusCode": 400},
}


@pytest.fixture
def unknown_at_first(clocked: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let DescribeCluster not know any cluster for its first seconds, which ListClusters may show already."""
    parse = clusters._cluster

    def set_seconds(seconds: float) -> None:
        def parse_if_known(response: Any) -> Any:
            cluster = parse(response)
            if (clocked.clock.now() - cluster.created_at).total_seconds() < seconds:
                raise ClientError(_NOT_KNOWN, "DescribeCluster")
            return cluster

        monkeypatch.setattr(clusters, "_cluster", parse_if_known)

    return set_seconds


@pytest.fixture
def behind_a_permanent_gateway(clocked, network, ec2, allocation_id, overrides) -> dict[str, Any]:
    """The parameters of a task whose clusters use a NAT gateway that exists and has the address."""
    made = ec2.create_nat_gateway(SubnetId=network.public, AllocationId=allocation_id)["NatGateway"]
    clocked.clock.advance(300)
    gateway_id = made["NatGatewayId"]
    ec2.create_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=gateway_id)
    return {"binding": NatGateway(nat_gateway_id=gateway_id), "job_flow_overrides": network.overrides(overrides)}


@dynamodb_only
def test_a_cluster_that_was_started_early_and_is_not_known_yet_is_not_launched_again(
    clocked, leased, queue, record, emr, ended, unknown_at_first, terminate_operator, lock_store
):
    holder = leased("holder")
    run_queued(queue, holder)
    clocked.clock.advance(600)
    first = leased("first", prewarm=True)
    unknown_at_first(45)
    first.start()
    queue.until(lambda: len(active_clusters(emr)) == 2, first)
    early = record().queue[0].resource_id
    Task(terminate_operator(holder.result, lock_store=lock_store, deferrable=True), dag_id="holder").start()
    queue.until(lambda: first.ended, first)
    assert first.result == early
    assert launched(clocked) == [holder.result, early]
    ended(first.result)
    assert active_clusters(emr) == []


@dynamodb_only
def test_the_lease_of_a_cluster_that_is_not_known_yet_is_not_taken_over(
    leased, queue, record, emr, unknown_at_first, behind_a_permanent_gateway, steps_operator, terminate_operator,
    lock_store,
):  # fmt: skip
    unknown_at_first(45)
    first, second = (leased(name, **behind_a_permanent_gateway) for name in ("first", "second"))
    first.start()
    assert first.result is not None, "handed over in the phase that launched it"
    second.start()
    queue.pass_time(300, second)
    assert record().lease.resource_id == first.result
    assert active_clusters(emr) == [first.result]
    assert Task(steps_operator(first.result, lock_store=lock_store), dag_id="first").run()
    Task(terminate_operator(first.result, lock_store=lock_store), dag_id="first").run()
    queue.until(lambda: second.ended, second)
    assert second.error is None
    assert "taken over" not in " ".join(ended.why for ended in record().history)


@dynamodb_only
def test_a_cleared_task_continues_with_its_cluster_that_is_not_known_yet(
    clocked, leased, record, unknown_at_first, behind_a_permanent_gateway
):
    unknown_at_first(45)
    job_flow_id = leased("daily", **behind_a_permanent_gateway).run()
    assert leased("daily", try_number=2, **behind_a_permanent_gateway).run() == job_flow_id
    assert launched(clocked) == [job_flow_id]
    assert record().history == ()


@dynamodb_only
def test_a_lease_whose_cluster_stays_unknown_is_taken_over_when_it_cannot_appear_any_more(
    leased, queue, record, unknown_at_first, behind_a_permanent_gateway
):
    unknown_at_first(45)
    first, second = (leased(name, **behind_a_permanent_gateway) for name in ("first", "second"))
    first.start()
    unknown_at_first(LIMITS.surface + 60)
    written_at = record().lease.written_at
    second.start()
    queue.until(lambda: record().lease.resource_id != first.result, second)
    assert LIMITS.surface <= record().lease.acquired_at - written_at <= LIMITS.surface + 60
    assert record().history[0].why == f"taken over: {first.result} has ended"


def test_a_retry_continues_with_the_cluster_that_has_the_address_and_is_not_known_yet(
    clocked, nat, store, monkeypatch, unknown_at_first
):
    monkeypatch.setattr(clusters, "_list_clusters", lambda *_, **__: [])
    unknown_at_first(150)
    first, retry = (Task(nat(lock_store=store, deferrable=True), try_number=number) for number in (1, 2))
    first.start()
    clocked.clock.advance(120)  # until the gateway has the address
    assert retry.run() == first.ti.xcoms["job_flow_id"]
    assert launched(clocked) == [retry.result]


def test_a_teardown_waits_for_a_cluster_that_is_not_known_yet(
    clocked, create_operator, terminate_operator, emr, network, nat, store, unknown_at_first
):
    job_flow_id = Task(nat(lock_store=store)).run()
    created_at = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["Timeline"]["CreationDateTime"]
    unknown_at_first((clocked.clock.now() - created_at).total_seconds() + 30)
    Task(terminate_operator(job_flow_id, lock_store=store)).run()
    assert cluster_state(emr, job_flow_id) == "TERMINATED"
    clocked.clock.advance(120)
    network.assert_as_before()
