"""A DAG that was made from a command, on a real Airflow with the local EMR."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from airflow_eip_provider.cli.__main__ import main
from harness.airflow import FINAL_RUN_STATES
from harness.processes import Children, ProcessError
from local_emr import LocalAws, ScaledClock
from tests.real_airflow import ROOT, real_airflow
from tests.unit.awscli_import.commands import ASSOCIATING_SCRIPT, GROUPS, PARAMETERS, SIGNALS, SUBNET, Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.real_airflow import RealAirflow

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed"),
]

REGION = "eu-west-1"
# A cluster's life of minutes takes seconds; a faster clock would outrun Airflow's processes.
TIME_SCALE = 20.0
PATIENCE_SECONDS = 400.0
STEPS = [{"Type": "CUSTOM_JAR", "Name": "read", "Jar": "command-runner.jar", "Args": ["true"]}]
# The command has --enable-debugging, which is a step of EMR's, and none that reads through the address.
COMMAND = Command(
    SIGNALS.text.replace("--enable-debugging", "--enable-debugging --steps file://steps.json"),
    {**SIGNALS.files, "steps.json": STEPS},
)


@pytest.fixture
def state() -> Iterator[Path]:
    """Return a directory that PostgreSQL, which is never root, can reach into; pytest's own are private."""
    with tempfile.TemporaryDirectory(prefix="airflow-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@pytest.fixture
def aws(state: Path) -> Iterator[LocalAws]:
    with LocalAws(clock=ScaledClock(TIME_SCALE), region=REGION, state_dir=state / "aws") as served:
        yield served


@pytest.fixture
def client(aws: LocalAws) -> Iterator[Any]:
    made: list[Any] = []

    def make(service: str) -> Any:
        where = {"endpoint_url": aws.endpoint_url, "region_name": REGION}
        made.append(boto3.client(service, **where, aws_access_key_id="testing", aws_secret_access_key="testing"))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def airflow(aws: LocalAws, state: Path) -> Iterator[RealAirflow]:
    """An Airflow of this environment, made and not yet started."""
    children = Children(directory=state / "children")
    dags = state / "dags"
    dags.mkdir()
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": aws.endpoint_url, "region_name": REGION},
    }
    extra = {
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AIRFLOW__EIP__ENVIRONMENT": "testing",
        "AIRFLOW__EIP__LOCK_STORE": f"dynamodb://leases?region={REGION}&create=true",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    }
    try:
        made = real_airflow(children, venv=Path(sys.prefix), state=state, dags=dags, extra=extra)
    except ProcessError as missing:
        pytest.skip(str(missing))
    try:
        yield made
    finally:
        made.rest.close()
        children.stop()


def imported(directory: Path, client: Any, *, allocation_id: str, to: Path) -> None:
    """Turn the command, with ids that exist, into a DAG."""
    ec2 = client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]
    about = {"Description": "of EMR", "VpcId": subnet["VpcId"]}
    groups = {known: ec2.create_security_group(GroupName=known, **about)["GroupId"] for known in GROUPS}
    client("emr").create_security_configuration(Name="Secure EMR S3 Access", SecurityConfiguration="{}")
    COMMAND.write(directory, ids={SUBNET: subnet["SubnetId"], **groups})
    (directory / "parametersValues.json").write_text(json.dumps({**PARAMETERS, "allocationID": allocation_id}))
    (directory / "bootstrap.sh").write_text(ASSOCIATING_SCRIPT)
    options = ["--dag", "--dag-id", "signals", "--parameters", "parametersValues.json", "--script", "bootstrap.sh"]
    assert main(["import-cluster", *options, "--output", str(to), "--file", "launch.sh"]) == 0


def test_imported_dag_runs_green(
    aws: LocalAws, client: Any, airflow: RealAirflow, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(state)
    ec2 = client("ec2")
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    imported(state, client, allocation_id=allocation_id, to=state / "dags" / "signals.py")
    airflow.migrate()
    airflow.preload(ROOT / "demo" / "preload.py")  # each task would import it anew
    airflow.start()
    airflow.wait_for_dags({"signals"})

    run_id = airflow.rest.trigger("signals")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (state := airflow.rest.run_state("signals", run_id)) not in FINAL_RUN_STATES:
        assert time.monotonic() < deadline, airflow.rest.tasks("signals", run_id)
        time.sleep(1)

    tasks = {task.task_id: task.state for task in airflow.rest.tasks("signals", run_id)}
    names = ("create", "bound", "steps", "done", "terminate")
    assert (state, tasks) == ("success", {f"cluster.{name}": "success" for name in names})
    emr = client("emr")
    (cluster,) = emr.list_clusters()["Clusters"]
    assert cluster["Status"]["State"] in {"TERMINATING", "TERMINATED"}
    steps = {step["Name"]: step["Status"]["State"] for step in emr.list_steps(ClusterId=cluster["Id"])["Steps"]}
    assert sorted(steps.values()) == ["COMPLETED", "COMPLETED"]
    assert any(name.startswith("read") for name in steps)
    associated = [c["request"] for c in aws.events.calls("AssociateAddress") if c["status"] == 200]
    assert [sent["AllocationId"] for sent in associated if "DryRun" not in sent] == [allocation_id]
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
