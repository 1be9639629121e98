"""Daily jobs on one Elastic IP, like dags/azure_sql_daily.py; their steps only take time."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_eip_provider.task_groups.emr import StaticIpCluster
from harness.job_flow import one_node, sleeping_step

SOAK = json.loads(os.environ["SOAK"])
CLUSTER = one_node("{{ dag.dag_id }}", subnet_id=SOAK["subnet_id"], Applications=[{"Name": "Spark"}])
# On every third day the step is still running when the task polls after its submission.
STEP = sleeping_step("{{ soak['long'] if logical_date.day % 3 == 0 else soak['short'] }}", name="read sales.orders")


def shared_address(number: int) -> DAG:
    """Return one of the DAGs; those with an odd number prewarm their cluster."""
    with (
        DAG(
            f"shared_address_{number}",
            schedule="@daily",
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            catchup=False,
            max_active_runs=SOAK["active_runs"],
            default_args={"retries": 4, "retry_delay": timedelta(seconds=5)},
            user_defined_macros={"soak": SOAK},
        ) as dag,
        StaticIpCluster(
            "azure",
            allocation_id=SOAK["allocation_id"],
            job_flow_overrides=CLUSTER,
            deferrable=True,
            waiter_delay=SOAK["poll_seconds"],
            waiter_max_attempts=900,
            prewarm=number % 2 == 1,
            idle_timeout=timedelta(seconds=SOAK["idle_seconds"]),
        ) as cluster,
    ):
        cluster.steps([STEP], task_id="read")
    return dag


for dag in map(shared_address, range(SOAK["dags"])):
    globals()[dag.dag_id] = dag
