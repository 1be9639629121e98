"""What Airflow takes for the id of a DAG, and for a schedule."""

from __future__ import annotations

import ast
from datetime import date

import pytest

from airflow_eip_provider.awscli_import.dag import DagOptions, dag_id_of, dag_source, is_dag_id, is_schedule
from airflow_eip_provider.awscli_import.job_flow import Imported


@pytest.mark.parametrize("text", ["a.b-c_1", "é" * 250])
def test_ids_of_dags_are_airflows_keys(text: str) -> None:
    assert is_dag_id(text)


@pytest.mark.parametrize("text", ["", "x" * 251, "bad id!", "a/b", "daily\n", '"'])
def test_other_texts_are_not_ids_of_dags(text: str) -> None:
    assert not is_dag_id(text)


@pytest.mark.parametrize("name", ["Signals of the day", "x" * 256, "日本", "../../etc"])
def test_the_id_made_from_a_cluster_name_is_valid(name: str) -> None:
    assert is_dag_id(dag_id_of(name))


@pytest.mark.parametrize("text", ["@daily", "@quarterly", "@once", "@continuous", "0 6 * * 1-5", "30 0 6 * * *"])
def test_presets_and_cron_expressions_are_schedules(text: str) -> None:
    assert is_schedule(text)


@pytest.mark.parametrize("text", ["", " ", "nonsense", "0 0 * *", "0 25 * * *", "* * * * * * *", "@reboot", "None"])
def test_other_texts_are_not_schedules(text: str) -> None:
    assert not is_schedule(text)


@pytest.mark.parametrize(
    ("release", "left_out"),
    [
        ({"ReleaseLabel": "emr-5.29.0"}, True),
        ({"ReleaseLabel": "emr-6.0.1"}, True),
        ({"AmiVersion": "3.11.0"}, True),
        ({"ReleaseLabel": "emr-5.30.0"}, False),
        ({"ReleaseLabel": "emr-7.5.0"}, False),
    ],
    ids=str,
)
def test_a_release_without_auto_termination_gets_no_idle_timeout(release: dict[str, str], left_out: bool) -> None:  # noqa: FBT001
    imported = Imported({"Name": "daily", **release, "Instances": {}})
    options = DagOptions("daily", "eipalloc-1", "eu-west-1", schedule=None, start=date(2026, 1, 1))
    source = dag_source(imported, options)
    compile(source, "daily.py", "exec")
    assert ("        idle_timeout=None,\n" in source) is left_out
    assert (f"# {'release' if 'ReleaseLabel' in release else 'AMI version'}" in source) is left_out


@pytest.mark.parametrize("role", [None, "arn:aws:iam::123456789012:role/runtime"])
def test_a_hung_step_does_not_keep_the_address_for_a_day(role: str | None) -> None:
    overrides = {"Name": "daily", "ReleaseLabel": "emr-7.5.0", "Instances": {}}
    imported = Imported(overrides, steps=[{"Name": "work"}], execution_role_arn=role)
    source = dag_source(imported, DagOptions("daily", "eipalloc-1", "eu-west-1", schedule=None, start=date(2026, 1, 1)))
    (call,) = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call) and "STEPS" in ast.unparse(node.args)
    )
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    assert given["execution_timeout"] == "timedelta(minutes=90)"
    assert given.get("execution_role_arn") == (repr(role) if role else None)
