"""An owner's cluster, from its launch on: what the operators share that launch one."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import earliest_start, remember
from airflow_eip_provider.exceptions import ClusterEndedError
from airflow_eip_provider.operators.emr.next_candidate import CandidateFailed, CreateState, NextCandidateOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import Acquired
    from airflow_eip_provider.operators.launch import Launcher
    from airflow_eip_provider.triggers.emr import Target
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.watch import WatchTrigger

# EMR's reads are eventually consistent; for how long after RunJobFlow is not documented.
_APPEARS_WITHIN = timedelta(minutes=2)


class LaunchingOperator(NextCandidateOperator):
    """Launching, and finding what was launched, for operators that launch clusters."""

    idle_timeout: timedelta | None

    def launcher(self, context: Context) -> Launcher:
        """Return what launches this owner's clusters; one for the whole try."""
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
        """Note which cluster is the owner's, and tell everybody."""
        state.job_flow_id = job_flow_id
        context["ti"].xcom_push(key="job_flow_id", value=job_flow_id)
        remember(context, "job_flow_id", job_flow_id)
        launcher = self.launcher(context)
        state.launched_at = clock.time()
        state.appears_by = state.launched_at + _APPEARS_WITHIN.total_seconds()
        state.wait_deadline = state.launched_at + self.wait_seconds
        if self.has_fallbacks and launcher.answered != job_flow_id:
            self._recognise(state, launcher)
        state.start_deadline = state.launched_at + self.start_seconds
        self.log.info("The cluster is %s", job_flow_id)
        self.link_cluster(context, job_flow_id, log_uri=launcher.config.get("LogUri"))

    def launch_and_start(
        self, context: Context, state: CreateState, request: LeaseRequest, *, enter: Callable[[], Acquired]
    ) -> WatchTrigger | None:
        """
        Launch the owner's cluster and wait until it has started; the next candidate when it does not.

        :param enter: returns the lease, which is the owner's.
        :return: what to wait for; ``None`` when a cluster has started.
        """
        replaces = self.has_fallbacks
        while True:
            observed: Observed | None = None
            try:
                if state.job_flow_id is None or state.failed is not None:
                    waiting = self._next_cluster(context, state, request, enter, replaces=replaces)
                    replaces = replaces and state.job_flow_id is not None
                else:
                    observed = self.observe()
                    if self.look_at_start(state, observed):
                        return None
                    return self.wait_for_start(state, deadline=self.check_in_time(state, observed))
            except (CandidateFailed, ClusterEndedError, ClientError) as error:
                waiting = self.another_candidate(context, state, error, observed)
            if waiting is not None:
                return waiting

    def _next_cluster(
        self,
        context: Context,
        state: CreateState,
        request: LeaseRequest,
        enter: Callable[[], Acquired],
        *,
        replaces: bool,
    ) -> WatchTrigger | None:
        """Launch the first cluster, or the one that follows a cluster that did not start."""
        from airflow_eip_provider.lease.protocol import NotStarted

        launcher = self.launcher(context)
        self.choose(launcher, state.candidate)
        if state.job_flow_id is None:
            entered = enter()
            launched = self.lease_client.launch(entered, request, launcher, replaces=replaces)
            if isinstance(launched, NotStarted):
                self.replaces(context, state, entered, launched.resource_id)
                return None
        else:
            next_one = self.replace_failed(state, request.attempt, launcher)
            if not isinstance(next_one, str):
                return next_one
            launched = next_one
        self.publish(context, state, launched)
        return None

    def replaces(self, context: Context, state: CreateState, acquired: Acquired, job_flow_id: str) -> bool:
        """
        Go on with a cluster of the lease that has ended, or is ending, as with one that did not start.

        :return: ``False`` for one that was started early, and ended for no failure of its start: idle, or terminated.
        """
        lease = acquired.snapshot.record.lease
        if lease is not None and not lease.is_given_up(job_flow_id):
            cluster = self.emr.get_cluster(job_flow_id)
            if cluster is not None and (cluster.has_started or cluster.change_code == "USER_REQUEST"):
                return False
        self.publish(context, state, job_flow_id)
        self.give_up_recorded(context, state, acquired)
        return True

    def _recognise(self, state: CreateState, launcher: Launcher) -> None:
        """Learn from a cluster that was launched before which candidate it is, and since when it starts."""
        cluster = self.emr.get_cluster(str(state.job_flow_id))
        if cluster is None:
            return
        state.candidate = cluster.candidate
        if cluster.created_at is not None:
            state.launched_at = cluster.created_at.timestamp()
        self.choose(launcher, state.candidate)

    def wait_for_cluster(self, state: CreateState, target: Target, *, deadline: float) -> WatchTrigger:
        """Return the wait for the cluster to come so far."""
        from airflow_eip_provider.triggers.emr import EmrClusterTrigger

        state.waiting_for = target
        shared = self.watch(state, deadline=deadline)
        return EmrClusterTrigger(
            job_flow_id=str(state.job_flow_id), target=target, appears_by=state.appears_by, **shared
        )
