"""
Estimates when a queue entry will have the address, and so when to start its cluster early (``prewarm="auto"``).

An estimate affects only time and money. Whether a cluster may be started early at all is decided by
:mod:`airflow_eip_provider.lease.transitions`, as for any other prewarmed cluster.

The estimate uses two durations of the newest ended leases of each job, where a job is one task of one DAG: how long a
cluster took from its launch until it was ready for steps, and how long a ready cluster then had the address. The
cluster is started when both are true:

- leases a little shorter than the average would free the address by the time when the cluster is ready,
- the longest of these leases would let it idle for at most ``MOST_IDLE_SECONDS``.

Of the holder's job, only leases count that took longer than the current one has taken so far. An owner ahead in the
queue begins when the address is free and its own cluster is ready, one start-up after its launch.

If a duration is not known yet, only the first in the queue starts early, and not before the release has begun.

For an owner that waits for any one address of a pool, the estimate uses the records of all of them: the owners ahead
take the addresses in the order in which these become free. The first of several leases to end is shorter than their
average. So the owner expects its turn sooner, by the difference between the average and the shortest lease of a job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import mean, median_low
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import TAKEN_OVER, UNDONE, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from airflow_eip_provider.lease.record import EndedLease, Entry, Record

# The number of a job's newest leases that count. Each costs one DescribeCluster for all waiting owners together.
LEASES = 3
# The longest time for which a ready cluster waits for its turn, if no lease takes longer than before.
MOST_IDLE_SECONDS = 900.0
# Entries further back in the queue do not start early: each lease ahead adds to the error of the estimate.
MOST_PLACES = 4

NOT_RELEASED = (TAKEN_OVER, UNDONE)


@dataclass(frozen=True, slots=True)
class ClusterTimes:
    """
    When a cluster was launched, and when it was ready for steps; seconds since the epoch.

    :param ready_at: ``None`` while it is not ready, and if it never was.
    """

    launched_at: float
    ready_at: float | None


@dataclass(frozen=True, slots=True)
class _Duration:
    """
    The average and the longest of several durations, or a sum of these.

    :param sooner: by how much the shortest is less than the average; of a sum, the largest of these differences.
    """

    average: float = 0.0
    longest: float = 0.0
    sooner: float = 0.0

    @classmethod
    def of(cls, seconds: Sequence[float]) -> _Duration:
        return cls(mean(seconds), max(seconds), mean(seconds) - min(seconds)) if seconds else cls()

    def __add__(self, other: _Duration) -> _Duration:
        return _Duration(self.average + other.average, self.longest + other.longest, max(self.sooner, other.sooner))

    def at_least(self, seconds: float) -> _Duration:
        return _Duration(max(seconds, self.average), max(seconds, self.longest), self.sooner)


def job_of(owner: str) -> str:
    """
    Return the job of an owner: the part of its name that all runs of a task share.

    :param owner: an owner's name: environment/DAG/run/task/map index, of which only the run may contain slashes.
    """
    parts = owner.split("/")
    return "/".join((*parts[:2], *parts[-2:-1]))


def expected_end(record: Record, *, now: float) -> tuple[float, int] | None:
    """
    Return when the lease probably ends, for people, and how many leases of its job say so; ``None`` when unknown.

    It is the average of the job's newest leases that took longer than this one has taken so far.

    :param now: the store's time.
    """
    lease = record.lease
    if lease is None:
        return None
    elapsed = now - lease.acquired_at
    newest = _newest_leases([record], job_of(lease.attempt.name))
    took = [seconds for ended in newest if (seconds := ended.ended_at - ended.acquired_at) > elapsed]
    return (lease.acquired_at + mean(took), len(took)) if took else None


def places_counted(records: Sequence[Record], owner: str) -> int | None:
    """
    Return the place, from 0, of an owner that may start its cluster early by estimate; ``None`` if it may not.

    :param records: of the addresses that it waits for; its place is its best one in a queue behind a lease.
    """
    entries = [record.queue[place] for record in records if (place := record.place(owner)) is not None]
    if any(entry.prewarmed_at is not None for entry in entries):
        return None  # one cluster for each owner, whichever address it will have
    places = [place for record in _behind_leases(records, owner) if (place := record.place(owner)) is not None]
    # With several addresses, its place can be later: any of them may become free first.
    return min((place for place in places if place < MOST_PLACES * len(records)), default=None)


def _behind_leases(records: Sequence[Record], owner: str) -> list[Record]:
    """Return the records in whose queue an owner may start its cluster early: behind a lease that has its cluster."""
    return [
        record
        for record in records
        if record.place(owner) is not None and record.lease is not None and record.lease.phase is not Phase.ACQUIRED
    ]


def clusters_asked_for(records: Sequence[Record], owner: str) -> frozenset[str]:
    """Return the clusters whose times :func:`prewarm_places` needs; none when it is too early for an estimate."""
    if places_counted(records, owner) is None:
        return frozenset()
    clusters: set[str | None] = set()
    for record in records:
        lease, place = record.lease, record.place(owner)
        if lease is None or place is None or (lease.resource_id is None and lease.phase is not Phase.ACQUIRED):
            continue
        jobs = {job_of(entry.attempt.name) for entry in record.queue[: place + 1]} | {job_of(lease.attempt.name)}
        clusters |= {ended.resource_id for job in jobs for ended in _newest_leases(records, job)} | {lease.resource_id}
    return frozenset(name for name in clusters if name is not None and name.startswith("j-"))


def prewarm_places(records: Sequence[Record], owner: str, times: Mapping[str, ClusterTimes], *, now: float) -> int:
    """
    Return how many places at the front of the queue may start early now: enough to include this owner, or 0.

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
    turn = None if start_up is None else _Forecast(records, times, start_up, now).until_turn(owner)
    if start_up is None or turn is None:
        is_releasing = any(record.lease is not None and record.lease.phase is Phase.RELEASING for record in behind)
        return 1 if place == 0 and is_releasing else 0
    # Leases vary, so a cluster that starts by the average is late half of the time and delays every owner behind it,
    # while one that is early only idles.
    earlier = turn.sooner if len(records) > 1 else (turn.longest - turn.average) / 8
    is_due = turn.average - earlier <= start_up and turn.longest <= start_up + MOST_IDLE_SECONDS
    return place + 1 if is_due else 0


@dataclass(frozen=True, slots=True)
class _Forecast:
    """
    An estimate for the addresses that one owner waits for.

    :param start_up: how long that owner's cluster takes until it is ready, in seconds.
    """

    records: Sequence[Record]
    times: Mapping[str, ClusterTimes]
    start_up: float
    now: float

    def until_turn(self, owner: str) -> _Duration | None:
        """
        Return in how many seconds an address is free for an owner; ``None`` when that is not known.

        Each owner ahead takes the first address to become free of those that it waits for. An address whose time is not
        known counts as one that does not become free.
        """
        free = [self._until_free(record) for record in self.records]
        counted = [duration for duration in free if duration is not None]
        for entry in _entries_ahead(self.records, owner):
            first = self._first_free(free, entry.attempt.owner)
            if first is not None:
                until, taken = free[first], self._leases_took(job_of(entry.attempt.name))
                begins = None if until is None or not taken else until.at_least(self._until_ready(entry))
                free[first] = None if begins is None else begins + _Duration.of(taken)
                counted += [_Duration.of(taken)] if taken else []
        first = self._first_free(free, owner)
        turn = None if first is None else free[first]
        # Few leases of one job are known, so another job may show better by how much leases vary.
        return None if turn is None else replace(turn, sooner=max(duration.sooner for duration in counted))

    def _first_free(self, free: Sequence[_Duration | None], owner: str) -> int | None:
        """Return the index of the address that is free first among those that an owner waits for."""
        known = [
            (duration.average, index)
            for index, (record, duration) in enumerate(zip(self.records, free))
            if duration is not None and record.place(owner) is not None
        ]
        return min(known)[1] if known else None

    def _until_ready(self, entry: Entry) -> float:
        """Return in how many seconds the cluster of a queue entry is ready, if it is launched now at the latest."""
        start_up = _start_up(self.records, job_of(entry.attempt.name), self.times)
        launched_at = self.now if entry.prewarmed_at is None else entry.prewarmed_at
        return max(0.0, launched_at + (self.start_up if start_up is None else start_up) - self.now)

    def _until_free(self, record: Record) -> _Duration | None:
        """Return in how many seconds the lease of an address ends; ``None`` when that is not known."""
        lease = record.lease
        if lease is None:
            return _Duration()
        taken = self._leases_took(job_of(lease.attempt.name))
        holder = self.times.get(lease.resource_id or "")
        if not taken or (holder is None and lease.phase is not Phase.ACQUIRED):
            return None
        # A lease that was just acquired may have no cluster yet; this matters only to owners that also wait for another
        # address.
        launched_at = lease.acquired_at if holder is None else holder.launched_at
        ready_at = launched_at + self.start_up if holder is None or holder.ready_at is None else holder.ready_at
        elapsed = self.now - max(lease.acquired_at, ready_at)
        left = _Duration.of([seconds - elapsed for seconds in taken if seconds > elapsed])
        return replace(left, sooner=_Duration.of(taken).sooner)

    def _leases_took(self, job: str) -> list[float]:
        """Return for how many seconds ready clusters of a job had the address, for its newest leases."""
        taken: list[float] = []
        for lease in _newest_leases(self.records, job):
            cluster = self.times.get(lease.resource_id or "")
            if cluster is not None and cluster.ready_at is not None:
                taken.append(max(0.0, lease.ended_at - max(lease.acquired_at, cluster.ready_at)))
        return taken


def _entries_ahead(records: Sequence[Record], owner: str) -> list[Entry]:
    """Return the queue entries ahead of an owner's, one for each owner, in the order of their places."""
    ahead: dict[str, tuple[int, Entry]] = {}
    for record in records:
        for place, entry in enumerate(record.queue[: record.place(owner) or 0]):
            best = ahead.get(entry.attempt.owner)
            if best is None or place < best[0]:
                ahead[entry.attempt.owner] = (place, entry)
    return [entry for _, entry in sorted(ahead.values(), key=lambda item: item[0])]


def _start_up(records: Sequence[Record], job: str, times: Mapping[str, ClusterTimes]) -> float | None:
    """Return how long a cluster of a job takes until it is ready; from all clusters if the job has had none yet."""
    own = _start_ups(times.get(lease.resource_id or "") for lease in _newest_leases(records, job))
    start_ups = own or _start_ups(times.values())
    return median_low(start_ups) if start_ups else None


def _start_ups(clusters: Iterable[ClusterTimes | None]) -> list[float]:
    return [
        cluster.ready_at - cluster.launched_at
        for cluster in clusters
        if cluster is not None and cluster.ready_at is not None
    ]


def _newest_leases(records: Sequence[Record], job: str) -> list[EndedLease]:
    """Return the newest leases of a job that its own tasks released; other owners end leases late."""
    released = [
        lease
        for record in records
        for lease in record.history
        if lease.resource_id is not None and job_of(lease.owner) == job and not lease.why.startswith(NOT_RELEASED)
    ]
    return sorted(released, key=lambda lease: lease.ended_at)[-LEASES:]
