"""Two batches through the load balancer of the pair: one during the loss of its primary node, and one afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from airflow_eip_provider.operators.livy import LivyBatchWithStaticIpOperator

for dag_id, seconds in {"batch_of_lost_primary": 15, "batch_after_failover": 1}.items():
    with DAG(
        dag_id,
        schedule="@daily",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        default_args={"retries": 30, "retry_delay": timedelta(seconds=5)},
    ) as dag:
        LivyBatchWithStaticIpOperator(
            task_id="batch",
            name="{{ dag.dag_id }}",
            file="s3://{{ var.json.emr_standby.bucket }}/jobs/short_batch.py",
            args=[seconds],
            livy_conn_id="livy_standby",
            polling_interval=10,
            lost_after=timedelta(seconds=20),
            deferrable=True,
        )
    globals()[dag_id] = dag
