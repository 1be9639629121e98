"""StaticIpCluster's parameters: each reaches the tasks that it is for, and no other is taken."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import BaseOperator
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.bindings import NatGateway
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from airflow_eip_provider.task_groups.emr import StaticIpCluster
from tests.unit.task_groups.conftest import STEP, cluster_of, make_dag, upstream

SHARED = {
    "allocation_id": "eipalloc-1",
    "aws_conn_id": "emr_account",
    "region_name": "eu-west-1",
    "verify": False,
    "botocore_config": {"retries": {"max_attempts": 2}},
    "deferrable": True,
}
OF_OPERATORS = {"lock_store": None, "waiter_delay": 20}


def test_shared_parameters_reach_every_task_that_takes_them(dag: Any) -> None:
    with cluster_of(**SHARED, **OF_OPERATORS) as cluster:
        operators = [cluster.create, cluster.terminate, cluster.steps([STEP]), cluster.release_address()]

    for task in (*operators, cluster.bound):
        assert {name: getattr(task, name) for name in SHARED} == SHARED
    for task in operators:
        assert {name: getattr(task, name) for name in OF_OPERATORS} == OF_OPERATORS
    assert cluster.bound.poke_interval == 20


def test_a_tasks_own_parameter_has_the_last_word(dag: Any) -> None:
    with cluster_of(waiter_delay=20) as cluster:
        steps = cluster.steps([STEP], waiter_delay=60, waiter_max_attempts=10, execution_role_arn="arn:role", retries=5)
        release = cluster.release_address(task_id="free", waiter_max_attempts=3)

    assert (steps.waiter_delay, steps.waiter_max_attempts, steps.retries) == (60, 10, 5)
    assert steps.execution_role_arn == "arn:role"
    assert steps.steps == [STEP]
    assert (release.task_id, release.waiter_delay, release.waiter_max_attempts) == ("azure.free", 20, 3)


OF_CREATE = {
    "job_flow_overrides": {"Name": "daily"},
    "emr_conn_id": "emr_defaults",
    "bind_at": "cluster_ready",
    "binding": NatGateway(nat_gateway_id="nat-0123456789abcdef0"),
    "prewarm": True,
    "on_multi_node": "allow",
    "waiter_max_attempts": 7,
    "lock_timeout": timedelta(hours=1),
    "accept_self_termination": True,
    "idle_timeout": timedelta(minutes=5),
    "start_timeout": timedelta(minutes=20),
    "fallbacks": [{"Instances": {"Ec2SubnetId": "subnet-b"}}],
    "fallback_rounds": 2,
    "on_queued_longer_than": (timedelta(hours=1), print),
    "on_failover": print,
    "servers": ["/subscriptions/…/servers/sales"],
    "azure_conn_id": "azure_sales",
}
NOTIFIERS = {"on_lost": print}


@pytest.mark.parametrize("name", OF_CREATE)
def test_parameter_of_create_reaches_it_alone(dag: Any, name: str) -> None:
    with cluster_of(**{name: OF_CREATE[name]}) as cluster:
        pass

    assert getattr(cluster.create, name) == OF_CREATE[name]
    assert cluster.terminate.waiter_max_attempts == 240


def test_every_parameter_of_create_is_known_to_these_tests() -> None:
    own = set(inspect.signature(EmrCreateWithStaticIpOperator.__init__).parameters)
    assert own - {"self", "kwargs"} <= OF_CREATE.keys() | SHARED.keys() | OF_OPERATORS.keys() | NOTIFIERS.keys()


@pytest.mark.parametrize("given", [NOTIFIERS, {"default_args": NOTIFIERS}], ids=["parameter", "default_args"])
def test_a_notifier_of_a_loss_reaches_every_task_that_can_find_it_out(dag: Any, given: dict[str, Any]) -> None:
    with cluster_of(**given) as cluster:
        steps, own = cluster.steps([STEP]), cluster.steps([STEP], on_lost=repr)

    assert {task.on_lost for task in (cluster.create, cluster.bound, steps)} == {print}
    assert own.on_lost is repr


def test_default_args_of_dag_and_group_reach_every_task() -> None:
    with (
        make_dag(default_args={"retries": 2, "owner": "data"}) as dag,
        cluster_of(default_args={"retries": 4}, tooltip="reads orders", prefix_group_id=False) as cluster,
    ):
        cluster.steps([STEP])

    assert {task.retries for task in dag.tasks} == {4}
    assert {task.owner for task in dag.tasks} == {"data"}
    assert {task.task_id for task in dag.tasks} == {"create", "bound", "steps", "terminate", "done"}
    assert cluster.tooltip == "reads orders"


def test_dag_that_fails_fast_takes_the_group() -> None:
    fail_fast = {"fail_fast", "fail_stop"} & inspect.signature(type(make_dag())).parameters.keys()
    with make_dag(**dict.fromkeys(fail_fast, True)) as dag, cluster_of() as cluster:
        cluster.steps([STEP])

    assert upstream(dag)["azure.done"] == {"azure.steps"}


def test_unknown_parameter_is_refused_by_airflow(dag: Any) -> None:
    with pytest.raises(Exception, match=r"(?s)Invalid arguments were passed to EmrCreateWith.*lock_timeot"):
        cluster_of(lock_timeot=timedelta(hours=1))


def test_missing_address_is_refused(dag: Any) -> None:
    with pytest.raises(TypeError, match="allocation_id"):
        StaticIpCluster("azure", job_flow_overrides={})  # type: ignore[call-arg]


@pytest.mark.parametrize("name", ["retries", "trigger_rule", "pool"])
def test_parameter_of_any_task_is_refused_rather_than_given_to_one(dag: Any, name: str) -> None:
    assert name in inspect.signature(BaseOperator).parameters
    with pytest.raises(
        InvalidInputError, match=f"group 'azure': {name} could be meant for any of its tasks; .*default_args"
    ):
        cluster_of(**{name: 1})


def test_group_id_that_is_taken_is_refused_by_airflow(dag: Any) -> None:
    cluster_of()
    with pytest.raises(Exception, match="'azure' has already been added"):
        cluster_of()
