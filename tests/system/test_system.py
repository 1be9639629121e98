"""The system test itself runs, on a local EMR whose steps are real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from local_emr.complete import complete_aws
from local_emr.testing import client_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from local_emr import LocalAws

pytestmark = pytest.mark.airflow

SYSTEM = Path(__file__).parent
ROOT = SYSTEM.parents[1]


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[LocalAws]:
    with complete_aws(tmp_path / "aws") as made:
        yield made


@pytest.fixture
def run_system_test(
    aws: LocalAws, tmp_path: Path, airflow_database: Callable[[Path], None]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run the test as its first lines say, against the local EMR."""
    home = tmp_path / "airflow"
    home.mkdir()
    airflow_database(home)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS"))}
    settings = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(SYSTEM),
        "AIRFLOW__EIP__ENVIRONMENT": "testing",
        "AIRFLOW__EIP__LOCK_STORE": "dynamodb://leases?create=true",
        "WAITER_DELAY": "1",
        "ECHO_URL": f"{aws.endpoint_url}/my-ip",
    }

    def run(**more: str) -> subprocess.CompletedProcess[str]:
        environment = {**kept, **client_environment(aws), **settings, **more}
        command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-q", str(SYSTEM / "example_static_ip.py")]
        return subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=500, check=False
        )

    return run


@pytest.fixture
def ec2(aws: LocalAws) -> Any:
    return boto3.client("ec2", endpoint_url=aws.endpoint_url, region_name=aws.region, **_ANYBODY)


_ANYBODY = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}


def _given(ec2: Any) -> dict[str, str]:
    return {
        "ALLOCATION_ID": str(ec2.allocate_address(Domain="vpc")["AllocationId"]),
        "SUBNET_ID": str(ec2.describe_subnets()["Subnets"][0]["SubnetId"]),
    }


def _ended(aws: LocalAws, ec2: Any) -> bool:
    (address,) = ec2.describe_addresses()["Addresses"]
    return "AssociationId" not in address and all(
        cluster.state in {"TERMINATING", "TERMINATED"} for cluster in aws.emr.life.clusters
    )


def test_it_passes_and_leaves_nothing(aws, ec2, run_system_test):
    done = run_system_test(**_given(ec2))
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"^1 passed", done.stdout, flags=re.MULTILINE)
    assert len(aws.events.calls("RunJobFlow")) == 1
    (step,) = [step for cluster in aws.emr.life.clusters for step in cluster.steps]
    assert step.state == "COMPLETED"
    assert _ended(aws, ec2)


def test_it_fails_when_the_probe_does_and_leaves_nothing(aws, ec2, run_system_test):
    done = run_system_test(**_given(ec2), ECHO_URL=f"{aws.endpoint_url}/no-such-page")
    assert done.returncode == 1, done.stdout[-4000:] + done.stderr[-2000:]
    assert "the DAG run ended" in done.stdout
    assert _ended(aws, ec2)
