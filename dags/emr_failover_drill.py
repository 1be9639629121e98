"""Checks every day that a standby would take over, and rehearses the failover on request.

The task ``plan`` changes nothing, and fails if something would keep the standby from taking over. ``execute`` stops the
primary on purpose; it is skipped unless the run was triggered with ``confirm``, the ID of the primary. It is never
retried. The DAG is paused at first.

Before you unpause it, describe the pair in one Airflow Variable::

    airflow variables set emr_failover_drill '{
        "allocation_id": "eipalloc-0123456789abcdef0",
        "standby_tags": {"emr-standby": "emr_standby", "airflow-eip:allocation-id": "eipalloc-0123456789abcdef0"},
        "target_groups": ["emr-yarn", "emr-hdfs", "emr-livy"], "rto_minutes": 15}'

The primary is the cluster that has the address, and the standby the one with the tags that a failover would choose, so
the Variable stays as it is after a failover. In place of ``standby_tags``, give ``job_flow_overrides`` for the cluster
to launch. ``job_flow_id`` and ``standby_job_flow_id`` name the clusters instead; after each failover, both change. With
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

VARIABLE = "emr_failover_drill"


def settings() -> dict[str, Any]:
    """Return what the drill is about, with the clusters of now; read when a task runs, not when the file is parsed."""
    from airflow_eip_provider.hooks.eip import ElasticIpHook  # noqa: PLC0415 - parsing does not need them
    from airflow_eip_provider.hooks.emr import EmrClusterHook  # noqa: PLC0415
    from airflow_eip_provider.operators.failover.standby import find_standby  # noqa: PLC0415

    known: dict[str, Any] = dict(Variable.get(VARIABLE, None, deserialize_json=True) or {})
    if not known.keys() & {"allocation_id", "job_flow_id"}:
        problem = "has neither 'allocation_id' nor 'job_flow_id'" if known else "is missing"
        raise ValueError(f"Airflow Variable {VARIABLE!r} {problem}; the start of {__file__} shows what it holds")
    where = {"aws_conn_id": known.get("aws_conn_id", "aws_default"), "region_name": known.get("region_name")}
    if "job_flow_id" not in known:
        eip = ElasticIpHook(**where)
        address = eip.get_address(known["allocation_id"])
        known["job_flow_id"] = address and not address.is_free and eip.get_holder(address).job_flow_id
        if not known["job_flow_id"]:
            place = eip.describe_place(known["allocation_id"])
            raise ValueError(f"no cluster has Elastic IP {known['allocation_id']!r}: it is {place}")
    if tags := known.pop("standby_tags", None):
        emr, primary = EmrClusterHook(**where), known["job_flow_id"]
        known["standby_job_flow_id"] = find_standby(emr, old=primary, job_flow_id=None, tags=tags)
        if not known["standby_job_flow_id"]:
            raise ValueError(f"no standby of {primary!r} with the tags {tags} is RUNNING or WAITING: launch one")
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
