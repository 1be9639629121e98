"""The base of operators that launch clusters."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import earliest_start, remember
from airflow_eip_provider.exceptions import ClusterEndedError
from airflow_eip_provider.hooks.address_pool import AddressPool
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.emr.next_candidate import CandidateFailed, CreateState, NextCandidateOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import Acquired
    from airflow_eip_provider.operators.launch import Launcher
    from airflow_eip_provider.preflight import Setup
    from airflow_eip_provider.triggers.emr import Target
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.watch import WatchTrigger

# EMR's reads are eventually consistent; for how long after RunJobFlow is not documented.
_APPEARS_WITHIN = timedelta(minutes=2)


class LaunchingOperator(NextCandidateOperator):
    """Launches a cluster, and continues with one that an earlier try launched."""

    dag_id: str
    task_id: str
    idle_timeout: timedelta | None
    on_multi_node: str

    def run_preflight(self, **options: Any) -> Setup:
        """
        Run the preflight checks of all candidates, before anything is changed, and log their warnings.

        :param options: further fields of ``Setup``.
        :return: the setup of the first candidate.
        :raises InvalidInputError: when a fallback has the wrong form.
        :raises PreflightError: with all problems, and with fallbacks the candidates that have them.
        """
        from airflow_eip_provider.preflight import Setup, plans_of, read_candidates

        # The launcher names a cluster that has no name after its task.
        first = {"Name": f"{self.dag_id}.{self.task_id}", **self.candidates[0].job_flow}
        shape = self.emr.conn.meta.service_model.operation_model("RunJobFlow").input_shape
        pool = self.allocation_id if isinstance(self.allocation_id, AddressPool) else ()
        setup = Setup(
            # The addresses of a pool have been checked; most other checks give the same result for each of them.
            allocation_id=pool[0] if pool else self.allocation_id,
            pool=pool,
            eip=self.eip,
            emr=self.emr,
            job_flow=first,
            on_multi_node=self.on_multi_node,
            ends_idle=self.idle_timeout is not None,
            lock_store=self.lease_queue.uri,
            **options,
        )
        plans = plans_of(
            setup,
            read_candidates(first, self.fallbacks, shape=shape, rounds=self.fallback_rounds),
            rounds=self.fallback_rounds,
            binding_of=lambda candidate: self.binding_of(candidate.number),
        )
        for warning in preflight.require_plans(plans):
            self.log.warning("%s", warning)
        return plans[0].setup

    def launcher(self, context: Context) -> Launcher:
        """Return the launcher of this owner's clusters; one per try and process."""
        from airflow_eip_provider.operators.launch import Launcher
        from airflow_eip_provider.operators.owner import Owner

        if "_launching" not in self.__dict__:
            self.__dict__["_launching"] = Launcher(
                self.aws,
                config=self.candidates[0].job_flow,
                owner=Owner.of(context),
                idle_timeout=self.idle_timeout,
                tags=self.tags_of(0),
                created_after=earliest_start(context),
            )
        return self.__dict__["_launching"]  # type: ignore[no-any-return]

    def publish(self, context: Context, state: CreateState, job_flow_id: str) -> None:
        """Record and publish which cluster is the owner's."""
        state.job_flow_id = job_flow_id
        context["ti"].xcom_push(key="job_flow_id", value=job_flow_id)
        remember(context, "job_flow_id", job_flow_id)
        launcher = self.launcher(context)
        state.launched_at = clock.time()
        state.appears_by = state.launched_at + _APPEARS_WITHIN.total_seconds()
        state.wait_deadline = state.launched_at + self.wait_seconds
        if self.has_fallbacks and launcher.answered != job_flow_id:
            self._read_candidate(state, launcher)
        state.start_deadline = state.launched_at + self.start_seconds
        self.log.info(
            "%s cluster %s", "Launched" if launcher.answered == job_flow_id else "Continuing with", job_flow_id
        )
        self.link_cluster(context, job_flow_id, log_uri=launcher.config.get("LogUri"))

    def launch_and_start(
        self, context: Context, state: CreateState, request: LeaseRequest, *, enter: Callable[[], Acquired]
    ) -> WatchTrigger | None:
        """
        Launch the owner's cluster and wait until it has started; try the next candidate if it does not.

        :param enter: returns the lease that the owner has.
        :return: what to wait for; ``None`` when a cluster has started.
        """
        from airflow_eip_provider.lease.protocol import NotStarted

        launcher, replaces = self.launcher(context), self.has_fallbacks
        while True:
            observed: Observed | None = None
            if state.job_flow_id is None or state.failed is not None:
                self.choose(launcher, state.candidate)
            try:
                if state.job_flow_id is None:
                    entered = enter()
                    launched = self.lease_client.launch(entered, request, launcher, replaces=replaces)
                    if isinstance(launched, NotStarted):
                        replaces = self.give_up_ended(context, state, entered, launched.resource_id)
                    else:
                        self.publish(context, state, launched)
                elif state.failed is not None:
                    replacement = self.replace_failed(state, request.attempt, launcher)
                    if not isinstance(replacement, str):
                        return replacement
                    self.publish(context, state, replacement)
                else:
                    observed = self.observe()
                    if self.has_started(state, observed):
                        return None
                    return self.wait_for_start(state, deadline=self.check_in_time(state, observed))
            except (CandidateFailed, ClusterEndedError, ClientError) as error:
                if (waiting := self.another_candidate(context, state, error, observed)) is not None:
                    return waiting

    def give_up_ended(self, context: Context, state: CreateState, acquired: Acquired, job_flow_id: str) -> bool:
        """
        Treat an ended or ending cluster of the lease as one that did not start.

        :return: ``False`` for a cluster that was started early and ended for another reason: idle, or terminated.
        """
        lease = acquired.snapshot.record.lease
        if lease is not None and not lease.is_given_up(job_flow_id):
            cluster = self.emr.get_cluster(job_flow_id)
            if cluster is not None and (cluster.has_started or cluster.change_code == "USER_REQUEST"):
                return False
        self.publish(context, state, job_flow_id)
        self.give_up_recorded(context, state, acquired)
        return True

    def _read_candidate(self, state: CreateState, launcher: Launcher) -> None:
        """Read from a cluster that was launched before which candidate it is, and its launch time."""
        cluster = self.emr.get_cluster(str(state.job_flow_id))
        if cluster is None:
            return
        state.candidate = cluster.candidate
        if cluster.created_at is not None:
            state.launched_at = cluster.created_at.timestamp()
        self.choose(launcher, state.candidate)

    def wait_for_cluster(self, state: CreateState, target: Target, *, deadline: float) -> WatchTrigger:
        """Return the wait for the cluster to reach a state."""
        from airflow_eip_provider.triggers.emr import EmrClusterTrigger

        state.waiting_for = target
        shared = self.watch(state, deadline=deadline)
        return EmrClusterTrigger(
            job_flow_id=str(state.job_flow_id), target=target, appears_by=state.appears_by, **shared
        )
