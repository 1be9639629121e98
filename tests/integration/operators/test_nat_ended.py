"""Ending a cluster behind a NAT gateway although something is wrong: the gateway goes, and the error says why."""

from __future__ import annotations

from datetime import timedelta

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.aws import endings
from harness.life import Task
from local_emr.faults import ClusterFault
from tests.integration.operators.aws_state import STORE


def test_a_teardown_with_another_address_removes_the_gateway_and_says_so(
    clocked, network, nat, store, terminate_operator, ec2, allocation_id, logged
):
    """``allocation_id`` may be a template of a Variable, which changes while the cluster runs."""
    job_flow_id = Task(nat(lock_store=store)).run()
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    clocked.clock.advance(900)
    Task(terminate_operator(job_flow_id, allocation_id=other, lock_store=store)).run()
    assert f"{job_flow_id} was launched with Elastic IP {allocation_id}, not {other}" in logged()
    clocked.clock.advance(300)
    network.assert_as_before()


@pytest.mark.parametrize("operation", ["ListSteps", "DescribeRouteTables", "DeleteNatGateway"])
@pytest.mark.parametrize("phase", ["begin", "watch"])
def test_a_throttled_call_does_not_hide_that_the_cluster_did_not_start_in_time(
    clocked, network, nat, store, steps_operator, operation, phase, monkeypatch
):
    clocked.faults.fail_next_cluster(ClusterFault(state="STARTING", hangs=True))
    job_flow_id = Task(nat(lock_store=store, start_timeout=timedelta(minutes=10))).run()
    end = endings.end

    def end_and_throttle(conn, name):
        known = end(conn, name)
        clocked.faults.add(operation=operation, kind="throttle", times=8)
        return known

    monkeypatch.setattr(endings, "end", end_and_throttle)
    if phase == "begin":
        clocked.clock.advance(1200)
    steps = Task(steps_operator(job_flow_id, lock_store=store, retries=2))
    steps.start()
    steps.go_on()
    assert "to start" in str(steps.error)
    clocked.clock.advance(300)
    network.assert_as_before()


def test_a_pool_continues_after_a_cluster_that_ended_without_a_teardown(clocked, network, nat, two):
    ended = Task(nat(allocation_id=two, lock_store=STORE), dag_id="ended").run()
    clocked.end_cluster(ended)
    clocked.clock.advance(900)
    following = Task(nat(allocation_id=two, lock_store=STORE, deferrable=True), dag_id="following").run()
    assert network.target() in network.gateways("available")
    assert following != ended


def test_the_gateway_of_an_ended_cluster_with_another_address_is_no_hindrance(
    clocked, network, nat, two, terminate_operator
):
    first = Task(nat(allocation_id=two[0], lock_store=STORE), dag_id="first").run()
    clocked.clock.advance(4000)
    clocked.faults.add(operation="DeleteNatGateway", kind="error", code="UnauthorizedOperation", status=403, times=1)
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        Task(terminate_operator(first, allocation_id=two[0], lock_store=STORE), dag_id="first").run()
    clocked.clock.advance(4000)
    assert network.target() is None
    Task(nat(allocation_id=two[1], lock_store=STORE, deferrable=True), dag_id="second").run()
