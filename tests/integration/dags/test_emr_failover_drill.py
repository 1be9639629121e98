"""The example DAG of a drill: the plan every day, the stop only with a confirmation; run on the local EMR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.exceptions import InvalidInputError, TransientError
from harness.life import TaskInstance
from tests.integration.cli.drills import GROUPS, Pair, pair
from tests.integration.iam.stage import DYNAMODB

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["pair"]


@pytest.fixture
def settings(module: ModuleType, pair: Pair) -> dict[str, Any]:
    pair.stage.patch.setenv("AIRFLOW__EIP__LOCK_STORE", DYNAMODB)
    variable: dict[str, Any] = {
        "job_flow_id": pair.primary,
        "allocation_id": pair.stage.allocation_id,
        "standby_job_flow_id": pair.launch_standby(),
        "target_groups": list(GROUPS),
        "fail_over": True,
        "aws_conn_id": None,
    }
    pair.stage.patch.setattr(module.Variable, "get", staticmethod(lambda *_, **__: variable))
    return variable


@pytest.fixture
def run(module: ModuleType) -> Callable[..., Any]:
    """Call what a task calls."""

    def call(task_id: str, **given: Any) -> Any:
        return module.dag.get_task(task_id).python_callable(**given)

    return call


def test_it_is_paused_at_first_and_a_stop_is_never_retried(module: ModuleType) -> None:
    assert module.dag.is_paused_upon_creation is True
    upstream = {task.task_id: task.upstream_task_ids for task in module.dag.tasks}
    assert upstream == {"plan": set(), "confirmed": {"plan"}, "execute": {"confirmed"}}
    assert module.dag.get_task("execute").retries == 0
    assert module.dag.params["confirm"] == ""


def test_the_plan_changes_nothing_and_ends_without_a_confirmation(run, pair, settings) -> None:
    found = run("plan")
    assert [check["check"] for check in found["checks"] if check["findings"]] == []
    assert run("confirmed", params={"confirm": ""}) is False
    assert pair.stops() == []


def test_a_plan_with_an_error_fails_with_the_reason(run, pair, settings) -> None:
    settings["target_groups"] = ["nothing"]
    with pytest.raises(InvalidInputError, match=r"target group 'nothing': there is none in region 'eu-west-1'"):
        run("plan")


def test_with_the_primary_s_id_it_stops_it_and_measures(run, pair, settings) -> None:
    ti = TaskInstance(task_id="execute")
    assert run("confirmed", params={"confirm": pair.primary}) is True
    found = run("execute", params={"confirm": pair.primary}, ti=ti)
    assert (found["met"], found["successor"]) == (True, settings["standby_job_flow_id"])
    assert [event["operation"] for event in pair.stops()].count("TerminateInstances") == 1
    assert ti.xcoms["drill"]["recovery_seconds"] == found["recovery_seconds"]
    assert pair.stage.refusals() == []


def test_a_recovery_that_took_too_long_fails_the_task_with_the_report_in_its_xcom(run, pair, settings) -> None:
    settings["rto_minutes"] = 0.1
    settings["limit_minutes"] = 10
    ti = TaskInstance(task_id="execute")
    with pytest.raises(TransientError, match=r"the recovery took \d+ s; the RTO is 6 s"):
        run("execute", params={"confirm": pair.primary}, ti=ti)
    assert ti.xcoms["drill"]["met"] is False


def test_another_id_stops_nothing(run, pair, settings) -> None:
    with pytest.raises(InvalidInputError, match="the confirmation is for 'j-OTHER'; nothing was changed"):
        run("execute", params={"confirm": "j-OTHER"}, ti=None)
    assert pair.stops() == []


@pytest.fixture
def by_tags(settings, pair) -> dict[str, Any]:
    """The Variable without the IDs of the clusters, which change at each failover."""
    standby = settings.pop("standby_job_flow_id")
    pair.stage.client("emr").add_tags(ResourceId=standby, Tags=[{"Key": "role", "Value": "standby"}])
    del settings["job_flow_id"]
    settings["standby_tags"] = {"role": "standby"}
    return {"primary": pair.primary, "standby": standby}


def test_primary_and_standby_are_found_by_the_address_and_by_tags(run, pair, by_tags) -> None:
    found = run("plan")["plan"]
    assert (found["job_flow_id"], found["standby_job_flow_id"]) == (by_tags["primary"], by_tags["standby"])
    assert run("execute", params={"confirm": pair.primary}, ti=None)["successor"] == by_tags["standby"]


def test_a_pair_without_a_standby_fails_with_its_tags(run, settings, by_tags) -> None:
    settings["standby_tags"] = {"role": "nothing"}
    with pytest.raises(
        ValueError, match=r"no standby of 'j-\w+' with the tags \{'role': 'nothing'\} is RUNNING or WAITING"
    ):
        run("plan")


def test_an_address_on_no_cluster_is_named(run, pair, settings, by_tags) -> None:
    settings["allocation_id"] = pair.stage.client("ec2").allocate_address(Domain="vpc")["AllocationId"]
    with pytest.raises(
        ValueError, match=f"no cluster has Elastic IP '{settings['allocation_id']}': it is not associated"
    ):
        run("plan")


@pytest.mark.parametrize(
    ("variable", "problem"),
    [(None, "is missing"), ({"rto_minutes": 5}, "has neither 'allocation_id' nor 'job_flow_id'")],
)
def test_a_missing_setting_is_named_with_the_place_that_explains_it(
    module, run, monkeypatch, variable, problem
) -> None:
    monkeypatch.setattr(module.Variable, "get", staticmethod(lambda *_, **__: variable))
    with pytest.raises(ValueError, match=f"Airflow Variable 'emr_failover_drill' {problem}; the start of .* shows"):
        run("plan")
