"""
When a queue entry will probably have the address, and so when to start its cluster early (``prewarm="auto"``).

An estimate decides about time and money only: whether a cluster may be started early at all is decided by
:mod:`airflow_eip_provider.lease.transitions`, as for any other prewarmed cluster.

From the leases that ended before, the newest of each job, it takes two durations: how long a cluster took from its
launch until it was ready for steps, and for how long a ready cluster then had the address. A job is one task of one
DAG. The cluster is started when

- leases a little shorter than the average would free the address by the time when the cluster is ready, and
- the longest of them would let it idle for ``MOST_IDLE_SECONDS`` at most.

Of the holder's job only those leases count that took longer than this one has taken so far. An owner that is before it
in the queue begins when the address is free and its own cluster is ready, which takes a start-up from its launch.

Where a duration is not known yet, only the first of the queue starts early, and not before the release has begun.

An owner that waits for any one address of a pool is estimated over the records of all of them: those before it take
the addresses in the order in which these become free. The first of several leases to end is shorter than their average.
So it expects its turn sooner, by as much as the shortest lease of any of those jobs was shorter than their average.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean, median_low
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import TAKEN_OVER, UNDONE, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_eip_provider.lease.record import EndedLease, Entry, Record

# So many of a job's newest leases count. Each costs a DescribeCluster, once for all who wait.
LEASES = 3
# A cluster that is started early is ready for so long before its turn at most, if no lease takes longer than before.
MOST_IDLE_SECONDS = 900.0
# Entries further back in the queue do not start early: each lease before theirs adds to the error of the estimate.
MOST_PLACES = 4

NOT_RELEASED = (TAKEN_OVER, UNDONE)


@dataclass(frozen=True, slots=True)
class ClusterTimes:
    """
    When a cluster was launched, and when it was ready for steps; seconds since the epoch.

    :param ready_at: ``None`` while it is not ready, and when it never was.
    """

    launched_at: float
    ready_at: float | None


@dataclass(frozen=True, slots=True)
class _Seconds:
    """
    The average and the longest of some durations.

    :param sooner: by how much the shortest of them is less than the average; of a sum, by how much one of its parts.
    """

    average: float
    longest: float
    sooner: float = 0.0

    def __add__(self, other: _Seconds) -> _Seconds:
        return _Seconds(self.average + other.average, self.longest + other.longest, max(self.sooner, other.sooner))

    def at_least(self, seconds: float) -> _Seconds:
        return _Seconds(max(seconds, self.average), max(seconds, self.longest), self.sooner)


def job_of(owner: str) -> str:
    """
    Return what the owners of all runs of a task have in common.

    :param owner: an owner's name: environment/DAG/run/task/map index, of which only the run may contain slashes.
    """
    parts = owner.split("/")
    return "/".join((*parts[:2], *parts[-2:-1]))


def places_counted(records: Sequence[Record], owner: str) -> int | None:
    """
    Return the place of an owner that may start its cluster early by estimate, from 0; else ``None``.

    :param records: of the addresses that it waits for; its place is the best one that it has in a queue behind a lease.
    """
    entries = [record.queue[place] for record in records if (place := record.place(owner)) is not None]
    if any(entry.prewarmed_at is not None for entry in entries):
        return None  # one cluster for an owner, whichever address it will have
    places = [place for record in _behind_leases(records, owner) if (place := record.place(owner)) is not None]
    # With several addresses so many leases can end before anybody's turn is counted twice.
    return min((place for place in places if place < MOST_PLACES * len(records)), default=None)


def _behind_leases(records: Sequence[Record], owner: str) -> list[Record]:
    """Return the records in whose queue an owner may start its cluster early: behind a lease that has its cluster."""
    return [
        record
        for record in records
        if record.place(owner) is not None and record.lease is not None and record.lease.phase is not Phase.ACQUIRED
    ]


def clusters_asked_for(records: Sequence[Record], owner: str) -> frozenset[str]:
    """Return the clusters whose times :func:`prewarm_places` needs; none when it is not yet the time to estimate."""
    if places_counted(records, owner) is None:
        return frozenset()
    asked: set[str | None] = set()
    for record in records:
        lease, place = record.lease, record.place(owner)
        if lease is None or place is None or (lease.resource_id is None and lease.phase is not Phase.ACQUIRED):
            continue
        jobs = {job_of(entry.attempt.name) for entry in record.queue[: place + 1]} | {job_of(lease.attempt.name)}
        asked |= {ended.resource_id for job in jobs for ended in _newest(records, job)} | {lease.resource_id}
    return frozenset(name for name in asked if name is not None and name.startswith("j-"))


def prewarm_places(records: Sequence[Record], owner: str, times: Mapping[str, ClusterTimes], *, now: float) -> int:
    """
    Return from how many first places of the queue clusters may be started early now, so that this owner may start its.

    :param records: of the addresses that the owner waits for.
    :param times: of :func:`clusters_asked_for`, as far as EMR knows them.
    :param now: the store's time.
    :return: 0 when it should not start its cluster yet.
    """
    place = places_counted(records, owner)
    if place is None:
        return 0
    behind = _behind_leases(records, owner)
    name = next(entry.attempt.name for entry in behind[0].queue if entry.attempt.owner == owner)
    start_up = _start_up(records, job_of(name), times)
    turn = None if start_up is None else _until_turn(records, owner, times, start_up=start_up, now=now)
    if start_up is None or turn is None:
        is_releasing = any(record.lease is not None and record.lease.phase is Phase.RELEASING for record in behind)
        return 1 if place == 0 and is_releasing else 0
    # As leases vary, a cluster that starts by the average is late half of the time, and delays all who follow; one that
    # is early idles alone.
    earlier = turn.sooner if len(records) > 1 else (turn.longest - turn.average) / 8
    is_due = turn.average - earlier <= start_up and turn.longest <= start_up + MOST_IDLE_SECONDS
    return place + 1 if is_due else 0


def _until_turn(
    records: Sequence[Record], owner: str, times: Mapping[str, ClusterTimes], *, start_up: float, now: float
) -> _Seconds | None:
    """
    Return in how many seconds an address is free for an owner; ``None`` when that is not known.

    Each of those before it in a queue takes the first address that becomes free of those that it waits for. An address
    of which that is not known counts as one that does not become free.
    """
    free = [_until_free(records, record, times, start_up=start_up, now=now) for record in records]

    def first_free(who: str) -> int | None:
        known = [
            (seconds.average, number)
            for number, (record, seconds) in enumerate(zip(records, free))
            if seconds is not None and record.place(who) is not None
        ]
        return min(known)[1] if known else None

    counted = [seconds for seconds in free if seconds is not None]
    for entry in _before(records, owner):
        first = first_free(entry.attempt.owner)
        if first is not None:
            until, more = free[first], _lease_seconds(records, job_of(entry.attempt.name), times)
            ready = _until_ready(records, entry, times, start_up=start_up, now=now)
            free[first] = None if until is None or more is None else until.at_least(ready) + more
            counted += [] if more is None else [more]
    mine = first_free(owner)
    turn = None if mine is None else free[mine]
    # Few leases of one job are known: that of another job shows better by how much they vary.
    return None if turn is None else replace(turn, sooner=max(seconds.sooner for seconds in counted))


def _until_ready(
    records: Sequence[Record], entry: Entry, times: Mapping[str, ClusterTimes], *, start_up: float, now: float
) -> float:
    """Return in how many seconds the cluster of a queue entry is ready, if it is launched now at the latest."""
    own = _start_up(records, job_of(entry.attempt.name), times)
    launched_at = now if entry.prewarmed_at is None else entry.prewarmed_at
    return max(0.0, launched_at + (start_up if own is None else own) - now)


def _before(records: Sequence[Record], owner: str) -> list[Entry]:
    """Return the queue entries before an owner's, one for each owner, in the order of their places."""
    found: dict[str, tuple[int, Entry]] = {}
    for record in records:
        for place, entry in enumerate(record.queue[: record.place(owner) or 0]):
            known = found.get(entry.attempt.owner)
            if known is None or place < known[0]:
                found[entry.attempt.owner] = (place, entry)
    return [entry for _, entry in sorted(found.values(), key=lambda item: item[0])]


def _until_free(
    records: Sequence[Record], record: Record, times: Mapping[str, ClusterTimes], *, start_up: float, now: float
) -> _Seconds | None:
    """Return in how many seconds the lease of an address ends; ``None`` when that is not known."""
    lease = record.lease
    if lease is None:
        return _Seconds(0.0, 0.0)
    seconds = _leases_took(records, job_of(lease.attempt.name), times)
    holder = times.get(lease.resource_id or "")
    if not seconds or (holder is None and lease.phase is not Phase.ACQUIRED):
        return None
    # What has just been acquired may have no cluster yet; only who waits for other addresses, too, may prewarm then.
    launched_at = lease.acquired_at if holder is None else holder.launched_at
    ready_at = launched_at + start_up if holder is None or holder.ready_at is None else holder.ready_at
    elapsed = now - max(lease.acquired_at, ready_at)
    left = _seconds([took - elapsed for took in seconds if took > elapsed])
    return replace(left, sooner=_seconds(seconds).sooner)


def _lease_seconds(records: Sequence[Record], job: str, times: Mapping[str, ClusterTimes]) -> _Seconds | None:
    """Return for how long ready clusters of a job have the address; ``None`` when that is not known."""
    seconds = _leases_took(records, job, times)
    return _seconds(seconds) if seconds else None


def _leases_took(records: Sequence[Record], job: str, times: Mapping[str, ClusterTimes]) -> list[float]:
    """Return the seconds for which ready clusters of a job had the address, for its newest leases."""
    seconds: list[float] = []
    for lease in _newest(records, job):
        cluster = times.get(lease.resource_id or "")
        if cluster is not None and cluster.ready_at is not None:
            seconds.append(max(0.0, lease.ended_at - max(lease.acquired_at, cluster.ready_at)))
    return seconds


def _seconds(seconds: Sequence[float]) -> _Seconds:
    if not seconds:
        return _Seconds(0.0, 0.0)
    return _Seconds(mean(seconds), max(seconds), mean(seconds) - min(seconds))


def _start_up(records: Sequence[Record], job: str, times: Mapping[str, ClusterTimes]) -> float | None:
    """Return how long a cluster of a job takes until it is ready: of others' clusters, when it has had none yet."""
    own = _start_ups(times.get(lease.resource_id or "") for lease in _newest(records, job))
    known = own or _start_ups(times.values())
    return median_low(known) if known else None


def _start_ups(clusters: Iterable[ClusterTimes | None]) -> list[float]:
    return [
        cluster.ready_at - cluster.launched_at
        for cluster in clusters
        if cluster is not None and cluster.ready_at is not None
    ]


def _newest(records: Sequence[Record], job: str) -> list[EndedLease]:
    """Return the newest leases of a job that its own tasks released: others find out late that a lease is over."""
    released = [
        lease
        for record in records
        for lease in record.history
        if lease.resource_id is not None and job_of(lease.owner) == job and not lease.why.startswith(NOT_RELEASED)
    ]
    return sorted(released, key=lambda lease: lease.ended_at)[-LEASES:]
