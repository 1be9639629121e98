"""Adoption of clusters: those that EMR does not know yet, and those that an earlier try has stored."""

from __future__ import annotations

import pytest

from airflow_eip_provider.aws import addresses, clusters
from airflow_eip_provider.exceptions import NotKnownYetError
from harness.life import Task
from tests.integration.operators.aws_state import launched


@pytest.fixture
def lists_no_clusters(monkeypatch):
    """ListClusters lags behind."""

    monkeypatch.setattr(clusters, "_list_clusters", lambda *_, **__: [])


def unknown_at_first(aws, operation, *, times):
    """Let the first calls of an operation not know the cluster."""
    refusal = {"code": "InvalidRequestException", "message": "not valid", "status": 400}
    aws.faults.add(operation=operation, kind="error", times=times, **refusal)


@pytest.mark.parametrize("operation", ["DescribeCluster", "ListInstances"])
def test_a_new_cluster_may_be_unknown_at_first(clocked, create_operator, deferrable, operation, monkeypatch):
    if operation == "ListInstances":  # EMR is asked for the primary instance where EC2 does not show its tags
        monkeypatch.setattr(addresses, "read_primaries", lambda *_: {})
    unknown_at_first(clocked, operation, times=2)
    job_flow_id = Task(create_operator(deferrable=deferrable)).run()
    assert launched(clocked) == [job_flow_id]
    assert [call["status"] for call in clocked.events.calls(operation)][:3] == [400, 400, 200]


def test_a_cluster_that_stays_unknown_is_an_error(clocked, create_operator, deferrable):
    unknown_at_first(clocked, "DescribeCluster", times=1000)
    task = Task(create_operator(deferrable=deferrable))
    with pytest.raises(Exception, match="EMR does not know it"):
        task.run()


def test_a_failure_ends_a_cluster_that_is_unknown_at_first(clocked, create_operator, emr):
    task = Task(create_operator(deferrable=True))
    task.start()
    unknown_at_first(clocked, "DescribeCluster", times=1)
    task.fail_deferral()
    assert emr.describe_cluster(ClusterId=launched(clocked)[0])["Cluster"]["Status"]["State"] == "TERMINATING"


def test_steps_may_find_their_cluster_unknown_at_first(clocked, create_operator, steps_operator):
    job_flow_id = Task(create_operator(deferrable=True)).run()
    unknown_at_first(clocked, "DescribeCluster", times=2)
    assert len(Task(steps_operator(job_flow_id, deferrable=True)).run()) == 1


def test_steps_report_that_their_cluster_is_none(clocked, steps_operator):
    with pytest.raises(NotKnownYetError, match="j-0123456789ABC"):
        Task(steps_operator("j-0123456789ABC")).run()


def test_a_new_interface_may_be_unknown_at_first(clocked, create_operator):
    task = Task(create_operator(deferrable=True))
    task.start()
    clocked.faults.add(
        operation="AssociateAddress", kind="error", code="InvalidNetworkInterfaceID.NotFound", status=400, times=2
    )
    task.go_on()
    assert launched(clocked) == [task.result]


def test_throttling_in_the_middle_loses_no_cluster(clocked, create_operator, deferrable):
    task = Task(create_operator(deferrable=deferrable))
    clocked.faults.add(operation="DescribeCluster", kind="throttle", times=12)
    assert [task.run()] == launched(clocked)


def test_a_retry_continues_with_the_cluster_that_it_remembers(clocked, create_operator, lists_no_clusters, store):
    remembered = {}
    lost = Task(create_operator(lock_store=store, deferrable=True, retries=2), remembered=remembered)
    lost.start()
    retry = Task(create_operator(lock_store=store, retries=2), remembered=remembered, try_number=2)
    assert [retry.run()] == launched(clocked)


def test_a_remembered_cluster_that_has_ended_is_not_adopted(clocked, create_operator, store):
    remembered = {}
    lost = Task(create_operator(lock_store=store, deferrable=True, retries=2), remembered=remembered)
    lost.start()
    clocked.end_cluster(remembered["job_flow_id"])
    clocked.clock.advance(1000)
    retry = Task(create_operator(lock_store=store, retries=2), remembered=remembered, try_number=2)
    job_flow_id = retry.run()
    assert launched(clocked) == [launched(clocked)[0], job_flow_id]
    assert remembered == {"job_flow_id": job_flow_id}
