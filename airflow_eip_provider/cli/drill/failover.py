"""The failover, done by the drill itself where no DAG watches the primary: the same rules, the same operator."""

from __future__ import annotations

import math
import secrets
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.cli.in_process import OnHooks, TaskInstance, carry_out
from airflow_eip_provider.exceptions import TransientError, WaitTimeoutError
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from airflow_eip_provider.triggers.health import Known, PrimaryWatch, look_once
from airflow_eip_provider.triggers.observed import Observed

if TYPE_CHECKING:
    from airflow_eip_provider.cli.drill.plan import Plan
    from airflow_eip_provider.hooks.aws import AwsHooks

_DAG_ID = "airflow-eip-drill"


class _Failover(OnHooks, EmrFailoverOperator):
    pass


class Failover:
    """The two tasks of a failover: the watch, and the move."""

    def __init__(self, plan: Plan, hooks: AwsHooks) -> None:
        self._plan, self._hooks = plan, hooks
        self._run_id = f"{clock.now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        self._checks = [check.as_mapping() for check in plan.services]

    def detect(self) -> dict[str, Any]:
        """
        Wait until the primary is unhealthy, by the rules of EmrPrimaryHealthSensor; return what it would return.

        :raises WaitTimeoutError: when it is not, within ``--limit``.
        :raises TransientError: when the watch itself is wrong, such as for a cluster that EMR does not know.
        """
        now = clock.time()
        watch = PrimaryWatch(
            job_flow_id=self._plan.job_flow_id,
            checks=self._checks,
            until="unhealthy",
            unhealthy_after="3/5",
            healthy_after="1/1",
            host="private_ip",
            known=Known(since=now, start_by=now),
        )
        found = look_once(watch, Observed(self._hooks.client_for), first=True)
        while found.status == "pending":
            if clock.time() >= now + self._plan.limit.total_seconds():
                what = f"cluster '{self._plan.job_flow_id}' to be unhealthy"
                raise WaitTimeoutError(what, last_seen=found.message, bound="--limit")
            clock.sleep(self._plan.poll_seconds)
            found = look_once(watch, Observed(self._hooks.client_for), first=False)
        if found.status != "done":
            raise TransientError(
                f"watching cluster '{self._plan.job_flow_id}'",
                problem=found.message,
                remedy="correct that; nothing was moved",
            )
        return found.data

    def move(self, health: dict[str, Any]) -> dict[str, Any]:
        """
        Move the service, and return what the operator says of it.

        :param health: what the sensor has found.
        """
        plan = self._plan
        operator = _Failover(
            task_id="failover",
            job_flow_id=plan.job_flow_id,
            allocation_id=plan.allocation_id,
            standby_job_flow_id=plan.standby_id,
            job_flow_overrides=dict(plan.job_flow) if plan.job_flow else None,
            fallbacks=list(plan.fallbacks),
            target_groups=[{"target_group": name, "port": port} for name, port in plan.target_groups],
            health=health,
            checks=self._checks,
            lock_store=plan.lock_store,
            emr_conn_id=None,
            aws_conn_id=None,
            waiter_delay=math.ceil(plan.poll_seconds),
            waiter_max_attempts=max(1, math.ceil(plan.limit.total_seconds() / plan.poll_seconds)),
            deferrable=False,
        )
        ti = TaskInstance(_DAG_ID, self._run_id, "failover")
        carry_out(operator, self._hooks, ti)
        return dict(ti.xcoms["failover"])
