"""
Batches through the load balancer of each plan: a short one, and one that runs while a cluster is lost.

An active-active pair accepts the next batch after seconds, a pair with a standby only after the failover.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_eip_provider.operators.livy import LivyBatchWithStaticIpOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow.models import DAG

RETRIES = {"balanced": 2, "served": 30}  # by the load balancer: active-active, active-passive

for plan, retries in RETRIES.items():
    for dag_id, seconds in {plan: 1, f"{plan}_long": 40}.items():
        with DAG(
            dag_id,
            schedule=None,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            default_args={"retries": retries, "retry_delay": timedelta(seconds=5)},
        ) as dag:
            LivyBatchWithStaticIpOperator(
                task_id="batch",
                file="s3://recovery/whence.py",
                args=[seconds],
                livy_conn_id=f"livy_{plan}",
                polling_interval=10,
                lost_after=timedelta(seconds=30),
                deferrable=True,
            )
        globals()[dag_id] = dag
