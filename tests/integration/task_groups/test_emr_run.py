"""StaticIpCluster at work: on the local EMR, and under Airflow's own rules for what runs and what a run's state is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.task_groups.emr import StaticIpCluster
from harness.life import Task
from tests.unit.task_groups.conftest import make_dag

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.airflow_home import AirflowHome

# Runs DAGs whose tasks do nothing, but fail or skip where the DAG's name says so.
RUNS = """
import sys
from tests.unit.task_groups.conftest import make_dag
from airflow_eip_provider.airflow_compat import AirflowSkipException, BaseOperator
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator, EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator
)
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.task_groups.emr import StaticIpCluster

def live(self, context):
    print("RAN", self.dag_id, self.task_id, flush=True)
    if self.task_id == f"azure.{self.dag_id}":
        raise ValueError("as the DAG's name says")
    if (self.dag_id, self.task_id) == ("skip", "azure.steps"):
        raise AirflowSkipException

class Plain(BaseOperator):
    execute = live

for operator in (EmrAddStepsWithStaticIpOperator, EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator):
    operator.pre_execute = lambda self, context: None
for operator in (EmrAddStepsWithStaticIpOperator, EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator,
                 EipAssociationSensor):
    operator.execute = live

def build(dag_id):
    with make_dag(dag_id=dag_id) as dag:
        with StaticIpCluster("azure", allocation_id="eipalloc-1", job_flow_overrides={}) as cluster:
            cluster.steps([{}])
        if dag_id != "steps":
            cluster >> Plain(task_id="after")
    return dag

dags = dag_0, dag_1, dag_2, dag_3, dag_4, dag_5 = [
    build(name) for name in ("nothing", "create", "bound", "steps", "terminate", "skip")
]

if __name__ == "__main__":
    for dag in dags:
        run = dag.test()
        print("STATE", dag.dag_id, run.state, flush=True)
"""


@pytest.fixture(scope="module")
def ran(
    tmp_path_factory: pytest.TempPathFactory, airflow_home: Callable[..., AirflowHome]
) -> dict[str, tuple[str, list[str]]]:
    """Return for each DAG, named after the task that fails in it, the state of its run and the tasks that ran."""
    airflow = airflow_home(tmp_path_factory.mktemp("airflow"))
    (airflow.dags / "daily.py").write_text(RUNS)
    said = [line.split() for line in airflow.run(airflow.dags / "daily.py").splitlines()]
    states = {words[1]: words[2].rsplit(".")[-1].lower() for words in said if words[:1] == ["STATE"]}
    return {
        dag_id: (state, [words[2] for words in said if words[:2] == ["RAN", dag_id]])
        for dag_id, state in states.items()
    }


ALL = ["azure.create", "azure.bound", "azure.steps", "azure.terminate", "after"]


@pytest.mark.airflow
@pytest.mark.parametrize(
    ("failing", "state", "tasks"),
    [
        ("nothing", "success", ALL),
        ("create", "failed", ["azure.create"]),
        ("bound", "failed", ["azure.create", "azure.bound", "azure.terminate"]),
        ("steps", "failed", ["azure.create", "azure.bound", "azure.steps", "azure.terminate"]),
        ("terminate", "failed", ALL),
    ],
)
def test_run_fails_with_any_task_and_the_teardown_runs_once_there_is_a_cluster(
    ran: Any, failing: str, state: str, tasks: list[str]
) -> None:
    assert (ran[failing][0], sorted(ran[failing][1])) == (state, sorted(tasks))


@pytest.mark.airflow
def test_what_follows_a_block_that_was_skipped_is_skipped_and_the_cluster_still_ends(ran: Any) -> None:
    assert ran["skip"] == ("success", ["azure.create", "azure.bound", "azure.steps", "azure.terminate"])


def test_group_lives_through_on_the_local_aws(clocked, allocation_id, overrides, step, deferrable, ec2, emr) -> None:
    with (
        make_dag(),
        StaticIpCluster(
            "azure",
            allocation_id=allocation_id,
            job_flow_overrides=overrides,
            aws_conn_id=None,
            emr_conn_id=None,
            deferrable=deferrable,
        ) as cluster,
    ):
        steps = cluster.steps([step()])
        release = cluster.release_address()
    job_flow_id = Task(cluster.create).run()
    for task in (cluster.bound, steps, release, cluster.terminate):
        task.job_flow_id = job_flow_id

    assert Task(cluster.bound).run()["job_flow_id"] == job_flow_id
    (step_id,) = Task(steps).run()
    assert Task(release).run() is True
    Task(cluster.terminate).run()

    assert emr.describe_step(ClusterId=job_flow_id, StepId=step_id)["Step"]["Status"]["State"] == "COMPLETED"
    assert emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"] == "TERMINATED"
    assert "AssociationId" not in ec2.describe_addresses()["Addresses"][0]


def test_the_tasks_of_a_group_follow_the_address_that_create_has(
    clocked, overrides, step, deferrable, ec2, monkeypatch
) -> None:
    pool = sorted(str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(2))
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    instance = ec2.run_instances(ImageId="ami-12c6146b", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    clocked.clock.advance(120)
    ec2.associate_address(AllocationId=pool[0], InstanceId=instance)
    with (
        make_dag(),
        StaticIpCluster(
            "azure",
            allocation_id=pool,
            job_flow_overrides=overrides,
            lock_store="dynamodb://leases?create=true",
            aws_conn_id=None,
            emr_conn_id=None,
            deferrable=deferrable,
        ) as cluster,
    ):
        steps = cluster.steps([step()])
        release = cluster.release_address()
    following = (cluster.bound, steps, release, cluster.terminate)
    assert {task.allocation_id for task in following} == {
        "{{ ti.xcom_pull(task_ids='azure.create', key='allocation_id', map_indexes=ti.map_index) }}"
    }
    create = Task(cluster.create)
    job_flow_id = create.run()
    assert create.ti.xcoms["allocation_id"] == pool[1]
    for task in following:
        task.job_flow_id, task.allocation_id = job_flow_id, create.ti.xcoms["allocation_id"]
    assert Task(cluster.bound).run()["allocation_id"] == pool[1]
    assert Task(steps).run()
    assert Task(release).run() is True
    Task(cluster.terminate).run()


def test_a_teardown_of_a_pool_has_nothing_to_do_where_create_never_had_an_address(
    clocked, overrides, ec2, monkeypatch
) -> None:
    pool = [str(ec2.allocate_address(Domain="vpc")["AllocationId"]) for _ in range(2)]
    with make_dag(), StaticIpCluster("azure", allocation_id=pool, job_flow_overrides=overrides, aws_conn_id=None) as it:
        pass
    it.terminate.job_flow_id, it.terminate.allocation_id = "None", "None"  # as the templates render without XComs
    Task(it.terminate).run()
    assert clocked.events.calls("TerminateJobFlows") == []
