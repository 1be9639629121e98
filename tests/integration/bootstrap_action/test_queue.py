"""
Clusters launched by hand and by Airflow, one Elastic IP: the local EMR runs the bootstrap action on every node.

What happened is judged by the local EMR's own log of events.
"""

from __future__ import annotations

import gzip
import json
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.bootstrap_action.bundle import Options, bootstrap_script
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator
from harness.leases import Queue
from harness.life import Task
from local_emr.steps import ProcessStepRunner
from tests.integration.bootstrap_action.conftest import STORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PAGE = Path(__file__).resolve().parents[3] / "docs" / "bootstrap-action.md"
REAL_SECONDS = 240


class Field:
    """Three-node clusters whose bootstrap action is the script, launched by hand."""

    def __init__(self, aws: Any, emr: Any, s3: Any, launch: Callable[..., str], parameters: str) -> None:
        self.aws = aws
        self._emr = emr
        self._s3 = s3
        self._launch = launch
        self._parameters = parameters
        s3.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": aws.region})

    def launch(self, *arguments: str, lock_store: str | None = None) -> str:
        options = Options(wait_seconds=REAL_SECONDS, goes_on=False, lock_store=lock_store, environment="cron")
        self._s3.put_object(Bucket="ours", Key="associate.sh", Body=bootstrap_script(options).encode())
        given = [self._parameters, "--poll", "1s", *arguments]
        action = {"Path": "s3://ours/associate.sh", "Args": given}
        job_flow_id = self._launch(
            BootstrapActions=[{"Name": "address", "ScriptBootstrapAction": action}], LogUri="s3://logs/"
        )
        self.aws.clock.advance(120)  # its instances run, and its bootstrap action has begun
        return job_flow_id

    def state(self, job_flow_id: str) -> str:
        return str(self.aws.cluster(job_flow_id).state)

    def end(self, job_flow_id: str) -> None:
        self._emr.terminate_job_flows(JobFlowIds=[job_flow_id])
        self.aws.clock.advance(120)

    def log_of(self, job_flow_id: str, instance_id: str) -> str:
        key = f"{job_flow_id}/node/{instance_id}/bootstrap-actions/1/stdout.gz"
        return gzip.decompress(self._s3.get_object(Bucket="logs", Key=key)["Body"].read()).decode()

    def moves(self) -> list[tuple[str, str]]:
        return [(event["change"], event["job_flow_id"]) for event in self.aws.events.read(kind="address")]

    def ended_actions(self, job_flow_id: str) -> list[str]:
        actions = self.aws.events.read(kind="bootstrap_action")
        return [e["instance_id"] for e in actions if e["job_flow_id"] == job_flow_id and e["state"] == "COMPLETED"]


@pytest.fixture
def field(
    clocked: Any, nodes: Any, emr: Any, s3: Any, by_hand: Any, parameters: str, tmp_path: Path
) -> Iterator[Field]:
    runner = ProcessStepRunner(endpoint_url=lambda: clocked.endpoint_url, state_dir=tmp_path, grace_seconds=1)
    # Undone before the local EMR is made as good as new, which gives the next test the runner that it has then.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocked, "step_runner", runner)
        patch.setattr(clocked.emr.life.queue, "_runner", runner)
        patch.setattr(clocked.emr.life._actions, "_runner", runner)
        yield Field(clocked, emr, s3, by_hand, parameters)
        runner.close()


@pytest.fixture
def policy_of_nodes(clocked: Any, allocation_id: str) -> None:
    """Let nodes do what the page says that they must be allowed, and no more; their logs are not written then."""
    (policy,) = re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    values = {"BUCKET": "ours", "REGION": clocked.region, "ACCOUNT": "123456789012", "TABLE": "leases"}
    for name, value in {**values, "ALLOCATION_ID": allocation_id}.items():
        policy = re.sub(rf"\b{name}\b", value, policy)
    clocked.enforce(json.loads(policy), access_key_id="local")  # the access key of every node


def in_time(happened: Callable[[], bool]) -> None:
    """Wait for real processes."""
    deadline = time.monotonic() + REAL_SECONDS
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_of_three_nodes_the_primary_alone_gets_the_address_and_a_second_cluster_waits_for_it(field):
    first = field.launch()
    in_time(lambda: len(field.ended_actions(first)) == 3)
    primary, *others = [node.instance.id for node in field.aws.cluster(first).nodes()]
    in_time(lambda: field.state(first) == "WAITING")
    (associated,) = field.aws.events.calls("AssociateAddress")
    assert associated["request"]["AllowReassociation"] is False
    assert field.moves() == [("associated", first)]
    assert "is on this node" in field.log_of(first, primary)
    assert all("not the primary node: nothing to do" in field.log_of(first, other) for other in others)

    looked = len(field.aws.events.calls("DescribeAddresses"))
    second = field.launch()
    in_time(lambda: len(field.aws.events.calls("DescribeAddresses")) >= looked + 3)
    assert field.state(second) == "BOOTSTRAPPING"
    assert field.moves() == [("associated", first)]
    field.end(first)
    in_time(lambda: len(field.ended_actions(second)) == 3)
    assert field.moves() == [("associated", first), ("disassociated", first), ("associated", second)]


def test_airflow_and_hand_launched_clusters_take_turns_without_overlap(field, boto, record, allocation_id, monkeypatch):
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "production")
    common = {"allocation_id": allocation_id, "lock_store": STORE, "aws_conn_id": None}
    overrides = {
        "Name": "daily",
        "ReleaseLabel": "emr-7.5.0",
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
        "Instances": {
            "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
            "KeepJobFlowAliveWhenNoSteps": True,
            "Ec2SubnetId": boto("ec2").describe_subnets()["Subnets"][0]["SubnetId"],
        },
    }
    create = EmrCreateWithStaticIpOperator(
        task_id="create",
        job_flow_overrides=overrides,
        emr_conn_id=None,
        deferrable=True,
        lock_timeout=timedelta(days=1),
        **common,
    )
    by_hand = field.launch(lock_store=STORE)
    in_time(lambda: len(field.ended_actions(by_hand)) == 3)
    assert record().lease.resource_id == by_hand

    queue, task = Queue(field.aws, boto), Task(create)
    task.start()
    queue.tick(task)
    behind = field.launch(lock_store=STORE)
    in_time(lambda: len(record().queue) == 2)
    assert [entry.attempt.name.split("/")[0] for entry in record().queue] == ["production", "cron"]
    assert field.state(behind) == "BOOTSTRAPPING"
    field.end(by_hand)
    queue.until(lambda: task.ended, task)
    assert record().lease.resource_id == task.result

    field.aws.clock.advance(600)
    assert field.state(behind) == "BOOTSTRAPPING"
    terminate = EmrTerminateWithStaticIpOperator(task_id="terminate", job_flow_id=task.result, **common)
    Task(terminate).run()
    in_time(lambda: len(field.ended_actions(behind)) == 3)
    assert record().lease.resource_id == behind
    turns = (by_hand, task.result, behind)
    each = [(change, turn) for turn in turns for change in ("associated", "disassociated")]
    assert field.moves() == each[:-1]
    assert [ended.resource_id for ended in record().history] == [by_hand, task.result]
    assert [ended.token for ended in record().history] == [1, 2]
