"""One speaker's claim to the lease of an Elastic IP: entered, handed over, given back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.exceptions import LeaseLostError, SupersededError
from airflow_eip_provider.lock.programs import Lost, Yielded, enter, hand_over, undo
from airflow_eip_provider.lock.sight import Arrival

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.hooks.tenancy import Tenancy
    from airflow_eip_provider.lock.model import Speaker
    from airflow_eip_provider.lock.programs import Held, Waiting
    from airflow_eip_provider.lock.store import Seen


@dataclass(frozen=True, slots=True)
class Claim:
    """
    What one speaker does with the lock of one address; knows nothing of tasks.

    :param newer: who speaks for the owner once this one must not any more, in words for errors; ``who``: the owner.
    :param cluster_name: of the clusters that the owner launches; empty for something that was made elsewhere.
    :param handover_seconds: how long it may take from getting the lease to handing over.
    :param prewarm: among how many first places of the queue it starts its cluster early; 0 is never.
    :param wants: the cluster or instance that was made elsewhere and is to have the address; empty for a launch.
    """

    tenancy: Tenancy
    speaker: Speaker
    allocation_id: str
    newer: str
    who: str = "this task"
    cluster_name: str = ""
    handover_seconds: float = 0.0
    prewarm: int = 0
    wants: str = ""

    def enter(self, *, dead_seconds: float = 0.0, launch: Callable[[int], str] | None = None) -> Held | Waiting:
        """
        Take the lease, or a place in the queue.

        :param dead_seconds: for how long the watch of the queue has seen that the lease is dead or late.
        :param launch: launches a cluster that carries a token, for a start that is early.
        :raises SupersededError: when it must not speak for its owner any more.
        """
        arrival = Arrival(self.speaker, self.cluster_name, self.handover_seconds, self.prewarm, self.wants)
        entered = self.tenancy.perform(enter(arrival, dead_seconds=dead_seconds), launch=launch)
        if isinstance(entered, Yielded):
            raise SupersededError(self.allocation_id, problem=f"{self.newer} is at work")
        return entered

    def hand_over(self, seen: Seen, *, token: int, carrier: str) -> None:
        """
        Hand the lease over to what carries the address: the last look whether it is still this speaker's.

        :param seen: the record as it was when the lease was taken or found.
        :raises LeaseLostError: when it is not.
        """
        handed = self.tenancy.perform(hand_over(seen, self.speaker, token=token, carrier=carrier))
        if isinstance(handed, Lost):
            raise LeaseLostError(self.allocation_id, who=self.who, problem=handed.why)

    def undo(self, *, carrier: str | None, token: int | None, terminate: bool) -> None:
        """
        End this speaker's part in the lease or the queue, also after a kill; a newer try's is left alone.

        :param carrier: what it bound the address to, or launched for it.
        :param terminate: end that cluster, too.
        """
        self.tenancy.perform(undo(self.speaker, launched=carrier, token=token, terminate=terminate), undoing=True)
