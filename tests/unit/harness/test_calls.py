from __future__ import annotations

import uuid

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

from harness.calls import TRIGGERER, call_rows, caller, count_calls
from tests.unit.demo.event_log import DAGS, Log


def agent(key: str) -> str:
    return f"Boto3/1.43 Airflow/3.3.2 AmPP/9.39.0 Caller/EmrTask DagRunKey/{key} TeamNameKey/{uuid.UUID(int=0)}"


@pytest.mark.parametrize("dag_id", DAGS)
def test_the_user_agent_of_a_task_names_its_dag(dag_id: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AIRFLOW_CTX_DAG_ID", dag_id)
    assert caller(agent(AwsGenericHook._generate_dag_key()), dag_ids=DAGS) == dag_id


def test_outside_a_task_it_is_the_triggerer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AIRFLOW_CTX_DAG_ID", raising=False)
    assert caller(agent(AwsGenericHook._generate_dag_key()), dag_ids=DAGS) == TRIGGERER


def test_steps_and_the_demo_itself_count_for_nobody():
    assert caller("Boto3/1.43 md/Botocore", dag_ids=DAGS) is None


def test_calls_are_counted_by_operation():
    log = Log()
    for who in (DAGS[0], DAGS[0], DAGS[1]):
        log.call(0, "DescribeCluster", {})
        log.events[-1]["user_agent"] = agent(str(uuid.uuid5(uuid.NAMESPACE_OID, who)))
    counts = count_calls(log.events, dag_ids=DAGS)
    assert [counts[who].total() for who in (*DAGS, TRIGGERER)] == [2, 1, 0]
    assert call_rows(counts) == [("emr DescribeCluster", "2", "1", ""), ("all", "2", "1", "0")]
