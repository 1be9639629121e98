"""Lists every day the EMR clusters whose owner has finished, and terminates them on request.

A dry run by default: trigger it with ``dry_run`` false to terminate what it lists, or change the default below.
Clusters of this environment are judged by their DAG runs, which needs ``[eip] environment``. Clusters of an environment
that no longer exists are terminated if its name is in ``gone_environments``. The task's log has the decision and the
reason for each cluster.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_eip_provider.reaper.task import reap

try:
    from airflow.sdk import DAG, task
except ImportError:  # Airflow 2
    from airflow.decorators import task
    from airflow.models import DAG

with DAG(
    "eip_reaper",
    description="Ends EMR clusters whose owner has finished, with their Elastic IP",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "dry_run": True,
        "gone_environments": [],
        "job_flow_ids": [],  # to terminate although their owners are unknown
        "min_age_hours": 1,
        "aws_conn_id": "aws_default",
        "region_name": None,  # default: the connection's region
    },
    tags=["eip"],
) as dag:

    @task(task_id="reap")
    def reap_clusters(*, params: dict[str, Any], ti: Any) -> dict[str, Any]:
        """Survey the region, and reap unless it is a dry run."""
        return reap(ti, **params)

    reap_clusters()
