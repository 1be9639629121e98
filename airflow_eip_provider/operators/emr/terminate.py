"""The teardown of a cluster that carries an Elastic IP: it ends the lease, too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.emr import EmrTerminateJobFlowOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE, earliest_start
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.exceptions import WaitTimeoutError
from airflow_eip_provider.hooks.address_pool import names_pool
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.lease_settings import UNSET
from airflow_eip_provider.operators.phases import CLUSTER_LINKS, PhasedOperator, Result, State
from airflow_eip_provider.operators.targets import check_job_flow_id, check_nothing_left
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.triggers.watch import WatchTrigger


@dataclass(slots=True)
class TerminateState(State):
    """
    How far the teardown has come. TerminateJobFlows was accepted before there is one.

    :param has_gateway: a NAT gateway was made for the cluster, and is still to be removed; ``None`` while EMR has not
        shown the cluster's tags.
    :param waiting_for: what the wait that comes now waits for: "steps" or "end".
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
    Terminate a cluster, and free the Elastic IP as soon as none of its steps runs.

    A drop-in for ``EmrTerminateJobFlowOperator``, meant as the teardown:
    ``terminate.as_teardown(setups=create, on_failure_fail_dagrun=True)``. It sends TerminateJobFlows before it reads
    anything, lifts termination protection, takes both terminal states and a cluster that is gone already as success,
    and waits for the end. The address is freed before that, so the next job does not wait for a shutdown. A read that
    AWS throttles is made again until the time is up.

    A text that is no cluster's id fails at once. So does an id that EMR does not know, or none at all, while a cluster
    of the same DAG run has the address; with an unknown id also while one is alive or has the lease.

    Airflow judges a DAG run by its last tasks, and with ``on_failure_fail_dagrun`` a teardown counts as one: a run
    whose only last task it is succeeds although the steps before it failed. Give the run another last task, an
    ``EmptyOperator`` after the steps, or use ``StaticIpCluster``, which does.

    A NAT gateway that was made for the cluster is removed with the address, and the routes to it are put back.

    Returns nothing. Safe to run twice or late. When it fails or is killed, a retry goes on where it stopped.

    With a lock store it ends the lease, and terminates what crashed tries may have left. A store that gives no answer
    is asked again at every look, when the address is free already, until the time is up. Without one it terminates
    what earlier tries of the creating task launched, when that task was retried.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, ec2:DisassociateAddress,
    elasticmapreduce:DescribeCluster, …:ListClusters, …:ListSteps, …:SetTerminationProtection, …:TerminateJobFlows;
    the lock store's, see ``stores``. With a NAT gateway that was made for the cluster also ec2:DescribeNatGateways,
    ec2:DescribeRouteTables, ec2:DeleteNatGateway, ec2:ReplaceRoute, ec2:DeleteRoute.

    :param allocation_id: the Elastic IP, ``eipalloc-…``; of several, it is the one that the cluster has, and none to be
        freed where it has none. (templated)
    :param job_flow_id: the cluster, e.g. ``create.output``. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param waiter_delay: seconds between two looks; at least 10 when deferred.
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
        preflight.check_waits(waiter_delay, waiter_max_attempts)  # here: a teardown is not to fail for it later
        self.allocation_id = allocation_id
        self.lock_store = lock_store

    def follow_address(self) -> None:
        """Terminate the cluster before anything is read, also where ``allocation_id`` names several addresses."""
        if self._has_cluster and names_pool(self.allocation_id):
            self._is_known = self._end_cluster()
        super().follow_address()

    def begin(self, context: Context) -> TerminateState:
        """
        Check the parameters and terminate the cluster, before anything is read.

        :raises InvalidInputError: when the id is none, or names nothing while a cluster of this DAG run is there.
        """
        if self._has_cluster:
            if self.has_address:
                preflight.check_allocation_id(self.allocation_id)
            is_known = self._end_cluster() if self._is_known is None else self._is_known
            if not is_known:
                check_nothing_left(self, context, job_flow_id=self.job_flow_id)
            self.link_cluster(context, self.job_flow_id, log_uri=None)
        else:
            check_nothing_left(self, context, job_flow_id=None)
            self.log.warning("There is no cluster to terminate: the creating task published no job_flow_id")
        if isinstance(self.allocation_id, str) and not is_nothing(self.allocation_id):
            self.link_address(context)
        return TerminateState(
            try_number=context["ti"].try_number,
            deadline=clock.time() + float(self.waiter_delay) * int(self.waiter_max_attempts),
        )

    def advance(self, context: Context, state: TerminateState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """No step runs → address free → lease released → cluster at its end; what is done is not done again."""
        from airflow_eip_provider.triggers.emr import EmrClusterTrigger, EmrStepsEndedTrigger

        if not self._has_cluster:
            return Result(None)
        if event is not None:
            self._note(state, event)
        if state.ended:
            # Another wait would ask EMR for the same; without an answer this is called again after a pause.
            self._examine(context, state)
        else:
            self._attempt(state, lambda: self._examine(context, state))
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
        """
        Keep what a wait has found: neither is ever undone.

        :raises WaitTimeoutError: when it has not found it in time.
        """
        if event["status"] == "timeout":
            raise WaitTimeoutError(
                f"cluster '{self.job_flow_id}' to end",
                last_seen=event["message"],
                bound="waiter_delay or waiter_max_attempts",
            )
        if event["status"] == "done":
            state.no_steps = state.no_steps or state.waiting_for == "steps"
            state.ended = state.ended or state.waiting_for == "end"

    def _attempt(self, state: TerminateState, act: Callable[[], None]) -> None:
        """Do one part of the teardown; without an answer from AWS or the lock store it is tried again after a wait."""
        try:
            act()
        except Exception as error:
            if not is_transient(error) or clock.time() >= state.deadline:
                raise
            self.log.warning("No answer this time; the teardown continues and asks again: %s", error)

    def _examine(self, context: Context, state: TerminateState) -> None:
        """Learn from the cluster itself what else was made for it."""
        from airflow_eip_provider.aws.nat_gateway_changes import is_behind_own_gateway

        if state.has_gateway is not None:
            return
        cluster = self.emr.get_cluster(self.job_flow_id)
        if cluster is None:
            check_nothing_left(self, context, job_flow_id=self.job_flow_id)
            state.ended, state.has_gateway = True, False
            return
        self.link_cluster(context, self.job_flow_id, log_uri=cluster.log_uri)
        if cluster.created_at is not None and cluster.ready_at is not None:
            self.measure(state, metrics.START_SECONDS, (cluster.ready_at - cluster.created_at).total_seconds())
        self.lease_client.end_surplus(cluster, created_after=earliest_start(context))
        state.ended = cluster.has_ended
        state.has_gateway = is_behind_own_gateway(cluster)

    def _free(self, state: TerminateState) -> None:
        """
        Free the address if no step of the cluster runs.

        EMR takes no step for a cluster that is terminating, and TerminateJobFlows was sent before this looks. So the
        lease, too, is closed only when there are steps to wait for; that spares the usual teardown a write.

        One look is enough although ListSteps may lag. Only a step of the last minute can be hidden; TerminateJobFlows
        cancels it, and a task that fails so soon has cancelled it by its id before. To wait for a minute would delay
        every next owner for the seconds in which EMR stops such a step.
        """
        from airflow_eip_provider.triggers.emr import judge_no_step_runs

        if not (state.ended or state.no_steps):
            left = self.poll(lambda seen: judge_no_step_runs(seen, self.job_flow_id))
            if left.status != "done":
                self.log.info("%s; the address stays until they end", left.message)
                self.lease_client.start_release(self.job_flow_id)
                return
            state.no_steps = True
        self.lease_client.disassociate(self.job_flow_id)
        state.freed = True

    def _remove_gateways(self, state: TerminateState) -> None:
        from airflow_eip_provider.aws.nat_gateway_changes import remove_gateways

        remove_gateways(self.eip.conn, self.job_flow_id, allocation_id=self.allocation_id)
        state.has_gateway = False

    def _release(self, state: TerminateState) -> None:
        """End the lease; while the lock store gives no answer, at every look until the deadline."""
        if self.lease_client.release(self.job_flow_id, why="terminated"):
            self.log.info("The lease of Elastic IP %s has ended", self.allocation_id)
        state.released = True

    def _end_cluster(self) -> bool:
        check_job_flow_id(self.job_flow_id)
        self.kill.check()
        return self.emr.end(self.job_flow_id)

    @property
    def _has_cluster(self) -> bool:
        """Whether there is an id; a template renders a missing XCom as the text "None"."""
        return self.job_flow_id is not None and str(self.job_flow_id) not in {"", "None"}
