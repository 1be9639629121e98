"""One attempt's claim to the lease of an Elastic IP: entered, handed over, given back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import LeaseLostError, SupersededError
from airflow_eip_provider.lease.protocol import LeaseLost, Superseded, enter, hand_over, undo

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.observation import LeaseRequest
    from airflow_eip_provider.lease.protocol import Acquired, Queued
    from airflow_eip_provider.lease_client.client import LeaseClient


# For how long a hand-over is tried while the store gives no answer: the address is there already.
HANDOVER_PATIENCE_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What one attempt does with the lease of one address; knows nothing of tasks.

    :param lease_request: the attempt, and what it asks for; to hand over and to undo, the attempt is enough.
    :param newer: what supersedes this attempt, in words for errors; ``who``: the owner.
    """

    lease_client: LeaseClient
    lease_request: LeaseRequest
    allocation_id: str
    newer: str
    who: str = "this task"

    def enter(
        self, *, due_seconds: float = 0.0, prewarm: int = 0, launch: Callable[[int], str] | None = None
    ) -> Acquired | Queued:
        """
        Acquire the lease, or join the queue.

        :param due_seconds: for how long the wait in the queue has observed that the lease has to be ended.
        :param prewarm: the number of places that the wait has estimated, if it is time to start the cluster early.
        :param launch: launches a cluster with a token in its tags, for a prewarmed start.
        :raises SupersededError: when a newer attempt of the owner is at work.
        """
        world = self.lease_client.world(launch=launch)
        lease_request = replace(self.lease_request, prewarm=prewarm) if prewarm else self.lease_request
        entered = enter(world, lease_request, due_seconds=due_seconds, limits=self.lease_client.limits)
        if isinstance(entered, Superseded):
            raise SupersededError(self.allocation_id, problem=f"{self.newer} is at work")
        return entered

    def hand_over(self, *, token: int, resource_id: str) -> None:
        """
        Hand the lease over to the resource that has the address: the last check whether the attempt still has it.

        :raises LeaseLostError: when it does not.
        """
        handed = hand_over(self.lease_client.world(), self.lease_request.attempt, token=token, resource_id=resource_id)
        if isinstance(handed, LeaseLost):
            raise LeaseLostError(self.allocation_id, who=self.who, problem=handed.why)

    def undo(
        self,
        *,
        resource_id: str | None,
        token: int | None,
        terminate: bool,
        association_id: str | None = None,
        may_lag: bool = False,
    ) -> None:
        """
        End this attempt's part in the lease or the queue, also after a kill; a newer one's is left alone.

        :param resource_id: the resource that it associated the address with, or launched for it.
        :param terminate: end that cluster, too.
        :param association_id: what it made, if it knows.
        :param may_lag: it may have associated the address a moment ago: search until EC2 must show that.
        """
        undo(
            self.lease_client.world(undoing=True),
            self.lease_request.attempt,
            launched=resource_id,
            token=token,
            terminate=terminate,
            association_id=association_id,
            may_lag=may_lag,
        )
