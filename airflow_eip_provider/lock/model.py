"""
What the lock knows of one Elastic IP: a single record, replaced as a whole by conditional writes.

All of it is frozen; only :mod:`airflow_eip_provider.lock.transitions` makes a new record from an old one. Times are
seconds since the epoch by the lock store's own clock, never by a worker's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Optional


@dataclass(frozen=True, slots=True)
class Speaker:
    """
    The try that speaks for an owner; a retry is the same owner and a newer speaker.

    :param owner: a digest that is the same for every try of a task instance.
    :param name: the owner in readable form.
    :param try_number: Airflow's.
    :param nonce: random; tells two processes of one try apart.
    """

    owner: str
    name: str
    try_number: int
    nonce: str

    def yields_to(self, other: Speaker) -> bool:
        """Whether ``other`` speaks for the same owner, and this one must not any more."""
        return other.owner == self.owner and other != self and other.try_number >= self.try_number

    def may_follow(self, other: Speaker) -> bool:
        """Whether this one may speak for the owner from now on. Of two processes of one try, the later one does."""
        return other.owner == self.owner and self.try_number >= other.try_number


class Phase(Enum):
    """How far a lease has come; no lease at all is the state "free"."""

    TAKEN = "taken"  # the creating task is at work
    HELD = "held"  # handed over: bound to a cluster, and the creating task has done its part
    CLOSING = "closing"  # no step may be submitted any more


@dataclass(frozen=True, slots=True)
class Lease:
    """
    One owner's right to the address.

    :param token: grows with every lease of this address and is never reused; given at arrival, so it is the queue's
        order, too.
    :param written_at: when the speaker last wrote it; RunJobFlow is sent soon after that or not at all.
    :param handover_by: when a lease that is still TAKEN may be closed by the next owner, if its cluster runs no step.
    :param cluster_name: what the cluster is called, by which it can be found when its id is not recorded.
    :param carrier: the cluster ("j-…") or instance ("i-…") that was handed over; before that a prewarmed cluster.
    :param doubtful: an earlier try may have launched a cluster that is recorded nowhere.
    :param doomed: it was closed without having been handed over, or is being undone: whoever sees its cluster ends it.
    """

    token: int
    speaker: Speaker
    phase: Phase
    taken_at: float
    written_at: float
    handover_by: float
    cluster_name: str
    carrier: Optional[str] = None
    doubtful: bool = False
    doomed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One owner's place in the queue.

    :param token: the token that its lease will carry.
    :param prewarmed_at: when it announced that it starts its cluster early; at most once.
    :param carrier: that cluster, once its id is known.
    :param doubtful: an earlier try may have launched a cluster that is recorded nowhere.
    """

    token: int
    speaker: Speaker
    arrived_at: float
    cluster_name: str
    handover_seconds: float
    prewarmed_at: Optional[float] = None
    carrier: Optional[str] = None
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Tenancy:
    """A lease that has ended, kept as history."""

    token: int
    owner: str
    carrier: Optional[str]
    taken_at: float
    ended_at: float
    why: str


@dataclass(frozen=True, slots=True)
class Suspect:
    """
    What an ended lease or a dropped queue entry may have left behind: clusters that carry its token.

    :param owner: the digest of whose they are.
    :param keep: the one that was handed over, which its own teardown ends.
    :param until: after this nothing of it can surface any more.
    """

    token: int
    owner: str
    cluster_name: str
    keep: Optional[str]
    until: float


@dataclass(frozen=True, slots=True)
class Record:
    """
    Everything that the lock knows of one address.

    :param issued: the last token given.
    :param free_since: when the last lease ended; places in the queue count from there.
    :param history: the newest last, at most ``Limits.history``.
    """

    issued: int = 0
    lease: Optional[Lease] = None
    free_since: float = 0.0
    queue: tuple[Entry, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    history: tuple[Tenancy, ...] = ()

    def place(self, owner: str) -> int | None:
        """Return an owner's place in the queue, from 0; ``None`` when it is not in it."""
        return next((k for k, entry in enumerate(self.queue) if entry.speaker.owner == owner), None)


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The lock's times, in seconds; every environment that shares an address needs the same.

    :param grace: place *k* of the queue may take a free address from ``free_since + k * grace`` on.
    :param send: RunJobFlow is sent within this after the speaker's last write, or after another write.
    :param surface: how long after that write a RunJobFlow can still take effect and stay invisible to ListClusters.
    :param history: how many ended tenancies are kept.
    """

    grace: float = 60.0
    send: float = 300.0
    surface: float = 900.0
    history: int = 50


LIMITS = Limits()
