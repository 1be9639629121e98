"""Reads that lag, calls held in flight, throttling by rate."""

from __future__ import annotations

import threading
from datetime import datetime

import boto3
import httpx
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError

from local_emr.faults import Faults

ONE_TRY = Config(retries={"total_max_attempts": 1})


@pytest.fixture
def running(local_emr, start_cluster, state_of):
    """A cluster that waits for steps."""
    cluster = start_cluster(Tags=[{"Key": "owner", "Value": "a"}])
    local_emr.clock.advance(900)
    assert state_of(cluster) == "WAITING"
    return cluster


def stale(local_emr, operation, seconds, **details):
    local_emr.faults.add(operation=operation, kind="stale", seconds=seconds, times=None, **details)


def test_an_association_is_seen_late_and_so_is_its_end(ec2, local_emr, allocation_id, launch):
    _, interface = launch()
    stale(local_emr, "DescribeAddresses", 15)

    def seen():
        return ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0].get("AssociationId")

    association = ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface)["AssociationId"]
    assert seen() is None
    local_emr.clock.advance(14)
    assert seen() is None
    local_emr.clock.advance(1)
    assert seen() == association
    ec2.disassociate_address(AssociationId=association)
    local_emr.clock.advance(14)
    assert seen() == association
    local_emr.clock.advance(1)
    assert seen() is None


def test_a_change_without_a_call_is_seen_late(ec2, local_emr, start_cluster, primary_of):
    cluster = start_cluster()
    local_emr.clock.advance(20)
    instance = primary_of(cluster).id
    local_emr.remember()
    local_emr.clock.advance(300)

    def state():
        found = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"][0]
        return found["State"]["Name"]

    assert state() == "running"
    local_emr.faults.add(operation="DescribeInstances", kind="stale", seconds=300)
    assert state() == "pending"
    assert state() == "running", "it was to be stale once"


def test_an_instance_is_not_known_yet(ec2, local_emr, launch, refused):
    stale(local_emr, "DescribeInstances", 5)
    instance, _ = launch()
    with refused("InvalidInstanceID.NotFound"):
        ec2.describe_instances(InstanceIds=[instance])
    local_emr.clock.advance(5)
    assert ec2.describe_instances(InstanceIds=[instance])["Reservations"]


def test_a_cluster_is_listed_and_described_late(emr, local_emr, start_cluster, refused):
    stale(local_emr, "ListClusters", 120)
    stale(local_emr, "DescribeCluster", 10)
    cluster = start_cluster()
    assert emr.list_clusters()["Clusters"] == []
    with refused("InvalidRequestException"):
        emr.describe_cluster(ClusterId=cluster)
    local_emr.clock.advance(10)
    assert emr.describe_cluster(ClusterId=cluster)["Cluster"]["Id"] == cluster
    assert emr.list_clusters()["Clusters"] == []
    local_emr.clock.advance(110)
    assert [found["Id"] for found in emr.list_clusters()["Clusters"]] == [cluster]


def test_a_state_is_seen_late(emr, local_emr, running, state_of):
    local_emr.remember()
    emr.terminate_job_flows(JobFlowIds=[running])
    stale(local_emr, "DescribeCluster", 30)
    assert state_of(running) == "WAITING"
    assert emr.list_clusters()["Clusters"][0]["Status"]["State"] == "TERMINATING", "that read does not lag"
    local_emr.clock.advance(30)
    assert state_of(running) == "TERMINATING"


def test_tags_alone_are_seen_late(emr, local_emr, start_cluster):
    stale(local_emr, "DescribeCluster", 60, field="Tags")
    cluster = start_cluster(Tags=[{"Key": "owner", "Value": "a"}])

    def tags():
        return emr.describe_cluster(ClusterId=cluster)["Cluster"]["Tags"]

    assert tags() == []
    local_emr.clock.advance(60)
    assert tags() == [{"Key": "owner", "Value": "a"}]
    emr.add_tags(ResourceId=cluster, Tags=[{"Key": "owner", "Value": "b"}])
    assert tags() == [{"Key": "owner", "Value": "a"}]
    local_emr.clock.advance(60)
    assert tags() == [{"Key": "owner", "Value": "b"}]


def test_a_step_and_its_end_are_seen_late(emr, local_emr, running, add_steps, step, step_states):
    stale(local_emr, "ListSteps", 25)
    add_steps(running, step("--sleep", "60"))
    assert step_states(running) == []
    local_emr.clock.advance(25)
    assert step_states(running) == ["RUNNING"]
    local_emr.clock.advance(59)
    assert step_states(running) == ["RUNNING"]
    local_emr.clock.advance(1)
    assert step_states(running) == ["COMPLETED"]


def test_a_stale_read_changes_nothing(emr, local_emr, running, add_steps, step, step_states):
    local_emr.remember()
    add_steps(running, step("--sleep", "60"))
    local_emr.faults.add(operation="ListSteps", kind="stale", seconds=10)
    assert step_states(running) == []
    assert step_states(running) == ["RUNNING"]
    local_emr.clock.advance(60)
    assert step_states(running) == ["COMPLETED"]


def test_what_happened_before_anything_was_remembered_is_the_oldest_answer(emr, local_emr, running, state_of):
    stale(local_emr, "DescribeCluster", 3600)
    emr.terminate_job_flows(JobFlowIds=[running])
    assert state_of(running) == "WAITING"


def test_a_held_call_takes_effect_at_its_moment(emr, local_emr, running, step, step_states):
    local_emr.faults.add(operation="AddJobFlowSteps", kind="hold", seconds=80)
    begin = local_emr.clock.now()
    client = boto3.client("emr")
    answers = []
    caller = threading.Thread(
        target=lambda: answers.append(client.add_job_flow_steps(JobFlowId=running, Steps=[step("--sleep", "10")]))
    )
    caller.start()
    while not local_emr.events.read(kind="fault"):
        pass
    local_emr.clock.advance(79)
    assert step_states(running) == []
    local_emr.clock.advance(60)
    caller.join()
    client.close()
    assert answers[0]["StepIds"]
    [created] = [
        event
        for event in local_emr.events.read(kind="step")
        if event["state"] == "PENDING" and event["job_flow_id"] == running
    ]
    assert (datetime.fromisoformat(created["time"]) - begin).total_seconds() == 80


def test_meanwhile_others_go_on(emr, ec2, local_emr, running, add_steps, step, step_states):
    seen = []

    def meanwhile():
        seen.append(step_states(running))
        local_emr.clock.advance(80)

    local_emr.faults.add(operation="AddJobFlowSteps", kind="hold", seconds=80, during=meanwhile)
    add_steps(running, step())
    assert seen == [[]]
    assert step_states(running) == ["RUNNING"]


def test_a_call_whose_answer_is_held_has_had_its_effect(emr, local_emr, running, add_steps, step, step_states):
    seen = []

    def meanwhile():
        seen.append(step_states(running))
        local_emr.clock.advance(30)

    local_emr.faults.add(operation="AddJobFlowSteps", kind="hold_answer", seconds=30, during=meanwhile)
    add_steps(running, step())
    assert seen == [["RUNNING"]]


def test_a_held_call_ends_with_a_reset(local_emr):
    local_emr.faults.add(operation="DescribeAddresses", kind="hold", seconds=30, during=local_emr.reset)
    client = boto3.client("ec2", config=ONE_TRY)
    with pytest.raises(ConnectionClosedError):
        client.describe_addresses()
    client.close()


def test_calls_beyond_a_rate_are_throttled(boto, local_emr, start_cluster, refused):
    """[docs: EMR and EC2, API request throttling: a bucket of tokens for each action]."""
    cluster = start_cluster()
    emr = boto("emr", config=ONE_TRY)
    local_emr.faults.add(operation="DescribeCluster", kind="rate", per_second=0.05, burst=2)
    emr.describe_cluster(ClusterId=cluster)
    emr.describe_cluster(ClusterId=cluster)
    with refused("ThrottlingException"):
        emr.describe_cluster(ClusterId=cluster)
    emr.list_clusters()
    local_emr.clock.advance(19)
    with refused("ThrottlingException"):
        emr.describe_cluster(ClusterId=cluster)
    local_emr.clock.advance(1)
    emr.describe_cluster(ClusterId=cluster)
    with refused("ThrottlingException"):
        emr.describe_cluster(ClusterId=cluster)
    local_emr.clock.advance(3600)
    for _ in range(2):
        emr.describe_cluster(ClusterId=cluster)
    with refused("ThrottlingException"):
        emr.describe_cluster(ClusterId=cluster)


def test_ec2_throttles_by_rate_in_its_own_words(boto, local_emr, refused):
    local_emr.faults.add(operation="*", kind="rate", per_second=1, burst=1)
    ec2 = boto("ec2", config=ONE_TRY)
    ec2.describe_addresses()
    with refused("RequestLimitExceeded"):
        ec2.describe_vpcs()


def test_these_faults_are_set_over_http(local_emr, boto, start_cluster, refused):
    with httpx.Client(base_url=f"{local_emr.endpoint_url}/_local/", trust_env=False) as control:

        def plan(**fault):
            control.post("faults", json=fault).raise_for_status()

        plan(operation="ListClusters", kind="stale", seconds=60, times=None)
        plan(operation="DescribeCluster", kind="rate", per_second=0.1, burst=1)
        start_cluster()
        emr = boto("emr", config=ONE_TRY)
        assert emr.list_clusters()["Clusters"] == []
        control.post("clock/advance", json={"seconds": 60}).raise_for_status()
        [cluster] = emr.list_clusters()["Clusters"]
        emr.describe_cluster(ClusterId=cluster["Id"])
        with refused("ThrottlingException"):
            emr.describe_cluster(ClusterId=cluster["Id"])
        control.delete("faults").raise_for_status()
        emr.describe_cluster(ClusterId=cluster["Id"])
        start_cluster()
        assert len(emr.list_clusters()["Clusters"]) == 2
        control.post("remember").raise_for_status()
        emr.terminate_job_flows(JobFlowIds=[cluster["Id"]])
        plan(operation="DescribeCluster", kind="stale", seconds=5)
        assert emr.describe_cluster(ClusterId=cluster["Id"])["Cluster"]["Status"]["State"] == "STARTING"
        wrong = control.post("faults", json={"operation": "ListSteps", "kind": "hold", "during": "x"})
        assert wrong.status_code == 400
        assert "during" in wrong.json()["error"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"operation": "RunJobFlow", "kind": "stale"}, "only reads"),
        ({"operation": "ListSteps", "kind": "rate"}, "per_second"),
        ({"operation": "ListSteps", "kind": "rate", "per_second": 1, "burst": 0}, "burst=0"),
        ({"operation": "ListSteps", "kind": "stale", "field": "Tags"}, "only the Tags of DescribeCluster"),
        ({"operation": "ListSteps", "kind": "stale", "seconds": -1}, "seconds=-1"),
    ],
)
def test_what_makes_no_sense_is_refused(fault, said):
    with pytest.raises(ValueError, match=said):
        Faults().add(**fault)
