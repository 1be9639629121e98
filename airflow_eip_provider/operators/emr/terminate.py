"""End a tenancy: the teardown of a cluster that carries an Elastic IP."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.operators.emr import EmrTerminateJobFlowOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.exceptions import LockStoreUnavailableError, WaitTimeoutError
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.nat import remove_gateways
from airflow_eip_provider.hooks.teardown import free_address
from airflow_eip_provider.lock.programs import release
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.phases import CLUSTER_LINKS, PhasedOperator, Result, State
from airflow_eip_provider.operators.tenancy import UNSET
from airflow_eip_provider.readings.tags import BINDING_TAG, TENANCY_GATEWAY
from airflow_eip_provider.triggers.emr import EmrClusterTrigger, EmrStepsEndedTrigger, read_no_step_runs, read_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.triggers.watch import WatchTrigger


@dataclass(slots=True)
class TerminateState(State):
    """
    How far the teardown has come.

    :param has_gateway: a NAT gateway was made for the cluster.
    """

    deadline: float
    has_gateway: bool = False
    freed: bool = False
    released: bool = False


class EmrTerminateWithStaticIpOperator(PhasedOperator, EmrTerminateJobFlowOperator):
    """
    Terminate a cluster, and free the Elastic IP as soon as no step of it runs any more.

    A drop-in for ``EmrTerminateJobFlowOperator``, meant as the teardown:
    ``terminate.as_teardown(setups=create, on_failure_fail_dagrun=True)``. It lifts termination protection, takes both
    terminal states and a cluster that is gone already as success, and waits for the end. The address is freed before
    that, so the next job does not wait for a shutdown.

    Airflow judges a DAG run by its last tasks, and with ``on_failure_fail_dagrun`` a teardown counts as one: a run
    whose only last task it is succeeds although the steps before it failed. Give the run another last task, an
    ``EmptyOperator`` after the steps, or use ``StaticIpCluster``, which does.

    A NAT gateway that was made for the tenancy is removed with the address, and the routes to it are put back.

    Returns nothing. Safe to run twice or late. When it fails or is killed, a retry goes on where it stopped.

    With a lock store it ends the lease, and terminates what crashed tries may have left. A store that gives no answer
    is asked again at every look, when the address is free already, until the time is up.

    IAM: ec2:DescribeAddresses, ec2:DescribeInstances, ec2:DescribeNetworkInterfaces, ec2:DisassociateAddress,
    elasticmapreduce:DescribeCluster, …:ListClusters, …:ListSteps, …:SetTerminationProtection, …:TerminateJobFlows;
    the lock store's, see ``stores``. With a NAT gateway that was made for the tenancy also ec2:DescribeNatGateways,
    ec2:DescribeRouteTables, ec2:DeleteNatGateway, ec2:ReplaceRoute, ec2:DeleteRoute.

    :param allocation_id: the Elastic IP, ``eipalloc-…``. (templated)
    :param job_flow_id: the cluster, e.g. ``create.output``. (templated)
    :param lock_store: as in ``EmrCreateWithStaticIpOperator``.
    :param waiter_delay: seconds between two looks; at least 10 when deferred.
    :param waiter_max_attempts: with ``waiter_delay``, how long the cluster may take to end; an hour by default.
    """

    state_class = TerminateState
    aws_hook_class = EmrClusterHook
    template_fields: Sequence[str] = aws_template_fields("allocation_id", "job_flow_id")
    operator_extra_links = CLUSTER_LINKS  # type: ignore[assignment]

    def __init__(
        self,
        *,
        allocation_id: str,
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

    def begin(self, context: Context) -> TerminateState:
        """Check the parameters and terminate the cluster."""
        preflight.check_allocation_id(self.allocation_id)
        self.link_address(context)
        state = TerminateState(
            try_number=context["ti"].try_number,
            deadline=time.time() + float(self.waiter_delay) * int(self.waiter_max_attempts),
        )
        if not self._has_cluster:
            self.log.warning("There is no cluster to terminate: the creating task published no job_flow_id")
            return state
        cluster = self.emr.get_cluster(self.job_flow_id)
        state.has_gateway = cluster is not None and cluster.tags.get(BINDING_TAG) == TENANCY_GATEWAY
        self.link_cluster(context, self.job_flow_id, log_uri=cluster.log_uri if cluster else None)
        self.emr.end(self.job_flow_id)
        return state

    def advance(self, context: Context, state: TerminateState, event: dict[str, Any] | None) -> WatchTrigger | Result:
        """No step runs → address free → cluster at its end."""
        if not self._has_cluster:
            return Result(None)
        if event is not None and event["status"] == "timeout":
            raise WaitTimeoutError(
                f"cluster '{self.job_flow_id}' to end",
                last_seen=event["message"],
                bound="waiter_delay or waiter_max_attempts",
            )
        ended = self.look(read_target(self.job_flow_id, target="cluster_ended"))
        if not state.freed:
            if ended.status != "done" and self.look(read_no_step_runs(self.job_flow_id)).status != "done":
                return EmrStepsEndedTrigger(job_flow_id=self.job_flow_id, **self.watch(state, deadline=state.deadline))
            free_address(self.eip, allocation_id=self.allocation_id, job_flow_id=self.job_flow_id)
            if state.has_gateway:
                remove_gateways(self.eip.conn, self.job_flow_id, allocation_id=self.allocation_id)
            state.freed = True
        self._release(state)
        if ended.status != "done" or not state.released:
            shared = self.watch(state, deadline=state.deadline)
            return EmrClusterTrigger(job_flow_id=self.job_flow_id, target="cluster_ended", **shared)
        self.log.info("%s", ended.message)
        return Result(None)

    def _release(self, state: TerminateState) -> None:
        """End the lease; while the lock store gives no answer, at every look until the deadline."""
        if state.released:
            return
        try:
            if self.tenancy is not None and self.tenancy.perform(release(self.job_flow_id, why="terminated")):
                self.log.info("The lease of Elastic IP %s has ended", self.allocation_id)
        except LockStoreUnavailableError as error:
            if time.time() >= state.deadline:
                raise
            self.log.warning("The address is free, but the lease is not released yet: %s", error)
        else:
            state.released = True

    @property
    def _has_cluster(self) -> bool:
        """Whether there is an id; a template renders a missing XCom as the text "None"."""
        return self.job_flow_id not in {None, "", "None"}
