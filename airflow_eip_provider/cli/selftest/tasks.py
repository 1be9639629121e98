"""The three tasks of a self-test, with the operators of a DAG, run in this process."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.cli.in_process import OnHooks, TaskInstance, run_operator
from airflow_eip_provider.cli.scenario import new_run_id
from airflow_eip_provider.cli.selftest.plan import IDLE_TIMEOUT
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator
from airflow_eip_provider.operators.emr.probe import EgressProbeOperator
from airflow_eip_provider.operators.owner import Owner

if TYPE_CHECKING:
    from airflow_eip_provider.cli.selftest.plan import Plan
    from airflow_eip_provider.cli.signals import StoppedOnce
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

    :param signals: what stops the self-test; an undo is not stopped.
    """

    def __init__(self, plan: Plan, hooks: AwsHooks, *, signals: StoppedOnce) -> None:
        self._plan, self._hooks, self._run_id, self._signals = plan, hooks, new_run_id(), signals
        self._create_ti = self._task_instance("create")

    @functools.cached_property
    def owner(self) -> Owner:
        """The owner of the lease, and of the cluster."""
        return Owner.of({"ti": self._create_ti})  # type: ignore[typeddict-item]

    @property
    def job_flow_id(self) -> str | None:
        """The cluster; ``None`` until RunJobFlow was answered."""
        return self._create_ti.xcoms.get("job_flow_id")

    @property
    def static_ip(self) -> dict[str, Any]:
        """What the address was associated with: the XCom ``static_ip``."""
        return dict(self._create_ti.xcoms.get("static_ip") or {})

    def create(self) -> None:
        """Take the lease, launch the cluster, and associate the address; undo all of it on failure."""
        operator = _Create(
            job_flow_overrides=dict(self._plan.job_flow),
            emr_conn_id=None,
            lock_timeout=timedelta(0),  # every other owner comes first
            idle_timeout=IDLE_TIMEOUT,
            prewarm=False,
            **self._shared("create"),
        )
        run_operator(operator, self._hooks, self._create_ti, signals=self._signals)

    def probe(self) -> list[str]:
        """Run the egress probe while the cluster has the address; return the step's id."""
        operator = _Probe(
            probe={"public_ip": self.static_ip["public_ip"], **self._plan.probe},
            job_flow_id=self.job_flow_id,
            **self._shared("probe"),
        )
        return list(run_operator(operator, self._hooks, self._task_instance("probe"), signals=self._signals))

    def terminate(self, job_flow_id: str) -> None:
        """Terminate the cluster, free the address, and release the lease; safe to repeat."""
        operator = _Terminate(job_flow_id=job_flow_id, **self._shared("terminate"))
        run_operator(operator, self._hooks, self._task_instance("terminate"))

    def _task_instance(self, task_id: str) -> TaskInstance:
        return TaskInstance(DAG_ID, self._run_id, task_id)

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
