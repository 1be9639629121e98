"""What is measured of a lock client."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """
    A client with one choice of its periods, in seconds.

    :param script: the script beside which it runs, without its ending.
    :param service: where its record is kept, ``dynamodb`` or ``s3``.
    :param key: the names of the table's key attributes, as the client has them.
    :param lease: how long it has the lock unless it renews it.
    :param heartbeat: how often it renews it; None for never.
    :param poll: how often who waits looks.
    :param chosen: which of the periods are not the client's own: it has no default, or one that does not fit the work.
    """

    name: str
    version: str
    script: str
    service: str
    key: tuple[str, ...] = ()
    lease: float
    heartbeat: float | None = None
    poll: float
    chosen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldTwice:
    """
    Two owners that both took themselves for the holder.

    :param seconds: for how long, in simulated time; 0 for never.
    :param told: whether the first one learned from its client that it had lost the lock.
    """

    seconds: float
    told: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """
    What a client came to.

    :param cycle: store calls by operation of one lease period that nobody else wants.
    :param hour: store calls by operation in an hour in which four wait for a fifth.
    :param holders: how many took themselves for the holder at the same time in that hour, at most.
    :param after_crash: seconds from the holder's crash until who waited was let in; None for never.
    :param beside_cluster: whether the crashed holder's cluster carried the address then.
    :param fast: what came of a holder's clock that was an hour ahead.
    :param slow: the same for one that was an hour behind.
    :param paused: the same for a holder that was stopped for two leases and then went on.
    :param late_release_frees: whether a holder that lost the lock, and lets it go, frees the next one's.
    """

    subject: Subject
    cycle: dict[str, int] = field(default_factory=dict)
    hour: dict[str, int] = field(default_factory=dict)
    holders: int = 0
    after_crash: float | None = None
    beside_cluster: bool = False
    fast: HeldTwice = HeldTwice(0, told=False)
    slow: HeldTwice = HeldTwice(0, told=False)
    paused: HeldTwice = HeldTwice(0, told=False)
    late_release_frees: bool = False
    reason: str | None = None  # why it could not run
