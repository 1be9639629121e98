"""Waiting in the queue of an Elastic IP."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.description import queue_place_of
from airflow_eip_provider.lease.observation import Action, Due, LeaseRequest, decide
from airflow_eip_provider.lease.record import LIMITS, Attempt
from airflow_eip_provider.triggers.watch import Verdict, WatchTrigger

if TYPE_CHECKING:
    from airflow_eip_provider.lease.observation import Observation
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
    :param prewarm: among how many first places of the queue it starts its cluster early.
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
        return self.judge_observation(observed.lease(self.lock_store, self.allocation_id))

    def judge_observation(self, observation: Observation) -> Verdict:
        """Decide whether there is something to do for this owner."""
        due_seconds = self._due.seconds(observation, LIMITS)
        action = decide(observation, self._lease_request, due_seconds=due_seconds, limits=LIMITS)
        place = queue_place_of(observation, self._lease_request.attempt.owner)
        message = f"Elastic IP {self.allocation_id}: {place}"
        data = {"action": action.value, "dead_seconds": due_seconds, "queue": place.facts()}
        return Verdict("pending" if action is Action.WAIT else "done", message, data)
