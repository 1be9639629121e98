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
