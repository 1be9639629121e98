"""OpenLineage: steps get the stock operator's arguments, a retry adopts them, and a facet says where they ran."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.operators import emr as stock
from airflow.providers.amazon.aws.operators.emr import EmrAddStepsOperator
from airflow.providers.common.compat.openlineage.utils import spark

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.operators.eip import EipReleaseOperator
from harness.life import Task
from tests.integration.operators.aws_state import dynamodb_only

if TYPE_CHECKING:
    from collections.abc import Iterator

PARENT, TRANSPORT = (
    "inject_parent_job_information_into_spark_properties",
    "inject_transport_information_into_spark_properties",
)
IN_STOCK = "openlineage_inject_parent_job_info" in inspect.signature(EmrAddStepsOperator.__init__).parameters


@pytest.fixture
def run_ids(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Let each call of OpenLineage give another run id, as each try of a task is another run."""
    ids = iter(f"run-{number}" for number in range(100))

    def parent(properties: dict[str, str], context: Any) -> dict[str, str]:
        own = {"spark.openlineage.parentJobName": "azure_daily.steps", "spark.openlineage.parentRunId": next(ids)}
        return {**properties, **own}

    def transport(properties: dict[str, str], context: Any) -> dict[str, str]:
        return {**properties, "spark.openlineage.transport.type": "http"}

    for module in (spark, stock):
        for name, stands_for in ((PARENT, parent), (TRANSPORT, transport)):
            monkeypatch.setattr(module, name, stands_for, raising=False)
    return ids


@pytest.fixture
def cluster(clocked: Any, create_operator: Any) -> str:
    return str(Task(create_operator(lock_store=None, deferrable=True)).run())


def a_step(jar: str, *args: str) -> dict[str, Any]:
    return {"Name": "read", "ActionOnFailure": "CONTINUE", "HadoopJarStep": {"Jar": jar, "Args": list(args)}}


def submitted(aws: Any) -> list[list[str]]:
    """The arguments of the steps of the last AddJobFlowSteps."""
    request = aws.events.calls("AddJobFlowSteps")[-1]["request"]
    return [step["HadoopJarStep"].get("Args", []) for step in request["Steps"]]


def submit(task: Task) -> None:
    task.start()
    assert task.error is None or isinstance(task.error, AirflowFailException)


STEPS = [
    a_step("command-runner.jar", "spark-submit", "--deploy-mode", "client", "s3://jobs/read.py", "--day", "2026-01-01"),
    a_step("command-runner.jar", "/usr/bin/spark-submit", "s3://jobs/read.py"),
    a_step("s3://elsewhere/command-runner.jar", "run-example", "SparkPi"),
    a_step("command-runner.jar", "spark-submit", "--conf", "spark.openlineage.parentRunId=own", "read.py"),
    a_step("command-runner.jar", "hadoop", "fs", "-ls"),
    a_step("command-runner.jar", "true"),
    a_step("s3://jobs/own.jar", "spark-submit"),
]


@pytest.mark.skipif(not IN_STOCK, reason="this Amazon provider's operator injects nothing")
def test_the_arguments_are_those_of_the_stock_operator(clocked, cluster, run_ids, steps_operator, monkeypatch):
    theirs = EmrAddStepsOperator(
        task_id="theirs", job_flow_id=cluster, steps=STEPS, aws_conn_id=None, openlineage_inject_parent_job_info=True
    )
    monkeypatch.setattr(EmrAddStepsOperator, "operator_extra_links", ())
    monkeypatch.setattr(stock.EmrClusterLink, "persist", lambda **_: None)
    monkeypatch.setattr(stock.EmrLogsLink, "persist", lambda **_: None)
    theirs.execute({"ti": Task(theirs).ti})
    expected = submitted(clocked)
    ours = steps_operator(
        cluster, steps=STEPS, lock_store=None, deferrable=True, openlineage_inject_parent_job_info=True
    )
    submit(Task(ours))
    assert len(clocked.events.calls("AddJobFlowSteps")) == 2
    assert json.dumps(submitted(clocked)).replace("run-1", "run-0") == json.dumps(expected)
    assert expected[0][:5] == [
        "spark-submit",
        "--conf",
        "spark.openlineage.parentJobName=azure_daily.steps",
        "--conf",
        "spark.openlineage.parentRunId=run-0",
    ]
    assert ours.steps == STEPS, "the DAG's own steps stay as they are"


@pytest.mark.parametrize(
    ("given", "options"),
    [({}, {}), ({"transport": True}, {}), ({"parent": True, "transport": True}, {}), ({}, {"parent": "True"})],
    ids=["neither", "transport", "both", "by configuration"],
)
def test_each_is_injected_when_it_is_asked_for(clocked, cluster, run_ids, steps_operator, monkeypatch, given, options):
    for name, value in options.items():
        monkeypatch.setenv(f"AIRFLOW__OPENLINEAGE__SPARK_INJECT_{name.upper()}_JOB_INFO", value)
    names = {"parent": "openlineage_inject_parent_job_info", "transport": "openlineage_inject_transport_info"}
    asked = {names[name]: value for name, value in given.items()}
    submit(Task(steps_operator(cluster, steps=STEPS[:1], lock_store=None, deferrable=True, **asked)))
    injected = [argument.partition("=")[0] for argument in submitted(clocked)[0] if argument.startswith("spark.op")]
    parent = ["spark.openlineage.parentJobName", "spark.openlineage.parentRunId"]
    wanted = parent if "parent" in {**given, **options} else []
    assert injected == [*wanted, *(["spark.openlineage.transport.type"] if "transport" in given else [])]


def test_a_retry_adopts_its_steps_although_its_run_is_another(clocked, cluster, run_ids, steps_operator, step):
    given = {"lock_store": None, "deferrable": True, "retries": 1, "openlineage_inject_parent_job_info": True}
    steps = [a_step("command-runner.jar", "spark-submit", "read.py"), step("--sleep", "600")]
    first, second = (Task(steps_operator(cluster, steps=steps, **given), try_number=n) for n in (1, 2))
    submit(first)  # and its process has ended
    clocked.clock.advance(61)
    submit(second)
    assert second.ti.xcoms["step_ids"] == first.ti.xcoms["step_ids"]
    assert len(clocked.events.calls("AddJobFlowSteps")) == 1


def test_lineage_that_fails_does_not_keep_a_step_from_running(clocked, cluster, steps_operator, monkeypatch, logged):
    def broken(properties: Any, context: Any) -> Any:
        raise RuntimeError("no listener")

    monkeypatch.setattr(spark, PARENT, broken)
    operator = steps_operator(
        cluster, steps=STEPS[:1], lock_store=None, deferrable=True, openlineage_inject_parent_job_info=True
    )
    submit(Task(operator))
    assert submitted(clocked) == [STEPS[0]["HadoopJarStep"]["Args"]]
    assert "submitted without" in logged()


def shown_facet(operator: Any, task: Task) -> dict[str, Any]:
    """What OpenLineage sends of the facet."""
    from airflow.providers.openlineage.utils.utils import OpenLineageRedactor  # noqa: PLC0415 - an optional package
    from openlineage.client.serde import Serde  # noqa: PLC0415

    facets = operator.get_openlineage_facets_on_complete(task.ti).run_facets
    shown = json.loads(Serde.to_json(OpenLineageRedactor().redact(facets["elasticIp"])))
    return {name: value for name, value in shown.items() if not name.startswith("_")}


def test_the_facet_of_steps_names_cluster_address_and_lease(
    clocked, create_operator, steps_operator, ec2, allocation_id, deferrable, store
):
    pytest.importorskip("airflow.providers.openlineage")
    given = {"allocation_id": allocation_id, "aws_conn_id": None, "lock_store": store}
    earlier = Task(create_operator(lock_store=store), dag_id="earlier").run()
    Task(EipReleaseOperator(task_id="release", job_flow_id=earlier, **given), dag_id="earlier").run()
    job_flow_id = Task(create_operator(lock_store=store)).run()
    public_ip = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]["PublicIp"]
    task = Task(steps_operator(job_flow_id, lock_store=store, deferrable=deferrable))
    task.run()
    shown = shown_facet(task.operator, task)
    expected = {"allocationId": allocation_id, "jobFlowId": job_flow_id, "publicIp": public_ip}
    assert {name: value for name, value in shown.items() if value is not None} == (
        {**expected, "leaseToken": 2} if store else expected
    )


def test_the_facet_of_steps_behind_a_nat_gateway_names_the_address(clocked, network, nat, steps_operator):
    pytest.importorskip("airflow.providers.openlineage")
    creating = Task(nat())
    job_flow_id = creating.run()
    clocked.clock.advance(600)
    task = Task(steps_operator(job_flow_id, lock_store=None))
    task.run()
    assert shown_facet(task.operator, task)["publicIp"] == creating.ti.xcoms["static_ip"]["public_ip"]


@dynamodb_only
def test_the_facet_of_a_run_names_cluster_address_and_lease_and_is_not_masked(
    clocked, lock_store, create_operator, steps_operator, ec2, allocation_id
):
    pytest.importorskip("airflow.providers.openlineage")
    create = create_operator(lock_store=lock_store, deferrable=False)
    task = Task(create)
    job_flow_id = create.execute(task.context) if create.pre_execute(task.context) is None else None
    shown = shown_facet(create, task)
    public_ip = ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]["PublicIp"]
    expected = {"allocationId": allocation_id, "jobFlowId": job_flow_id, "publicIp": public_ip, "leaseToken": 1}
    assert shown == expected
    steps = steps_operator(str(job_flow_id), lock_store=lock_store)
    assert steps.get_openlineage_facets_on_complete(task.ti).run_facets["elasticIp"].jobFlowId is None
