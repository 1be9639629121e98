"""The teardown of a cluster with an Elastic IP, which also releases the lease."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.emr import EmrTerminateJobFlowOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, earliest_start
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.aws.lag import until_shown
from airflow_eip_provider.aws.resource_ids import check_job_flow_id
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.hooks.address_pool import names_pool
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.lease_settings import UNSET
from airflow_eip_provider.operators.phases import CLUSTER_LINKS, PhasedOperator, Result, State, wait_timed_out
from airflow_eip_provider.operators.targets import check_nothing_left
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.triggers.watch import WatchTrigger


@dataclass(slots=True)
class TerminateState(State):
    """
    The progress of the teardown, after TerminateJobFlows was accepted.

    :param has_gateway: a NAT gateway of the cluster must still be deleted; ``None`` until EMR has shown the cluster's
        tags.
    :param waiting_for: what the next wait is for: "steps" or "end".
    :param no_steps: no step of the cluster runs, and none can start.
    :param ended: the cluster is in a terminal state, or unknown.
    """

    deadline: float
    has_gateway: bool | None = None
    freed: bool = False
    released: bool = False
    waiting_for: str = ""
    no_steps: bool = False
    ended: bool = False


class EmrTerminateWithStaticIpOperator(PhasedOperator, EmrTerminateJobFlowOperator):
    """
    Terminate a cluster, and release its Elastic IP as soon as none of its steps runs.

    A drop-in for ``EmrTerminateJobFlowOperator``, meant as the teardown:
    ``terminate.as_teardown(setups=create, on_failure_fail_dagrun=True)``. It sends TerminateJobFlows before it reads
    anything, removes termination protection, and waits until the cluster has ended. Both terminal states, and a cluster
    that EMR does not know, count as success. The address is released before the end, so the next job does not wait for
    the shutdown. Throttled reads are retried until the time is up.

    A text that is not a cluster ID fails the task immediately. So does an ID that EMR does not know, or no ID, while a
    cluster of the same DAG run has the address; an unknown ID also while such a cluster is active or has the lease.

    Airflow judges a DAG run by its last tasks, and with ``on_failure_fail_dagrun`` a teardown is one of these. If it is
    the only last task, the run succeeds although the steps before it failed. Give the run another last task, such as an
    ``EmptyOperator`` after the steps, or use ``StaticIpCluster``, which does.

    A NAT gateway that was created for the cluster is deleted with the address, and its routes are restored.

    Returns nothing. Safe to run twice or late. After a failure or a kill, a retry continues where it stopped.

    With a lock store it releases the lease, and terminates what crashed tries may have left. If the store does not
    answer, the address is released anyway, and the store is called again at every poll until the time is up. Without a
    store it terminates what earlier tries of the creating task launched, if that task was retried.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, ec2:DisassociateAddress,
    elasticmapreduce:DescribeCluster, …:ListClusters, …:ListSteps, …:SetTerminationProtection, …:TerminateJobFlows;
    the lock store's, see ``stores``. With a NAT gateway that was created for the cluster also ec2:DescribeNatGateways,
    ec2:DescribeRouteTables, ec2:DeleteNatGateway, ec2:ReplaceRoute, ec2:DeleteRoute.

    :param allocation_id: the Elastic IP, ``eipalloc-…``; if several are named, the one that the cluster has, if any.
        (templated)
    :param job_flow_id: the cluster, e.g. ``create.output``. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param waiter_delay: seconds between two polls; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, how long the cluster may take to end; an hour by default.
    """

    state_class = TerminateState
    gives_back = True
    aws_hook_class = EmrClusterHook
    template_fields: Sequence[str] = aws_template_fields("allocation_id", "job_flow_id")
    operator_extra_links = CLUSTER_LINKS  # type: ignore[assignment]

    _is_known: bool | None = None  # EMR knows the cluster; ``None`` before TerminateJobFlows was sent

    def __init__(
        self,
        *,
        allocation_id: Any,
        lock_store: str | None = UNSET,
        waiter_delay: int = 15,
        waiter_max_attempts: int = 240,
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            waiter_delay=waiter_delay, waiter_max_attempts=waiter_max_attempts, deferrable=deferrable, **kwargs
        )
        preflight.check_waits(waiter_delay, waiter_max_attempts)  # here, so that the teardown does not fail later
        self.allocation_id = allocation_id
        self.lock_store = lock_store

    def follow_address(self) -> None:
        """Terminate the cluster before anything is read if ``allocation_id`` names several addresses."""
        if self._has_cluster and names_pool(self.allocation_id):
            self._is_known = self._end_cluster()
        super().follow_address()

    def begin(self, context: Context) -> TerminateState:
        """Terminate the cluster before anything is read, and check the parameters."""
        if self._has_cluster:
            # First: whatever else is wrong, the cluster must not continue to run.
            if self._is_known is None:
                self._is_known = self._end_cluster()
            if self.has_address:
                preflight.check_allocation_id(self.allocation_id)
            if not self._is_known:
                check_nothing_left(self, context, job_flow_id=self.job_flow_id)
            self.link_cluster(context, self.job_flow_id, log_uri=None)
        else:
            check_nothing_left(self, context, job_flow_id=None)
            self.log.warning("There is no cluster to terminate: the creating task published no job_flow_id")
        if isinstance(self.allocation_id, str) and not is_nothing(self.allocation_id):
            self.link_address(context)
        return TerminateState(
            try_number=context["ti"].try_number,
            deadline=clock.time() + self.wait_seconds,
        )

    def advance(self, context: Context, state: TerminateState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """Release the address when no step runs, then the lease; wait for the end. Completed parts are not repeated."""
        from airflow_eip_provider.triggers.emr import EmrClusterTrigger, EmrStepsEndedTrigger

        if not self._has_cluster:
            return Result(None)
        if event is not None:
            self._note(state, event)
        if state.ended:
            # A wait would read the same from EMR; an error is retried after a pause.
            self._read_cluster(context, state)
        else:
            self._attempt(state, lambda: self._read_cluster(context, state))
        if not state.freed:
            self._attempt(state, lambda: self._free(state))
        if state.freed and state.has_gateway:
            self._attempt(state, lambda: self._remove_gateways(state))
        if state.freed and not state.released:
            self._attempt(state, lambda: self._release(state))
        if state.ended and state.freed and state.released and state.has_gateway is False:
            self.log.info("Cluster %s has ended", self.job_flow_id)
            return Result(None)
        state.waiting_for = "end" if state.freed else "steps"
        shared = self.watch(state, deadline=state.deadline)
        if not state.freed:
            return EmrStepsEndedTrigger(job_flow_id=self.job_flow_id, **shared)
        return EmrClusterTrigger(job_flow_id=self.job_flow_id, target="cluster_ended", **shared)

    def _note(self, state: TerminateState, event: dict[str, Any]) -> None:
        """Record the result of a wait, which is final; raise an error if it timed out."""
        if event["status"] == "timeout":
            raise wait_timed_out(f"cluster '{self.job_flow_id}' to end", event)
        if event["status"] == "done":
            state.no_steps = state.no_steps or state.waiting_for == "steps"
            state.ended = state.ended or state.waiting_for == "end"

    def _attempt(self, state: TerminateState, act: Callable[[], None]) -> None:
        """Run one part of the teardown; after a transient error it runs again after the next wait."""
        try:
            act()
        except Exception as error:
            if not is_transient(error) or clock.time() >= state.deadline:
                raise
            self.log.warning("No answer this time; the teardown continues and asks again: %s", error)

    def _read_cluster(self, context: Context, state: TerminateState) -> None:
        """Read from the cluster what else was created for it, and terminate surplus clusters."""
        from airflow_eip_provider.aws.nat_gateway_changes import is_behind_own_gateway

        if state.has_gateway is not None:
            return
        cluster = self.emr.get_cluster(self.job_flow_id)
        if cluster is None and self._is_known:
            # EMR has accepted TerminateJobFlows, so the cluster exists, and DescribeCluster lags.
            cluster = until_shown(lambda: self.emr.get_cluster(self.job_flow_id))
        if cluster is None:
            check_nothing_left(self, context, job_flow_id=self.job_flow_id)
            state.ended, state.has_gateway = True, False
            return
        self.link_cluster(context, self.job_flow_id, log_uri=cluster.log_uri)
        if cluster.created_at is not None and cluster.ready_at is not None:
            self.measure(state, metrics.START_SECONDS, (cluster.ready_at - cluster.created_at).total_seconds())
        self.lease_client.end_surplus(cluster, created_after=earliest_start(context))
        launched_for = cluster.tags.get(ALLOCATION_TAG)
        if launched_for not in {None, self.allocation_id}:
            self.log.warning(
                "Cluster %s was launched with Elastic IP %s, not %s. The next owner of that address ends its lease. "
                "Give the teardown the address of the launch",
                self.job_flow_id,
                launched_for,
                self.allocation_id,
            )
        state.ended = cluster.has_ended
        state.has_gateway = is_behind_own_gateway(cluster)

    def _free(self, state: TerminateState) -> None:
        """
        Disassociate the address if no step of the cluster runs.

        EMR accepts no steps for a terminating cluster, and TerminateJobFlows was sent before. So the lease is marked as
        releasing only if there are steps to wait for; this saves a write in the usual case.

        One poll is enough although ListSteps may lag. It can hide only a step of the last minute. TerminateJobFlows
        cancels such a step, and a task that fails so early has cancelled it by its ID. Waiting for a minute would delay
        every next owner for the few seconds that EMR needs to stop the step.
        """
        from airflow_eip_provider.triggers.emr import judge_no_step_runs

        if not (state.ended or state.no_steps):
            verdict = self.poll(lambda reads: judge_no_step_runs(reads, self.job_flow_id))
            if verdict.status != "done":
                self.log.info("%s; the address stays until they end", verdict.message)
                self.lease_client.start_release(self.job_flow_id)
                return
            state.no_steps = True
        self.lease_client.disassociate(self.job_flow_id)
        state.freed = True

    def _remove_gateways(self, state: TerminateState) -> None:
        from airflow_eip_provider.aws.nat_gateway_changes import remove_gateways

        # With any address: allocation_id may have changed since the launch, for example if it is a template.
        remove_gateways(self.eip.conn, self.job_flow_id, allocation_id=None)
        state.has_gateway = False

    def _release(self, state: TerminateState) -> None:
        """Release the lease; if the lock store does not answer, again at every poll until the deadline."""
        if self.lease_client.release(self.job_flow_id, why="terminated"):
            self.log.info("The lease of Elastic IP %s has ended", self.allocation_id)
        state.released = True

    def _end_cluster(self) -> bool:
        check_job_flow_id(self.job_flow_id)
        self.kill.check()
        return self.emr.end(self.job_flow_id)

    @property
    def _has_cluster(self) -> bool:
        """Whether there is a cluster ID; a template renders a missing XCom as the text "None"."""
        return self.job_flow_id is not None and str(self.job_flow_id) not in {"", "None"}
