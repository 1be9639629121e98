"""Batches through the load balancer in front of the cluster that has the address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow_eip_provider.operators.livy import LivyBatchWithStaticIpOperator

try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow.models import DAG

for dag_id, seconds in {"served": 1, "served_long": 40}.items():
    with DAG(
        dag_id,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        default_args={"retries": 30, "retry_delay": timedelta(seconds=5)},
    ) as dag:
        LivyBatchWithStaticIpOperator(
            task_id="batch",
            file="s3://recovery/whence.py",
            args=[seconds],
            livy_conn_id="livy_served",
            polling_interval=10,
            lost_after=timedelta(seconds=30),
            deferrable=True,
        )
    globals()[dag_id] = dag
