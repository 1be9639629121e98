"""The DAGs of a scenario: the one that the scenario ends, and the next owner of the same address."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from airflow_eip_provider.operators import phases
from airflow_eip_provider.task_groups.emr import StaticIpCluster
from harness.job_flow import one_node, sleeping_step

try:
    from airflow.sdk import DAG, get_parsing_context
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.utils.dag_parsing_context import get_parsing_context

# Simulated seconds after which EMR ends an idle cluster. A normal run is idle for a fraction of it.
IDLE_SECONDS = 1200
_STEP_SECONDS = 60
# Real seconds that a cluster may take to start.
_START_SECONDS = 180


def scenario_dag(
    dag_id: str,
    *,
    allocation_id: str,
    subnet_id: str,
    deferrable: bool,
    step_seconds: int = _STEP_SECONDS,
    dagrun_timeout: float | None = None,
    execution_timeout: dict[str, float] | None = None,
    airflow_times_out_first: bool = False,
    lock_timeout: float | None = None,
    **create: Any,
) -> DAG:
    """
    Return a DAG with one cluster and one step.

    :param step_seconds: duration of the step, in simulated seconds.
    :param dagrun_timeout: in seconds.
    :param execution_timeout: of some of its tasks, in seconds.
    :param lock_timeout: in seconds.
    :param airflow_times_out_first: whether Airflow's timeout of a deferral comes before the trigger's deadline.
    :param create: further parameters of the creating task.
    """
    if airflow_times_out_first and get_parsing_context().dag_id:  # only in the processes of this DAG's tasks
        phases._DEFERRAL_MARGIN = timedelta(seconds=8 - _START_SECONDS)
    if lock_timeout:
        create["lock_timeout"] = timedelta(seconds=lock_timeout)
    delay = 10 if deferrable else 2
    with (
        DAG(
            dag_id,
            schedule=None,
            start_date=datetime(2026, 1, 1, tzinfo=UTC),
            catchup=False,
            dagrun_timeout=timedelta(seconds=dagrun_timeout) if dagrun_timeout else None,
            default_args={"retries": 1, "retry_delay": timedelta(seconds=1)},
        ) as dag,
        StaticIpCluster(
            "eip",
            allocation_id=allocation_id,
            job_flow_overrides=one_node(dag_id, subnet_id=subnet_id),
            deferrable=deferrable,
            waiter_delay=delay,
            waiter_max_attempts=_START_SECONDS // delay,
            idle_timeout=timedelta(seconds=IDLE_SECONDS),
            **create,
        ) as cluster,
    ):
        cluster.steps([sleeping_step(step_seconds)])
    for task_id, seconds in (execution_timeout or {}).items():
        dag.get_task(task_id).execution_timeout = timedelta(seconds=seconds)
    return dag
