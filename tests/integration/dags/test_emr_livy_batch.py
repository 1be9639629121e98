"""The example DAG of a batch through Livy, rendered as Airflow does, and run on the local EMR."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")

from harness.life import Task
from tests.integration.dags.conftest import DAGS, load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

ALLOCATION = "eipalloc-0123456789abcdef0"
SETTINGS = {
    "allocation_id": ALLOCATION,
    "subnet_id": "subnet-0123456789abcdef0",
    "region": "eu-west-1",
    "bucket": "lake",
    "job_flow_role": "EMR_EC2_DefaultRole",
    "service_role": "EMR_DefaultRole",
    "server": "example.database.windows.net",
    "database": "sales",
    "user": "reader",
    "secret_id": "azure-sql/reader",
}
PARSE = """
import runpy, socket, sys

def refuse(*arguments, **options):
    raise AssertionError(f"network at parse time: {arguments}")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
print(runpy.run_path(sys.argv[1])["dag"].dag_id)
"""


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    yield load(DAGS / "emr_livy_batch.py")
    del sys.modules["emr_livy_batch"]


@pytest.fixture
def settings(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    known: dict[str, Any] = dict(SETTINGS)
    monkeypatch.setattr(module.Variable, "get", staticmethod(lambda *_, **__: known))
    return known


def rendered(module: ModuleType, task_id: str, **changed: Any) -> Any:
    task = module.dag.get_task(task_id).prepare_for_execution()
    for name, value in changed.items():
        setattr(task, name, value)
    task.render_template_fields({"dag": module.dag, "run_id": "scheduled__2026-01-02T00:00:00+00:00"})
    return task


@pytest.mark.airflow
def test_it_parses_without_connections_variables_or_network(tmp_path: Any) -> None:
    parsed = subprocess.run(
        [sys.executable, "-c", PARSE, str(DAGS / "emr_livy_batch.py")],
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert parsed.stdout.split() == ["emr_livy_batch"], parsed.stderr


def test_the_batch_runs_between_the_cluster_and_its_end(module: ModuleType) -> None:
    assert {task.task_id: task.upstream_task_ids for task in module.dag.tasks} == {
        "azure.create": set(),
        "azure.bound": {"azure.create"},
        "azure.read": {"azure.create", "azure.bound"},
        "azure.terminate": {"azure.create", "azure.bound", "azure.read"},
        "azure.done": {"azure.read"},
    }
    assert all(task.retries >= 1 for task in module.dag.tasks)
    assert all(task.deferrable for task in module.dag.tasks if not task.inherits_from_empty_operator)


@pytest.mark.usefixtures("settings")
def test_the_variable_is_in_the_batch(module: ModuleType) -> None:
    task = rendered(module, "azure.read", job_flow_id="j-1A2B3C4D5E6F7")
    assert task.allocation_id == ALLOCATION
    assert task.spark_params["file"] == "s3://lake/jobs/read_azure_sql.py"
    arguments = dict(zip(task.spark_params["args"][::2], task.spark_params["args"][1::2], strict=True))
    assert arguments["--server"] == "example.database.windows.net"
    assert arguments["--output"] == "s3://lake/sales.orders/run=scheduled__2026-01-02T00-00-00+00-00/"


def test_it_runs_on_the_local_emr(module: ModuleType, settings: dict[str, Any], clocked: Any, ec2: Any) -> None:
    settings["allocation_id"] = ec2.allocate_address(Domain="vpc")["AllocationId"]
    settings["subnet_id"] = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", '{"conn_type": "livy"}')
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
        job_flow_id = Task(rendered(module, "azure.create", emr_conn_id=None)).run()
        read = Task(rendered(module, "azure.read", job_flow_id=job_flow_id))
        assert read.run() == 0
    assert [event["state"] for event in clocked.events.read(kind="batch")] == ["starting", "success"]
    assert read.deferrals == ["EmrClusterTrigger", "LivyBatchTrigger"]
