"""
What the lock store knows of one Elastic IP: a single record, replaced as a whole by conditional writes.

All of it is frozen; only :mod:`airflow_eip_provider.lease.transitions` makes a new record from an old one. Times are
seconds since the epoch by the lock store's own clock, never by a worker's.

The lease, its queue and the possible orphans of ended leases are one record on purpose: what moves from one to the
other (an entry becomes the lease, a lease becomes a possible orphan) does so in one conditional write, or not at all.

A lease has no expiry. It names the facts by which others can tell that it is over: the cluster, and the tags (token
and owner) by which its clusters are found when the record names none.
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
    :param try_number: Airflow's.
    :param nonce: random; tells two processes of one try apart.
    """

    owner: str
    name: str
    try_number: int
    nonce: str

    def is_superseded_by(self, other: Attempt) -> bool:
        """Whether ``other`` is a newer attempt of the same owner, so that this one must not change anything."""
        # Of two processes of one try neither is newer; then the one that the record names goes on: it wrote last.
        return other.owner == self.owner and other != self and other.try_number >= self.try_number

    def may_follow(self, other: Attempt) -> bool:
        """Whether this one may take over from ``other``. Of two processes of one try, the later one does."""
        return other.owner == self.owner and self.try_number >= other.try_number


class Phase(Enum):
    """How far a lease has come; no lease at all is the state "free"."""

    # The values are those of the stored format, which has kept the words of version 0.1.0.
    ACQUIRED = "taken"  # the creating task launches the cluster and associates the address
    ACTIVE = "held"  # the address is associated; steps may run
    RELEASING = "closing"  # no further step may be submitted


@dataclass(frozen=True, slots=True)
class Lease:
    """
    One owner's right to the address.

    :param token: the fencing token: given at arrival, and never again. It grows with every arrival, which is the
        queue's order, and names this lease. An entry that was passed over has a smaller one than the lease that came
        before its own.
    :param written_at: when the attempt last wrote it; RunJobFlow is sent soon after that or not at all.
    :param handover_by: from when on the next owner may start the release of a lease that is still ACQUIRED, if its
        cluster runs no step.
    :param cluster_name: what the cluster is called, by which it can be found when its id is not recorded.
    :param resource_id: the cluster ("j-…") or instance ("i-…") with which the address is associated; before
        that a prewarmed cluster.
    :param may_have_orphans: an earlier try may have launched a cluster that is recorded nowhere.
    :param to_be_terminated: its release began before it was active, or it is being undone: whoever observes its cluster
        terminates it. While it is ACQUIRED: its cluster did not start, and its owner replaces it.
    :param since: when its cluster was announced while it queued, if it was; else no cluster of it is older than
        ``acquired_at``. 0 when that is not known.
    :param moved_from: the cluster that had the lease before it was moved, by a failover; ``None`` for most leases.
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

    def is_given_up(self, resource_id: str | None) -> bool:
        """Whether this is its cluster that did not start: no attempt adopts it or hands it over."""
        is_own = resource_id is not None and resource_id == self.resource_id
        return is_own and self.phase is Phase.ACQUIRED and self.to_be_terminated


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One owner's place in the queue.

    :param token: the token that its lease will carry.
    :param prewarmed_at: when it announced that it starts its cluster early; at most once.
    :param resource_id: that cluster, once its id is known.
    :param may_have_orphans: an earlier try may have launched a cluster that is recorded nowhere.
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


# What ``EndedLease.why`` begins with when it was not the owner's own tasks that released the lease as planned.
TAKEN_OVER, UNDONE = "taken over", "undone"
# What it begins with when the lease went on, with another token, for another cluster.
MOVED = "moved"


@dataclass(frozen=True, slots=True)
class EndedLease:
    """A lease that has ended, kept as history."""

    token: int
    owner: str
    resource_id: Optional[str]
    acquired_at: float
    ended_at: float
    why: str


@dataclass(frozen=True, slots=True)
class PossibleOrphan:
    """
    Clusters that an ended lease or a dropped queue entry may have left behind: those with its token in their tags.

    :param owner: the owner's digest.
    :param keep: the cluster of the lease, which its own teardown terminates.
    :param until: after this time none of them can surface.
    :param since: none of them is older; 0 when that is not known.
    """

    token: int
    owner: str
    cluster_name: str
    keep: Optional[str]
    until: float
    since: float = 0.0


# The grace of a record that names none: the one that version 0.1.0 had built in.
FIRST_GRACE = 60.0
# How many graces the windows of all entries that were passed over add up to at most: the longest window of one entry.
MOST_PASSED_GRACES = 8.0


@dataclass(frozen=True, slots=True)
class Record:
    """
    All that the lock store knows of one address.

    :param issued: the last token given.
    :param free_since: when the last lease ended; the turns of the queue count from there.
    :param history: the newest last, at most ``Limits.history``.
    :param grace: seconds for which a free address is kept for a queue entry whose turn it is, the first time. All
        follow it, whatever they have configured; a writer that finds neither lease nor queue sets it anew.
    """

    issued: int = 0
    lease: Optional[Lease] = None
    free_since: float = 0.0
    queue: tuple[Entry, ...] = ()
    possible_orphans: tuple[PossibleOrphan, ...] = ()
    history: tuple[EndedLease, ...] = ()
    grace: float = FIRST_GRACE
    # Made when it is first asked for: a triggerer asks one record for the places of all who wait for it.
    _turns: Optional[dict[str, tuple[int, float]]] = field(default=None, init=False, repr=False, compare=False)
    _factor: Optional[float] = field(default=None, init=False, repr=False, compare=False)

    def has_moved_from(self, resource_id: str) -> bool:
        """Whether the lease came from a cluster, by one failover or by several that followed each other."""
        if self.lease is None or self.lease.moved_from is None or self.lease.resource_id == resource_id:
            return False  # the last: it came back to a cluster that was kept
        moved = takewhile(lambda ended: ended.why.startswith(MOVED), reversed(self.history))
        return resource_id in {self.lease.moved_from, *(ended.resource_id for ended in moved)}

    def place(self, owner: str) -> int | None:
        """Return an owner's place in the queue, from 0; ``None`` when it is not in it."""
        turn = self._turn_of(owner)
        return None if turn is None else turn[0]

    def seconds_before(self, owner: str) -> float | None:
        """
        Return for how long a free address is kept for those before an owner: the sum of their windows.

        :return: ``None`` when it is not in the queue.
        """
        turn = self._turn_of(owner)
        return None if turn is None else turn[1]

    def window(self, entry: Entry) -> float:
        """
        Return for how long a free address is kept for an entry when its turn comes: longer after each pass.

        The windows of all entries that were passed over add up to at most :data:`MOST_PASSED_GRACES`; otherwise each
        of them is shortened by the same factor.
        """
        window = float(self.grace * 2**entry.passed)
        return window * self._passed_factor() if entry.passed else window

    def _passed_factor(self) -> float:
        if self._factor is None:
            # Who takes the address passes over all who are before it, so these entries are the first of the queue.
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
    The times of the protocol, in seconds; every environment that shares an address needs the same, but for the grace.

    :param grace: what a writer that finds neither lease nor queue makes the record's grace.
    :param turns: how often a queue entry may be passed over and keep its place; the next time it leaves the queue.
    :param send: RunJobFlow is sent within this after the attempt's last write, or after another write.
    :param surface: how long after that write a RunJobFlow can still take effect and stay invisible to ListClusters.
    :param history: how many ended leases are kept.
    """

    grace: float = 120.0
    turns: int = 3
    send: float = 300.0
    surface: float = 900.0
    history: int = 50


# ``surface - send`` is for a request that leaves at the last moment: botocore's retries, and the lag of ListClusters.
LIMITS = Limits()
