"""Waits on the same connection share clients and calls; each has its own verdict and its own errors."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.triggers import poller, watch
from airflow_eip_provider.triggers.connection import AwsConnection
from airflow_eip_provider.triggers.eip import EipAssociationTrigger
from airflow_eip_provider.triggers.emr import EmrClusterTrigger, EmrFencedStepsTrigger
from airflow_eip_provider.triggers.watch import WatchTrigger
from harness.life import events_of, first_event
from tests.integration.operators.conftest import overrides, subnet_id

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.observed import Observed, Wants
    from airflow_eip_provider.triggers.verdict import Verdict

__all__ = ["overrides", "subnet_id"]
WAITS = 12
GENEROUS_SECONDS = 60


@pytest.fixture
def shared(clocked: Any) -> dict[str, Any]:
    """The parameters of waits that poll once, at their deadline."""
    now = clocked.clock.now().timestamp()
    return {"waiter_delay": 15, "deadline": now + 15, "aws_conn_id": None, "region_name": clocked.region}


@pytest.fixture
def clusters(clocked: Any, emr: Any, overrides: dict[str, Any]) -> list[str]:
    """Clusters that wait for steps."""
    names = [emr.run_job_flow(**overrides)["JobFlowId"] for _ in range(WAITS)]
    clocked.clock.advance(3600)
    return names


@pytest.fixture
def calls(clocked: Any) -> Any:
    """Count the calls from now on, by operation."""

    def counted(*waits: WatchTrigger) -> tuple[list[Any], Counter[str]]:
        clocked.events.clear()
        events = events_of(*waits, return_exceptions=True)
        return events, Counter(event["operation"] for event in clocked.events.calls())

    return counted


def ends(names: list[str], shared: dict[str, Any]) -> list[WatchTrigger]:
    return [EmrClusterTrigger(job_flow_id=name, target="cluster_ended", **shared) for name in names]


def test_one_list_answers_for_all_clusters(clusters, shared, calls):
    clusters_and_one_unknown = ends([*clusters[1:], "j-UNKNOWN"], shared)
    events, called = calls(*clusters_and_one_unknown)
    assert [event["status"] for event in events] == ["timeout"] * (WAITS - 1) + ["done"]
    assert all("WAITING" in event["message"] for event in events[:-1])
    assert called == {"ListClusters": 1, "DescribeCluster": 1}, "what is not in the list is asked for singly"


def test_one_cluster_is_described(clusters, shared, calls):
    assert calls(*ends(clusters[:1], shared))[1] == {"DescribeCluster": 1}


def test_a_role_that_may_not_list_clusters_describes_them(clocked, clusters, shared, calls):
    clocked.faults.deny("ListClusters")
    shared["deadline"] += 15
    events, called = calls(*ends(clusters, shared))
    assert {event["status"] for event in events} == {"timeout"}
    assert called == {"ListClusters": 1, "DescribeCluster": 2 * WAITS}, "it is tried once"


def test_the_reason_of_an_ended_cluster_is_the_same_for_one_wait_and_for_many(clocked, clusters, shared):
    clocked.end_cluster(clusters[0], state="TERMINATED_WITH_ERRORS", message="it broke")
    wanted = {"target": "cluster_waiting", **shared}
    alone = events_of(EmrClusterTrigger(job_flow_id=clusters[0], **wanted))
    shared["deadline"] += 15
    wanted = {"target": "cluster_waiting", **shared}
    events = events_of(*(EmrClusterTrigger(job_flow_id=name, **wanted) for name in clusters))
    assert events[0] == alone[0]
    assert {event["status"] for event in events[1:]} == {"done"}


def test_primary_instances_are_read_with_one_call(clusters, shared, calls):
    waits = [EmrClusterTrigger(job_flow_id=name, target="primary_running", **shared) for name in clusters]
    events, called = calls(*waits)
    assert [event["data"]["job_flow_id"] for event in events] == clusters
    assert all(event["data"]["network_interface_id"].startswith("eni-") for event in events)
    assert called == {"DescribeInstances": 1}, "EMR is asked when one of them does not run"


def test_a_primary_instance_without_tags_is_read_from_emr(clocked, clusters, shared, calls, ec2, monkeypatch):
    monkeypatch.setattr("airflow_eip_provider.aws.addresses.read_primaries", lambda *_: {})
    waits = [EmrClusterTrigger(job_flow_id=name, target="primary_running", **shared) for name in clusters[:2]]
    events, called = calls(*waits)
    assert {event["status"] for event in events} == {"done"}
    assert called["ListInstances"] == 2


def test_addresses_and_their_instances_are_read_with_one_call_each(clusters, shared, calls, ec2):
    described = ec2.describe_instances()["Reservations"]
    instances = {
        tag["Value"]: item["InstanceId"]
        for group in described
        for item in group["Instances"]
        for tag in item["Tags"]
        if tag["Key"] == "aws:elasticmapreduce:job-flow-id"
    }
    waits = []
    for name in clusters:
        allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
        ec2.associate_address(AllocationId=allocation_id, InstanceId=instances[name], AllowReassociation=False)
        waits.append(EipAssociationTrigger(allocation_id=allocation_id, expect="free", **shared))
    gone = EipAssociationTrigger(allocation_id="eipalloc-00000000000000000", expect="free", **shared)
    events, called = calls(*waits, gone)
    assert {event["data"]["job_flow_id"] for event in events[:-1]} == set(clusters)
    assert events[-1]["data"] == {"gone": "address"}, "one that is unknown does not fail the others"
    assert called == {"DescribeAddresses": 1, "DescribeInstances": 1}


def test_the_steps_of_a_cluster_are_read_once_for_all_waits(clusters, shared, calls, ec2, emr):
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    step = {"Name": "a", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["sleep", "1"]}}
    ids = emr.add_job_flow_steps(JobFlowId=clusters[0], Steps=[step] * 6)["StepIds"]
    waits = [
        EmrFencedStepsTrigger(
            allocation_id=allocation_id,
            egress={"association_id": "eipassoc-1"},
            job_flow_id=clusters[0],
            step_ids=[step_id],
            submitted_at=shared["deadline"],
            **shared,
        )
        for step_id in ids
    ]
    events, called = calls(*waits)
    assert [event["data"]["active"] for event in events] == [[step_id] for step_id in ids]
    assert called["ListSteps"] == 1
    assert called["DescribeAddresses"] == 1


def test_waits_on_different_connections_share_no_calls(clusters, shared, calls):
    waits = ends(clusters, shared)
    for wait in waits[: WAITS // 2]:
        wait.botocore_config = {"retries": {"total_max_attempts": 3}}
    _, called = calls(*waits)
    assert called == {"ListClusters": 2}


def test_a_call_without_an_answer_delays_only_the_waits_that_use_it(clocked, clusters, shared, calls, ec2):
    shared["deadline"] += 3600
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    clocked.faults.add(operation="DescribeInstances", kind="error", status=503, times=5)
    free = EipAssociationTrigger(allocation_id=allocation_id, expect="free", **shared)
    waits = [EmrClusterTrigger(job_flow_id=name, target="primary_running", **shared) for name in clusters[:2]]
    events, called = calls(free, *waits)
    assert {event["status"] for event in events} == {"done"}
    assert called["DescribeAddresses"] == 1, "the address was free at the first look"


class Failing(WatchTrigger):
    """Raises a given error."""

    error: Exception = ValueError("a mistake")

    def judge(self, observed: Observed) -> Verdict:
        raise self.error


class Unreadable(WatchTrigger):
    """Cannot announce what it reads, for example because a newer version stored it."""

    def announce(self, wants: Wants) -> None:
        raise TypeError("a mistake")


@pytest.mark.parametrize("kind", [Failing, Unreadable])
def test_an_error_in_one_wait_ends_only_that_wait(clusters, shared, kind):
    events = events_of(*ends(clusters, shared), kind(**shared), return_exceptions=True)
    assert str(events.pop()) == "a mistake"
    assert {event["status"] for event in events} == {"timeout"}


def test_a_refused_request_ends_only_that_wait_and_leads_to_new_clients(clusters, shared, monkeypatch):
    refused = Failing(**shared)
    refused.error = ClientError({"Error": {"Code": "UnrecognizedClientException"}}, "DescribeCluster")
    made = counted_clients(monkeypatch)
    shared["deadline"] += 30
    events = events_of(*ends(clusters, shared), refused, return_exceptions=True)
    assert isinstance(events.pop(), ClientError)
    assert {event["status"] for event in events} == {"timeout"}
    assert made == {"emr": 2}


def counted_clients(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    made: Counter[str] = Counter()
    client = AwsConnection.client

    def count(connection: AwsConnection, service: str, region_name: str | None) -> Any:
        made[service] += 1
        return client(connection, service, region_name)

    monkeypatch.setattr(AwsConnection, "client", count)
    return made


def test_expired_credentials_are_read_again_once_for_all(clocked, clusters, shared, monkeypatch):
    made = counted_clients(monkeypatch)
    clocked.faults.add(operation="ListClusters", kind="error", code="ExpiredTokenException", status=400, times=1)
    shared["deadline"] += 60
    assert {event["status"] for event in events_of(*ends(clusters, shared))} == {"timeout"}
    assert made == {"emr": 2}


def test_a_new_wait_uses_the_current_content_of_the_connection(clocked, clusters, shared, monkeypatch):
    def say(timeout: int) -> None:
        extra = {"region_name": clocked.region, "config_kwargs": {"connect_timeout": timeout}}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_EDITED", json.dumps({"conn_type": "aws", "extra": extra}))

    made = counted_clients(monkeypatch)
    say(5)
    shared |= {"aws_conn_id": "aws_edited", "region_name": None, "deadline": shared["deadline"] + 120}
    (first, second, third) = ends(clusters[:3], shared)

    async def story() -> None:
        waits = [asyncio.ensure_future(first_event(first))]
        await until_called(clocked, 1)
        waits.append(asyncio.ensure_future(first_event(second)))
        await until_called(clocked, 3)
        assert made == {"emr": 1}
        say(6)
        waits.append(asyncio.ensure_future(first_event(third)))
        await asyncio.gather(*waits)

    asyncio.run(asyncio.wait_for(story(), GENEROUS_SECONDS))
    assert made == {"emr": 2}


async def until_called(aws: Any, times: int) -> None:
    read = lambda: aws.events.calls("DescribeCluster") + aws.events.calls("ListClusters")  # noqa: E731
    while len(read()) < times:  # noqa: ASYNC110 - what is waited for is what other tasks do
        await asyncio.sleep(0.001)


def test_cancelling_a_wait_affects_no_other_and_the_poller_ends_with_the_last(clocked, clusters, shared):
    shared["deadline"] += 36_000

    async def story() -> None:
        waits = [asyncio.ensure_future(first_event(wait)) for wait in ends(clusters[:3], shared)]
        await until_called(clocked, 2)
        waits[0].cancel()
        clocked.end_cluster(clusters[1])
        assert (await waits[1])["status"] == "done"
        assert waits[0].cancelled()
        waits[2].cancel()
        await asyncio.gather(*waits, return_exceptions=True)
        assert poller._pollers == {}

    asyncio.run(asyncio.wait_for(story(), GENEROUS_SECONDS))


def test_waits_that_begin_at_different_times_are_polled_together_later(clocked, clusters, shared, monkeypatch):
    """They begin seven seconds apart and poll every fifteen seconds; no first poll is early."""
    first_polls: dict[str, float] = {}
    answered = watch._Polls.answered

    def note(self: Any, verdict: Verdict) -> Verdict:
        first_polls.setdefault(self._wait.job_flow_id, clocked.clock.now().timestamp())
        return answered(self, verdict)

    monkeypatch.setattr(watch._Polls, "answered", note)
    began = clocked.clock.now().timestamp()
    shared["deadline"] += 300

    async def story() -> None:
        waits = []
        for wait in ends(clusters[:3], shared):
            waits.append(asyncio.ensure_future(first_event(wait)))
            await asyncio.sleep(0.01)
            await asyncio.to_thread(clocked.clock.advance, 7)
        await asyncio.gather(*waits)

    clocked.events.clear()
    asyncio.run(asyncio.wait_for(story(), GENEROUS_SECONDS))
    ticks = {event["time"] for event in clocked.events.calls()}
    assert len(ticks) <= 330 / 15 + 4
    assert min(first_polls.values()) >= began + 0.9 * 15
