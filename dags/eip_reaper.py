"""Lists every day the EMR clusters whose owner is over, and ends them when it is told to.

A dry run by default: trigger it with ``dry_run`` false to end what it has listed, or set the default below. Clusters of
this environment are judged by their DAG runs, which needs ``[eip] environment``; those of an environment that is gone for
good when its name is in ``gone_environments``. The task's log says what becomes of each cluster, and why.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_eip_provider.reaper.task import reap

try:
    from airflow.sdk import DAG, Param, task
except ImportError:  # Airflow 2
    from airflow.decorators import task
    from airflow.models import DAG, Param

with DAG(
    "eip_reaper",
    description="Ends EMR clusters whose owner is over, with their Elastic IP",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={
        "dry_run": Param(True, type="boolean", description="only list"),
        "gone_environments": Param([], type="array", items={"type": "string"}),
        "job_flow_ids": Param([], type="array", items={"type": "string"}, description="although nothing is known"),
        "min_age_hours": Param(1, type="number", minimum=0),
        "aws_conn_id": Param("aws_default", type=["null", "string"]),
        "region_name": Param(None, type=["null", "string"], description="the connection's own"),
    },
    tags=["eip"],
) as dag:

    @task(task_id="reap")
    def reap_clusters(*, params: dict[str, Any], ti: Any) -> dict[str, Any]:
        """Survey the region, and reap unless it is a dry run."""
        return reap(ti, **params)

    reap_clusters()
