"""What is there again when the command starts a second time on the same state."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import boto3
import httpx
import pytest

from local_emr.saved import SavedState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CREDENTIALS = {"region_name": "eu-west-1", "aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
RULE = {"start_ip_address": "203.0.113.1", "end_ip_address": "203.0.113.9"}


@contextmanager
def _command(state: Path) -> Iterator[str]:
    options = ["--port", "0", "--time-scale", "600", "--state", str(state)]
    arguments = [sys.executable, "-m", "local_emr", *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found
            yield found[0]
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


@contextmanager
def _client(service: str, url: str) -> Iterator[object]:
    client = boto3.client(service, endpoint_url=url, **CREDENTIALS)
    try:
        yield client
    finally:
        client.close()


def _control(url: str, path: str) -> dict[str, object]:
    return httpx.get(f"{url}/_local/{path}", trust_env=False).raise_for_status().json()


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("saved")


@pytest.fixture(scope="module")
def before(state) -> dict[str, object]:
    """A first life, with something of everything; what was seen in it."""
    with (
        _command(state) as url,
        _client("ec2", url) as ec2,
        _client("s3", url) as s3,
        _client("dynamodb", url) as dynamodb,
        _client("secretsmanager", url) as manager,
        _client("emr", url) as emr,
    ):
        tags = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "Name", "Value": "ours"}]}]
        address = ec2.allocate_address(Domain="vpc", TagSpecifications=tags)
        httpx.put(f"{url}/_local/azure-sql/firewall-rules/ours", json=RULE, trust_env=False).raise_for_status()
        upstream = {"upstream": {"host": "127.0.0.1", "port": 9}}
        httpx.put(f"{url}/_local/azure-sql/upstream", json=upstream, trust_env=False).raise_for_status()
        s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        s3.put_object(Bucket="data", Key="a b/ü.bin", Body=bytes(range(256)), ContentType="x/y", Metadata={"k": "v"})
        dynamodb.create_table(
            TableName="leases",
            KeySchema=[{"AttributeName": "key", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "key", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        dynamodb.put_item(TableName="leases", Item={"key": {"S": "x"}, "n": {"N": "7"}, "b": {"B": b"\x00\xff"}})
        manager.create_secret(Name="text", SecretString="word")
        manager.create_secret(Name="bytes", SecretBinary=b"\x01")
        job_flow_id = emr.run_job_flow(
            Name="x", Instances={"InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}, JobFlowRole="r"
        )["JobFlowId"]
        return {
            "allocation_id": address["AllocationId"],
            "public_ip": address["PublicIp"],
            "subnets": {subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]},
            "job_flow_id": job_flow_id,
            "time": _control(url, "clock")["time"],
        }


@pytest.fixture(scope="module")
def again(before, state) -> Iterator[tuple[str, list[object]]]:
    """A second life on the same state: where it is, and the calls that were in its event log at first."""
    with _command(state) as url:
        yield url, _control(url, "events?kind=call")["events"]


def test_what_was_there_is_there_again_and_nothing_of_it_is_in_the_event_log(before, again):
    url, calls_at_first = again
    with (
        _client("ec2", url) as ec2,
        _client("s3", url) as s3,
        _client("dynamodb", url) as dynamodb,
        _client("secretsmanager", url) as manager,
    ):
        assert calls_at_first == []
        assert _control(url, "clock")["time"] > before["time"]

        address = ec2.describe_addresses(Filters=[{"Name": "tag:Name", "Values": ["ours"]}])["Addresses"][0]
        assert (address["AllocationId"], address["PublicIp"]) == (before["allocation_id"], before["public_ip"])
        assert {subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]} == before["subnets"]
        assert _control(url, "azure-sql/firewall-rules")["rules"] == [{"name": "ours", **RULE}]

        assert _control(url, "health")["azure_sql"]["upstream"] == ["127.0.0.1", 9]

        found = s3.get_object(Bucket="data", Key="a b/ü.bin")
        assert found["Body"].read() == bytes(range(256))
        assert (found["ContentType"], found["Metadata"]) == ("x/y", {"k": "v"})
        item = dynamodb.get_item(TableName="leases", Key={"key": {"S": "x"}})["Item"]
        assert item == {"key": {"S": "x"}, "n": {"N": "7"}, "b": {"B": b"\x00\xff"}}
        assert manager.get_secret_value(SecretId="text")["SecretString"] == "word"
        assert manager.get_secret_value(SecretId="bytes")["SecretBinary"] == b"\x01"


def test_a_cluster_ends_with_its_process(before, again, refused):
    url, _ = again
    with _client("emr", url) as emr, refused("InvalidRequestException"):
        emr.describe_cluster(ClusterId=before["job_flow_id"])


def test_ids_drawn_after_the_default_network_are_new_at_each_start(before, again):
    url, _ = again
    with _client("ec2", url) as ec2:
        assert ec2.allocate_address(Domain="vpc")["AllocationId"] != before["allocation_id"]


def test_a_first_start_begins_now(tmp_path):
    first, second = SavedState(tmp_path / "saved.zip"), SavedState(tmp_path / "saved.zip")
    assert first.start <= second.start


def test_while_no_cluster_is_alive_it_is_saved_on_the_way(local_emr, ec2, start_cluster, tmp_path, monkeypatch):
    """So a process that is killed loses little."""
    path = tmp_path / "saved.zip"
    monkeypatch.setattr(local_emr, "_saved", SavedState(path))
    monkeypatch.setattr(local_emr, "_saved_events", len(local_emr.events.read()))
    local_emr.save_when_idle()
    assert not path.exists()
    ec2.allocate_address(Domain="vpc")
    local_emr.save_when_idle()
    first = path.stat().st_mtime_ns
    local_emr.save_when_idle()
    assert path.stat().st_mtime_ns == first
    job_flow_id = start_cluster()
    local_emr.save_when_idle()
    assert path.stat().st_mtime_ns == first
    local_emr.end_cluster(job_flow_id)
    local_emr.save_when_idle()
    assert path.stat().st_mtime_ns > first
