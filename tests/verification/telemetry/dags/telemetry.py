"""The DAGs of the file dags.json in this folder; each notification is appended to notifications.jsonl."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airflow_eip_provider.task_groups.emr import StaticIpCluster
from harness.job_flow import one_node, sleeping_step

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow import DAG

_HERE = Path(__file__).parent
# Real seconds after which a wait in the queue is notified: longer than the shortest deferral.
_LONG_SECONDS = 20


def notify(context: Any) -> None:
    """Append the context of a notification to a file, in one write."""
    notification = {**context["eip"], "dag_id": context["ti"].dag_id, "task_id": context["ti"].task_id}
    file = os.open(_HERE / "notifications.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, json.dumps(notification).encode() + b"\n")
    os.close(file)


def daily(dag_id: str, *, allocation_id: str, subnets: list[str], deferrable: bool, step_seconds: int) -> Any:
    """
    Return a DAG of one cluster and one step.

    :param subnets: of the candidates.
    :param step_seconds: simulated seconds.
    """
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
            job_flow_overrides=one_node(dag_id, subnet_id=subnets[0]),
            fallbacks=[{"Instances": {"Ec2SubnetId": subnet}} for subnet in subnets[1:]],
            on_queued_longer_than=(timedelta(seconds=_LONG_SECONDS), notify),
            on_lost=notify,
            on_failover=notify,
        ) as cluster,
    ):
        cluster.steps([sleeping_step(step_seconds)])
    return dag


for _dag_id, _parameters in json.loads((_HERE / "dags.json").read_text(encoding="utf-8")).items():
    globals()[_dag_id] = daily(_dag_id, **_parameters)
