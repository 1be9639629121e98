"""The failover that the drill itself does, with the same rules and operator as a DAG that watches the primary."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.cli.in_process import OnHooks, TaskInstance, run_operator
from airflow_eip_provider.cli.scenario import new_run_id
from airflow_eip_provider.exceptions import TransientError, WaitTimeoutError
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from airflow_eip_provider.triggers.health import Known, PrimaryWatch
from airflow_eip_provider.triggers.observed import Observed

if TYPE_CHECKING:
    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.cli.signals import StoppedOnce
    from airflow_eip_provider.hooks.aws import AwsHooks


class _Failover(OnHooks, EmrFailoverOperator):
    pass


def detect_failure(plan: Plan, hooks: AwsHooks) -> dict[str, Any]:
    """
    Wait until the primary is unhealthy, by the rules of EmrPrimaryHealthSensor.

    :return: what the sensor would return.
    :raises WaitTimeoutError: when the primary is still healthy after ``--limit``.
    :raises TransientError: when the watch itself fails, e.g. because EMR does not know the cluster.
    """
    start = clock.time()
    watch = PrimaryWatch(
        job_flow_id=plan.job_flow_id,
        checks=[check.as_mapping() for check in plan.http_checks],
        until="unhealthy",
        unhealthy_after="3/5",
        healthy_after="1/1",
        host="private_ip",
        known=Known(since=start, start_by=start),
    )
    verdict = watch.poll(Observed(hooks.client_for))
    while verdict.status == "pending":
        if clock.time() >= start + plan.limit_seconds:
            what = f"cluster '{plan.job_flow_id}' to be unhealthy"
            raise WaitTimeoutError(what, last_seen=verdict.message, bound="--limit")
        clock.sleep(plan.poll_seconds)
        verdict = watch.poll(Observed(hooks.client_for))
    if verdict.status != "done":
        doing = f"watching cluster '{plan.job_flow_id}'"
        raise TransientError(doing, problem=verdict.message, remedy="correct that; nothing was moved")
    return verdict.data


def fail_over(plan: Plan, hooks: AwsHooks, *, health: dict[str, Any], signals: StoppedOnce) -> dict[str, Any]:
    """
    Move the service to the standby.

    :param health: the result of :func:`detect_failure`.
    :param signals: what stops the drill.
    :return: what EmrFailoverOperator returns.
    """
    operator = _Failover(
        task_id="failover",
        job_flow_id=plan.job_flow_id,
        allocation_id=plan.allocation_id,
        standby_job_flow_id=plan.standby_job_flow_id,
        job_flow_overrides=dict(plan.job_flow_overrides) if plan.job_flow_overrides else None,
        fallbacks=list(plan.fallbacks),
        target_groups=[{"target_group": name, "port": port} for name, port in plan.groups],
        health=health,
        checks=[check.as_mapping() for check in plan.http_checks],
        lock_store=plan.lock_store,
        emr_conn_id=None,
        aws_conn_id=None,
        waiter_delay=math.ceil(plan.poll_seconds),
        waiter_max_attempts=max(1, math.ceil(plan.limit_seconds / plan.poll_seconds)),
        deferrable=False,
    )
    ti = TaskInstance("airflow-eip-drill", new_run_id(), "failover")
    run_operator(operator, hooks, ti, signals=signals)
    return dict(ti.xcoms["failover"])
