"""Run EMR steps that need the Elastic IP, and only while it is on their cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.emr import EmrAddStepsOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, own_xcom
from airflow_eip_provider.aws.errors import was_throttled
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS, until_shown
from airflow_eip_provider.exceptions import (
    AddressLostError,
    ClusterEndedError,
    InvalidInputError,
    NotLeasedError,
    PermanentError,
    StepFailedError,
    WaitTimeoutError,
)
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.notifications import checked_notifier
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.emr.lineage import configured, lease_lineage, with_lineage
from airflow_eip_provider.operators.lease_settings import UNSET, attempt_of
from airflow_eip_provider.operators.phases import (
    CLUSTER_LINKS,
    PhasedOperator,
    Result,
    State,
    raise_if_cluster_gone,
)
from airflow_eip_provider.operators.rendering import StructuredFields
from airflow_eip_provider.operators.targets import check_job_flow_id
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.clusters import Step
    from airflow_eip_provider.exceptions import ElasticIpError
    from airflow_eip_provider.lease_client.interface import Undo
    from airflow_eip_provider.notifications import Notifier
    from airflow_eip_provider.operators.emr.fence import Fence
    from airflow_eip_provider.operators.emr.submitted import StepMark
    from airflow_eip_provider.triggers.watch import WatchTrigger

_LOGS_TAKE = timedelta(minutes=6)  # EMR archives logs every five minutes (EMR Management Guide, "View log files")
_LOG_TAIL_LINES = 40
_THROTTLED_DELAYS = (1, 2, 4, 8)  # seconds


@dataclass(slots=True)
class StepsState(State):
    """
    The steps that were submitted.

    :param egress: the way out that they were submitted for: the fields of ``Egress``.
    :param submitted_at: when this try submitted or found them, in seconds since the epoch.
    :param start_deadline: until when the cluster has to have started; ``None`` when it has, or nothing says so.
    :param token: the fencing token of the lease that they were submitted under; ``None`` without a lock store.
    """

    job_flow_id: str
    egress: dict[str, str | None]
    deadline: float
    step_ids: list[str] = field(default_factory=list)
    logs_deadline: float | None = None
    submitted_at: float = 0.0
    start_deadline: float | None = None
    token: int | None = None


class EmrAddStepsWithStaticIpOperator(StructuredFields, PhasedOperator, EmrAddStepsOperator):
    """
    Run steps on a cluster that carries the Elastic IP, watched together with the address.

    A drop-in for ``EmrAddStepsOperator`` that always waits for its steps: they are submitted only while the cluster
    leaves from the address and its lease is active, checked again right after the submission, watched, and cancelled
    when the address leaves or the lease is gone. A cluster leaves from the address when that is on the primary private
    address of the primary network interface of its primary node, or on its NAT gateway with the route to it. When a
    step fails, the task log shows EMR's reason and the tail of the step's stdout and stderr from the log bucket.

    AWS's answers may be up to a minute old. A cluster that seems to be without the address is looked at again for a
    minute before the task fails; running steps are cancelled only when two looks agree, or one that shows the address
    on something else, and not for an answer that may be from before their submission. After an unclear submission, and
    in a retry that finds no step of the try before it, ListSteps is asked again for a minute before anything is
    submitted. These waits are rare, and pass in the worker in either mode.

    Returns the step ids, and pushes them as ``step_ids`` when they are submitted. Steps still running after a crash are
    found again by the retry, by a nonce in their names. When steps are found ended while the address is away and their
    lease was not released, it warns and pushes ``address_left``, {allocation_id, job_flow_id, place, step_ids}: the
    steps that it names may have worked without the address. On failure, kill or timeout the steps are cancelled; the
    cluster is left to the teardown. Only a cluster that has not started when its ``start_timeout`` is over is
    terminated here: its address is freed, its lease ended, and the task fails with what EMR says.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, elasticmapreduce:AddJobFlowSteps,
    …:CancelSteps, …:DescribeCluster, …:ListSteps, and …:ListInstances where EMR's tags on the instances cannot be seen;
    s3:GetObject and s3:ListBucket on the log bucket; reading the lock store, see ``stores``. For a NAT gateway also
    ec2:DescribeNatGateways, …:DescribeRouteTables, …:DescribeSubnets. For a cluster that does not start in time what
    ``EmrTerminateWithStaticIpOperator`` needs.

    :param allocation_id: the Elastic IP, ``eipalloc-…``; of several, it is the one that the cluster has. (templated)
    :param job_flow_id: the cluster, e.g. ``create.output``. (templated)
    :param steps: as in the stock operator: any sequence of mappings, or a text that spells one. Arguments are text,
        also with ``render_template_as_native_obj``; one that ends in ".json" is no template file. (templated,
        ``.json``)
    :param execution_role_arn: the runtime role of the steps. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param wait_for_completion: only ``True``; a step that nobody watches is not fenced.
    :param waiter_delay: seconds between two looks at steps and address; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, how long the steps may take; a day by default.
    :param on_lost: a notifier of Airflow's, or a function that takes the context: called once when the cluster does not
        have the address, or its lease, when the steps need it.
    :param openlineage_inject_parent_job_info: tell the Spark jobs of the steps which task they are part of, so that
        their OpenLineage events link to it. Default: ``[openlineage] spark_inject_parent_job_info``.
    :param openlineage_inject_transport_info: tell them where Airflow sends its OpenLineage events. An API key of that
        becomes part of the step's arguments, which EMR shows. Default: ``[openlineage] spark_inject_transport_info``.
    """

    state_class = StepsState
    text_only = True
    permanent_errors = (PermanentError, ClusterEndedError)  # a retry would find the same cluster gone
    aws_hook_class = EmrClusterHook
    template_fields: Sequence[str] = aws_template_fields(
        "allocation_id", "cluster_states", "execution_role_arn", "job_flow_id", "job_flow_name", "steps"
    )
    operator_extra_links = CLUSTER_LINKS  # type: ignore[assignment]

    _submits = False  # AddJobFlowSteps was sent, and not refused
    _submitted: tuple[str, list[str]] | None = None  # the cluster and its steps, once they are known

    @property
    def may_have_changed(self) -> bool:
        """Whether steps may have been submitted."""
        return self._submits

    def __init__(
        self,
        *,
        allocation_id: Any,
        lock_store: str | None = UNSET,
        wait_for_completion: bool = True,
        waiter_delay: int = 15,
        waiter_max_attempts: int = 5760,
        on_lost: Notifier | None = None,
        openlineage_inject_parent_job_info: bool | None = None,
        openlineage_inject_transport_info: bool | None = None,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            waiter_delay=waiter_delay, waiter_max_attempts=waiter_max_attempts, deferrable=deferrable, **kwargs
        )
        self.allocation_id = allocation_id
        self.lock_store = lock_store
        self.wait_for_completion = wait_for_completion
        self.on_lost = checked_notifier(on_lost, parameter="on_lost")
        parent, transport = openlineage_inject_parent_job_info, openlineage_inject_transport_info
        self.openlineage_inject_parent_job_info = (
            configured("spark_inject_parent_job_info") if parent is None else parent
        )
        self.openlineage_inject_transport_info = (
            configured("spark_inject_transport_info") if transport is None else transport
        )

    def begin(self, context: Context) -> StepsState:
        """Refuse what is wrong and a cluster without the address; find the steps of an earlier try, else submit."""
        from airflow_eip_provider.operators.emr.submitted import StepMark
        from airflow_eip_provider.operators.emr.unstarted import end_unstarted, judged_at

        steps = self._checked_steps()
        job_flow_id = self._job_flow_id()
        mark, first_try = StepMark.of(context), self._first_try(context)
        fence = self._fence(job_flow_id)
        cluster = fence.cluster()
        start_deadline = None if cluster.has_started else judged_at(cluster)
        if start_deadline is not None and clock.time() >= start_deadline and fence.may_end(cluster):
            raise end_unstarted(self, cluster)
        egress = fence.check(cluster)
        self.link_cluster(context, job_flow_id, log_uri=cluster.log_uri)
        self.link_address(context)
        looked_at = clock.time()
        adopted = self._adopt(job_flow_id, mark, count=len(steps), first_try=first_try)
        if not adopted and clock.time() - looked_at >= SECOND_LOOK_SECONDS:
            cluster = fence.cluster()
            egress = fence.check(cluster)
        state = StepsState(
            try_number=context["ti"].try_number,
            job_flow_id=job_flow_id,
            egress=asdict(egress),
            deadline=clock.time() + float(self.waiter_delay) * int(self.waiter_max_attempts),
            start_deadline=start_deadline,
            token=fence.token,
        )
        state.step_ids = adopted or self._submit(job_flow_id, self._with_lineage(steps, context), mark)
        self._submitted = (job_flow_id, state.step_ids)
        state.submitted_at = clock.time()
        context["ti"].xcom_push(key="job_flow_id", value=job_flow_id)
        context["ti"].xcom_push(key="step_ids", value=state.step_ids)
        if (lost := fence.lost_since(cluster=cluster, step_ids=state.step_ids)) is not None:
            raise lost  # undo cancels the steps
        return state

    def advance(self, context: Context, state: StepsState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Watch steps and address; then judge the steps."""
        from airflow_eip_provider.aws.clusters import read_steps

        if event is None:
            return self._watch_steps(state)
        facts = event["data"]
        if event["status"] == "timeout":
            self._check_started(state, facts)
        if event["status"] == "failed":
            if facts["gone"] in {"address", "lease"}:
                self.kill.check()
                self.emr.cancel_steps(state.job_flow_id, step_ids=facts["active"])
                raise self._address_lost(
                    state, place=facts["place"], active=facts["active"], lease=facts["gone"] == "lease"
                )
            raise_if_cluster_gone(facts)
        if event["status"] == "done" and facts.get("bound") and _all_completed(facts, state.step_ids):
            self.measure(state, metrics.STEP_SECONDS, clock.time() - state.submitted_at)
            return Result(state.step_ids)
        steps = read_steps(self.emr.conn, state.job_flow_id, step_ids=state.step_ids)
        if len(steps) < len(state.step_ids) or any(step.is_active for step in steps):
            if clock.time() < state.deadline:
                return self._watch_steps(state)
            raise WaitTimeoutError(
                f"steps {', '.join(state.step_ids)} of cluster '{state.job_flow_id}' to end",
                last_seen=event["message"],
                bound="waiter_delay or waiter_max_attempts",
            )
        self.measure(state, metrics.STEP_SECONDS, clock.time() - state.submitted_at)
        if event["status"] == "done" and facts.get("bound") is False:
            self._warn_address_left(context, state, place=facts["place"], step_ids=facts["unfenced"])
        failed = next((step for step in steps if step.state != "COMPLETED"), None)
        return self._failed(state, failed) if failed else Result(state.step_ids)

    def _check_started(self, state: StepsState, facts: dict[str, Any]) -> None:
        """
        End a cluster that has not started in time; nothing is asked when one of its steps has begun.

        :raises StartTimeoutError: when it is terminated.
        """
        from airflow_eip_provider.operators.emr.unstarted import end_unstarted

        if state.start_deadline is None or clock.time() < state.start_deadline:
            return
        if all(shown == "PENDING" for shown in facts.get("states", {}).values()):
            fence = self._fence(state.job_flow_id)
            cluster = fence.cluster()
            if not cluster.has_started and fence.may_end(cluster):
                raise end_unstarted(self, cluster)
        state.start_deadline = None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Say in OpenLineage which cluster and address the steps had, by which lease."""
        state = self._state
        if state is None:
            return lease_lineage(allocation_id=self.allocation_id, job_flow_id=None)
        return lease_lineage(
            allocation_id=self.allocation_id,
            job_flow_id=state.job_flow_id,
            public_ip=state.egress.get("public_ip"),
            token=state.token,
        )

    def _with_lineage(self, steps: list[dict[str, Any]], context: Context) -> list[dict[str, Any]]:
        return with_lineage(
            steps,
            context,
            parent=self.openlineage_inject_parent_job_info,
            transport=self.openlineage_inject_transport_info,
        )

    def to_undo(self, context: Context, state: StepsState | None) -> Undo | None:
        """Cancel the steps that this task submitted: those that are known, else those that EMR shows with its mark."""
        from airflow_eip_provider.lease_client.interface import Undo
        from airflow_eip_provider.operators.emr.submitted import StepMark

        if state is not None:
            job_flow_id, step_ids = state.job_flow_id, state.step_ids
        elif self._submitted is not None:
            job_flow_id, step_ids = self._submitted
        elif self._submits or not (step_ids := list(own_xcom(context, "step_ids") or ())):
            mark = StepMark.of(context)
            if not self._submits and mark.try_number == 1:
                return None
            job_flow_id = self._job_flow_id()
            step_ids = self._find_submitted(job_flow_id, mark)
        else:
            job_flow_id = own_xcom(context, "job_flow_id")
        return Undo(attempt_of(context), job_flow_id, step_ids=tuple(step_ids))

    def _checked_steps(self) -> list[dict[str, Any]]:
        preflight.check_allocation_id(self.allocation_id)
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        if not self.wait_for_completion:
            raise InvalidInputError(
                "checking wait_for_completion=False",
                problem="an unwatched step would continue after the address has left",
                remedy="leave wait_for_completion out",
            )
        return preflight.checked_steps(self.steps)

    def _job_flow_id(self) -> str:
        if not is_nothing(self.job_flow_id):
            check_job_flow_id(self.job_flow_id)
            return str(self.job_flow_id)
        found = (
            None
            if is_nothing(self.job_flow_name)
            else self.emr.get_cluster_id_by_name(str(self.job_flow_name), self.cluster_states)
        )
        if not found:
            raise InvalidInputError(
                "submitting steps",
                problem=f"no cluster: job_flow_id is {self.job_flow_id!r}, job_flow_name is {self.job_flow_name!r}",
                remedy="pass the output of the creating task as job_flow_id, and see that that task has returned it",
            )
        return str(found)

    def _first_try(self, context: Context) -> int:
        """Return the first try since the task was last cleared: a clear allows as many retries again."""
        return max(1, int(context["ti"].max_tries) - int(self.retries or 0) + 1)

    def _fence(self, job_flow_id: str) -> Fence:
        from airflow_eip_provider.operators.emr.fence import Fence

        return Fence(
            self.allocation_id,
            job_flow_id=job_flow_id,
            eip=self.eip,
            emr=self.emr,
            lease_client=self.lease_client,
            kill=self.kill,
        )

    def _adopt(self, job_flow_id: str, mark: StepMark, *, count: int, first_try: int) -> list[str]:
        """
        Find the steps that were submitted already, to go on with them instead of submitting them twice.

        ListSteps may not show yet what an earlier try submitted, or what this one did when the answer was lost: then it
        is asked again for as long as that can last.
        """
        from airflow_eip_provider.aws.clusters import read_active_steps, read_all_steps
        from airflow_eip_provider.operators.emr.submitted import steps_to_adopt

        if self._submitted is not None:  # by this try, which began once more
            return self._submitted[1]
        is_retry = mark.try_number > 1  # after a clear, too: the try before it may have submitted just now
        own_try = mark.try_number if self._submits else None
        deadline = clock.time() + READS_LAG_SECONDS
        while True:
            read = read_all_steps if is_retry or self._submits else read_active_steps
            tries = mark.by_try(read(self.emr.conn, job_flow_id))
            found = steps_to_adopt(tries, count=count, first_try=first_try, own_try=own_try)
            # Once the try before this one shows its steps, none of them can surface later.
            missing = self._submits or (is_retry and len(tries.get(mark.try_number - 1, ())) < count)
            if len(found) == count or not missing or clock.time() >= deadline:
                break
            self.log.info("ListSteps may not show yet what was submitted before; looking again")
            self.kill.pause(SECOND_LOOK_SECONDS)
        if found:
            self.log.info("Going on with steps %s, which were submitted already", ", ".join(found))
        return found

    def _find_submitted(self, job_flow_id: str, mark: StepMark) -> list[str]:
        """
        Find the active steps of this try and of earlier ones.

        ListSteps may show them late, so it is asked again for as long as that can last; once only after a kill.
        """
        from airflow_eip_provider.aws.clusters import read_all_steps

        awaited = mark.try_number if self._submits else mark.try_number - 1
        tries: dict[int, list[Step]] = {}

        def is_shown() -> bool:
            tries.update(mark.by_try(read_all_steps(self.emr.conn, job_flow_id)))
            return awaited in tries or self.kill.is_set

        until_shown(is_shown)
        own = [step for number, steps in tries.items() if number <= mark.try_number for step in steps]
        return [step.step_id for step in own if step.is_active]

    def _submit(self, job_flow_id: str, steps: list[dict[str, Any]], mark: StepMark) -> list[str]:
        """AddJobFlowSteps has no token: the mark in the names lets a retry find what it submitted."""
        self.kill.check()
        role = {"ExecutionRoleArn": self.execution_role_arn} if self.execution_role_arn else {}
        self._submits = True
        try:
            step_ids = self.emr.submit_steps(job_flow_id, mark.on(steps), **role)
        except Exception as error:
            self._submits = not was_throttled(error)
            raise
        self._submitted = (job_flow_id, step_ids)
        self.log.info("Submitted steps %s to cluster %s", ", ".join(step_ids), job_flow_id)
        return step_ids

    def _address_lost(self, state: StepsState, *, place: str, active: list[str], lease: bool) -> ElasticIpError:
        """
        Return the error of an address or a lease that was lost while steps needed it.

        :param lease: ``place`` says to whom the address is leased now, not where it is.
        """
        consequence = f"cancelled the steps that still needed it: {', '.join(active)}"
        refusal = self._fence(state.job_flow_id).lease_refusal() or (place if lease else None)
        if refusal is not None:
            return NotLeasedError(
                self.allocation_id, job_flow_id=state.job_flow_id, condition=refusal, consequence=consequence
            )
        return AddressLostError(self.allocation_id, job_flow_id=state.job_flow_id, place=place, consequence=consequence)

    def _warn_address_left(self, context: Context, state: StepsState, *, place: str, step_ids: list[str]) -> None:
        """Say that steps ended without the address, as far as it is known; not when its lease was released in order."""
        address = self.eip.get_address(self.allocation_id)
        if address is not None and address.association_id == state.egress["association_id"]:
            return  # the answer was stale
        if self._fence(state.job_flow_id).lease_refusal() is not None:
            self.log.info("Elastic IP %s was released when the steps had ended", self.allocation_id)
            return
        self.log.warning(
            "Elastic IP %s is %s: it left cluster %s before these steps were seen to end: %s. Unless it was released "
            "after their end, their last connections did not leave from it; check what they did",
            self.allocation_id,
            place,
            state.job_flow_id,
            ", ".join(step_ids),
        )
        left = {
            "allocation_id": self.allocation_id,
            "job_flow_id": state.job_flow_id,
            "place": place,
            "step_ids": step_ids,
        }
        context["ti"].xcom_push(key="address_left", value=left)

    def _watch_steps(self, state: StepsState) -> WatchTrigger:
        from airflow_eip_provider.triggers.emr import EmrFencedStepsTrigger

        return EmrFencedStepsTrigger(
            allocation_id=self.allocation_id,
            egress=state.egress,
            job_flow_id=state.job_flow_id,
            step_ids=state.step_ids,
            submitted_at=state.submitted_at,
            lock_store=self.lease_client.uri,
            **self.watch(state, deadline=min(state.deadline, state.start_deadline or state.deadline)),
        )

    def _failed(self, state: StepsState, step: Step) -> WatchTrigger:
        """Wait until EMR has written the failed step's logs, a few minutes at most; show them and fail."""
        from airflow_eip_provider.aws.step_logs import StepLogs, read_logs_written
        from airflow_eip_provider.triggers.emr import EmrStepLogsTrigger

        cluster = self.emr.get_cluster(state.job_flow_id)
        if cluster is None or not cluster.log_uri:
            self.log.error("Cluster %s has no LogUri: there are no step logs to show", state.job_flow_id)
        else:
            logs = StepLogs.of(log_uri=cluster.log_uri, job_flow_id=state.job_flow_id, step_id=step.step_id)
            state.logs_deadline = state.logs_deadline or clock.time() + _LOGS_TAKE.total_seconds()
            hook = self.aws.step_logs
            if not read_logs_written(hook.conn, logs) and clock.time() < state.logs_deadline:
                self.log.info("Step %s ended %s; waiting for its logs", step.step_id, step.state)
                shared = self.watch(state, deadline=state.logs_deadline)
                return EmrStepLogsTrigger(bucket=logs.bucket, prefix=logs.prefix, **shared)
            for stream, lines in hook.tail(logs, lines=_LOG_TAIL_LINES):
                self.log.error("Tail of %s of step %s:\n%s", stream, step.step_id, "\n".join(lines))
        raise StepFailedError(
            state.job_flow_id, step_id=step.step_id, name=step.name, state=step.state, reason=step.reason
        )


def _all_completed(facts: dict[str, Any], step_ids: list[str]) -> bool:
    """Whether the watch has seen every step COMPLETED, which is never undone; an older version says nothing of it."""
    states = facts.get("states", {})
    return all(states.get(step_id) == "COMPLETED" for step_id in step_ids)
