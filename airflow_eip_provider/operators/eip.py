"""Associating an Elastic IP with existing clusters and instances, and releasing it early."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS, may_be_hidden
from airflow_eip_provider.exceptions import TransientError
from airflow_eip_provider.hooks.address_pool import AddressPool
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.links.eip import ElasticIpLink
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.lease_settings import UNSET, attempt_of
from airflow_eip_provider.operators.leasing import LeasingOperator, LeasingState, observed_due_seconds
from airflow_eip_provider.operators.phases import PhasedOperator, Result, State, wait_timed_out
from airflow_eip_provider.operators.targets import (
    check_nothing_left,
    check_one_target,
    judge_running,
    running_trigger,
)
from airflow_eip_provider.rendered import check_flags, is_nothing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease_client.interface import Undo
    from airflow_eip_provider.triggers.watch import WatchTrigger


class _TargetOperator(PhasedOperator, AwsBaseOperator[ElasticIpHook]):
    """The base of both operators: one address, and one cluster or instance."""

    aws_hook_class = ElasticIpHook
    template_fields: Sequence[str] = aws_template_fields("allocation_id", "instance_id", "job_flow_id")
    operator_extra_links = (ElasticIpLink(),)

    def __init__(
        self,
        *,
        allocation_id: Any,
        job_flow_id: str | None = None,
        instance_id: str | None = None,
        lock_store: str | None = UNSET,
        waiter_delay: int = 15,
        waiter_max_attempts: int = 240,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.allocation_id = allocation_id
        self.job_flow_id = job_flow_id
        self.instance_id = instance_id
        self.lock_store = lock_store
        self.waiter_delay = waiter_delay
        self.waiter_max_attempts = waiter_max_attempts
        self.deferrable = deferrable

    @property
    def followed_resource(self) -> Any:
        """The cluster or the instance."""
        return self.instance_id if is_nothing(self.job_flow_id) else self.job_flow_id

    @property
    def _resource(self) -> str:
        """The cluster or the instance, as the lease names it."""
        return str(self.job_flow_id or self.instance_id)


@dataclass(slots=True)
class AssociateState(LeasingState):
    """
    The progress of an association.

    :param was_there: the address was on the target already when this try began.
    :param binding: the interface with which this try has associated it, or may have: EC2 has not refused.
    :param association_id: the association that this try made, once EC2 has confirmed it.
    """

    start_deadline: float = 0.0
    was_there: bool | None = None
    binding: str | None = None
    association_id: str | None = None


class EipAssociateOperator(LeasingOperator, _TargetOperator):
    """
    Associate a free Elastic IP with the primary node of an existing cluster, or with an existing instance.

    Waits until the target is running and until the address is free; never takes the address from another job.

    Returns, and pushes as ``static_ip``, {allocation_id, public_ip, association_id, network_interface_id, instance_id,
    job_flow_id, token}. Use ``EipReleaseOperator`` as its teardown. On failure or kill it removes an association that
    this try made, and does not change the target.

    IAM: ec2:DescribeAddresses, ec2:AssociateAddress, ec2:DisassociateAddress, ec2:DescribeInstances,
    ec2:DescribeNetworkInterfaces; for a cluster elasticmapreduce:DescribeCluster and …:ListInstances; the
    lock store's, see ``stores``.

    :param allocation_id: the Elastic IP, ``eipalloc-…``, or several, as in ``EmrCreateWithStaticIpOperator``.
        (templated)
    :param job_flow_id: the cluster. (templated)
    :param instance_id: the EC2 instance, instead of a cluster. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param waiter_delay: seconds between two polls; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, how long it may take until the target is running.
    :param lock_timeout: the longest wait for the address.
    """

    state_class = AssociateState

    def __init__(self, *, lock_timeout: timedelta = timedelta(hours=6), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.lock_timeout = lock_timeout

    def begin(self, context: Context) -> AssociateState:
        """Check the parameters before anything is changed."""
        check_one_target(job_flow_id=self.job_flow_id, instance_id=self.instance_id)
        check_flags(self, "deferrable")
        self.read_addresses(context)
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        preflight.check_duration("lock_timeout", self.lock_timeout)
        from airflow_eip_provider.preflight import TARGET_CHECKS, Setup

        first = self.allocation_id[0] if isinstance(self.allocation_id, AddressPool) else self.allocation_id
        for warning in preflight.require(Setup(allocation_id=first, eip=self.eip, emr=self.emr), TARGET_CHECKS):
            self.log.warning("%s", warning)
        if isinstance(self.allocation_id, str):
            self.link_address(context)
        now = clock.time()
        state = AssociateState(
            try_number=context["ti"].try_number,
            lock_deadline=now + self.lock_timeout.total_seconds(),
            start_deadline=now + self.wait_seconds,
        )
        self.begin_attempt(context, state)
        return state

    def advance(self, context: Context, state: AssociateState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Wait for the target, acquire the lease, associate the address, hand the lease over."""
        from airflow_eip_provider.lease.observation import LeaseRequest
        from airflow_eip_provider.lease.protocol import Acquired
        from airflow_eip_provider.lease.record import LIMITS
        from airflow_eip_provider.operators.binder import Binder, bound_facts

        if event is not None and event["status"] == "timeout":
            raise self._timed_out(state, event)
        target = self.poll(lambda observed: judge_running(observed, self.job_flow_id, self.instance_id))
        if target.status == "failed":
            raise TransientError(
                f"associating Elastic IP '{self.allocation_id}'", problem=target.message, remedy="name a running target"
            )
        if target.status == "pending":
            state.waiting_for = "target"
            watch = self.watch(state, deadline=state.start_deadline)
            return running_trigger(self.job_flow_id, self.instance_id, **watch)
        attempt = attempt_of(context, state.nonce)
        if state.token is None:
            request = LeaseRequest(attempt, handover_seconds=LIMITS.surface, wants=self._resource)
            entered = self.lease_queue.enter(request, due_seconds=observed_due_seconds(event))
            if not isinstance(entered, Acquired):
                return self.wait_for_turn(context, state, request, entered)
            self.note_acquired(context, state, entered)
        self.kill.check()
        binder = Binder(self.eip, self.allocation_id, may_have_bound=state.binding is not None)
        where = {name: target.data[name] for name in ("network_interface_id", "instance_id")}
        if state.was_there is None:
            state.was_there = binder.address().network_interface_id == where["network_interface_id"]
        state.binding = None if state.was_there else where["network_interface_id"]
        try:
            bound = binder.bind(**where)
        finally:
            if not binder.may_have_bound:
                state.binding = None
        if bound is None:
            binder.check_not_beside(**where, job_flow_id=self.job_flow_id)
            if state.addresses and self.lease_client.uri is None:
                # The next poll takes the first free address.
                state.allocation_id, self.allocation_id = None, AddressPool(state.addresses)
                del self.__dict__["_lease_queue"]
                return self.wait_for_any(context, state, job_flow_id=self.job_flow_id)
            return self.wait_for_address(context, state, job_flow_id=self.job_flow_id)
        state.association_id = bound.association_id if state.binding else None
        self.lease_client.hand_over(attempt, token=state.token, resource_id=self._resource)
        self.measure(state, metrics.BIND_SECONDS, clock.time() - state.leased_at)
        job_flow_id = self.job_flow_id or target.data.get("job_flow_id")
        facts = bound_facts(bound, job_flow_id=job_flow_id, token=state.token)
        context["ti"].xcom_push(key="static_ip", value=facts)
        return Result(facts)

    def to_undo(self, context: Context, state: AssociateState | None) -> Undo | None:
        """Return the association that this try made, or may have made if EC2's response was lost."""
        from airflow_eip_provider.lease_client.interface import Undo

        nonce, token = self.known_lease(context, state)
        if nonce is None and state is None and context["ti"].try_number == 1:
            return None  # refused before it did anything; a later try may have to undo what an earlier one did
        undo = Undo(attempt_of(context, nonce), token=token)
        if state is None or state.binding is None:
            return undo
        return replace(undo, resource_id=self._resource, association_id=state.association_id, may_lag=True)

    def log_leftovers(self, resource_id: str) -> None:
        """Log the address that this task could not release."""
        release = f"airflow-eip release --allocation-id {self.allocation_id} --job-flow-id {self.job_flow_id}"
        self.log.error(
            "Elastic IP %s may still be on '%s': the lock store, which says whether a newer try continues with it, "
            "does not answer. A retry of this task continues with it. To release it: %s",
            self.allocation_id,
            resource_id,
            release if self.job_flow_id else "disassociate it there",
        )

    def _timed_out(self, state: AssociateState, event: dict[str, Any]) -> Exception:
        if state.waiting_for in {"lease", "address"}:
            return self.address_timed_out(state, event)
        return wait_timed_out(f"'{self._resource}' to run", event)


@dataclass(slots=True)
class ReleaseState(State):
    """
    The progress of a release.

    :param deadline: the end of the wait for the fenced steps.
    :param closed: the lease allows no further steps.
    :param steps_show_by: when EMR shows every step that was submitted before that, in seconds since the epoch.
    """

    deadline: float
    closed: bool = False
    steps_show_by: float = 0.0


class EipReleaseOperator(_TargetOperator):
    """
    Disassociate the Elastic IP from a cluster or an instance, and delete a NAT gateway created for the cluster.

    Use it for a cluster that continues to work after the last step that needs the address, so that the next job does
    not wait for its end. The task waits for fenced steps that are pending or running. With a lock store no further
    steps are submitted once it has started; it polls for steps that were submitted before for at least a minute,
    because ListSteps may show a new step late. Then the next owner in the queue gets the address.

    Returns whether the address was on the target. Safe to run twice or late, also as the teardown of
    ``EipAssociateOperator``.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, ec2:DisassociateAddress; for a
    cluster elasticmapreduce:ListSteps, and for an ID that has no address also …:DescribeCluster and …:ListClusters; the
    lock store's, see ``stores``. With a NAT gateway that was created for the cluster also ec2:DescribeNatGateways,
    ec2:DescribeRouteTables, ec2:DeleteNatGateway, ec2:ReplaceRoute, ec2:DeleteRoute.

    :param allocation_id: the Elastic IP, ``eipalloc-…``; if several are named, the one that the target has, if any.
        (templated)
    :param job_flow_id: the cluster. (templated)
    :param instance_id: the EC2 instance, instead of a cluster. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param waiter_delay: seconds between two polls of the steps; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, how long the fenced steps may still take; a day by default.
    """

    state_class = ReleaseState
    gives_back = True

    def __init__(self, *, waiter_max_attempts: int = 5760, **kwargs: Any) -> None:
        super().__init__(waiter_max_attempts=waiter_max_attempts, **kwargs)

    def begin(self, context: Context) -> ReleaseState:
        """Check the parameters before anything is changed."""
        check_one_target(job_flow_id=self.job_flow_id, instance_id=self.instance_id)
        if self.has_address:
            preflight.check_allocation_id(self.allocation_id)
            self.link_address(context)
        preflight.check_waits(self.waiter_delay, self.waiter_max_attempts)
        return ReleaseState(try_number=context["ti"].try_number, deadline=clock.time() + self.wait_seconds)

    def advance(self, context: Context, state: ReleaseState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Stop further steps, wait for the fenced steps, disassociate the address, release the lease."""
        from airflow_eip_provider.aws.clusters import GUARD_MARK
        from airflow_eip_provider.triggers.emr import EmrStepsEndedTrigger, judge_no_step_runs

        if event is not None and event["status"] == "timeout":
            raise wait_timed_out(f"the fenced steps of cluster '{self.job_flow_id}' to end", event)
        if not state.closed:
            self.kill.check()
            if self.lease_client.start_release(self._resource):
                state.steps_show_by = clock.time() + READS_LAG_SECONDS
            state.closed = True
        if job_flow_id := self.job_flow_id:
            late = may_be_hidden(state.steps_show_by, now=clock.time())
            verdict = self.poll(
                lambda reads: judge_no_step_runs(reads, job_flow_id, name_contains=GUARD_MARK, may_lag=late)
            )
            if verdict.status != "done":
                self.log.info("%s; the address stays for now", verdict.message)
                deadline = max(state.deadline, state.steps_show_by + float(self.waiter_delay))
                return EmrStepsEndedTrigger(
                    job_flow_id=job_flow_id,
                    name_contains=GUARD_MARK,
                    not_before=state.steps_show_by,
                    **self.watch(state, deadline=deadline),
                )
        self.kill.check()
        was_there = self.lease_client.disassociate(self._resource)
        cluster = self.emr.get_cluster(self.job_flow_id) if not was_there and self.job_flow_id else None
        if not was_there and self.job_flow_id and cluster is None:
            check_nothing_left(self, context, job_flow_id=self.job_flow_id)
        if not was_there and self.has_address and not (cluster and cluster.has_ended):
            self.kill.pause(SECOND_LOOK_SECONDS)  # the read may have been older than the association
            was_there = self.lease_client.disassociate(self._resource)
        self.lease_client.release(self._resource, why="released early")
        return Result(was_there)
