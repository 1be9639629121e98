"""
When a queue entry will probably have the address, and so when to start its cluster early (``prewarm="auto"``).

An estimate decides about time and money only: whether a cluster may be started early at all is decided by
:mod:`airflow_eip_provider.lease.transitions`, as for any other prewarmed cluster.

From the leases that ended before, the newest of each job, it takes two durations: how long a cluster took from its
launch until it was ready for steps, and for how long a ready cluster then had the address. A job is one task of one
DAG. The cluster is started when

- leases of average length would free the address by the time when the cluster is ready, and
- the longest of them would let it idle for ``MOST_IDLE_SECONDS`` at most.

Where a duration is not known yet, only the first of the queue starts early, and not before the release has begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean, median_low
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import TAKEN_OVER, UNDONE, Phase

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_eip_provider.lease.record import EndedLease, Lease, Record

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
    """The average and the longest of some durations."""

    average: float
    longest: float

    def __add__(self, other: _Seconds) -> _Seconds:
        return _Seconds(self.average + other.average, self.longest + other.longest)

    def without(self, seconds: float) -> _Seconds:
        return _Seconds(max(0.0, self.average - seconds), max(0.0, self.longest - seconds))


def job_of(owner: str) -> str:
    """
    Return what the owners of all runs of a task have in common.

    :param owner: an owner's name: environment/DAG/run/task/map index, of which only the run may contain slashes.
    """
    parts = owner.split("/")
    return "/".join((*parts[:2], *parts[-2:-1]))


def places_counted(record: Record, owner: str) -> int | None:
    """Return the place of an owner that may start its cluster early by estimate, from 0; else ``None``."""
    place = record.place(owner)
    if place is None or place >= MOST_PLACES or record.lease is None or record.lease.phase is Phase.ACQUIRED:
        return None
    return None if record.queue[place].prewarmed_at is not None else place


def clusters_asked_for(record: Record, owner: str) -> frozenset[str]:
    """Return the clusters whose times :func:`prewarm_places` needs; none when it is not yet the time to estimate."""
    place = places_counted(record, owner)
    if place is None or record.lease is None or record.lease.resource_id is None:
        return frozenset()
    jobs = {job_of(entry.attempt.name) for entry in record.queue[: place + 1]} | {job_of(record.lease.attempt.name)}
    ended = {lease.resource_id for job in jobs for lease in _newest(record, job)}
    return frozenset(name for name in (*ended, record.lease.resource_id) if name is not None and name.startswith("j-"))


def prewarm_places(record: Record, owner: str, times: Mapping[str, ClusterTimes], *, now: float) -> int:
    """
    Return from how many first places of the queue clusters may be started early now, so that this owner may start its.

    :param times: of :func:`clusters_asked_for`, as far as EMR knows them.
    :param now: the store's time.
    :return: 0 when it should not start its cluster yet.
    """
    place = places_counted(record, owner)
    if place is None or record.lease is None:
        return 0
    start_up = _start_up(record, job_of(record.queue[place].attempt.name), times)
    turn = None if start_up is None else _until_turn(record, record.lease, place, times, start_up=start_up, now=now)
    if start_up is None or turn is None:
        return 1 if place == 0 and record.lease.phase is Phase.RELEASING else 0
    is_due = turn.average <= start_up and turn.longest <= start_up + MOST_IDLE_SECONDS
    return place + 1 if is_due else 0


def _until_turn(
    record: Record, lease: Lease, place: int, times: Mapping[str, ClusterTimes], *, start_up: float, now: float
) -> _Seconds | None:
    """Return in how many seconds the address is free for the owner at a place; ``None`` when that is not known."""
    turn = _lease_seconds(record, job_of(lease.attempt.name), times)
    holder = times.get(lease.resource_id or "")
    if turn is None or holder is None:
        return None
    ready_at = holder.launched_at + start_up if holder.ready_at is None else holder.ready_at
    turn = turn.without(now - max(lease.acquired_at, ready_at))
    for entry in record.queue[:place]:
        more = _lease_seconds(record, job_of(entry.attempt.name), times)
        if more is None:
            return None
        turn += more
    return turn


def _lease_seconds(record: Record, job: str, times: Mapping[str, ClusterTimes]) -> _Seconds | None:
    """Return for how long ready clusters of a job have the address."""
    seconds: list[float] = []
    for lease in _newest(record, job):
        cluster = times.get(lease.resource_id or "")
        if cluster is not None and cluster.ready_at is not None:
            seconds.append(max(0.0, lease.ended_at - max(lease.acquired_at, cluster.ready_at)))
    return _Seconds(mean(seconds), max(seconds)) if seconds else None


def _start_up(record: Record, job: str, times: Mapping[str, ClusterTimes]) -> float | None:
    """Return how long a cluster of a job takes until it is ready: of others' clusters, when it has had none yet."""
    own = _start_ups(times.get(lease.resource_id or "") for lease in _newest(record, job))
    known = own or _start_ups(times.values())
    return median_low(known) if known else None


def _start_ups(clusters: Iterable[ClusterTimes | None]) -> list[float]:
    return [
        cluster.ready_at - cluster.launched_at
        for cluster in clusters
        if cluster is not None and cluster.ready_at is not None
    ]


def _newest(record: Record, job: str) -> list[EndedLease]:
    """Return the newest leases of a job that its own tasks released: others find out late that a lease is over."""
    released = [
        lease
        for lease in record.history
        if lease.resource_id is not None and job_of(lease.owner) == job and not lease.why.startswith(NOT_RELEASED)
    ]
    return released[-LEASES:]
