"""Moving a service from an unhealthy cluster to another one, with its Elastic IP and its load balancer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.aws.clusters import GUARD_MARK, read_all_primaries
from airflow_eip_provider.aws.lag import until_answered
from airflow_eip_provider.aws.resource_ids import check_job_flow_id
from airflow_eip_provider.aws.tags import CLUSTER_TAG, IN_CHARGE_TAG, OWNER_DIGEST_TAG, SUCCESSOR_TAG, TRY_TAG
from airflow_eip_provider.exceptions import (
    InvalidInputError,
    TransientError,
    WaitTimeoutError,
)
from airflow_eip_provider.health.checks import as_mappings, checked_checks
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.notifications import checked_notifier
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.balanced import BalancedOperator
from airflow_eip_provider.operators.failover.launch import SuccessorOperator
from airflow_eip_provider.operators.failover.state import FailoverState, moment, moved_facts
from airflow_eip_provider.operators.lease_settings import UNSET, attempt_of
from airflow_eip_provider.operators.leasing import observed_due_seconds
from airflow_eip_provider.operators.phases import CLUSTER_LINKS, Result
from airflow_eip_provider.operators.primary_health import PrimaryHealthOperator, health_error
from airflow_eip_provider.operators.rendering import StructuredFields
from airflow_eip_provider.rendered import check_choice, check_flags, is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease_client.interface import Successor
    from airflow_eip_provider.notifications import Notifier
    from airflow_eip_provider.operators.bindings.interface import Site
    from airflow_eip_provider.triggers.verdict import Verdict
    from airflow_eip_provider.triggers.watch import WatchTrigger

_OLD_CLUSTER = ("terminate", "keep")
_OTHER = "another failover"  # what a wait is for
# While the steps end, the lease has no cluster; other owners may end such a lease after LIMITS.surface.
_LONGEST_STEPS = timedelta(minutes=10)


class EmrFailoverOperator(
    StructuredFields, BalancedOperator, PrimaryHealthOperator, SuccessorOperator, AwsBaseOperator[ElasticIpHook]
):
    """
    Move a service from a cluster whose primary node is unhealthy to another cluster.

    First it checks the health of the old cluster, which has the service. If it is healthy, the task does nothing more.
    Otherwise it:

    1. takes over the lease with the next fencing token, cancels the old cluster's fenced steps, and waits for their end
    2. launches the new cluster, unless there is a standby
    3. moves the Elastic IP from the old cluster to the primary node of the new one
    4. registers this node with the target groups, and waits until it is healthy
    5. deregisters the old cluster and terminates it

    The new cluster is a running standby (``standby_job_flow_id``, or one with ``standby_tags``), or is launched from
    ``job_flow_overrides`` and ``fallbacks``. With both, a cluster is launched only if there is no standby.

    The task can safely run twice, and at the same time as another failover of the same cluster. With a lock store one
    conditional write decides, and the other tasks wait and return its result. Without one, all tasks use the same new
    cluster, and EC2 refuses a second association. After a crash a retry continues where the try before stopped.

    Returns the job flow ID of the cluster that has the service now. Pushes ``job_flow_id`` (the same), ``static_ip``
    as ``EmrCreateWithStaticIpOperator`` does, and ``failover`` = {moved, why, from, to, kind, by, targets, old, times,
    seconds}: ``kind`` is "warm" or "cold", ``old`` is "terminated" or "kept", ``times`` (UTC) and ``seconds`` since the
    detection are {detected, bound, healthy}.

    If the task fails or is killed before the new cluster has the address, it returns address and lease to the old
    cluster and terminates a cluster that it launched. If the old cluster is no longer live, a retry continues with the
    lease; without a retry it is released. Afterwards nothing is undone: the new cluster has the service.

    IAM: ec2:DescribeAddresses, ec2:AssociateAddress, ec2:DisassociateAddress, ec2:DescribeInstances,
    ec2:DescribeInstanceStatus, ec2:DescribeNetworkInterfaces, ec2:DescribeNatGateways,
    elasticmapreduce:DescribeCluster, …:ListClusters, …:ListInstances, …:ListSteps, …:CancelSteps, …:AddTags,
    …:SetTerminationProtection, …:TerminateJobFlows; the lock store's, see ``stores``. To launch also
    elasticmapreduce:RunJobFlow, …:PutAutoTerminationPolicy, …:GetBlockPublicAccessConfiguration, iam:PassRole,
    ec2:DescribeSubnets, ec2:DescribeRouteTables, ec2:DescribeSecurityGroups, ec2:DescribeAvailabilityZones,
    ec2:DescribeInstanceTypeOfferings. With target groups also elasticloadbalancing:DescribeTargetGroups,
    …:DescribeTargetHealth, …:RegisterTargets, …:DeregisterTargets, …:DescribeLoadBalancers,
    …:DescribeLoadBalancerAttributes, …:DescribeTargetGroupAttributes. The policy of ``airflow-eip iam-policy --health``
    allows this for clusters with the tag ``airflow-eip:allocation-id`` and the address as its value: add this tag to
    standbys.

    :param job_flow_id: the cluster that has the service. (templated)
    :param allocation_id: the Elastic IP, ``eipalloc-…``; ``None`` if the clusters are only behind a load balancer.
        (templated)
    :param standby_job_flow_id: the standby, RUNNING or WAITING. (templated)
    :param standby_tags: the tags of standbys; the oldest one with these tags is used. (templated)
    :param job_flow_overrides: the cluster to launch otherwise, as in ``EmrCreateWithStaticIpOperator``. (templated,
        ``.json``)
    :param fallbacks: as in ``EmrCreateWithStaticIpOperator``. (templated, ``.json``)
    :param fallback_rounds: as in ``EmrCreateWithStaticIpOperator``.
    :param target_groups: as in ``NlbTargetsOperator``; none by default. (templated)
    :param health: the result of ``EmrPrimaryHealthSensor``; one more failure then confirms it. (templated)
    :param force: move the service although the cluster is healthy, for a drill or to leave a zone.
    :param old_cluster: "terminate" or "keep" the old cluster.
    :param checks: the HTTP checks, as in ``EmrPrimaryHealthSensor``. (templated)
    :param unhealthy_after: as in ``EmrPrimaryHealthSensor``.
    :param host: as in ``EmrPrimaryHealthSensor``. (templated)
    :param steps_timeout: how long to wait for the end of the old cluster's cancelled steps, at most 10 minutes. Then
        the failover continues, and the steps lose the address: an unreachable node never reports their end.
    :param healthy_timeout: how long the new cluster may take to be healthy, once it has the address.
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param lock_timeout: the longest wait for the address, or for the failover of another task.
    :param on_multi_node: as in ``EmrCreateWithStaticIpOperator``.
    :param start_timeout: the longest time from RunJobFlow to RUNNING or WAITING.
    :param idle_timeout: EMR terminates a launched cluster after it was idle for this time; ``None``, the default, for
        no such limit.
    :param on_failover: a notifier, called when the service has moved, with the content of the XCom ``failover``; and as
        in ``EmrCreateWithStaticIpOperator`` when a launched cluster did not start.
    :param waiter_delay: seconds between two polls; at least 10 when deferred. (templated)
    :param waiter_max_attempts: with ``waiter_delay``, how long a verdict on the old cluster may take, and the start of
        a new one. (templated)
    :param deferrable: wait in the triggerer.
    """

    state_class = FailoverState
    aws_hook_class = ElasticIpHook
    template_fields: Sequence[str] = aws_template_fields(
        "allocation_id",
        "checks",
        "emr_conn_id",
        "fallbacks",
        "health",
        "host",
        "job_flow_id",
        "job_flow_overrides",
        "standby_job_flow_id",
        "standby_tags",
        "target_groups",
        "waiter_delay",
        "waiter_max_attempts",
    )
    template_ext: Sequence[str] = (".json",)
    operator_extra_links = CLUSTER_LINKS

    def __init__(
        self,
        *,
        job_flow_id: str,
        allocation_id: str | None = None,
        standby_job_flow_id: str | None = None,
        standby_tags: Mapping[str, str] | None = None,
        job_flow_overrides: Mapping[str, Any] | str | None = None,
        fallbacks: Sequence[Mapping[str, Any]] = (),
        fallback_rounds: int = 1,
        target_groups: Sequence[str | Mapping[str, Any]] | str = (),
        health: Mapping[str, Any] | None = None,
        force: bool = False,
        old_cluster: Literal["terminate", "keep"] = "terminate",
        checks: Sequence[Any] | None = None,
        unhealthy_after: str = "3/5",
        host: str = "private_ip",
        steps_timeout: timedelta = timedelta(minutes=1),
        healthy_timeout: timedelta = timedelta(minutes=15),
        lock_store: str | None = UNSET,
        lock_timeout: timedelta = timedelta(hours=2),
        on_multi_node: str = "fail",
        start_timeout: timedelta | None = timedelta(minutes=45),
        idle_timeout: timedelta | None = None,
        on_failover: Notifier | None = None,
        emr_conn_id: str | None = "emr_default",
        waiter_delay: int = 10,
        waiter_max_attempts: int = 360,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_flow_id = job_flow_id
        self.allocation_id = allocation_id
        self.standby_job_flow_id = standby_job_flow_id
        self.standby_tags = standby_tags
        self.job_flow_overrides = job_flow_overrides
        self.fallbacks = fallbacks
        self.fallback_rounds = fallback_rounds
        self.target_groups = target_groups
        self.health = health
        self.force = force
        self.old_cluster = old_cluster
        self.checks = as_mappings(checks)
        self.unhealthy_after = unhealthy_after
        self.host = host
        self.steps_timeout = steps_timeout
        self.healthy_timeout = healthy_timeout
        self.lock_store = lock_store
        self.lock_timeout = lock_timeout
        self.on_multi_node = on_multi_node
        self.start_timeout = start_timeout
        self.idle_timeout = idle_timeout
        self.on_failover = checked_notifier(on_failover, parameter="on_failover")
        self.emr_conn_id = emr_conn_id
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.deferrable = deferrable

    def begin(self, context: Context) -> FailoverState:
        """Check the parameters before anything is changed."""
        self._check_parameters()
        lock_deadline = clock.time() + self.lock_timeout.total_seconds()
        state = FailoverState(try_number=context["ti"].try_number, lock_deadline=lock_deadline)
        self.begin_attempt(context, state)
        return state

    def advance(self, context: Context, state: FailoverState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """
        Decide → lease, old steps ended → new cluster started → address moved → registered, healthy → old one ended.

        Each part finds its own progress, also that of earlier tries, and returns what to wait for, or the result if
        nothing is to be done.
        """
        self._check_not_timed_out(state, event)
        outcome = (
            self._decide(context, state, event)
            or self._choose_standby(context, state)
            or self._take_lease(context, state, event)
            or self._end_steps(state)
            or self.start(context, state)
            or self._move_address(context, state)
            or self._await_health(state, event)
            or self._retire(state)
        )
        return outcome or self._moved(context, state)

    def _decide(
        self, context: Context, state: FailoverState, event: dict[str, Any] | None
    ) -> WatchTrigger | Result | None:
        """Decide whether to move the service: not from a healthy cluster, and not if another failover does it."""
        from airflow_eip_provider.triggers.verdict import Verdict

        if state.detected_at:
            return None
        successor = self.lease_client.successor(self.job_flow_id, attempt=attempt_of(context, state.nonce))
        if successor is not None:
            has_waited = event is not None and state.waiting_for == _OTHER
            return self._continue_with(context, state, successor, has_waited=has_waited)
        if self.force:
            state.detected_at, state.why, state.was_healthy = clock.time(), "forced", True
            return None
        verdict: Verdict | WatchTrigger | None = self._health_of(state, event, waited_for="verdict")
        if verdict is None:
            reported = self.health if isinstance(self.health, Mapping) else {}
            confirms = reported.get("job_flow_id") == self.job_flow_id and reported.get("status") == "unhealthy"
            state.waiting_for, deadline = "verdict", clock.time() + self.wait_seconds
            verdict = self.judge_health(state, self.job_flow_id, until="decided", deadline=deadline, confirms=confirms)
        if not isinstance(verdict, Verdict):
            return verdict
        if verdict.status != "done":
            raise health_error(verdict)
        if verdict.data["status"] == "healthy":
            self.log.info("Cluster %s is healthy: nothing is done", self.job_flow_id)
            return self._not_moved(context, self.job_flow_id, why="healthy")
        state.detected_at = clock.time()
        state.why = "; ".join(f"{failure['check']}: {failure['problem']}" for failure in verdict.data["failures"])
        self.log.warning("Cluster %s is unhealthy, moving its service: %s", self.job_flow_id, state.why)
        return None

    @staticmethod
    def _health_of(state: FailoverState, event: dict[str, Any] | None, *, waited_for: str) -> Verdict | None:
        """Return the verdict of a wait for health; ``None`` if the last wait was another one."""
        from airflow_eip_provider.triggers.verdict import Verdict

        if event is None or state.waiting_for != waited_for or event["status"] == "timeout":
            return None
        return Verdict(event["status"], event["message"], event["data"])

    def _continue_with(
        self, context: Context, state: FailoverState, successor: Successor, *, has_waited: bool
    ) -> WatchTrigger | Result | None:
        """
        Continue a failover that an earlier try began; wait for a failover of another task, and return its result.

        :param has_waited: this task has waited for the other failover, which will never finish.
        """
        from airflow_eip_provider.operators.owner import Owner

        job_flow_id = successor.job_flow_id
        if not successor.is_own and successor.in_charge:
            self.log.info("Another failover has moved the service of %s to %s", self.job_flow_id, job_flow_id)
            return self._not_moved(context, str(job_flow_id), why="moved by another failover")
        if not successor.is_own and not has_waited:
            return self._wait_for_another(state, int(successor.token or 0))
        self.log.info("Continuing a failover of cluster %s that has begun: %s", self.job_flow_id, successor)
        state.detected_at, state.why = successor.moved_at or clock.time(), "begun before"
        state.continues = True
        cluster = self.emr.get_cluster(job_flow_id) if job_flow_id and successor.is_own else None
        if cluster is None or cluster.is_ending:
            state.lost = job_flow_id if cluster is not None and successor.in_charge else None
            return None
        state.job_flow_id, state.is_started = cluster.job_flow_id, cluster.has_started
        state.keeps = successor.has_address
        state.launched = cluster.tags.get(OWNER_DIGEST_TAG) == Owner.of(context).digest
        if state.launched:
            self.tag(cluster.job_flow_id, {TRY_TAG: str(state.try_number)})
            self.publish(context, state, cluster.job_flow_id)
        return None

    def _wait_for_another(self, state: FailoverState, token: int) -> WatchTrigger:
        from airflow_eip_provider.triggers.lock import EipLeaseMovedTrigger

        self.log.info("Waiting for another failover, which moves the service of %s", self.job_flow_id)
        state.waiting_for = _OTHER
        shared = self.watch(state, deadline=state.lock_deadline)
        uri = str(self.lease_client.uri)
        return EipLeaseMovedTrigger(allocation_id=self.allocation_id, lock_store=uri, token=token, **shared)

    def _choose_standby(self, context: Context, state: FailoverState) -> WatchTrigger | None:
        """Choose a standby, or make the preflight checks of a launch, before anything is changed."""
        from airflow_eip_provider.operators.failover.standby import check_old_cluster, checked_tags, find_standby

        if state.leased or state.job_flow_id is not None:
            return None
        # Results are kept in the state: while EMR throttles, each retry of this method gets one step further.
        if not state.is_movable:
            check_old_cluster(self.emr.get_cluster(self.job_flow_id), self.allocation_id)
            state.is_movable = True
        if state.standby is None:
            named = None if is_nothing(self.standby_job_flow_id) else str(self.standby_job_flow_id)
            tags = checked_tags(self.standby_tags)
            state.standby = find_standby(self.emr, old=self.job_flow_id, job_flow_id=named, tags=tags)
        if state.standby is not None:
            self.members_of(state.standby)
            self._check_no_other_address(state.standby)
            state.job_flow_id, state.is_started = state.standby, True
            return None
        if is_nothing(self.job_flow_overrides):
            raise TransientError(
                f"moving the service of cluster '{self.job_flow_id}'",
                problem="no standby is RUNNING or WAITING",
                remedy="start one, or give job_flow_overrides, so that a cluster is launched",
            )
        self.run_preflight()
        return None

    def _check_no_other_address(self, standby: str) -> None:
        """
        Check that the standby's primary node can be associated with the address, before the old one loses it.

        :raises TransientError: naming another address that is there for as long as a read may be old.
        """
        from airflow_eip_provider.operators.binder import Binder
        from airflow_eip_provider.triggers.emr import judge_primary_running

        if is_nothing(self.allocation_id):
            return
        primary = self.poll(lambda observed: judge_primary_running(observed, standby))
        if primary.status != "done":
            return
        interface, instance = primary.data["network_interface_id"], primary.data["instance_id"]
        binder = Binder(self.eip, self.allocation_id)
        until_answered(
            lambda: binder.check_no_other(network_interface_id=interface, instance_id=instance),
            may_end=lambda error: isinstance(error, TransientError),
            pause=self.kill.pause,
        )

    def _take_lease(self, context: Context, state: FailoverState, event: dict[str, Any] | None) -> WatchTrigger | None:
        """Take over the lease: from now on no step starts on the old cluster."""
        from airflow_eip_provider.lease.protocol import Acquired, MovedByAnother

        if state.leased:
            return None
        request, due_seconds = self.lease_request(context, state), observed_due_seconds(event)
        entered = self.lease_client.move(request, moved_from=self.job_flow_id, due_seconds=due_seconds)
        if isinstance(entered, MovedByAnother):
            state.detected_at, state.job_flow_id, state.standby, state.is_started = 0.0, None, None, False
            return self._wait_for_another(state, entered.lease.token)
        if not isinstance(entered, Acquired):
            return self.wait_for_turn(context, state, request, entered)
        self.note_acquired(context, state, entered)
        state.leased, state.steps_by = True, clock.time() + self.steps_timeout.total_seconds()
        standby = None if state.launched else state.job_flow_id
        # An earlier try may have associated the address without handing over the lease.
        state.may_be_bound = standby is not None and self.lease_client.has_address(standby)
        self.note(context, state)
        if standby is not None:
            self.tag(standby, {SUCCESSOR_TAG: self.job_flow_id})
        return None

    def lease_request(self, context: Context, state: FailoverState) -> LeaseRequest:
        """Return the request for the lease, for a cluster that is launched or for a standby."""
        from airflow_eip_provider.lease.observation import LeaseRequest
        from airflow_eip_provider.lease.record import LIMITS

        is_cold = state.job_flow_id is None or state.launched
        may_launch = is_cold or not is_nothing(self.job_flow_overrides)
        # An earlier failover may have moved the address to the standby.
        has_address = not is_cold and self.lease_client.has_address(str(state.job_flow_id))
        return LeaseRequest(
            attempt_of(context, state.nonce),
            # A retry may have to launch a cluster although this try has found a standby.
            cluster_name=str(self.launcher(context).config["Name"]) if may_launch else "",
            handover_seconds=LIMITS.surface + (self.handover_seconds if may_launch else 0.0),
            wants=str(state.job_flow_id) if has_address else self.job_flow_id,
        )

    def _end_steps(self, state: FailoverState) -> WatchTrigger | None:
        """
        Cancel the old cluster's fenced steps, and wait until they have ended.

        One poll is enough although ListSteps may lag: a task that has just submitted a step checks the lease again, and
        cancels the step itself.
        """
        from airflow_eip_provider.triggers.emr import EmrStepsEndedTrigger, judge_no_step_runs

        if state.is_quiet or state.handed_over:
            return None
        steps = self.poll(lambda observed: judge_no_step_runs(observed, self.job_flow_id, name_contains=GUARD_MARK))
        cluster = self.emr.get_cluster(self.job_flow_id) if steps.status != "done" else None
        has_ended = cluster is None or cluster.has_ended
        if has_ended or clock.time() >= state.steps_by:
            if not has_ended:
                self.log.warning("%s; continuing, and the steps lose the address", steps.message)
            state.is_quiet = True
            return None
        self.kill.check()
        self.emr.cancel_steps(self.job_flow_id, step_ids=steps.data["step_ids"])
        state.waiting_for = "steps"
        shared = self.watch(state, deadline=state.steps_by)
        return EmrStepsEndedTrigger(job_flow_id=self.job_flow_id, name_contains=GUARD_MARK, **shared)

    def _move_address(self, context: Context, state: FailoverState) -> WatchTrigger | None:
        """Move the address from the old cluster to the new one, and hand over the lease."""
        from airflow_eip_provider.operators.binder import bound_facts
        from airflow_eip_provider.operators.bindings.interface import Bound, ClusterWait

        if state.handed_over:
            return None
        job_flow_id = self.agreed(state)
        attempt = attempt_of(context, state.nonce)
        site = self._site(context, state)
        if site.poll("primary_running").status != "done":
            # Otherwise the old cluster, which may still serve, would lose the address too early.
            return self.wait_for_cluster(state, "primary_running", deadline=state.lock_deadline)
        self.kill.check()
        if not (state.may_be_bound and state.was_freed):
            self._note_freed(context, state)
        self.lease_client.take_off(attempt, token=state.token, moved_from=self.job_flow_id)
        bound = self.binding_of(state.candidate).bind(site)
        if isinstance(bound, ClusterWait):
            return self.wait_for_cluster(state, bound.target, deadline=state.lock_deadline)
        if not isinstance(bound, Bound):
            # EC2 may only now show that the old cluster has it; it is disassociated in the next pass.
            moved_from = {CLUSTER_TAG: self.job_flow_id}
            return self.wait_for_address(context, state, job_flow_id=job_flow_id, like=moved_from)
        self.lease_client.hand_over(attempt, token=state.token, resource_id=job_flow_id)
        state.handed_over, state.keeps, state.bound_at = True, True, clock.time()
        state.healthy_by = state.bound_at + self.healthy_timeout.total_seconds()
        self.note(context, state)
        facts = bound_facts(bound.address, job_flow_id=job_flow_id, token=state.token)
        context["ti"].xcom_push(key="static_ip", value=facts)
        self.log.info("Cluster %s takes over the service of %s: %s", job_flow_id, self.job_flow_id, facts)
        return None

    def _note_freed(self, context: Context, state: FailoverState) -> None:
        """Store for an undo, before the address is moved, whether the old cluster has it."""
        has_left = not self.lease_client.has_address(self.job_flow_id)
        if state.may_be_bound and has_left:
            return
        state.may_be_bound = True
        state.was_freed = None if has_left and state.continues else not has_left
        self.note(context, state)

    def _await_health(self, state: FailoverState, event: dict[str, Any] | None) -> WatchTrigger | None:
        """
        Register the new primary node, and wait until its own checks and those of the load balancers pass.

        After the registration the cluster is in charge, even if this task fails; the reaper then keeps the cluster.
        """
        from airflow_eip_provider.triggers.elbv2 import NlbTargetsTrigger
        from airflow_eip_provider.triggers.verdict import Verdict

        if state.healthy_at:
            return None
        if state.members is None:
            members = self.members_of(str(state.job_flow_id))
            self.kill.check()
            self.aws.load_balancers.register(members)
            # The name of the old cluster again, in case another failover with this standby was undone meanwhile.
            in_charge = {IN_CHARGE_TAG: moment(state.bound_at), SUCCESSOR_TAG: self.job_flow_id}
            self.tag(str(state.job_flow_id), in_charge)
            state.members = [asdict(member) for member in members]
        if not state.serves:
            verdict: Verdict | WatchTrigger | None = self._health_of(state, event, waited_for="health")
            state.waiting_for = "health"
            if verdict is None:
                job_flow_id, deadline = str(state.job_flow_id), state.healthy_by
                verdict = self.judge_health(state, job_flow_id, until="healthy", deadline=deadline)
            if not isinstance(verdict, Verdict):
                return verdict
            if verdict.status != "done":
                raise health_error(verdict)
            state.serves = True
        if not self.is_met(state.members, "healthy"):
            state.waiting_for = "targets"
            shared = self.watch(state, deadline=state.healthy_by)
            return NlbTargetsTrigger(members=state.members, expect="healthy", **shared)
        state.healthy_at = clock.time()
        return None

    def _retire(self, state: FailoverState) -> WatchTrigger | None:
        """Deregister the old cluster, and terminate it unless it is kept."""
        from airflow_eip_provider.triggers.elbv2 import NlbTargetsTrigger

        job_flow_id = str(state.job_flow_id)
        if state.left is None:
            cluster = self.emr.get_cluster(self.job_flow_id)
            nodes = read_all_primaries(self.emr.conn, cluster) if cluster else {}
            members = self.aws.load_balancers.find_members(self.eip.conn, nodes, self.groups()) if nodes else []
            self.kill.check()
            self.aws.load_balancers.deregister(members)
            state.left = [asdict(member) for member in members]
            self.lease_client.end_other_successors(self.job_flow_id, keep=job_flow_id)
            state.healthy_by = clock.time() + self.healthy_timeout.total_seconds()
        # The connections of a healthy node are drained before it is terminated.
        if state.was_healthy and clock.time() < state.healthy_by and not self.is_met(state.left, "deregistered"):
            state.waiting_for = "drained"
            shared = self.watch(state, deadline=state.healthy_by)
            return NlbTargetsTrigger(members=state.left, expect="deregistered", **shared)
        if self.old_cluster == "terminate":
            self.kill.check()
            self.emr.end(self.job_flow_id)
        return None

    def _moved(self, context: Context, state: FailoverState) -> Result:
        """Publish what was moved, and how long it took."""
        facts = moved_facts(state, old=self.job_flow_id, old_cluster=self.old_cluster)
        if self.is_first_time(context, "counted"):
            self.count(metrics.FAILOVERS)
        self.notify(context, self.on_failover, "failover", once="moved", **facts)
        return self._end(context, str(state.job_flow_id), facts)

    def _not_moved(self, context: Context, job_flow_id: str, *, why: str) -> Result:
        facts = {"moved": False, "why": why, "from": self.job_flow_id, "to": job_flow_id}
        return self._end(context, job_flow_id, facts)

    def _end(self, context: Context, job_flow_id: str, facts: dict[str, Any]) -> Result:
        self.log.info("Cluster %s has the service: %s", job_flow_id, facts)
        context["ti"].xcom_push(key="failover", value=facts)
        context["ti"].xcom_push(key="job_flow_id", value=job_flow_id)
        return Result(job_flow_id)

    def _site(self, context: Context, state: FailoverState) -> Site:
        from airflow_eip_provider.operators.bindings.interface import Site
        from airflow_eip_provider.triggers.observed import Observed

        return Site(
            aws=self.aws,
            allocation_id=self.allocation_id,
            job_flow_id=str(state.job_flow_id),
            tags={},
            appears_by=state.appears_by,
            kill=self.kill,
            observed=Observed(self.aws.client_for, patient=True),
        )

    def _check_parameters(self) -> None:
        """Check every parameter each time, also while the cluster is healthy, so that none fails in an emergency."""
        from airflow_eip_provider.health.judgement import Threshold
        from airflow_eip_provider.operators.failover.standby import checked_tags
        from airflow_eip_provider.triggers.health import check_host

        check_job_flow_id(self.job_flow_id)
        check_flags(self, "force", "deferrable")
        if self.standby_job_flow_id == self.job_flow_id:
            raise InvalidInputError(
                f"moving the service of cluster '{self.job_flow_id}' to '{self.standby_job_flow_id}'",
                problem="this is the same cluster",
                remedy="give another one as standby_job_flow_id",
            )
        if not is_nothing(self.allocation_id):
            preflight.check_allocation_id(self.allocation_id)
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        for name in ("lock_timeout", "steps_timeout", "healthy_timeout"):
            preflight.check_duration(name, getattr(self, name))
        if self.steps_timeout > _LONGEST_STEPS:
            raise InvalidInputError(
                f"checking steps_timeout {self.steps_timeout!r}",
                problem="others may end a lease that has had no cluster for 15 minutes",
                remedy=f"give at most {_LONGEST_STEPS}; steps that still run then lose the address",
            )
        preflight.check_idle_timeout(self.idle_timeout)
        self.check_start_timeout()
        check_choice("old_cluster", self.old_cluster, _OLD_CLUSTER)
        check_choice("on_multi_node", self.on_multi_node, ("fail", "warn", "allow"))
        checked_checks(self.checks)
        Threshold.parse(self.unhealthy_after, parameter="unhealthy_after")
        check_host(self.host)
        checked_tags(self.standby_tags)
        if not is_nothing(self.standby_job_flow_id):
            check_job_flow_id(self.standby_job_flow_id)
        _ = self.named_groups  # parse target_groups
        for candidate in self.candidates:
            if not isinstance(name := candidate.job_flow.get("Name", ""), str):
                raise InvalidInputError(
                    f"checking the Name {name!r} in job_flow_overrides",
                    problem=f"this is {type(name).__name__}, not a text",
                    remedy="give the cluster a name that renders to a text",
                )

    def _check_not_timed_out(self, state: FailoverState, event: dict[str, Any] | None) -> None:
        """Raise the error of a wait that has timed out, except for waits that are handled where they began."""
        if event is None or event["status"] != "timeout" or state.waiting_for in {"steps", "drained"}:
            return
        if self.has_fallbacks and state.launched and not state.is_started:
            return
        if state.waiting_for in {"lease", "address"}:
            raise self.address_timed_out(state, event)
        job_flow_id = self.job_flow_id if state.waiting_for in {"verdict", _OTHER} else state.job_flow_id
        raise WaitTimeoutError(
            f"{state.waiting_for} of cluster '{job_flow_id}'",
            last_seen=event["message"],
            bound="waiter_max_attempts, healthy_timeout, start_timeout or lock_timeout",
        )
