"""Run EMR steps that need the Elastic IP, and only while it is on their cluster."""

from __future__ import annotations

import copy
import re
import time
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.emr import EmrAddStepsOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, own_xcom
from airflow_eip_provider.calls import perform
from airflow_eip_provider.exceptions import (
    AddressLostError,
    ClusterEndedError,
    InvalidInputError,
    NotBoundError,
    NotKnownYetError,
    NotLeasedError,
    PermanentError,
    StepFailedError,
    WaitTimeoutError,
)
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.step_logs import StepLogHook
from airflow_eip_provider.hooks.teardown import cancel_steps
from airflow_eip_provider.lock.programs import guard
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.owner import Owner
from airflow_eip_provider.operators.phases import (
    CLUSTER_LINKS,
    PhasedOperator,
    Result,
    State,
    raise_if_cluster_gone,
)
from airflow_eip_provider.operators.rendering import StructuredFields
from airflow_eip_provider.operators.targets import check_job_flow_id
from airflow_eip_provider.operators.tenancy import UNSET
from airflow_eip_provider.readings.clusters import GUARD_MARK, read_active_steps, read_all_steps, read_steps
from airflow_eip_provider.readings.egress import read_egress
from airflow_eip_provider.readings.step_logs import StepLogs, read_logs_written
from airflow_eip_provider.triggers.emr import EmrFencedStepsTrigger, EmrStepLogsTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.readings.clusters import Step
    from airflow_eip_provider.triggers.watch import WatchTrigger

_LOGS_TAKE = timedelta(minutes=6)  # EMR archives logs every five minutes (EMR Management Guide, "View log files")
_LOG_TAIL_LINES = 40
_NONCE_DIGITS = 12
_THROTTLED_DELAYS = (1, 2, 4, 8)  # seconds
_NAME_LENGTH = 256  # StepConfig.Name (EMR API reference)


@dataclass(frozen=True, slots=True)
class _Mark:
    """What the names of a try's steps end with, so that a later try finds them."""

    owner: str
    try_number: int

    @classmethod
    def of(cls, context: Context) -> _Mark:
        """Return a task's mark in this try."""
        return cls(Owner.of(context).digest[:_NONCE_DIGITS], context["ti"].try_number)

    def __str__(self) -> str:
        return f"{GUARD_MARK}{self.owner}.{self.try_number}]"

    def try_of(self, name: str) -> int | None:
        """Return the try of this owner that submitted a step; ``None`` for a step of others."""
        found = re.search(rf"{re.escape(GUARD_MARK + self.owner)}\.(\d+)\]$", name)
        return int(found[1]) if found else None


@dataclass(slots=True)
class StepsState(State):
    """
    The steps that were submitted.

    :param egress: the way out that they were submitted for: the fields of ``Egress``.
    """

    job_flow_id: str
    egress: dict[str, str | None]
    deadline: float
    step_ids: list[str] = field(default_factory=list)
    logs_deadline: float | None = None


class EmrAddStepsWithStaticIpOperator(StructuredFields, PhasedOperator, EmrAddStepsOperator):
    """
    Run steps on a cluster that carries the Elastic IP, watched together with the address.

    A drop-in for ``EmrAddStepsOperator`` that always waits for its steps: they are submitted only while the address is
    on this cluster, or on its NAT gateway with the route to it, and cancelled when it leaves. When a step fails, the
    task log shows EMR's reason and the tail of the step's stdout and stderr from the log bucket.

    Returns the step ids, and pushes them as ``step_ids`` when they are submitted. Steps still running after a crash are
    found again by the retry, by a nonce in their names. On failure, kill or timeout the steps are cancelled; the
    cluster is left to the teardown.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, elasticmapreduce:AddJobFlowSteps,
    …:CancelSteps, …:DescribeCluster, …:ListSteps; s3:GetObject and s3:ListBucket on the log bucket; reading
    the lock store, see ``stores``. For a NAT gateway also ec2:DescribeNatGateways, …:DescribeRouteTables,
    …:DescribeSubnets.

    :param allocation_id: the Elastic IP, ``eipalloc-…``. (templated)
    :param job_flow_id: the cluster, e.g. ``create.output``. (templated)
    :param steps: as in the stock operator: any sequence of mappings, or a text that spells one. Arguments are text,
        also with ``render_template_as_native_obj``; one that ends in ".json" is no template file. (templated,
        ``.json``)
    :param execution_role_arn: the runtime role of the steps. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param wait_for_completion: only ``True``; a step that nobody watches is not fenced.
    :param waiter_delay: seconds between two looks at steps and address; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, how long the steps may take; a day by default.
    """

    state_class = StepsState
    text_only = True
    permanent_errors = (PermanentError, ClusterEndedError)  # a retry would find the same cluster gone
    aws_hook_class = EmrClusterHook
    template_fields: Sequence[str] = aws_template_fields(
        "allocation_id", "cluster_states", "execution_role_arn", "job_flow_id", "job_flow_name", "steps"
    )
    operator_extra_links = CLUSTER_LINKS  # type: ignore[assignment]

    _submits = False

    def __init__(
        self,
        *,
        allocation_id: str,
        lock_store: str | None = UNSET,
        wait_for_completion: bool = True,
        waiter_delay: int = 15,
        waiter_max_attempts: int = 5760,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            waiter_delay=waiter_delay, waiter_max_attempts=waiter_max_attempts, deferrable=deferrable, **kwargs
        )
        self.allocation_id = allocation_id
        self.lock_store = lock_store
        self.wait_for_completion = wait_for_completion

    def begin(self, context: Context) -> StepsState:
        """Refuse what is wrong and a cluster without the address; find the steps of an earlier try, else submit."""
        steps = self._checked_steps()
        job_flow_id = self._job_flow_id()
        cluster = self.emr.get_cluster(job_flow_id)
        if cluster is None:
            raise NotKnownYetError(job_flow_id)
        if cluster.is_ending:
            raise ClusterEndedError(job_flow_id, state=cluster.state, reason=cluster.reason)
        egress = self.eip.read(read_egress(self.allocation_id, cluster))
        if isinstance(egress, str):
            raise NotBoundError(self.allocation_id, job_flow_id=job_flow_id, place=egress)
        if self.tenancy is not None and (standing := self.tenancy.perform(guard(job_flow_id))) is not None:
            raise NotLeasedError(self.allocation_id, job_flow_id=job_flow_id, standing=standing)
        self.link_cluster(context, job_flow_id, log_uri=cluster.log_uri)
        self.link_address(context)
        state = StepsState(
            try_number=context["ti"].try_number,
            job_flow_id=job_flow_id,
            egress=asdict(egress),
            deadline=time.time() + float(self.waiter_delay) * int(self.waiter_max_attempts),
        )
        mark = _Mark.of(context)
        adopted = self._adopt(job_flow_id, mark, count=len(steps), first_try=self._first_try(context))
        if not adopted:
            self.check_not_killed()
            self._submits = True
        state.step_ids = adopted or self._submit(job_flow_id, steps, mark)
        context["ti"].xcom_push(key="job_flow_id", value=job_flow_id)
        context["ti"].xcom_push(key="step_ids", value=state.step_ids)
        return state

    def advance(self, context: Context, state: StepsState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Watch steps and address; then judge the steps."""
        if event is None:
            return self._watch_steps(state)
        facts = event["data"]
        if event["status"] == "failed":
            if facts["gone"] == "address":
                self.check_not_killed()
                self.emr.cancel_steps(state.job_flow_id, step_ids=facts["active"])
                raise AddressLostError(
                    self.allocation_id,
                    job_flow_id=state.job_flow_id,
                    place=facts["place"],
                    consequence=f"cancelled the steps that still needed it: {', '.join(facts['active'])}",
                )
            raise_if_cluster_gone(facts)
        steps = self.emr.read(read_steps(state.job_flow_id, step_ids=state.step_ids))
        if len(steps) < len(state.step_ids) or any(step.is_active for step in steps):
            if time.time() < state.deadline:
                return self._watch_steps(state)
            raise WaitTimeoutError(
                f"steps {', '.join(state.step_ids)} of cluster '{state.job_flow_id}' to end",
                last_seen=event["message"],
                bound="waiter_delay or waiter_max_attempts",
            )
        failed = next((step for step in steps if step.state != "COMPLETED"), None)
        return self._failed(state, failed) if failed else Result(state.step_ids)

    def undo(self, context: Context, state: StepsState | None) -> None:
        """Cancel what is still active of the steps that this task submitted."""
        job_flow_id = state.job_flow_id if state else own_xcom(context, "job_flow_id")
        step_ids = state.step_ids if state else own_xcom(context, "step_ids")
        if state is None and self._submits:  # the answer may have been lost
            job_flow_id, mark = self._job_flow_id(), _Mark.of(context)
            active = self.emr.read(read_active_steps(job_flow_id))
            step_ids = [step.step_id for step in active if mark.try_of(step.name) == mark.try_number]
        if not job_flow_id or not step_ids:
            return
        cancel_steps(self.emr, job_flow_id=job_flow_id, step_ids=step_ids)

    def undo_when_killed(self, state: StepsState) -> tuple[str, dict[str, Any]] | None:
        """The same as :meth:`undo`, for the triggerer."""
        return "steps", {"job_flow_id": state.job_flow_id, "step_ids": state.step_ids}

    def _checked_steps(self) -> list[dict[str, Any]]:
        preflight.check_allocation_id(self.allocation_id)
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        if not self.wait_for_completion:
            raise InvalidInputError(
                "checking wait_for_completion=False",
                problem="a step that nobody watches would run on after the address left",
                remedy="leave wait_for_completion out",
            )
        return preflight.checked_steps(self.steps)

    def _job_flow_id(self) -> str:
        job_flow_id = self.job_flow_id or (
            self.emr.get_cluster_id_by_name(str(self.job_flow_name), self.cluster_states)
            if self.job_flow_name
            else None
        )
        if not job_flow_id:
            raise InvalidInputError(
                "submitting steps",
                problem=f"no cluster: job_flow_id is {self.job_flow_id!r}, job_flow_name is {self.job_flow_name!r}",
                remedy="pass the output of the creating task as job_flow_id",
            )
        check_job_flow_id(job_flow_id)
        return str(job_flow_id)

    def _first_try(self, context: Context) -> int:
        """Return the first try since the task was last cleared: a clear allows as many retries again."""
        return max(1, int(context["ti"].max_tries) - int(self.retries or 0) + 1)

    def _adopt(self, job_flow_id: str, mark: _Mark, *, count: int, first_try: int) -> list[str]:
        """
        Find the steps that were submitted already: those that are still active, or that all completed.

        A task that was cleared runs its steps again; one whose process or whose answer was lost does not.
        """
        may_be_done = mark.try_number > first_try or self._submits
        reading = read_all_steps(job_flow_id) if may_be_done else read_active_steps(job_flow_id)
        tries: dict[int, list[Step]] = {}
        for step in reversed(self.emr.read(reading)):
            if (number := mark.try_of(step.name)) is not None:
                tries.setdefault(number, []).append(step)
        newest = max(tries, default=0)
        for number, steps in tries.items():
            own = self._submits and number == mark.try_number
            states = {step.state for step in steps}
            completed = len(steps) == count and states == {"COMPLETED"} and number == newest >= first_try
            active = bool(states & {"PENDING", "RUNNING"}) and "CANCEL_PENDING" not in states
            if own or active or completed:
                step_ids = [step.step_id for step in steps]
                self.log.info("Going on with steps %s of try %s", ", ".join(step_ids), number)
                return step_ids
        return []

    def _submit(self, job_flow_id: str, steps: list[dict[str, Any]], mark: _Mark) -> list[str]:
        """AddJobFlowSteps has no token either: the mark in the names lets a retry find what it submitted."""
        marked = copy.deepcopy(steps)
        for step in marked:
            step["Name"] = f"{step['Name'][: _NAME_LENGTH - len(str(mark)) - 1]} {mark}"
        role = {"ExecutionRoleArn": self.execution_role_arn} if self.execution_role_arn else {}
        step_ids = self.emr.submit_steps(job_flow_id, marked, **role)
        self.log.info("Submitted steps %s to cluster %s", ", ".join(step_ids), job_flow_id)
        return step_ids

    def _watch_steps(self, state: StepsState) -> WatchTrigger:
        return EmrFencedStepsTrigger(
            allocation_id=self.allocation_id,
            egress=state.egress,
            job_flow_id=state.job_flow_id,
            step_ids=state.step_ids,
            **self.watch(state, deadline=state.deadline),
        )

    def _failed(self, state: StepsState, step: Step) -> WatchTrigger:
        """Wait until EMR has written the failed step's logs, a few minutes at most; show them and fail."""
        cluster = self.emr.get_cluster(state.job_flow_id)
        if cluster is None or not cluster.log_uri:
            self.log.error("Cluster %s has no LogUri: there are no step logs to show", state.job_flow_id)
        else:
            logs = StepLogs.of(log_uri=cluster.log_uri, job_flow_id=state.job_flow_id, step_id=step.step_id)
            state.logs_deadline = state.logs_deadline or time.time() + _LOGS_TAKE.total_seconds()
            hook = StepLogHook(**self._hook_kwargs)
            if not perform(read_logs_written(logs), {"s3": hook.conn}) and time.time() < state.logs_deadline:
                self.log.info("Step %s ended %s; waiting for its logs", step.step_id, step.state)
                shared = self.watch(state, deadline=state.logs_deadline)
                return EmrStepLogsTrigger(bucket=logs.bucket, prefix=logs.prefix, **shared)
            for stream, lines in hook.tail(logs, lines=_LOG_TAIL_LINES):
                self.log.error("Tail of %s of step %s:\n%s", stream, step.step_id, "\n".join(lines))
        raise StepFailedError(
            state.job_flow_id, step_id=step.step_id, name=step.name, state=step.state, reason=step.reason
        )
