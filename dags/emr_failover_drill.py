"""Checks every day that a standby would take over, and rehearses the failover on request.

The task ``plan`` changes nothing, and fails if something would keep the standby from taking over. ``execute`` stops the
primary on purpose; it is skipped unless the run was triggered with ``confirm``, the ID of the primary. It is never
retried. The DAG is paused at first.

Before you unpause it, set the Airflow Variable ``emr_failover_drill``, as JSON:
``{"job_flow_id": "j-…", "standby_job_flow_id": "j-…", "allocation_id": "eipalloc-…", "target_groups": ["emr-livy"],
"rto_minutes": 15}``. Without ``standby_job_flow_id``, give ``job_flow_overrides`` for the cluster to launch. With
``"fail_over": true`` the drill does the failover itself; otherwise the DAG that watches the primary must be running.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_eip_provider.cli.drill.task import execute_drill, plan_drill

try:
    from airflow.sdk import DAG, Variable, task
except ImportError:  # Airflow 2
    from airflow.decorators import task
    from airflow.models import DAG, Variable


def settings() -> dict[str, Any]:
    """Return what the drill is about; read when a task runs, not when the file is parsed."""
    known: dict[str, Any] = Variable.get("emr_failover_drill", deserialize_json=True)
    return known


with DAG(
    "emr_failover_drill",
    description="Checks that a standby would take over; stops the primary when it is told to",
    schedule="@daily",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
    params={"confirm": ""},  # the id of the primary, to stop it
    tags=["eip"],
) as dag:

    @task(task_id="plan")
    def plan() -> dict[str, Any]:
        """Check subnets, quota, permissions, target groups and the standby."""
        return plan_drill(**settings())

    @task.short_circuit(task_id="confirmed")
    def confirmed(*, params: dict[str, Any]) -> bool:
        """Go on only when the run was triggered with a confirmation."""
        return bool(params["confirm"])

    @task(task_id="execute", retries=0)
    def execute(*, params: dict[str, Any], ti: Any) -> dict[str, Any]:
        """Stop the primary, and measure the recovery."""
        return execute_drill(confirm=str(params["confirm"]), ti=ti, **settings())

    plan() >> confirmed() >> execute()
