"""The figures of a lock client."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """
    A client with its periods, in seconds.

    :param script: the script that runs an owner with it, without the file's ending.
    :param service: its store, ``dynamodb`` or ``s3``.
    :param key: the names of the table's key attributes.
    :param lease: the duration of its lock unless it renews it.
    :param heartbeat: the interval of renewals; None for never.
    :param poll: the poll interval of waiters.
    :param chosen: the periods that are not the client's default, because it has none or one that is too short.
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
class Overlap:
    """
    The time in which two owners acted as the holder.

    :param seconds: simulated seconds; 0 for never.
    :param noticed: whether the first one learned from its client that it had lost the lock.
    """

    seconds: float
    noticed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """
    The figures of one client.

    :param cycle: store calls by operation of one lease period without waiters.
    :param hour: store calls by operation in an hour in which four owners wait for a fifth.
    :param holders: the greatest number of owners that acted as the holder at the same time in that hour.
    :param after_crash: seconds from the holder's crash until the next owner got the lock; None for never.
    :param beside_cluster: whether the crashed holder's cluster had the address then.
    :param fast: the overlap when the holder's clock was an hour fast.
    :param slow: the overlap when the holder's clock was an hour slow.
    :param paused: the overlap when the holder was stopped for two leases and then continued.
    :param late_release_frees: whether the release by a holder that had lost the lock frees the lock of the next one.
    """

    config: ClientConfig
    cycle: dict[str, int] = field(default_factory=dict)
    hour: dict[str, int] = field(default_factory=dict)
    holders: int = 0
    after_crash: float | None = None
    beside_cluster: bool = False
    fast: Overlap = Overlap(0, noticed=False)
    slow: Overlap = Overlap(0, noticed=False)
    paused: Overlap = Overlap(0, noticed=False)
    late_release_frees: bool = False
    reason: str | None = None  # why it could not run
