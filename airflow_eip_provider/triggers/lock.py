"""Waiting in the queue of an Elastic IP."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from airflow_eip_provider.lease.description import queue_place_of
from airflow_eip_provider.lease.forecast import ClusterTimes, clusters_asked_for, prewarm_places
from airflow_eip_provider.lease.observation import ESTIMATED, Action, Due, LeaseRequest, decide, is_for_others
from airflow_eip_provider.lease.record import LIMITS, Attempt, Phase
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.lease.observation import Observation
    from airflow_eip_provider.lease.store import Snapshot
    from airflow_eip_provider.triggers.observed import Observed

SHORTEST_POLL_SECONDS = 15


@dataclass(kw_only=True, eq=False, repr=False)
class QueueTrigger(WatchTrigger):
    """
    A wait in the queue of one address or of several.

    :param lock_store: the store's URI.
    :param speaker: the attempt that waits, under its stored name of the first version: the fields of
        :class:`~airflow_eip_provider.lease.record.Attempt`.
    :param prewarm: how many first places of the queue start their clusters early;
        :data:`~airflow_eip_provider.lease.observation.ESTIMATED` to estimate that at every poll.
    :param wants: the cluster or instance that is to have the address; empty for one that will be launched.
    """

    lock_store: str
    speaker: dict[str, Any]
    cluster_name: str
    handover_seconds: float
    prewarm: int = 0
    wants: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.waiter_delay = max(self.waiter_delay, SHORTEST_POLL_SECONDS)
        self._lease_request = LeaseRequest(
            Attempt(**self.speaker), self.cluster_name, self.handover_seconds, self.prewarm, self.wants
        )
        self._times: dict[str, ClusterTimes | None] = {}

    @classmethod
    def of(cls, request: LeaseRequest, **parameters: Any) -> Self:
        """Return the wait for a lease request, with the parameters that the request does not have."""
        return cls(
            speaker=asdict(request.attempt),
            cluster_name=request.cluster_name,
            handover_seconds=request.handover_seconds,
            prewarm=request.prewarm,
            wants=request.wants,
            **parameters,
        )

    def places(self, observed: Observed, snapshots: Sequence[Snapshot]) -> int:
        """
        Return how many first places of the queue start their clusters early.

        :param snapshots: the records of the addresses that it waits for.
        """
        if self.prewarm != ESTIMATED:
            return self.prewarm
        records, owner = [snapshot.record for snapshot in snapshots], self._lease_request.attempt.owner
        times: dict[str, ClusterTimes | None] = dict(self._times)
        current = {record.lease.resource_id for record in records if record.lease is not None}
        for job_flow_id in clusters_asked_for(records, owner) - times.keys():
            cluster = observed.cluster(job_flow_id)
            times[job_flow_id] = _times_of(cluster)
            may_be_new = cluster is None and job_flow_id in current
            if not may_be_new and (cluster is None or cluster.ready_at is not None or cluster.has_ended):
                self._times[job_flow_id] = times[job_flow_id]  # final
        known_times = {job_flow_id: known for job_flow_id, known in times.items() if known is not None}
        return prewarm_places(records, owner, known_times, now=max(snapshot.now for snapshot in snapshots))


@dataclass(kw_only=True, eq=False, repr=False)
class EipLeaseTrigger(QueueTrigger):
    """
    Wait until an owner has something to do in the queue of an Elastic IP.

    It acquires the free address when its turn has come, ends a finished lease that no earlier waiter has ended, starts
    its cluster early, or joins the queue again if it is no longer in it.
    """

    allocation_id: str

    def __post_init__(self) -> None:
        super().__post_init__()
        self._due = Due()

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether this owner has something to do."""
        observation = observed.lease(self.lock_store, self.allocation_id)
        return self.judge_observation(observation, prewarm=self.places(observed, [observation.snapshot]))

    def judge_observation(self, observation: Observation, *, prewarm: int = 0) -> Verdict:
        """
        Judge whether this owner has something to do.

        :param prewarm: how many first places of the queue start their clusters early.
        """
        due_seconds = self._due.seconds(observation, LIMITS)
        lease_request = replace(self._lease_request, prewarm=prewarm)
        action = decide(observation, lease_request, due_seconds=due_seconds, limits=LIMITS)
        place = queue_place_of(observation, self._lease_request.attempt.owner)
        message = f"Elastic IP {self.allocation_id}: {place}"
        data = {"action": action.value, "dead_seconds": due_seconds, "prewarm": prewarm, "queue": place.facts()}
        return Verdict("pending" if action is Action.WAIT else "done", message, data)


@dataclass(kw_only=True, eq=False, repr=False)
class EipLeaseMovedTrigger(WatchTrigger):
    """
    Wait until the failover of another task has finished: its lease is active or released, or others may end it.

    :param lock_store: the store's URI.
    :param token: the fencing token of the lease that was moved.
    """

    allocation_id: str
    lock_store: str
    token: int

    def judge(self, observed: Observed) -> Verdict:
        """Judge the phase of the lease."""
        observation = observed.lease(self.lock_store, self.allocation_id)
        lease = observation.snapshot.record.lease
        if lease is None or lease.token != self.token:
            return Verdict("done", f"The lease with token {self.token} has ended")
        message = f"'{lease.attempt.name}' has the lease of Elastic IP {self.allocation_id}, {lease.phase.name.lower()}"
        is_finished = lease.phase is Phase.ACTIVE or is_for_others(observation, LIMITS)
        return Verdict("done" if is_finished else "pending", message)


def _times_of(cluster: Cluster | None) -> ClusterTimes | None:
    if cluster is None or cluster.created_at is None:
        return None  # EMR deletes a cluster two months after it has ended
    ready_at = None if cluster.ready_at is None else cluster.ready_at.timestamp()
    return ClusterTimes(cluster.created_at.timestamp(), ready_at)
