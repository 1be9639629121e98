"""Running EMR steps only while the Elastic IP is on their cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.emr import EmrAddStepsOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, own_xcom
from airflow_eip_provider.aws.errors import had_no_effect, was_throttled
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS, until_shown
from airflow_eip_provider.aws.resource_ids import check_job_flow_id
from airflow_eip_provider.exceptions import (
    AddressLostError,
    ClusterEndedError,
    InvalidInputError,
    NotLeasedError,
    PermanentError,
    StepFailedError,
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
    wait_timed_out,
)
from airflow_eip_provider.operators.rendering import StructuredFields
from airflow_eip_provider.rendered import check_flags, is_nothing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.clusters import Cluster, Step
    from airflow_eip_provider.exceptions import ElasticIpError, StartTimeoutError
    from airflow_eip_provider.lease_client.interface import Undo
    from airflow_eip_provider.notifications import Notifier
    from airflow_eip_provider.operators.emr.fence import Fence
    from airflow_eip_provider.operators.emr.submitted import StepMark
    from airflow_eip_provider.triggers.watch import WatchTrigger

_LOGS_TAKE = timedelta(minutes=6)  # EMR archives logs every five minutes (EMR Management Guide, "View log files")
_LOG_TAIL_LINES = 40


@dataclass(slots=True)
class StepsState(State):
    """
    The submitted steps.

    :param egress: the fields of the ``Egress`` that they were submitted for.
    :param submitted_at: when this try submitted or found them, in seconds since the epoch.
    :param start_deadline: when the cluster must have started; ``None`` if it has, or has no ``start_timeout``.
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
    Run steps on a cluster that has the Elastic IP, and watch the steps together with the address.

    A drop-in for ``EmrAddStepsOperator`` that always waits for its steps. They are submitted only while the cluster
    uses the address and its lease is active. Both are checked again right after the submission and while the steps run;
    when the address leaves or the lease ends, the steps are cancelled. A cluster uses the address when it is associated
    with the primary private address of the primary network interface of its primary node, or on its NAT gateway with
    the route to it. When a step fails, the task log shows EMR's reason and the tail of the step's stdout and stderr
    from the log bucket.

    AWS's answers may be up to a minute old. A cluster that seems to be without the address is polled again for a minute
    before the task fails. Running steps are cancelled only when two polls agree, or one shows the address on something
    else, and not because of an answer that may be from before their submission. After an unclear submission, and in a
    retry that finds no step of the previous try, ListSteps is called again for a minute before anything is submitted.
    These waits are rare, and block the worker in either mode.

    Returns the step IDs, and pushes them as ``step_ids`` when they are submitted. A retry after a crash finds running
    steps again by a nonce in their names. It names itself in a tag of the cluster, so that an older try whose process
    was only suspended does not cancel them. When steps are found ended while the address is away and their lease was
    not released, the task warns and pushes ``address_left``, {allocation_id, job_flow_id, place, step_ids}: these steps
    may have worked without the address. On failure, kill or timeout the steps are cancelled; the teardown terminates
    the cluster. Only a cluster that has not started when its ``start_timeout`` is over is terminated here: its address
    and its lease are released, and the task fails with EMR's reason.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, elasticmapreduce:AddJobFlowSteps,
    …:AddTags, …:CancelSteps, …:DescribeCluster, …:ListSteps, and …:ListInstances where EMR's tags on the instances
    cannot be seen; s3:GetObject and s3:ListBucket on the log bucket; reading the lock store, see ``stores``. For a NAT
    gateway also ec2:DescribeNatGateways, …:DescribeRouteTables, …:DescribeSubnets. For a cluster that does not start in
    time what ``EmrTerminateWithStaticIpOperator`` needs.

    :param allocation_id: the Elastic IP, ``eipalloc-…``; if several are named, the one that the cluster has.
        (templated)
    :param job_flow_id: the cluster, e.g. ``create.output``. (templated)
    :param steps: as in the stock operator: any sequence of mappings, or a string that contains one. Arguments are
        strings, also with ``render_template_as_native_obj``; one that ends in ".json" is not a template file.
        (templated, ``.json``)
    :param execution_role_arn: the runtime role of the steps; ``None``, not an empty text, for that of the cluster's
        instance profile. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param wait_for_completion: only ``True``, because an unwatched step is not fenced.
    :param waiter_delay: seconds between two polls of steps and address; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, how long the steps may take; a day by default.
    :param on_lost: an Airflow notifier, or a function that takes the context: called once when the cluster does not
        have the address, or its lease, while the steps need it.
    :param openlineage_inject_parent_job_info: pass the task to the Spark jobs of the steps, so that their OpenLineage
        events link to it. Default: ``[openlineage] spark_inject_parent_job_info``.
    :param openlineage_inject_transport_info: pass Airflow's OpenLineage transport to them. An API key in it becomes
        part of the step's arguments, which EMR shows. Default: ``[openlineage] spark_inject_transport_info``.
    """

    state_class = StepsState
    text_only = True
    permanent_errors = (PermanentError, ClusterEndedError)  # a retry would find the same ended cluster
    aws_hook_class = EmrClusterHook
    template_fields: Sequence[str] = aws_template_fields(
        "allocation_id", "cluster_states", "execution_role_arn", "job_flow_id", "job_flow_name", "steps"
    )
    operator_extra_links = CLUSTER_LINKS  # type: ignore[assignment]

    _may_have_submitted = False  # AddJobFlowSteps was sent, and not refused
    _submitted: tuple[str, list[str]] | None = None  # the cluster and the step IDs

    @property
    def may_have_changed(self) -> bool:
        """Whether steps may have been submitted."""
        return self._may_have_submitted

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
        """Check the parameters and the fence; find the steps of an earlier try, or submit."""
        from airflow_eip_provider.operators.emr.submitted import StepMark
        from airflow_eip_provider.operators.emr.unstarted import judged_at

        steps = self._checked_steps()
        job_flow_id = self._job_flow_id()
        mark, first_try = StepMark.of(context), self.first_try(context)
        fence = self._fence(job_flow_id)
        cluster = fence.cluster()
        start_deadline = None if cluster.has_started else judged_at(cluster)
        if start_deadline is not None and clock.time() >= start_deadline and fence.may_end(cluster):
            raise self._end_unstarted(cluster)
        egress = fence.check(cluster)
        self.link_cluster(context, job_flow_id, log_uri=cluster.log_uri)
        self.link_address(context)
        checked_at = clock.time()
        adopted = self._adopt(job_flow_id, mark, steps=steps, first_try=first_try)
        if not adopted and clock.time() - checked_at >= SECOND_LOOK_SECONDS:
            cluster = fence.cluster()
            egress = fence.check(cluster)
        state = StepsState(
            try_number=context["ti"].try_number,
            job_flow_id=job_flow_id,
            egress=asdict(egress),
            deadline=clock.time() + self.wait_seconds,
            start_deadline=start_deadline,
            token=fence.token,
        )
        if adopted:
            state.step_ids = adopted
            self._note_adoption(job_flow_id, mark)
        else:
            parent, transport = self.openlineage_inject_parent_job_info, self.openlineage_inject_transport_info
            steps = with_lineage(steps, context, parent=parent, transport=transport)
            state.step_ids = self._submit(job_flow_id, steps, mark)
        self._submitted = (job_flow_id, state.step_ids)
        state.submitted_at = clock.time()
        context["ti"].xcom_push(key="job_flow_id", value=job_flow_id)
        context["ti"].xcom_push(key="step_ids", value=state.step_ids)
        if (lost := fence.lost_since(cluster=cluster, step_ids=state.step_ids)) is not None:
            raise lost  # the undo cancels the steps
        return state

    def advance(self, context: Context, state: StepsState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Watch steps and address, then judge the steps."""
        from airflow_eip_provider.aws.clusters import read_steps
        from airflow_eip_provider.triggers.verdict import raise_if_cluster_gone

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
            raise wait_timed_out(f"steps {', '.join(state.step_ids)} of cluster '{state.job_flow_id}' to end", event)
        self.measure(state, metrics.STEP_SECONDS, clock.time() - state.submitted_at)
        if event["status"] == "done" and facts.get("bound") is False:
            self._warn_address_left(context, state, place=facts["place"], step_ids=facts["unfenced"])
        failed = next((step for step in steps if step.state != "COMPLETED"), None)
        return self._failed(state, failed) if failed else Result(state.step_ids)

    def _end_unstarted(self, cluster: Cluster) -> StartTimeoutError:
        from airflow_eip_provider.operators.emr.unstarted import end_unstarted

        return end_unstarted(self.aws, self.lease_client, cluster, allocation_id=self.allocation_id, kill=self.kill)

    def _check_started(self, state: StepsState, facts: dict[str, Any]) -> None:
        """Terminate a cluster that has not started in time; make no call if one of its steps has started."""
        if state.start_deadline is None or clock.time() < state.start_deadline:
            return
        if all(step_state == "PENDING" for step_state in facts.get("states", {}).values()):
            fence = self._fence(state.job_flow_id)
            cluster = fence.cluster()
            if not cluster.has_started and fence.may_end(cluster):
                raise self._end_unstarted(cluster)
        state.start_deadline = None

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> Any:
        """Return the OpenLineage facet with the cluster, the address and the lease."""
        state = self._state
        if state is None:
            return lease_lineage(allocation_id=self.allocation_id, job_flow_id=None)
        return lease_lineage(
            allocation_id=self.allocation_id,
            job_flow_id=state.job_flow_id,
            public_ip=state.egress.get("public_ip"),
            token=state.token,
        )

    def to_undo(self, context: Context, state: StepsState | None) -> Undo | None:
        """Return this task's steps: those that are known, else those that EMR lists with its mark."""
        from airflow_eip_provider.lease_client.interface import Undo
        from airflow_eip_provider.operators.emr.submitted import StepMark

        if state is not None:
            job_flow_id, step_ids = state.job_flow_id, state.step_ids
        elif self._submitted is not None:
            job_flow_id, step_ids = self._submitted
        elif self._may_have_submitted or not (step_ids := list(own_xcom(context, "step_ids") or ())):
            mark = StepMark.of(context)
            if not self._may_have_submitted and mark.try_number == 1:
                return None
            job_flow_id = self._job_flow_id()
            step_ids = self._find_submitted(job_flow_id, mark)
        else:
            job_flow_id = own_xcom(context, "job_flow_id")
        return Undo(attempt_of(context), job_flow_id, step_ids=tuple(step_ids))

    def undo(self, context: Context, state: StepsState | None) -> None:
        """Cancel the steps, unless a newer try continues with them."""
        from airflow_eip_provider.operators.adoption import is_adopted
        from airflow_eip_provider.operators.emr.submitted import StepMark

        undo = self.to_undo(context, state)
        if undo is None or not undo.step_ids:
            return
        job_flow_id = str(undo.resource_id)
        if not is_adopted(self.emr, job_flow_id, StepMark.of(context)):
            self.emr.cancel_steps(job_flow_id, step_ids=undo.step_ids)

    def _checked_steps(self) -> list[dict[str, Any]]:
        preflight.check_allocation_id(self.allocation_id)
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        if not self.wait_for_completion:
            raise InvalidInputError(
                "checking wait_for_completion=False",
                problem="an unwatched step would continue after the address has left",
                remedy="leave wait_for_completion out",
            )
        check_flags(self, "deferrable")
        preflight.check_execution_role(self.execution_role_arn)
        if self.job_flow_name is not None:
            preflight.check_cluster_states(self.cluster_states)
        return preflight.checked_steps(self.steps)

    def _job_flow_id(self) -> str:
        if not is_nothing(self.job_flow_id):
            check_job_flow_id(self.job_flow_id)
            return str(self.job_flow_id)
        job_flow_id = None
        if not is_nothing(self.job_flow_name):
            job_flow_id = self.emr.get_cluster_id_by_name(str(self.job_flow_name), self.cluster_states)
        if not job_flow_id:
            raise InvalidInputError(
                "submitting steps",
                problem=f"no cluster: job_flow_id is {self.job_flow_id!r}, job_flow_name is {self.job_flow_name!r}",
                remedy="pass the output of the creating task as job_flow_id, and see that that task has returned it",
            )
        return str(job_flow_id)

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

    def _adopt(
        self, job_flow_id: str, mark: StepMark, *, steps: Sequence[Mapping[str, Any]], first_try: int
    ) -> list[str]:
        """
        Find the steps that were submitted already, so that they are not submitted twice.

        ListSteps may not show yet the steps of an earlier try, or of a submission of this try whose response was lost.
        It is called again for as long as that is possible.
        """
        from airflow_eip_provider.aws.clusters import read_active_steps, read_all_steps
        from airflow_eip_provider.operators.emr.submitted import steps_to_adopt

        if self._submitted is not None:  # by this try, which is beginning again
            return self._submitted[1]
        count = len(steps)
        is_retry = mark.try_number > 1  # after a clear, too: the previous try may have submitted just now
        own_try = mark.try_number if self._may_have_submitted else None
        deadline = clock.time() + READS_LAG_SECONDS
        while True:
            read = read_all_steps if is_retry or self._may_have_submitted else read_active_steps
            tries = mark.by_try(read(self.emr.conn, job_flow_id))
            found = steps_to_adopt(tries, count=count, first_try=first_try, own_try=own_try)
            # Once all steps of the previous try are shown, none of them can appear later.
            is_missing = self._may_have_submitted or (is_retry and len(tries.get(mark.try_number - 1, ())) < count)
            if len(found) == count or not is_missing or clock.time() >= deadline:
                break
            self.log.info("ListSteps may not show yet what was submitted before; calling it again")
            self.kill.pause(SECOND_LOOK_SECONDS)
        if not found or self._are_replaced(job_flow_id, found, mark, steps=steps, first_try=first_try):
            return []
        step_ids = [step.step_id for step in found]
        self.log.info("Continuing with steps %s, which were submitted already", ", ".join(step_ids))
        return step_ids

    def _are_replaced(
        self,
        job_flow_id: str,
        found: Sequence[Step],
        mark: StepMark,
        *,
        steps: Sequence[Mapping[str, Any]],
        first_try: int,
    ) -> bool:
        """
        Cancel the steps of an earlier try if the task's steps have changed since, so that they are submitted instead.

        The steps of a retry may differ because of templates, such as the present time. So a retry continues with as
        many others, with a warning. A task that was cleared does not.
        """
        from airflow_eip_provider.aws.clusters import read_active_steps
        from airflow_eip_provider.operators.emr.submitted import have_changed

        number = mark.try_of(found[0].name) or 0
        is_same_number = len(found) == len(steps)
        if number == mark.try_number or (is_same_number and not have_changed(found, steps, mark)):
            return False
        names = ", ".join(step.step_id for step in found)
        if is_same_number and number >= first_try:
            self.log.warning(
                "The steps of this task are not those of try %s, %s, with which it continues. To run the present ones, "
                "clear the task",
                number,
                names,
            )
            return False
        self.log.warning("The steps of this task have changed since try %s; cancelling its steps %s", number, names)
        active = {step.step_id for step in found if step.is_active}
        self.kill.check()
        self.emr.cancel_steps(job_flow_id, step_ids=sorted(active))
        until_shown(
            lambda: not active.intersection(step.step_id for step in read_active_steps(self.emr.conn, job_flow_id)),
            pause=self.kill.pause,
        )
        return True

    def _note_adoption(self, job_flow_id: str, mark: StepMark) -> None:
        """Let an earlier try whose process is still running leave its steps to this one."""
        from airflow_eip_provider.operators.adoption import note_adoption

        if mark.try_number > 1 and self._submitted is None:
            self.kill.check()
            note_adoption(self.emr, job_flow_id, mark)

    def _find_submitted(self, job_flow_id: str, mark: StepMark) -> list[str]:
        """
        Find the active steps of this try and of earlier ones.

        ListSteps may show them late, so it is called again for as long as that is possible; only once after a kill.
        """
        from airflow_eip_provider.aws.clusters import read_all_steps

        awaited = mark.try_number if self._may_have_submitted else mark.try_number - 1
        tries: dict[int, list[Step]] = {}

        def is_shown() -> bool:
            tries.update(mark.by_try(read_all_steps(self.emr.conn, job_flow_id)))
            return awaited in tries or self.kill.is_set

        until_shown(is_shown)
        own = [step for number, steps in tries.items() if number <= mark.try_number for step in steps]
        return [step.step_id for step in own if step.is_active]

    def _submit(self, job_flow_id: str, steps: list[dict[str, Any]], mark: StepMark) -> list[str]:
        """Submit the steps; the mark in their names lets a retry find them."""
        self.kill.check()
        role = {"ExecutionRoleArn": self.execution_role_arn} if self.execution_role_arn else {}
        self._may_have_submitted = True
        try:
            step_ids = self.emr.submit_steps(job_flow_id, mark.on(steps), **role)
        except Exception as error:
            self._may_have_submitted = not (was_throttled(error) or had_no_effect(error))
            raise
        self._submitted = (job_flow_id, step_ids)
        self.log.info("Submitted steps %s to cluster %s", ", ".join(step_ids), job_flow_id)
        return step_ids

    def _address_lost(self, state: StepsState, *, place: str, active: list[str], lease: bool) -> ElasticIpError:
        """
        Return the error when the address or the lease was lost while steps needed it.

        :param lease: ``place`` names the current owner of the lease, not where the address is.
        """
        consequence = f"cancelled the steps that still needed it: {', '.join(active)}"
        refusal = self._fence(state.job_flow_id).lease_refusal() or (place if lease else None)
        if refusal is not None:
            return NotLeasedError(
                self.allocation_id, job_flow_id=state.job_flow_id, condition=refusal, consequence=consequence
            )
        return AddressLostError(self.allocation_id, job_flow_id=state.job_flow_id, place=place, consequence=consequence)

    def _warn_address_left(self, context: Context, state: StepsState, *, place: str, step_ids: list[str]) -> None:
        """Warn that steps may have ended without the address, unless its lease was released in order."""
        address = self.eip.get_address(self.allocation_id)
        if address is not None and address.association_id == state.egress["association_id"]:
            return  # the earlier answer was old
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
        facts = {"allocation_id": self.allocation_id, "job_flow_id": state.job_flow_id}
        context["ti"].xcom_push(key="address_left", value={**facts, "place": place, "step_ids": step_ids})

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
        """Wait a few minutes until EMR has written the failed step's logs, log their tails, and fail."""
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
    """Whether the trigger has seen every step COMPLETED, which is final; older versions do not report it."""
    states = facts.get("states", {})
    return all(states.get(step_id) == "COMPLETED" for step_id in step_ids)
