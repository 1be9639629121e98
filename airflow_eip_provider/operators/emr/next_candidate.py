"""Trying another candidate under the same lease when a cluster did not start."""

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


class CandidateFailed(Exception):  # noqa: N818 - caught here, never shown
    """The cluster of a candidate did not start."""

    def __init__(self, failure: StartFailure) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass(slots=True)
class CreateState(LeasingState):
    """
    How far a launch has come.

    :param start_deadline: until when the cluster has to have started, in seconds since the epoch.
    :param wait_deadline: until when ``wait_policy`` waits, and until when a started cluster may wait for the address.
    :param candidate: which one the cluster is, from 0.
    :param launched_at: when it was launched, in seconds since the epoch.
    :param instance_id: the primary node that was bound, while the cluster starts.
    :param failed: why the cluster did not start; it is being replaced.
    :param ends_by: until when it has to have ended then.
    :param other: the cluster that this try launched before it went on with that of an earlier try.
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
    """Candidates, for the operator that launches clusters."""

    job_flow_overrides: Any
    binding: Any
    start_timeout: timedelta | None
    fallbacks: Any
    fallback_rounds: int
    waiter_max_attempts: Any

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """
        Every way to launch the cluster, in the order of the trial.

        :raises InvalidInputError: when the overrides or a fallback have the wrong form.
        """
        if "_candidates" not in self.__dict__:
            from airflow_eip_provider.preflight import parsed_fallbacks

            overrides = preflight.checked_mapping(self.job_flow_overrides, parameter="job_flow_overrides")
            merged, fallbacks = self.emr.merged_overrides(overrides), parsed_fallbacks(self.fallbacks)
            self.__dict__["_candidates"] = candidates_of(merged, fallbacks, self.fallback_rounds)
        return self.__dict__["_candidates"]  # type: ignore[no-any-return]

    @property
    def has_fallbacks(self) -> bool:
        """Whether another cluster is launched when one does not start."""
        return len(self.candidates) > 1

    def binding_of(self, number: int) -> Binding:
        """Return where a candidate puts the address."""
        from airflow_eip_provider.operators.bindings import checked_binding

        override = self.candidates[self._known(number)].binding_override
        return checked_binding(self.binding if override is None else override)

    def tags_of(self, number: int) -> dict[str, str]:
        """Return what a cluster says of itself besides whose it is."""
        candidate = {CANDIDATE_TAG: str(number)} if self.has_fallbacks else {}
        seconds = self.start_timeout
        deadline = {} if seconds is None else {START_TIMEOUT_TAG: str(int(seconds.total_seconds()))}
        return {**self.binding_of(number).cluster_tags, **candidate, **deadline}

    def choose(self, launcher: Launcher, number: int) -> None:
        """Let the next cluster be this candidate's."""
        known = self._known(number)
        launcher.choose(self.candidates[known].job_flow, tags=self.tags_of(known))

    def _known(self, number: int) -> int:
        """Return a candidate's number; the last one's when the DAG has fewer now than when the cluster was launched."""
        return min(number, len(self.candidates) - 1)

    @property
    def start_seconds(self) -> float:
        """How long a cluster may take to start."""
        limit = self.wait_seconds
        return limit if self.start_timeout is None else min(limit, self.start_timeout.total_seconds())

    @property
    def wait_seconds(self) -> float:
        """How long ``waiter_delay`` and ``waiter_max_attempts`` let a wait take."""
        return float(self.waiter_delay) * int(self.waiter_max_attempts)

    @property
    def handover_seconds(self) -> float:
        """How long it may take at most from the lease to its hand-over, apart from the launch itself."""
        if not self.has_fallbacks:
            return self.wait_seconds
        return len(self.candidates) * (self.start_seconds + ENDS_WITHIN.total_seconds())

    def check_start_timeout(self) -> None:
        """
        Check ``start_timeout``.

        :raises InvalidInputError: when it is no duration in which a cluster could start.
        """
        if self.start_timeout is None:
            return
        preflight.check_duration("start_timeout", self.start_timeout)
        if self.start_timeout < timedelta(minutes=1):
            raise InvalidInputError(
                f"checking start_timeout {self.start_timeout!r}",
                problem="no cluster starts in less than a minute",
                remedy="give what a start takes at most, such as timedelta(minutes=45), or None for no such end",
            )

    def another_candidate(
        self,
        context: Context,
        state: CreateState,
        error: CandidateFailed | ClusterEndedError | ClientError,
        observed: Observed | None,
    ) -> WatchTrigger | None:
        """
        Go on after a cluster that did not start, or that EMR refused to launch for want of capacity.

        :param observed: what this pass has observed; ``None`` when it has looked at nothing.
        :return: what to wait for first.
        :raises ClusterEndedError: when no other would start either, or there are no fallbacks.
        :raises NoCandidateStartedError: when there is no other.
        """
        from airflow_eip_provider.aws.start_failures import refused_start

        if not self.has_fallbacks:
            raise error
        if isinstance(error, ClientError):
            failure = refused_start(error)
            if failure is None:
                raise error
            self._note_refusal(context, state, failure)
            if not self._has_next(state):
                raise self._none_started(context) from error
            self.move_on(state)
            return None
        failure = error.failure if isinstance(error, CandidateFailed) else None
        return self.give_up(context, state, failure, self._failed_cluster(state, failure, observed))

    def _failed_cluster(
        self, state: CreateState, failure: StartFailure | None, observed: Observed | None
    ) -> Cluster | None:
        """Return the cluster as this pass has seen it fail, or as EMR describes it now."""
        job_flow_id = str(state.job_flow_id)
        seen = observed.cluster(job_flow_id) if observed is not None else None
        if seen is not None and (seen.is_ending or failure is not None):
            return seen
        return self.emr.get_cluster(job_flow_id)

    def look_at_start(self, state: CreateState, observed: Observed) -> bool:
        """
        Look whether the cluster has started, and its primary node with the address is still there until then.

        :raises CandidateFailed: when that node is lost.
        :raises ClusterEndedError: when the cluster is gone.
        """
        from airflow_eip_provider.aws.start_failures import PRIMARY_LOST, StartFailure
        from airflow_eip_provider.triggers.emr import judge_start

        job_flow_id, is_new = str(state.job_flow_id), clock.time() < state.appears_by
        instance_id = state.instance_id
        found = self.poll(lambda seen: judge_start(seen, job_flow_id, instance_id=instance_id, is_new=is_new), observed)
        if found.data.get("gone") == "primary":
            raise CandidateFailed(StartFailure(PRIMARY_LOST, found.message, moves_on=True))
        return found.status == "done"

    def wait_for_start(self, state: CreateState, *, deadline: float) -> WatchTrigger:
        """
        Return the wait for a cluster with the address to start.

        :param deadline: until when, in seconds since the epoch.
        """
        from airflow_eip_provider.triggers.emr import EmrStartTrigger

        state.waiting_for = "cluster_ready"
        return EmrStartTrigger(
            job_flow_id=str(state.job_flow_id),
            instance_id=state.instance_id,
            **self.watch(state, deadline=deadline),
        )

    def check_in_time(self, state: CreateState, observed: Observed) -> float:
        """
        Check that a cluster that has not started still may; only where another can be launched.

        :param observed: with the look at the cluster that said whether it has started.
        :return: until when to wait, in seconds since the epoch; for a started cluster that may be after the start
            deadline, as one that was started early may be older than that.
        :raises WaitTimeoutError: when it has started, and its time to get the address is over.
        :raises CandidateFailed: when its time is over.
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
                    f"cluster '{cluster.job_flow_id}' to get the Elastic IP; at last it was to be {state.waiting_for}",
                    last_seen=cluster.state,
                    bound="waiter_delay or waiter_max_attempts",
                )
            said = f"{cluster.state}: {cluster.reason}" if cluster else "EMR does not know it"
            raise CandidateFailed(StartFailure(START_TIMEOUT, f"not started in time; it is {said}", moves_on=True))
        return state.start_deadline

    def give_up(
        self, context: Context, state: CreateState, failure: StartFailure | None, cluster: Cluster | None
    ) -> WatchTrigger | None:
        """
        Give up the cluster of a candidate that did not start, if another may.

        :param failure: why; ``None`` when EMR's reason tells.
        :param cluster: as EMR describes it; ``None`` when EMR does not know it.
        :return: the wait for the end of a cluster that is terminating: then EMR says why.
        :raises ClusterEndedError: when no other would start either.
        :raises NoCandidateStartedError: when there is no other.
        """
        job_flow_id = str(state.job_flow_id)
        if failure is None:
            if cluster is not None and not cluster.has_ended:
                if _why(cluster).moves_on and self._has_next(state):
                    # Written now: once the cluster has ended, others would take a lease without a cluster over.
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
        """Give up a cluster that an earlier try has given up in the lease's record, whatever has become of it since."""
        lease = acquired.snapshot.record.lease
        if lease is not None and lease.is_given_up(state.job_flow_id):
            cluster = self.emr.get_cluster(str(state.job_flow_id))
            failure = _why(cluster, deadline=state.start_deadline)
            self.give_up(context, state, replace(failure, moves_on=True), cluster)

    def replace_failed(self, state: CreateState, attempt: Attempt, launcher: Launcher) -> str | WatchTrigger:
        """Return the next candidate's cluster, or the wait for the end of the one that did not start."""
        from airflow_eip_provider.lease.protocol import Ending
        from airflow_eip_provider.triggers.eip import EipAssociationTrigger

        failed = str(state.job_flow_id)
        gone = self.lease_client.replace(attempt, launcher, token=state.token, failed=failed, other=state.other)
        if not isinstance(gone, Ending):
            state.failed = state.other = None
            state.ends_by = 0.0  # the next cluster that does not start has its own time to end
            return gone
        if not gone.has_ended:
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
        """Go on with the next candidate: the one moment at which that is decided."""
        state.candidate += 1
        self.note_failover(state)
        self.log.info("Moving on to candidate %s; the last one is %s", state.candidate, len(self.candidates) - 1)

    def note_failover(self, state: CreateState) -> None:
        """Count a failover, and notify of it: of what did not start, as ``attempts`` has it."""
        self.count(metrics.FAILOVERS)
        context = cast("Context", self._context)
        failed: dict[str, Any] = next(reversed(own_xcom(context, _ATTEMPTS_XCOM) or ()), {})
        facts = {**failed, "candidate": state.candidate}
        self.notify(context, self.on_failover, "failover", once=f"failover {state.candidate}", **facts)

    def _has_next(self, state: CreateState) -> bool:
        return state.candidate + 1 < len(self.candidates)

    def note_attempt(
        self, context: Context, state: CreateState, outcome: str, *, reason: str, cluster: Cluster | None
    ) -> None:
        """Publish how the candidate's cluster went, and log it."""
        now = clock.time()
        since = cluster.created_at.timestamp() if cluster and cluster.created_at else state.launched_at or now
        facts = _facts_of(self.candidates[self._known(state.candidate)], cluster)
        seconds = round(max(now - since, 0.0), 1)
        said = {"job_flow_id": state.job_flow_id, "outcome": outcome, "reason": reason, "seconds": seconds}
        self._push(context, {**facts, **said})

    def _note_refusal(self, context: Context, state: CreateState, failure: StartFailure) -> None:
        """Publish that EMR refused to launch the candidate, and log it."""
        facts = _facts_of(self.candidates[self._known(state.candidate)], None)
        said = {"job_flow_id": None, "outcome": failure.code, "reason": failure.reason, "seconds": 0.0}
        self._push(context, {**facts, **said})

    def _push(self, context: Context, tried: dict[str, Any]) -> None:
        self.log.info(
            "Candidate %(candidate)s, cluster %(job_flow_id)s in %(subnet)s (%(zone)s, %(instance_type)s): %(outcome)s "
            "after %(seconds)s s: %(reason)s",
            tried,
        )
        tried_before = own_xcom(context, _ATTEMPTS_XCOM) or ()
        context["ti"].xcom_push(key=_ATTEMPTS_XCOM, value=[*tried_before, tried])

    def _none_started(self, context: Context) -> NoCandidateStartedError:
        return NoCandidateStartedError(self.allocation_id, attempts=own_xcom(context, _ATTEMPTS_XCOM) or ())


def _why(cluster: Cluster | None, *, deadline: float = math.inf) -> StartFailure:
    """
    Tell why a cluster did not start.

    :param deadline: from when on a request to terminate it was this owner's own; never, unless the record says so.
    """
    from airflow_eip_provider.aws.start_failures import StartFailure
    from airflow_eip_provider.aws.start_failures import start_failure as failure_of

    if cluster is None:
        return StartFailure("unknown", "EMR does not know it", moves_on=False)
    return failure_of(cluster, deadline=deadline, now=clock.time())


def _facts_of(candidate: Candidate, cluster: Cluster | None) -> dict[str, Any]:
    """Return what was asked for, and where EMR put it."""
    return {
        "candidate": candidate.number,
        "subnet": (cluster.subnet_id if cluster else None) or _subnet_of(candidate.job_flow),
        "zone": cluster.zone if cluster else None,
        "instance_type": _primary_type_of(candidate.job_flow),
    }


def _subnet_of(job_flow: Mapping[str, Any]) -> str | None:
    instances = job_flow.get("Instances") or {}
    return instances.get("Ec2SubnetId") or ",".join(instances.get("Ec2SubnetIds") or ()) or None


def _primary_type_of(job_flow: Mapping[str, Any]) -> str | None:
    """Return the primary node's instance type as it was asked for; of a fleet, all that may be chosen."""
    instances = job_flow.get("Instances") or {}
    for group in instances.get("InstanceGroups") or ():
        if group.get("InstanceRole") == "MASTER":
            return group.get("InstanceType")  # type: ignore[no-any-return]
    for fleet in instances.get("InstanceFleets") or ():
        if fleet.get("InstanceFleetType") == "MASTER":
            return ",".join(config["InstanceType"] for config in fleet.get("InstanceTypeConfigs") or ()) or None
    return instances.get("MasterInstanceType")
