"""Waiting in the queue of an Elastic IP."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.description import standing_of
from airflow_eip_provider.lease.observation import Action, Arrival, Due, judge
from airflow_eip_provider.lease.record import LIMITS, Speaker
from airflow_eip_provider.triggers.watch import Verdict, WatchTrigger

if TYPE_CHECKING:
    from airflow_eip_provider.lease.observation import Sight
    from airflow_eip_provider.lease_client.claim import Claim
    from airflow_eip_provider.triggers.observed import Observed

SHORTEST_POLL_SECONDS = 15


class EipLeaseTrigger(WatchTrigger):
    """
    Wait until there is something for an owner to do in the queue of an Elastic IP.

    That is its turn at the free address, a dead lease that nobody before it in the queue has ended, the time to start
    its cluster early, or that it is not in the queue any more.

    :param lock_store: the store's URI.
    :param speaker: who waits: the fields of :class:`~airflow_eip_provider.lease.record.Speaker`.
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
        self._arrival = Arrival(Speaker(**speaker), cluster_name, handover_seconds, prewarm, wants)
        self._due = Due()

    @classmethod
    def of(cls, claim: Claim, **watch: Any) -> EipLeaseTrigger:
        """Return the wait of a claim."""
        return cls(
            allocation_id=claim.allocation_id,
            lock_store=claim.tenancy.uri,
            **asdict(claim.arrival),
            **watch,
        )

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether there is something to do for this owner; all that wait for the address see the same."""
        return self.judge_sight(observed.sight(self.lock_store, self.allocation_id))

    def judge_sight(self, sight: Sight) -> Verdict:
        """Decide whether there is something to do for this owner."""
        dead_seconds = self._due.seconds(sight, LIMITS)
        action = judge(sight, self._arrival, dead_seconds=dead_seconds, limits=LIMITS)
        standing = standing_of(sight, self._arrival.speaker.owner)
        message = f"Elastic IP {self.allocation_id}: {standing}"
        data = {"action": action.name.lower(), "dead_seconds": dead_seconds, "queue": standing.facts()}
        return Verdict("pending" if action is Action.WAIT else "done", message, data)
