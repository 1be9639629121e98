"""LivyBatchWithStaticIpOperator through a Network Load Balancer with two clusters, of which one is lost."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")

from airflow_eip_provider.exceptions import BatchLostError
from airflow_eip_provider.hooks.livy import LivyBatchHook
from airflow_eip_provider.operators.livy import LivyBatchWithStaticIpOperator
from harness.life import Task
from tests.load_balancer import create_load_balancer

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def clusters(clocked: Any, overrides: dict[str, Any], emr: Any, ec2: Any, boto: Any, monkeypatch: Any) -> list[str]:
    """Two clusters in two zones behind one load balancer, which is the host of the Livy connection."""
    subnets = sorted(ec2.describe_subnets()["Subnets"], key=lambda subnet: subnet["AvailabilityZone"])[:2]
    job_flow_ids = []
    for subnet in subnets:
        instances = {**overrides["Instances"], "Ec2SubnetId": subnet["SubnetId"]}
        request = {**overrides, "Instances": instances, "Applications": [{"Name": "Livy"}]}
        job_flow_ids.append(str(emr.run_job_flow(**request)["JobFlowId"]))
    clocked.clock.advance(600)
    elb = boto("elbv2")
    host, groups = create_load_balancer(elb, subnets, {"livy": 8998})
    targets = [{"Id": clocked.cluster(each).primary.private_ip_address} for each in job_flow_ids]
    elb.register_targets(TargetGroupArn=groups["livy"], Targets=targets)
    clocked.clock.advance(60)
    connection = {"conn_type": "livy", "host": host, "port": 8998}
    monkeypatch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", json.dumps(connection))
    return job_flow_ids


@pytest.fixture
def operator() -> Callable[..., LivyBatchWithStaticIpOperator]:
    def make(task_id: str, *args: str, **parameters: Any) -> LivyBatchWithStaticIpOperator:
        given = {"file": "s3://code/job.py", "args": list(args), "aws_conn_id": None, "polling_interval": 15}
        return LivyBatchWithStaticIpOperator(task_id=task_id, **given, **parameters)

    return make


def ran(aws: Any) -> list[tuple[str, str]]:
    return [(event["job_flow_id"], event["state"]) for event in aws.events.read(kind="batch")]


def test_batches_run_on_both_clusters_and_each_task_returns_its_own(clocked, clusters, operator):
    tasks = [Task(operator(f"batch_{number}", "--sleep", "120", deferrable=True)) for number in range(4)]
    for task in tasks:
        task.start()
        LivyBatchHook().find("another client's", looks=1)  # the local load balancer takes turns, a real one does not
    for task in tasks:
        task.go_on()
        assert task.error is None
    assert {job_flow_id for job_flow_id, _ in ran(clocked)} == set(clusters)
    assert sorted(task.result for task in tasks) == [0, 0, 1, 1], "each server counts from 0"


def test_when_one_of_two_clusters_is_lost_its_batch_is_lost_and_the_retry_runs_on_the_other(
    clocked, clusters, operator, emr
):
    task = Task(operator("batch", "--sleep", "3000", retries=1, deferrable=True))
    task.start()
    ((first, _),) = ran(clocked)
    (other,) = set(clusters) - {first}
    emr.terminate_job_flows(JobFlowIds=[first])
    task.go_on()
    assert isinstance(task.error, BatchLostError)
    assert Task(operator("batch", "--sleep", "60", retries=1, deferrable=True), try_number=2).run() == 0
    assert [state for job_flow_id, state in ran(clocked) if job_flow_id == other] == ["starting", "running", "success"]
