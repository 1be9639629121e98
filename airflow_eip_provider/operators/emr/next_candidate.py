"""Fallbacks: launching the next candidate under the same lease when a cluster does not start."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from botocore.exceptions import ClientError

from airflow_eip_provider import clock, metrics
from airflow_eip_provider.airflow_compat import own_xcom
from airflow_eip_provider.aws.tags import CANDIDATE_TAG, START_TIMEOUT_TAG
from airflow_eip_provider.candidates import Candidate, candidates_of
from airflow_eip_provider.exceptions import (
    ClusterEndedError,
    InvalidInputError,
    NoCandidateStartedError,
    WaitTimeoutError,
)
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.lease_settings import attempt_of
from airflow_eip_provider.operators.leasing import LeasingOperator, LeasingState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.aws.start_failures import StartFailure
    from airflow_eip_provider.lease.protocol import Acquired
    from airflow_eip_provider.lease.record import Attempt
    from airflow_eip_provider.operators.bindings import Binding
    from airflow_eip_provider.operators.launch import Launcher
    from airflow_eip_provider.triggers.observed import Observed
    from airflow_eip_provider.triggers.watch import WatchTrigger

# EMR ends a cluster in minutes; it may take longer when it is still provisioning.
ENDS_WITHIN = timedelta(minutes=30)
_ATTEMPTS_XCOM = "attempts"


class CandidateFailed(Exception):  # noqa: N818 - always caught
    """The cluster of a candidate did not start."""

    def __init__(self, failure: StartFailure) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass(slots=True)
class CreateState(LeasingState):
    """
    The progress of a launch.

    :param start_deadline: when the cluster must have started, in seconds since the epoch.
    :param appears_by: EMR may not show the cluster before this time.
    :param wait_deadline: the end of the wait of ``wait_policy``, and of a started cluster's wait for the address.
    :param candidate: the number of the cluster's candidate, from 0.
    :param launched_at: when the cluster was launched, in seconds since the epoch.
    :param instance_id: the primary node that was bound, while the cluster starts.
    :param failed: why the cluster did not start; it is being replaced.
    :param ends_by: when that cluster must have ended.
    :param other: the cluster that this try launched before it continued with that of an earlier try.
    """

    job_flow_id: str | None = None
    start_deadline: float = 0.0
    appears_by: float = 0.0
    bound: bool = False
    wait_deadline: float = 0.0
    candidate: int = 0
    launched_at: float = 0.0
    instance_id: str | None = None
    failed: str | None = None
    ends_by: float = 0.0
    other: str | None = None


class NextCandidateOperator(LeasingOperator):
    """The candidates of an operator that launches clusters."""

    job_flow_overrides: Any
    binding: Any
    start_timeout: timedelta | None
    fallbacks: Any
    fallback_rounds: int
    waiter_max_attempts: Any

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates, in the order in which they are tried."""
        if "_candidates" not in self.__dict__:
            from airflow_eip_provider.preflight import parsed_fallbacks

            overrides = preflight.checked_mapping(self.job_flow_overrides, parameter="job_flow_overrides")
            merged, fallbacks = self.emr.merged_overrides(overrides), parsed_fallbacks(self.fallbacks)
            self.__dict__["_candidates"] = candidates_of(merged, fallbacks, self.fallback_rounds)
        return self.__dict__["_candidates"]  # type: ignore[no-any-return]

    @property
    def has_fallbacks(self) -> bool:
        """Whether another cluster is launched if one does not start."""
        return len(self.candidates) > 1

    def binding_of(self, number: int) -> Binding:
        """Return the binding of a candidate."""
        from airflow_eip_provider.operators.bindings import checked_binding

        override = self._candidate(number).binding_override
        return checked_binding(self.binding if override is None else override)

    def tags_of(self, number: int) -> dict[str, str]:
        """Return the tags of a candidate's cluster besides its owner's."""
        candidate = {CANDIDATE_TAG: str(number)} if self.has_fallbacks else {}
        limit = self.start_timeout
        deadline = {} if limit is None else {START_TIMEOUT_TAG: str(int(limit.total_seconds()))}
        return {**self.binding_of(number).cluster_tags, **candidate, **deadline}

    def choose(self, launcher: Launcher, number: int) -> None:
        """Set the parameters of the next launch to those of a candidate."""
        candidate = self._candidate(number)
        launcher.choose(candidate.job_flow, tags=self.tags_of(candidate.number))

    def _candidate(self, number: int) -> Candidate:
        """Return a candidate; the last one if the DAG has fewer now than when the cluster was launched."""
        return self.candidates[min(number, len(self.candidates) - 1)]

    @property
    def start_seconds(self) -> float:
        """The longest time that a cluster may take to start."""
        limit = self.wait_seconds
        return limit if self.start_timeout is None else min(limit, self.start_timeout.total_seconds())

    @property
    def handover_seconds(self) -> float:
        """The longest time from the acquisition of the lease to its hand-over, without the launch call."""
        if not self.has_fallbacks:
            return self.wait_seconds
        return len(self.candidates) * (self.start_seconds + ENDS_WITHIN.total_seconds())

    def check_start_timeout(self) -> None:
        """Check that ``start_timeout`` is a duration in which a cluster could start, or ``None``."""
        if self.start_timeout is None:
            return
        preflight.check_duration("start_timeout", self.start_timeout)
        if self.start_timeout < timedelta(minutes=1):
            raise InvalidInputError(
                f"checking start_timeout {self.start_timeout!r}",
                problem="no cluster starts in less than a minute",
                remedy="give the longest time that a start takes, such as timedelta(minutes=45), or None for no limit",
            )

    def another_candidate(
        self,
        context: Context,
        state: CreateState,
        error: CandidateFailed | ClusterEndedError | ClientError,
        observed: Observed | None,
    ) -> WatchTrigger | None:
        """
        Continue after a cluster did not start, or EMR refused to launch it for lack of capacity.

        :param observed: the reads of this poll, if there are any.
        :return: what to wait for first.
        :raises ClusterEndedError: when no other candidate would start either, or there are no fallbacks.
        :raises NoCandidateStartedError: when there is no further candidate.
        """
        from airflow_eip_provider.aws.start_failures import refused_start

        if not self.has_fallbacks:
            raise error
        if isinstance(error, ClientError):
            failure = refused_start(error)
            if failure is None:
                raise error
            self.note_attempt(context, state, failure.code, reason=failure.reason, cluster=None, was_launched=False)
            if not self._has_next(state):
                raise self._none_started(context) from error
            self.move_on(state)
            return None
        failure = error.failure if isinstance(error, CandidateFailed) else None
        return self.give_up(context, state, failure, self._failed_cluster(state, failure, observed))

    def _failed_cluster(
        self, state: CreateState, failure: StartFailure | None, observed: Observed | None
    ) -> Cluster | None:
        """Return the failed cluster as this poll read it, or as EMR describes it now."""
        job_flow_id = str(state.job_flow_id)
        cluster = observed.cluster(job_flow_id) if observed is not None else None
        if cluster is not None and (cluster.is_ending or failure is not None):
            return cluster
        return self.emr.get_cluster(job_flow_id)

    def has_started(self, state: CreateState, observed: Observed) -> bool:
        """
        Return whether the cluster has started; until then its primary node with the address must exist.

        :raises CandidateFailed: when that node is lost.
        :raises ClusterEndedError: when the cluster has ended.
        """
        from airflow_eip_provider.aws.start_failures import PRIMARY_LOST, StartFailure
        from airflow_eip_provider.triggers.emr import judge_start

        job_flow_id, is_new = str(state.job_flow_id), clock.time() < state.appears_by
        instance_id = state.instance_id
        verdict = self.poll(
            lambda reads: judge_start(reads, job_flow_id, instance_id=instance_id, is_new=is_new), observed
        )
        if verdict.data.get("gone") == "primary":
            raise CandidateFailed(StartFailure(PRIMARY_LOST, verdict.message, moves_on=True))
        return verdict.status == "done"

    def wait_for_start(self, state: CreateState, *, deadline: float) -> WatchTrigger:
        """Return the wait for a cluster with the address to start."""
        from airflow_eip_provider.triggers.emr import EmrStartTrigger

        state.waiting_for = "cluster_ready"
        return EmrStartTrigger(
            job_flow_id=str(state.job_flow_id),
            instance_id=state.instance_id,
            **self.watch(state, deadline=deadline),
        )

    def check_in_time(self, state: CreateState, observed: Observed) -> float:
        """
        Check, with fallbacks, that the cluster still has time to start.

        :param observed: the reads that showed whether it has started.
        :return: the deadline of the wait, in seconds since the epoch. For a started cluster it may be later than the
            start deadline, because a cluster that was started early may be older than that.
        :raises WaitTimeoutError: when it has started, but has not got the address in time.
        :raises CandidateFailed: when it has not started in time.
        """
        from airflow_eip_provider.aws.start_failures import START_TIMEOUT, StartFailure

        if self.has_fallbacks and clock.time() >= state.start_deadline:
            cluster = observed.cluster(str(state.job_flow_id))
            if cluster is not None and cluster.is_ending:
                raise ClusterEndedError(cluster.job_flow_id, state=cluster.state, reason=cluster.reason)
            if cluster is not None and cluster.has_started:
                if clock.time() < state.wait_deadline:
                    return state.wait_deadline
                raise WaitTimeoutError(
                    f"cluster '{cluster.job_flow_id}' to get the Elastic IP; the last wait was for {state.waiting_for}",
                    last_seen=cluster.state,
                    bound="waiter_delay or waiter_max_attempts",
                )
            condition = f"{cluster.state}: {cluster.reason}" if cluster else "EMR does not know it"
            raise CandidateFailed(StartFailure(START_TIMEOUT, f"not started in time; it is {condition}", moves_on=True))
        return state.start_deadline

    def give_up(
        self, context: Context, state: CreateState, failure: StartFailure | None, cluster: Cluster | None
    ) -> WatchTrigger | None:
        """
        Give up the cluster of a candidate that did not start, and continue with the next candidate.

        :param failure: why it did not start; ``None`` to use EMR's reason.
        :param cluster: the cluster as EMR describes it; ``None`` when EMR does not know it.
        :return: the wait for the end of a terminating cluster: EMR gives its reason then.
        :raises ClusterEndedError: when no other candidate would start either.
        :raises NoCandidateStartedError: when there is no further candidate.
        """
        job_flow_id = str(state.job_flow_id)
        if failure is None:
            if cluster is not None and not cluster.has_ended:
                if _why(cluster).moves_on and self._has_next(state):
                    # Written now: others may take over the lease of a cluster that has ended.
                    attempt = attempt_of(context, state.nonce)
                    self.lease_client.give_up(attempt, token=state.token, failed=job_flow_id)
                return self._wait_for_end(state)
            failure = _why(cluster)
        self.note_attempt(context, state, failure.code, reason=failure.reason, cluster=cluster)
        if not failure.moves_on:
            ended = cluster.state if cluster else "unknown"
            raise ClusterEndedError(job_flow_id, state=ended, reason=f"{failure.code} {failure.reason}")
        if not self._has_next(state):
            raise self._none_started(context)
        state.failed, state.instance_id = failure.code, None
        state.ends_by = 0.0
        self.move_on(state)
        return None

    def give_up_recorded(self, context: Context, state: CreateState, acquired: Acquired) -> None:
        """Give up a cluster that an earlier try has given up in the lease's record, whatever its state is now."""
        lease = acquired.snapshot.record.lease
        if lease is not None and lease.is_given_up(state.job_flow_id):
            cluster = self.emr.get_cluster(str(state.job_flow_id))
            failure = _why(cluster, deadline=state.start_deadline)
            self.give_up(context, state, replace(failure, moves_on=True), cluster)

    def replace_failed(self, state: CreateState, attempt: Attempt, launcher: Launcher) -> str | WatchTrigger:
        """Return the next candidate's cluster, or the wait for the end of the cluster that did not start."""
        from airflow_eip_provider.lease.protocol import Ending
        from airflow_eip_provider.triggers.eip import EipAssociationTrigger

        failed = str(state.job_flow_id)
        replaced = self.lease_client.replace(attempt, launcher, token=state.token, failed=failed, other=state.other)
        if not isinstance(replaced, Ending):
            state.failed = state.other = None
            state.ends_by = 0.0  # the next cluster that does not start has its own time to end
            return replaced
        if not replaced.has_ended:
            return self._wait_for_end(state)
        state.waiting_for = "cluster_freed"
        shared = self.watch(state, deadline=self._ends_by(state))
        return EipAssociationTrigger(allocation_id=self.allocation_id, expect="free", **shared)

    def _wait_for_end(self, state: CreateState) -> WatchTrigger:
        from airflow_eip_provider.triggers.emr import EmrClusterTrigger

        state.waiting_for = "cluster_ended"
        shared = self.watch(state, deadline=self._ends_by(state))
        return EmrClusterTrigger(
            job_flow_id=str(state.job_flow_id), target="cluster_ended", appears_by=state.appears_by, **shared
        )

    @staticmethod
    def _ends_by(state: CreateState) -> float:
        state.ends_by = state.ends_by or clock.time() + ENDS_WITHIN.total_seconds()
        return state.ends_by

    def move_on(self, state: CreateState) -> None:
        """Continue with the next candidate; every failover is decided here."""
        state.candidate += 1
        self.count(metrics.FAILOVERS)
        context = cast("Context", self._context)
        failed: dict[str, Any] = next(reversed(own_xcom(context, _ATTEMPTS_XCOM) or ()), {})
        facts = {**failed, "candidate": state.candidate}
        self.notify(context, self.on_failover, "failover", once=f"failover {state.candidate}", **facts)
        self.log.info("Moving on to candidate %s; the last one is %s", state.candidate, len(self.candidates) - 1)

    def _has_next(self, state: CreateState) -> bool:
        return state.candidate + 1 < len(self.candidates)

    def note_attempt(
        self,
        context: Context,
        state: CreateState,
        outcome: str,
        *,
        reason: str,
        cluster: Cluster | None,
        was_launched: bool = True,
    ) -> None:
        """
        Log the outcome of a candidate, and publish it in the XCom ``attempts``.

        :param was_launched: ``False`` when EMR refused to launch the candidate.
        """
        candidate, now = self._candidate(state.candidate), clock.time()
        launched_at = (state.launched_at if was_launched else 0.0) or now
        since = cluster.created_at.timestamp() if cluster and cluster.created_at else launched_at
        attempt = {
            "candidate": candidate.number,
            "subnet": (cluster.subnet_id if cluster else None) or _subnet_of(candidate.job_flow),
            "zone": cluster.zone if cluster else None,
            "instance_type": _primary_type_of(candidate.job_flow),
            "job_flow_id": state.job_flow_id if was_launched else None,
            "outcome": outcome,
            "reason": reason,
            "seconds": round(max(now - since, 0.0), 1),
        }
        self.log.info(
            "Candidate %(candidate)s, cluster %(job_flow_id)s in %(subnet)s (%(zone)s, %(instance_type)s): %(outcome)s "
            "after %(seconds)s s: %(reason)s",
            attempt,
        )
        earlier = own_xcom(context, _ATTEMPTS_XCOM) or ()
        context["ti"].xcom_push(key=_ATTEMPTS_XCOM, value=[*earlier, attempt])

    def _none_started(self, context: Context) -> NoCandidateStartedError:
        return NoCandidateStartedError(self.allocation_id, attempts=own_xcom(context, _ATTEMPTS_XCOM) or ())


def _why(cluster: Cluster | None, *, deadline: float = math.inf) -> StartFailure:
    """
    Return why a cluster did not start.

    :param deadline: a termination request after this time was this owner's own; by default none was.
    """
    from airflow_eip_provider.aws.start_failures import StartFailure
    from airflow_eip_provider.aws.start_failures import start_failure as failure_of

    if cluster is None:
        return StartFailure("unknown", "EMR does not know it", moves_on=False)
    return failure_of(cluster, deadline=deadline, now=clock.time())


def _subnet_of(job_flow: Mapping[str, Any]) -> str | None:
    instances = job_flow.get("Instances") or {}
    return instances.get("Ec2SubnetId") or ",".join(instances.get("Ec2SubnetIds") or ()) or None


def _primary_type_of(job_flow: Mapping[str, Any]) -> str | None:
    """Return the requested instance type of the primary node; for a fleet, all types that EMR may choose."""
    from airflow_eip_provider.preflight.node_pools import node_pools

    pools = node_pools(job_flow.get("Instances") or {})
    return next((",".join(pool.types) for pool in pools if pool.role == "MASTER"), None) or None
