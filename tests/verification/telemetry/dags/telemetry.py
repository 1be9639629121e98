"""The DAGs of the file beside this one; whatever a task notifies of is a line of the other."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_eip_provider.task_groups.emr import StaticIpCluster

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

_HERE = Path(__file__).parent
# Real seconds after which a wait in the queue is told: longer than the shortest deferral.
_LONG_SECONDS = 20


def tell(context: Any) -> None:
    """Append what a notifier was called with, in one write."""
    told = {**context["eip"], "dag_id": context["ti"].dag_id, "task_id": context["ti"].task_id}
    line = os.open(_HERE / "told.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(line, json.dumps(told).encode() + b"\n")
    os.close(line)


def daily(dag_id: str, *, allocation_id: str, subnets: list[str], deferrable: bool, step_seconds: int) -> Any:
    """
    Make a DAG of one cluster and one step.

    :param subnets: of the candidates.
    :param step_seconds: simulated ones.
    """
    jar = {"Jar": "command-runner.jar", "Args": ["work", "--sleep", str(step_seconds)]}
    with (
        # A stale success of the executor can fail a resumed task on a busy machine (apache/airflow#66374).
        DAG(
            dag_id,
            schedule=None,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            catchup=False,
            default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
        ) as dag,
        StaticIpCluster(
            "azure",
            allocation_id=allocation_id,
            deferrable=deferrable,
            waiter_delay=10 if deferrable else 2,
            waiter_max_attempts=100,
            prewarm=False,
            emr_conn_id=None,
            job_flow_overrides={
                "Name": dag_id,
                "ReleaseLabel": "emr-7.5.0",
                "JobFlowRole": "EMR_EC2_DefaultRole",
                "ServiceRole": "EMR_DefaultRole",
                "Instances": {
                    "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
                    "KeepJobFlowAliveWhenNoSteps": True,
                    "Ec2SubnetId": subnets[0],
                },
            },
            fallbacks=[{"Instances": {"Ec2SubnetId": subnet}} for subnet in subnets[1:]],
            on_queued_longer_than=(timedelta(seconds=_LONG_SECONDS), tell),
            on_lost=tell,
            on_failover=tell,
        ) as cluster,
    ):
        cluster.steps([{"Name": "read", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}])
    return dag


for _dag_id, _parameters in json.loads((_HERE / "dags.json").read_text(encoding="utf-8")).items():
    globals()[_dag_id] = daily(_dag_id, **_parameters)
