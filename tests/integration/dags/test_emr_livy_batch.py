"""The example DAG of a batch through Livy, rendered as Airflow does, and run on the local EMR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")

from harness.life import Task
from tests.integration.dags.conftest import SETTINGS, TASKS, assert_a_hung_task_does_not_outlast_the_queue, rendered

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture
def settings(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    known: dict[str, Any] = dict(SETTINGS)
    monkeypatch.setattr(module.Variable, "get", staticmethod(lambda *_, **__: known))
    return known


def test_the_batch_runs_between_the_cluster_and_its_end(module: ModuleType) -> None:
    assert {task.task_id: task.upstream_task_ids for task in module.dag.tasks} == TASKS
    assert all(task.retries >= 1 for task in module.dag.tasks)
    assert all(task.deferrable for task in module.dag.tasks if not task.inherits_from_empty_operator)


def test_a_hung_batch_does_not_outlast_the_wait_of_other_jobs(module: ModuleType) -> None:
    assert_a_hung_task_does_not_outlast_the_queue(module.dag)


@pytest.mark.usefixtures("settings")
def test_the_variable_is_in_the_batch(module: ModuleType) -> None:
    task = rendered(module.dag, "azure.read", job_flow_id="j-1A2B3C4D5E6F7")
    assert task.allocation_id == SETTINGS["allocation_id"]
    assert task.spark_params["file"] == "s3://lake/jobs/read_azure_sql.py"
    arguments = dict(zip(task.spark_params["args"][::2], task.spark_params["args"][1::2], strict=True))
    assert arguments["--server"] == "example.database.windows.net"
    # Not where azure_sql_daily writes, whose runs have the same IDs.
    assert (
        arguments["--output"] == "s3://lake/sales.orders/dag=emr_livy_batch/run=scheduled__2026-01-02T00-00-00+00-00/"
    )


def test_it_runs_on_the_local_emr(module: ModuleType, settings: dict[str, Any], clocked: Any, ec2: Any) -> None:
    settings["allocation_id"] = ec2.allocate_address(Domain="vpc")["AllocationId"]
    settings["subnet_id"] = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", '{"conn_type": "livy"}')
        patch.setenv("AIRFLOW_CONN_AWS_DEFAULT", "aws://")
        job_flow_id = Task(rendered(module.dag, "azure.create", emr_conn_id=None)).run()
        read = Task(rendered(module.dag, "azure.read", job_flow_id=job_flow_id))
        assert read.run() == 0
    assert [event["state"] for event in clocked.events.read(kind="batch")] == ["starting", "success"]
    assert read.deferrals == ["EmrClusterTrigger", "LivyBatchTrigger"]
