"""default_args of a DAG or a group never keep the teardown of a launched cluster from running."""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import EmptyOperator
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.eip import EipAssociateOperator
from tests.unit.task_groups.conftest import STEP, cluster_of, make_dag, upstream

PAST = ("depends_on_past", "wait_for_downstream")


def waiting_for_the_past(dag: Any) -> set[str]:
    return {task.task_id for task in dag.tasks if any(getattr(task, name) for name in PAST)}


@pytest.mark.parametrize("name", PAST)
@pytest.mark.parametrize("of", ["dag", "group"])
def test_only_create_waits_for_the_past_and_for_all_that_would_have_waited(name: str, of: str) -> None:
    given = {"default_args": {name: True}}
    with make_dag(**(given if of == "dag" else {})) as dag, cluster_of(**(given if of == "group" else {})) as cluster:
        first, second = cluster.steps([STEP]), cluster.steps([STEP])
        first >> second >> cluster.release_address()
        mapped = EipAssociateOperator.partial(task_id="mapped", allocation_id="e").expand(instance_id=["i-1", "i-2"])

    assert waiting_for_the_past(dag) == {"azure.create"}
    assert cluster.create.depends_on_past
    assert cluster.create.wait_for_downstream
    # Airflow's wait_for_downstream checks the tasks that follow directly.
    steps = {first.task_id, second.task_id, "azure.release", mapped.task_id}
    assert {"azure.bound", "azure.terminate", *steps} <= cluster.create.downstream_task_ids
    dag.validate_setup_teardown()


def test_a_task_that_alone_waits_for_its_past_keeps_create_from_the_launch(dag: Any) -> None:
    with cluster_of() as cluster:
        steps = cluster.steps([STEP], depends_on_past=True)
        other = EmptyOperator(task_id="other")

    assert waiting_for_the_past(dag) == {"azure.create"}
    assert cluster.create.wait_for_downstream
    assert steps.task_id in cluster.create.downstream_task_ids
    assert other.task_id not in cluster.create.downstream_task_ids


def test_the_order_of_the_tasks_stays_the_same() -> None:
    def waits(**given: Any) -> dict[str, set[str]]:
        with make_dag(**given) as dag, cluster_of() as cluster:
            cluster.steps([STEP]) >> cluster.release_address()
        return upstream(dag)

    assert waits(default_args={"depends_on_past": True}) == waits()


def test_a_cluster_in_a_cluster_hands_its_past_on_to_the_outer_one() -> None:
    with (
        make_dag(default_args={"depends_on_past": True}) as dag,
        cluster_of("outer") as outer,
        cluster_of("inner", allocation_id="eipalloc-2") as inner,
    ):
        inner.steps([STEP])

    assert waiting_for_the_past(dag) == {"outer.create"}
    assert "outer.inner.create" in outer.create.downstream_task_ids


def test_nothing_waits_for_the_past_unless_it_was_asked_for(dag: Any) -> None:
    with cluster_of() as cluster:
        cluster.steps([STEP])
    assert waiting_for_the_past(dag) == set()


def test_a_trigger_rule_is_for_create() -> None:
    with make_dag(default_args={"trigger_rule": "none_failed"}) as dag, cluster_of() as cluster:
        cluster.steps([STEP])
        cluster.release_address()

    rules = {
        task.task_id.split(".")[1]: str(getattr(task.trigger_rule, "value", task.trigger_rule)) for task in dag.tasks
    }
    assert rules == {
        "create": "none_failed",
        "bound": "all_success",
        "steps": "all_success",
        "release": "all_success",
        "terminate": "all_done_setup_success",
        "done": "none_failed_min_one_success",
    }
    dag.validate_setup_teardown()


@pytest.mark.parametrize("mapped", [False, True])
def test_a_trigger_rule_that_airflow_would_refuse_is_refused_by_the_tasks_name(mapped: Any) -> None:
    def build() -> None:
        with make_dag(default_args={"trigger_rule": "all_done"}), cluster_of():
            if mapped:
                EipAssociateOperator.partial(task_id="beside", allocation_id="e").expand(instance_id=["i-1"])
            else:
                EmptyOperator(task_id="beside")

    with pytest.raises(InvalidInputError, match=r"task 'azure.beside'.*trigger_rule is 'all_done'.*'all_success'"):
        build()


def test_a_trigger_rule_of_ones_own_further_on_is_kept(dag: Any) -> None:
    with cluster_of() as cluster:
        cluster.steps([STEP]) >> cluster.steps([STEP], task_id="clean", trigger_rule="all_done")
    assert str(getattr(dag.get_task("azure.clean").trigger_rule, "value", "")) == "all_done"


@pytest.mark.parametrize("name", ["max_active_tis_per_dag", "max_active_tis_per_dagrun"])
def test_no_limit_that_other_runs_use_up_keeps_the_teardown(name: str) -> None:
    with make_dag(default_args={name: 1}) as dag, cluster_of() as cluster:
        cluster.steps([STEP])
    limited = {task.task_id for task in dag.tasks if getattr(task, name) is not None}
    assert limited == {"azure.create", "azure.steps"}


def test_pool_queue_and_priority_reach_every_task() -> None:
    given = {"pool": "emr", "pool_slots": 2, "queue": "emr", "priority_weight": 7}
    with make_dag(default_args=given) as dag, cluster_of() as cluster:
        cluster.steps([STEP])
    assert {tuple(getattr(task, name) for name in given) for task in dag.tasks} == {("emr", 2, "emr", 7)}


def test_without_returned_xcoms_the_tasks_still_find_the_cluster() -> None:
    with make_dag(default_args={"do_xcom_push": False}) as dag, cluster_of() as cluster:
        steps = cluster.steps([STEP])

    assert {task.task_id for task in dag.tasks if task.do_xcom_push} == {"azure.create"}
    assert (steps.job_flow_id.operator, steps.job_flow_id.key) == (cluster.create, "return_value")
    for name in ("bound", "terminate"):
        assert "key='job_flow_id'" in dag.get_task(f"azure.{name}").job_flow_id  # pushed by create itself


def test_a_run_without_its_address_is_no_skip() -> None:
    with make_dag(default_args={"soft_fail": True}), cluster_of() as cluster:
        pass
    assert not cluster.bound.soft_fail


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"waiter_delay": "15s"}, "task 'azure.terminate'.*waiter_delay '15s'|waiter_delay '15s'"),
        ({"waiter_max_attempts": "10.0"}, "waiter_max_attempts '10.0'"),
        ({"wait_for_completion": False}, "task 'azure.steps'.*wait_for_completion is False"),
    ],
    ids=str,
)
def test_what_a_later_task_would_refuse_is_refused_when_the_dag_is_read(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message), make_dag(default_args=given), cluster_of() as cluster:
        cluster.steps([STEP])


@pytest.mark.parametrize("wrong", ["{{ var.value.delay }}", "15s", -1, 0, True], ids=repr)
def test_a_waiter_delay_that_is_no_number_is_refused_by_its_name(dag: Any, wrong: Any) -> None:
    with pytest.raises(InvalidInputError, match=re.escape(f"waiter_delay {wrong!r}")):
        cluster_of(waiter_delay=wrong)


def test_a_waiter_delay_that_is_a_number_as_text_is_taken(dag: Any) -> None:
    with cluster_of(waiter_delay="20") as cluster:
        cluster.steps([STEP])
    assert cluster.bound.poke_interval == 20


def test_create_knows_the_steps_that_follow(dag: Any) -> None:
    with cluster_of() as cluster:
        cluster.steps([STEP])
        cluster.steps("{{ params.steps }}")
        cluster.probe_egress(["{{ var.value.server }}"])
        cluster.probe_egress("{{ var.json.servers }}", task_id="probe")

    assert cluster.create.planned_steps.keys() == {"azure.steps", "azure.probe_egress"}
    assert cluster.create.planned_steps["azure.steps"] == [STEP]


# In a worker or in the triggerer.


def modes(dag: Any) -> dict[str, bool]:
    return {task.task_id.split(".")[1]: task.deferrable for task in dag.tasks if hasattr(task, "deferrable")}


@pytest.mark.parametrize(
    ("dags", "groups", "given", "expected"),
    [
        ({}, {}, {}, True),
        ({}, {}, {"deferrable": False}, False),
        ({"deferrable": False}, {}, {}, False),
        ({}, {"deferrable": False}, {}, False),
        ({"deferrable": False}, {"deferrable": True}, {}, True),
        ({"deferrable": False}, {}, {"deferrable": True}, True),
    ],
)
def test_its_tasks_wait_in_the_triggerer_unless_it_is_given(dags: Any, groups: Any, given: Any, expected: Any) -> None:
    with make_dag(default_args=dags) as dag, cluster_of(default_args=groups, **given) as cluster:
        cluster.steps([STEP])
        cluster.release_address()
    assert modes(dag) == dict.fromkeys(["create", "bound", "steps", "release", "terminate"], expected)
