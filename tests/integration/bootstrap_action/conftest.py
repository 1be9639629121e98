"""Nodes of clusters that nobody's Airflow launched, and what runs there."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.bootstrap_action.bundle import Options, bootstrap_script
from airflow_eip_provider.stores.uri import open_store
from tests.pythons import interpreter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_eip_provider.lease.record import Record
    from local_emr import LocalAws

STORE = "dynamodb://leases"


class Nodes:
    """Runs scripts as EMR's nodes do, with their tools and their instance metadata service."""

    def __init__(self, aws: LocalAws, s3: Any, directory: Path, aws_cli: Path) -> None:
        self._aws = aws
        self._s3 = s3
        self._directory = directory
        self.path = directory / "bin"
        self.path.mkdir()
        tools = {
            "python3": interpreter("3.9") or sys.executable,
            "aws": str(aws_cli),
        }
        for name, program in tools.items():
            (self.path / name).symlink_to(program)
        s3.create_bucket(Bucket="ours", CreateBucketConfiguration={"LocationConstraint": aws.region})

    def parameters(self, text: str | dict[str, str]) -> str:
        """Put a parametersValues.json into S3."""
        body = text if isinstance(text, str) else json.dumps(text)
        self._s3.put_object(Bucket="ours", Key="parametersValues.json", Body=body.encode())
        return "s3://ours/parametersValues.json"

    def run(
        self, job_flow_id: str, *arguments: str, lock_store: str | None = None, primary: bool = True, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run the bootstrap action on one node of a cluster."""
        return subprocess.run(
            ["bash", str(self._script(lock_store)), *arguments],
            env=self._environment(job_flow_id, primary=primary) | env,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    @functools.cache  # noqa: B019 - as long as one test
    def _script(self, lock_store: str | None) -> Path:
        script = self._directory / f"{'with' if lock_store else 'without'}-lock.sh"
        options = Options(wait_seconds=0, goes_on=False, lock_store=lock_store, environment="by-hand")
        script.write_text(bootstrap_script(options), encoding="utf-8")
        return script

    def _environment(self, job_flow_id: str, *, primary: bool) -> dict[str, str]:
        info = self._directory / f"info-{job_flow_id}-{primary}"
        info.mkdir(exist_ok=True)
        (info / "instance.json").write_text(json.dumps({"isMaster": primary}), encoding="utf-8")
        (info / "job-flow.json").write_text(json.dumps({"jobFlowId": job_flow_id}), encoding="utf-8")
        instance_id = self._aws.cluster(job_flow_id).primary.id
        aws = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
        return {
            **{name: value for name, value in aws.items() if name != "AWS_DEFAULT_REGION"},
            "PATH": f"{self.path}:/usr/bin:/bin",
            "EMR_NODE_INFO": str(info),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{self._aws.endpoint_url}/_imds/{instance_id}",
        }


@pytest.fixture
def nodes(local_aws: LocalAws, s3: Any, tmp_path: Path, aws_cli: Path) -> Nodes:
    return Nodes(local_aws, s3, tmp_path, aws_cli)


@pytest.fixture
def allocation_id(ec2: Any) -> str:
    """An Elastic IP that nothing carries."""
    return str(ec2.allocate_address(Domain="vpc")["AllocationId"])


@pytest.fixture
def vpc_id(ec2: Any) -> str:
    return str(ec2.describe_subnets()["Subnets"][0]["VpcId"])


@pytest.fixture
def parameters(nodes: Nodes, allocation_id: str, vpc_id: str) -> str:
    """The parameters file of every cluster here, in S3."""
    return nodes.parameters(
        {"clusterFunctionTagValue": "Signals", "clusterVPCID": vpc_id, "allocationID": allocation_id}
    )


@pytest.fixture
def by_hand(local_aws: LocalAws, emr: Any, ec2: Any) -> Callable[..., str]:
    """Launch a cluster of three nodes without Airflow, and return its id."""

    def launch(**options: Any) -> str:
        subnet_id = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
        groups = [
            {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
            {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2},
        ]
        instances = {"InstanceGroups": groups, "KeepJobFlowAliveWhenNoSteps": True, "Ec2SubnetId": subnet_id}
        tags = [{"Key": "ClusterFunction", "Value": "Signals"}]
        launched = emr.run_job_flow(Name="signals", Instances=instances, Tags=tags, **options)["JobFlowId"]
        local_aws.clock.advance(120)
        return str(launched)

    return launch


@pytest.fixture
def table(boto: Callable[..., Any]) -> Any:
    """Create the lock store's table; return a client of it."""
    client = boto("dynamodb")
    client.create_table(
        TableName="leases",
        KeySchema=[{"AttributeName": "address", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "address", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return client


@pytest.fixture
def record(table: Any, allocation_id: str) -> Callable[[], Record]:
    """Read the lock's record as it is now."""
    store = open_store(STORE, lambda *_: table)
    return lambda: store.read(allocation_id).record


@pytest.fixture
def associated_instance_of(ec2: Any, allocation_id: str) -> Callable[[], str | None]:
    """Return the instance that carries the address now."""

    def resource_id() -> str | None:
        (address,) = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"]
        return address.get("InstanceId") or None

    return resource_id
