"""
The record of one Elastic IP in the lock store, which conditional writes replace as a whole.

All of it is frozen; only :mod:`airflow_eip_provider.lease.transitions` makes a new record from an old one. Times are
seconds since the epoch by the lock store's clock, never by a worker's.

The lease, its queue and the possible orphans of ended leases are one record on purpose. An entry becomes the lease, and
a lease becomes a possible orphan, in one conditional write or not at all.

A lease does not expire. It names the facts that show others when it has ended: the cluster, and the tags (token and
owner) by which its clusters are found when the record names none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from itertools import takewhile
from typing import Optional


@dataclass(frozen=True, slots=True)
class Attempt:
    """
    One try of an owner, in one process; a retry is a newer attempt of the same owner.

    :param owner: a digest that is the same for every try of a task instance.
    :param name: the owner in readable form.
    :param try_number: Airflow's try number.
    :param nonce: random, to distinguish two processes of one try.
    """

    owner: str
    name: str
    try_number: int
    nonce: str

    def is_superseded_by(self, other: Attempt) -> bool:
        """Whether ``other`` is a newer attempt of the same owner, so that this one must not change anything."""
        # Of two processes of one try neither is newer. The one that the record names continues, as it wrote last.
        return other.owner == self.owner and other != self and other.try_number >= self.try_number

    def may_follow(self, other: Attempt) -> bool:
        """Whether this attempt may take over from ``other``; two processes of one try may take over from each other."""
        return other.owner == self.owner and self.try_number >= other.try_number


class Phase(Enum):
    """The phase of a lease; an address without a lease is free."""

    # The values are those of the stored format, which keeps the words of version 0.1.0.
    ACQUIRED = "taken"  # the creating task launches the cluster and associates the address
    ACTIVE = "held"  # the address is associated; steps may run
    RELEASING = "closing"  # no further step may be submitted


@dataclass(frozen=True, slots=True)
class Lease:
    """
    One owner's right to the address.

    :param token: the fencing token, which names this lease. Each owner that arrives gets the next number, so the queue
        is in the order of the tokens. An owner that was passed over has a smaller token than the lease before its own.
    :param written_at: when the attempt last wrote the lease; RunJobFlow is sent soon after that or not at all.
    :param handover_by: if the lease is still ACQUIRED then and its cluster runs no step, the next owner may start its
        release.
    :param cluster_name: the name of its clusters; empty when it launches none.
    :param resource_id: the cluster ("j-…") or instance ("i-…") with which the address is associated; before that a
        prewarmed cluster.
    :param may_have_orphans: an earlier try may have launched a cluster that no record names.
    :param to_be_terminated: its release started before it was ACTIVE, or it is being undone: any owner that
        observes its cluster terminates it. While it is ACQUIRED: its cluster did not start, and its owner replaces it.
    :param since: when its cluster was announced in the queue; ``None`` if it was not: then no cluster of the lease is
        older than ``acquired_at``; 0 when that is not known.
    :param moved_from: the cluster from which a failover moved the lease; ``None`` for most leases.
    """

    token: int
    attempt: Attempt
    phase: Phase
    acquired_at: float
    written_at: float
    handover_by: float
    cluster_name: str
    resource_id: Optional[str] = None
    may_have_orphans: bool = False
    to_be_terminated: bool = False
    since: Optional[float] = None
    moved_from: Optional[str] = None

    @property
    def is_before_handover(self) -> bool:
        """Whether the lease was never active, so that no cluster of it may have the address for good."""
        # A cluster that was given up may be named before the hand-over.
        undone = self.resource_id is None or self.to_be_terminated
        return self.phase is Phase.ACQUIRED or (self.phase is Phase.RELEASING and undone)

    def is_given_up(self, resource_id: str | None) -> bool:
        """Whether this cluster did not start, so that no attempt adopts it or hands it over."""
        is_own = resource_id is not None and resource_id == self.resource_id
        return is_own and self.phase is Phase.ACQUIRED and self.to_be_terminated


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One owner's place in the queue.

    :param token: the token that its lease will have.
    :param prewarmed_at: when it announced that it starts its cluster early; at most once.
    :param resource_id: that cluster, once its ID is known.
    :param may_have_orphans: an earlier try may have launched a cluster that no record names.
    :param passed: how often an entry behind it in the queue has acquired the address.
    """

    token: int
    attempt: Attempt
    arrived_at: float
    cluster_name: str
    handover_seconds: float
    prewarmed_at: Optional[float] = None
    resource_id: Optional[str] = None
    may_have_orphans: bool = False
    passed: int = 0


# ``EndedLease.why`` begins with one of these when the owner's own tasks did not release the lease as planned,
TAKEN_OVER, UNDONE = "taken over", "undone"
# and with this one when a failover moved the lease to another cluster, with another token.
MOVED = "moved"


@dataclass(frozen=True, slots=True)
class EndedLease:
    """An ended lease in the history."""

    token: int
    owner: str
    resource_id: Optional[str]
    acquired_at: float
    ended_at: float
    why: str


@dataclass(frozen=True, slots=True)
class PossibleOrphan:
    """
    The clusters that an ended lease or a removed queue entry may have left behind, found by its token in their tags.

    :param owner: the owner's digest.
    :param keep: the cluster that is not an orphan: the lease's own teardown terminates it.
    :param until: after this time no further cluster can appear.
    :param since: none of them is older; 0 when that is not known.
    """

    token: int
    owner: str
    cluster_name: str
    keep: Optional[str]
    until: float
    since: float = 0.0


# The grace of a record that names none, which is that of version 0.1.0.
FIRST_GRACE = 60.0
# The windows of all entries that were passed over add up to at most this many graces, the longest window of one entry.
MOST_PASSED_GRACES = 8.0


@dataclass(frozen=True, slots=True)
class Record:
    """
    The record of one address.

    :param issued: the last token that was issued.
    :param free_since: when the last lease ended; the turns of the queue count from there.
    :param history: the newest last, at most ``Limits.history``.
    :param grace: seconds for which a free address is kept for a queue entry at its first turn. It applies to all
        owners, whatever they have configured; a writer that finds neither a lease nor a queue sets it to its own.
    """

    issued: int = 0
    lease: Optional[Lease] = None
    free_since: float = 0.0
    queue: tuple[Entry, ...] = ()
    possible_orphans: tuple[PossibleOrphan, ...] = ()
    history: tuple[EndedLease, ...] = ()
    grace: float = FIRST_GRACE
    # Computed once, when first needed: a triggerer asks one record for the places of all waiting owners.
    _turns: Optional[dict[str, tuple[int, float]]] = field(default=None, init=False, repr=False, compare=False)
    _factor: Optional[float] = field(default=None, init=False, repr=False, compare=False)

    def has_moved_from(self, resource_id: str) -> bool:
        """Whether one failover, or a series of them, moved the lease away from a cluster."""
        if self.lease is None or self.lease.moved_from is None or self.lease.resource_id == resource_id:
            return False  # the last condition: the lease was moved back to a cluster that was kept
        moved = takewhile(lambda ended: ended.why.startswith(MOVED), reversed(self.history))
        return resource_id in {self.lease.moved_from, *(ended.resource_id for ended in moved)}

    def place(self, owner: str) -> int | None:
        """Return an owner's place in the queue, from 0; ``None`` when it is not in it."""
        turn = self._turn_of(owner)
        return None if turn is None else turn[0]

    def seconds_before(self, owner: str) -> float | None:
        """
        Return for how long a free address is kept for the owners before this one: the sum of their windows.

        :return: ``None`` when this owner is not in the queue.
        """
        turn = self._turn_of(owner)
        return None if turn is None else turn[1]

    def window(self, entry: Entry) -> float:
        """
        Return for how long a free address is kept for an entry at its turn; each pass doubles it.

        The windows of all entries that were passed over add up to at most :data:`MOST_PASSED_GRACES`; otherwise each
        of them is shortened by the same factor.
        """
        window = float(self.grace * 2**entry.passed)
        return window * self._passed_factor() if entry.passed else window

    def _passed_factor(self) -> float:
        if self._factor is None:
            # An owner that takes the address passes over all owners before it, so these entries are at the front.
            graces = sum(2**entry.passed for entry in takewhile(lambda entry: entry.passed > 0, self.queue))
            object.__setattr__(self, "_factor", min(1.0, MOST_PASSED_GRACES / max(graces, 1)))
        return self._factor or 1.0

    def _turn_of(self, owner: str) -> tuple[int, float] | None:
        if self._turns is None:
            turns: dict[str, tuple[int, float]] = {}
            seconds = 0.0
            for place, entry in enumerate(self.queue):
                turns[entry.attempt.owner] = (place, seconds)
                seconds += self.window(entry)
            object.__setattr__(self, "_turns", turns)
            return turns.get(owner)
        return self._turns.get(owner)


@dataclass(frozen=True, slots=True)
class Limits:
    """
    The limits of the protocol, in seconds; all environments that share an address need the same, except for the grace.

    :param grace: a writer that finds neither a lease nor a queue sets the record's grace to this.
    :param turns: how often a queue entry may be passed over and keep its place; the next pass removes it.
    :param send: RunJobFlow is sent within this time after the attempt's last write; otherwise it writes again first.
    :param surface: for how long after that write a RunJobFlow can take effect and stay invisible to ListClusters.
    :param history: the number of ended leases that are kept.
    """

    grace: float = 120.0
    turns: int = 3
    send: float = 300.0
    surface: float = 900.0
    history: int = 50


# ``surface - send`` covers a request that is sent at the last moment: botocore's retries, and the lag of ListClusters.
LIMITS = Limits()
