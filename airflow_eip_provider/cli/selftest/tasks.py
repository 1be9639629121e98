"""The operators of a DAG, carried out one after the other in this process."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.in_process import OnHooks, TaskInstance, carry_out
from airflow_eip_provider.cli.selftest.plan import IDLE_TIMEOUT
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator
from airflow_eip_provider.operators.emr.probe import EgressProbeOperator
from airflow_eip_provider.operators.owner import Owner

if TYPE_CHECKING:
    from airflow_eip_provider.cli.selftest.plan import Plan
    from airflow_eip_provider.hooks.aws import AwsHooks

DAG_ID = "airflow-eip-selftest"


class _Create(OnHooks, EmrCreateWithStaticIpOperator):
    pass


class _Probe(OnHooks, EgressProbeOperator):
    pass


class _Terminate(OnHooks, EmrTerminateWithStaticIpOperator):
    pass


class Tasks:
    """
    The three tasks of a self-test.

    :param run_id: tells two self-tests apart.
    """

    def __init__(self, plan: Plan, hooks: AwsHooks, run_id: str) -> None:
        self._plan, self._hooks, self._run_id = plan, hooks, run_id
        self.create_ti = TaskInstance(DAG_ID, run_id, "create")

    @functools.cached_property
    def owner(self) -> Owner:
        """The owner of the lease, and of the cluster."""
        return Owner.of({"ti": self.create_ti})  # type: ignore[typeddict-item]

    @property
    def job_flow_id(self) -> str | None:
        """The cluster, from the moment that RunJobFlow was answered."""
        return self.create_ti.xcoms.get("job_flow_id")

    @property
    def static_ip(self) -> dict[str, Any]:
        """Where the address was put."""
        return dict(self.create_ti.xcoms.get("static_ip") or {})

    def create(self) -> None:
        """Take the lease, launch, and bind; on failure undo all of it."""
        operator = _Create(
            job_flow_overrides=dict(self._plan.job_flow),
            emr_conn_id=None,
            lock_timeout=timedelta(0),  # whoever else wants the address comes first
            idle_timeout=IDLE_TIMEOUT,
            prewarm=False,
            **self._shared("create"),
        )
        carry_out(operator, self._hooks, self.create_ti)

    def probe(self) -> list[str]:
        """Run the egress probe while the cluster has the address; return the step's id."""
        operator = _Probe(
            probe={"public_ip": self.static_ip["public_ip"], **self._plan.probe},
            job_flow_id=self.job_flow_id,
            **self._shared("probe"),
        )
        return list(carry_out(operator, self._hooks, TaskInstance(DAG_ID, self._run_id, "probe")))

    def terminate(self, job_flow_id: str) -> None:
        """End the cluster, free the address, and release the lease; safe to do twice."""
        operator = _Terminate(job_flow_id=job_flow_id, **self._shared("terminate"))
        carry_out(operator, self._hooks, TaskInstance(DAG_ID, self._run_id, "terminate"))

    def _shared(self, task_id: str) -> dict[str, Any]:
        plan = self._plan
        return {
            "task_id": task_id,
            "allocation_id": plan.allocation_id,
            "lock_store": plan.lock_store,
            "aws_conn_id": None,
            "deferrable": False,
            "waiter_delay": plan.poll_seconds,
            "waiter_max_attempts": plan.attempts,
        }
