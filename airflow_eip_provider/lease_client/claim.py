"""One speaker's claim to the lease of an Elastic IP: entered, handed over, given back."""

from __future__ import annotations

from dataclasses import dataclass
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
    What one speaker does with the lock of one address; knows nothing of tasks.

    :param lease_request: who speaks, and what it wants; to hand over and to undo, who speaks is enough.
    :param newer: who speaks for the owner once this one must not any more, in words for errors; ``who``: the owner.
    """

    lease_client: LeaseClient
    lease_request: LeaseRequest
    allocation_id: str
    newer: str
    who: str = "this task"

    def enter(self, *, due_seconds: float = 0.0, launch: Callable[[int], str] | None = None) -> Acquired | Queued:
        """
        Take the lease, or a place in the queue.

        :param due_seconds: for how long the watch of the queue has seen that the lease is dead or late.
        :param launch: launches a cluster that carries a token, for a start that is early.
        :raises SupersededError: when it must not speak for its owner any more.
        """
        world = self.lease_client.world(launch=launch)
        entered = enter(world, self.lease_request, due_seconds=due_seconds, limits=self.lease_client.limits)
        if isinstance(entered, Superseded):
            raise SupersededError(self.allocation_id, problem=f"{self.newer} is at work")
        return entered

    def hand_over(self, *, token: int, resource_id: str) -> None:
        """
        Hand the lease over to what carries the address: the last look whether it is still this speaker's.

        :raises LeaseLostError: when it is not.
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
        End this speaker's part in the lease or the queue, also after a kill; a newer try's is left alone.

        :param resource_id: what it bound the address to, or launched for it.
        :param terminate: end that cluster, too.
        :param association_id: what it made, if it knows.
        :param may_lag: it may have bound the address a moment ago: look for that until EC2 must show it.
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
