from __future__ import annotations

import json
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.hooks.address_pool import read_pool
from airflow_eip_provider.hooks.aws import AwsHooks
from tests.integration.dags.conftest import (
    DAGS,
    SETTINGS,
    TASKS,
    assert_a_hung_task_does_not_outlast_the_queue,
    load,
    rendered,
)

if TYPE_CHECKING:
    from types import ModuleType


@pytest.fixture(params=["orders", "customers"])
def dag(request: pytest.FixtureRequest, dag_file: ModuleType) -> Any:
    return getattr(dag_file, request.param)


def test_dag_runs_daily_one_run_at_a_time_with_retries(dag: Any) -> None:
    assert (dag.schedule if hasattr(dag, "schedule") else dag.schedule_interval) == "@daily"  # Airflow 2's name
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert all(task.retries >= 1 for task in dag.tasks)
    assert all(task.deferrable for task in dag.tasks if not task.inherits_from_empty_operator)


@pytest.mark.airflow
def test_the_second_subnet_that_is_commented_out_works(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (DAGS / "azure_sql_daily.py").read_text(encoding="utf-8")
    for comment in ("# FALLBACKS = ", "# fallbacks=FALLBACKS,"):
        assert text.count(comment) == 1
        text = text.replace(comment, comment.removeprefix("# "))
    path = tmp_path / "with_fallbacks.py"
    path.write_text(text, encoding="utf-8")
    dag_file = load(path)
    settings = {**SETTINGS, "other_subnet_id": "subnet-0fedcba9876543210"}
    monkeypatch.setenv("AIRFLOW_VAR_AZURE_SQL", json.dumps(settings))

    create = rendered(dag_file.orders, "azure.create")

    assert create.fallbacks == [{"Instances": {"Ec2SubnetId": "subnet-0fedcba9876543210"}}]
    assert create.candidates[1].job_flow["Instances"]["Ec2SubnetId"] == "subnet-0fedcba9876543210"


def test_step_runs_between_the_cluster_and_its_end(dag: Any) -> None:
    assert {task.task_id: task.upstream_task_ids for task in dag.tasks} == TASKS


def test_a_hung_step_does_not_outlast_the_wait_of_other_jobs(dag: Any) -> None:
    assert_a_hung_task_does_not_outlast_the_queue(dag)


def test_both_dags_use_the_same_address(dag_file: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_AZURE_SQL", json.dumps(SETTINGS))

    created = [rendered(dag, "azure.create") for dag in (dag_file.orders, dag_file.customers)]

    assert {task.allocation_id for task in created} == {"eipalloc-0123456789abcdef0"}


@pytest.mark.parametrize("named_as", [list, lambda _: {"tag:purpose": "azure-sql"}], ids=["list", "tag"])
def test_the_variable_may_name_several_addresses(
    dag: Any, monkeypatch: pytest.MonkeyPatch, ec2: Any, named_as: Any
) -> None:
    made = sorted(str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(2))
    ec2.create_tags(Resources=made, Tags=[{"Key": "purpose", "Value": "azure-sql"}])
    monkeypatch.setenv("AIRFLOW_VAR_AZURE_SQL", json.dumps({**SETTINGS, "allocation_id": named_as(made)}))

    create = rendered(dag, "azure.create")
    create.aws_conn_id = None

    assert read_pool(create.allocation_id, AwsHooks.of(create)) == tuple(made)


def test_cluster_is_one_node_in_the_subnet_of_the_variable(dag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_AZURE_SQL", json.dumps(SETTINGS))

    overrides = rendered(dag, "azure.create").job_flow_overrides

    (group,) = overrides["Instances"]["InstanceGroups"]
    assert (group["InstanceRole"], group["InstanceCount"]) == ("MASTER", 1)
    assert overrides["Instances"]["Ec2SubnetId"] == "subnet-0123456789abcdef0"
    assert overrides["Name"] == dag.dag_id
    assert overrides["LogUri"] == "s3://lake/logs/emr/"
    assert "{{" not in json.dumps(overrides)


def test_step_is_a_command_line_that_the_job_takes(
    dag: Any, dag_file: ModuleType, job: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_VAR_AZURE_SQL", json.dumps({**SETTINGS, "port": 14330}))

    task = dag.get_task("azure.read").prepare_for_execution()
    steps = task.render_template(
        task.steps, {"dag": dag, "run_id": "scheduled__2026-01-02T00:00:00+00:00"}, dag.get_template_env()
    )

    arguments = steps[0]["HadoopJarStep"]["Args"]
    assert "s3://lake/jobs/read_azure_sql.py" in arguments
    assert "password" not in " ".join(arguments)
    options = job.parse(arguments[arguments.index("s3://lake/jobs/read_azure_sql.py") + 1 :])
    assert (options.server, options.port, options.encrypt) == ("example.database.windows.net", 14330, "yes")
    assert options.output == f"s3://lake/{options.table}/dag={dag.dag_id}/run=scheduled__2026-01-02T00-00-00+00-00/"


@pytest.mark.parametrize(
    ("variable", "problem"),
    [
        pytest.param(
            None,
            "Airflow Variable 'azure_sql' is missing; ",
            marks=pytest.mark.skipif(
                version("apache-airflow").startswith("3.0."),
                reason="Airflow 3.0 asks for a Variable in a task's process only",
            ),
        ),
        ({**SETTINGS, "subnet_id": None}, "Airflow Variable 'azure_sql' has no 'subnet_id'; "),
    ],
)
def test_missing_setting_is_named_with_the_place_that_explains_it(
    dag: Any, variable: dict[str, Any] | None, problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AIRFLOW_VAR_AZURE_SQL", raising=False)
    if variable is not None:
        monkeypatch.setenv("AIRFLOW_VAR_AZURE_SQL", json.dumps(variable))

    with pytest.raises(ValueError, match=problem + r"the start of .*azure_sql_daily\.py shows what it holds"):
        rendered(dag, "azure.create")
