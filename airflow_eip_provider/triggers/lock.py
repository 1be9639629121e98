"""Waiting in the queue of an Elastic IP."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

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
    from airflow_eip_provider.lease.store import Seen
    from airflow_eip_provider.triggers.observed import Observed

SHORTEST_POLL_SECONDS = 15


class EipLeaseTrigger(WatchTrigger):
    """
    Wait until there is something for an owner to do in the queue of an Elastic IP.

    That is its turn at the free address, a finished lease that none before it in the queue has ended, the time to start
    its cluster early, or that it is no longer in the queue.

    :param lock_store: the store's URI.
    :param speaker: the attempt that waits, by the stored name of the first version: the fields of
        :class:`~airflow_eip_provider.lease.record.Attempt`.
    :param prewarm: among how many first places of the queue it starts its cluster early;
        :data:`~airflow_eip_provider.lease.observation.ESTIMATED` to estimate that at every look.
    :param wants: the cluster or instance that is to have the address; empty for one that will be launched.
    """

    own_fields = ("allocation_id", "lock_store", "speaker", "cluster_name", "handover_seconds", "prewarm", "wants")

    def __init__(
        self,
        *,
        allocation_id: str,
        lock_store: str,
        speaker: dict[str, Any],
        cluster_name: str,
        handover_seconds: float,
        prewarm: int = 0,
        wants: str = "",
        **watch: Any,
    ) -> None:
        super().__init__(**watch)
        self.allocation_id = allocation_id
        self.lock_store = lock_store
        self.speaker = speaker
        self.cluster_name = cluster_name
        self.handover_seconds = handover_seconds
        self.prewarm = prewarm
        self.wants = wants
        self.waiter_delay = max(self.waiter_delay, SHORTEST_POLL_SECONDS)
        self._lease_request = LeaseRequest(Attempt(**speaker), cluster_name, handover_seconds, prewarm, wants)
        self._due = Due()
        self._estimate = PrewarmEstimate()

    @classmethod
    def of(cls, request: LeaseRequest, *, allocation_id: str, lock_store: str, **watch: Any) -> EipLeaseTrigger:
        """Return the wait for what an attempt asks for."""
        return cls(
            allocation_id=allocation_id,
            lock_store=lock_store,
            speaker=asdict(request.attempt),
            cluster_name=request.cluster_name,
            handover_seconds=request.handover_seconds,
            prewarm=request.prewarm,
            wants=request.wants,
            **watch,
        )

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether there is something to do for this owner; all that wait for the address see the same."""
        observation = observed.lease(self.lock_store, self.allocation_id)
        prewarm, owner = self.prewarm, self._lease_request.attempt.owner
        if prewarm == ESTIMATED:
            prewarm = self._estimate.places(observed, [observation.seen], owner)
        return self.judge_observation(observation, prewarm=prewarm)

    def judge_observation(self, observation: Observation, *, prewarm: int = 0) -> Verdict:
        """
        Decide whether there is something to do for this owner.

        :param prewarm: among how many first places of the queue it starts its cluster early.
        """
        due_seconds = self._due.seconds(observation, LIMITS)
        lease_request = replace(self._lease_request, prewarm=prewarm)
        action = decide(observation, lease_request, due_seconds=due_seconds, limits=LIMITS)
        place = queue_place_of(observation, self._lease_request.attempt.owner)
        message = f"Elastic IP {self.allocation_id}: {place}"
        data = {"action": action.value, "dead_seconds": due_seconds, "prewarm": prewarm, "queue": place.facts()}
        return Verdict("pending" if action is Action.WAIT else "done", message, data)


class PrewarmEstimate:
    """The estimate of when an owner that waits should start its cluster early; it keeps what does not change."""

    def __init__(self) -> None:
        self._times: dict[str, ClusterTimes | None] = {}

    def places(self, observed: Observed, seen: Sequence[Seen], owner: str) -> int:
        """
        Return among how many first places of the queue an owner starts its cluster early.

        :param seen: the records of the addresses that it waits for.
        """
        records = [one.record for one in seen]
        times: dict[str, ClusterTimes | None] = dict(self._times)
        for job_flow_id in clusters_asked_for(records, owner) - times.keys():
            cluster = observed.cluster(job_flow_id)
            times[job_flow_id] = _times_of(cluster)
            if cluster is None or cluster.ready_at is not None or cluster.has_ended:
                self._times[job_flow_id] = times[job_flow_id]  # this will not change any more
        known = {job_flow_id: of for job_flow_id, of in times.items() if of is not None}
        return prewarm_places(records, owner, known, now=max(one.now for one in seen))


class EipLeaseMovedTrigger(WatchTrigger):
    """
    Wait until a failover of another task has come to its end: its lease is active or over, or others may end it.

    :param lock_store: the store's URI.
    :param token: of the lease that was moved.
    """

    own_fields = ("allocation_id", "lock_store", "token")

    def __init__(self, *, allocation_id: str, lock_store: str, token: int, **watch: Any) -> None:
        super().__init__(**watch)
        self.allocation_id = allocation_id
        self.lock_store = lock_store
        self.token = token

    def judge(self, observed: Observed) -> Verdict:
        """Judge how far the lease has come."""
        observation = observed.lease(self.lock_store, self.allocation_id)
        lease = observation.seen.record.lease
        if lease is None or lease.token != self.token:
            return Verdict("done", f"The lease with token {self.token} is over")
        message = f"'{lease.attempt.name}' has the lease of Elastic IP {self.allocation_id}, {lease.phase.name.lower()}"
        is_over = lease.phase is Phase.ACTIVE or is_for_others(observation, LIMITS)
        return Verdict("done" if is_over else "pending", message)


def _times_of(cluster: Cluster | None) -> ClusterTimes | None:
    if cluster is None or cluster.created_at is None:
        return None  # EMR forgets a cluster two months after it has ended
    ready_at = None if cluster.ready_at is None else cluster.ready_at.timestamp()
    return ClusterTimes(cluster.created_at.timestamp(), ready_at)
