"""A DAG that was made from a command, run by Airflow (``airflow dags test``) with the local EMR."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from airflow_eip_provider.cli.__main__ import main
from local_emr import LocalAws, ScaledClock
from tests.unit.awscli_import.commands import ASSOCIATING_SCRIPT, GROUPS, PARAMETERS, SIGNALS, SUBNET, Command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.airflow_home import AirflowHome

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.skipif(find_spec("awscli") is None, reason="the extra import is not installed"),
]

REGION = "eu-west-1"
# A cluster's life of minutes takes seconds; a faster clock would outrun Airflow's processes.
TIME_SCALE = 20.0
# No trigger of `dags test` is in a triggerer, for which alone waits of at least 10 s are; nothing else is in its way.
RUN = """
import runpy, sys
from airflow_eip_provider.operators import phases
from airflow_eip_provider.sensors import watching
phases.SHORTEST_DEFERRAL_SECONDS = watching._SHORTEST_DEFERRAL_SECONDS = 1
sys.argv = ["airflow", "dags", "test", "signals"]
runpy.run_module("airflow", run_name="__main__", alter_sys=True)
"""
# The commands that list them differ between versions of Airflow.
STATES = """
import json
from airflow.models.dagrun import DagRun
from airflow.utils.session import create_session
with create_session() as session:
    (run,) = session.query(DagRun).filter(DagRun.dag_id == "signals")
    tasks = {task.task_id: task.state for task in run.get_task_instances(session=session)}
    print(json.dumps({"run": run.state, "tasks": tasks}))
"""
STEPS = [{"Type": "CUSTOM_JAR", "Name": "read", "Jar": "command-runner.jar", "Args": ["true"]}]
# The command has --enable-debugging, which is a step of EMR's, and none that reads through the address.
COMMAND = Command(
    SIGNALS.text.replace("--enable-debugging", "--enable-debugging --steps file://steps.json"),
    {**SIGNALS.files, "steps.json": STEPS},
)


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[LocalAws]:
    with LocalAws(clock=ScaledClock(TIME_SCALE), region=REGION, state_dir=tmp_path / "aws") as served:
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
def airflow(aws: LocalAws, tmp_path: Path, airflow_home: Callable[..., AirflowHome]) -> AirflowHome:
    connection = {
        "conn_type": "aws",
        "login": "testing",
        "password": "testing",
        "extra": {"endpoint_url": aws.endpoint_url, "region_name": REGION},
    }
    settings = {
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
        "AIRFLOW__EIP__ENVIRONMENT": "testing",
        "AIRFLOW__EIP__LOCK_STORE": f"dynamodb://leases?region={REGION}&create=true",
        "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
    }
    return airflow_home(tmp_path, **settings)


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
    aws: LocalAws, client: Any, airflow: AirflowHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ec2 = client("ec2")
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    imported(tmp_path, client, allocation_id=allocation_id, to=airflow.dags / "signals.py")

    dag_file = airflow.dags / "signals.py"
    dag_file.write_text(dag_file.read_text().replace("deferrable=True,", "deferrable=True,\n        waiter_delay=1,"))
    (tmp_path / "run.py").write_text(RUN)
    airflow.run(tmp_path / "run.py")

    (tmp_path / "states.py").write_text(STATES)
    found = json.loads(airflow.run(tmp_path / "states.py").splitlines()[-1])
    names = ("create", "bound", "steps", "done", "terminate")
    assert found == {"run": "success", "tasks": {f"cluster.{name}": "success" for name in names}}
    emr = client("emr")
    (cluster,) = emr.list_clusters()["Clusters"]
    assert cluster["Status"]["State"] in {"TERMINATING", "TERMINATED"}
    steps = {step["Name"]: step["Status"]["State"] for step in emr.list_steps(ClusterId=cluster["Id"])["Steps"]}
    assert sorted(steps.values()) == ["COMPLETED", "COMPLETED"]
    assert any(name.startswith("read") for name in steps)
    associated = [c["request"] for c in aws.events.calls("AssociateAddress") if c["status"] == 200]
    assert [sent["AllocationId"] for sent in associated if "DryRun" not in sent] == [allocation_id]
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
