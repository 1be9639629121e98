"""Leases that have ended, as the record keeps them, and what follows from them for a period."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import LIMITS, TAKEN_OVER, UNDONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lease.record import EndedLease, Record

# The reasons that the provider writes; a part after a colon names clusters.
_REASONS = frozenset({TAKEN_OVER, UNDONE, "terminated", "released early", "released by hand", "reaped"})


@dataclass(frozen=True, slots=True)
class PastLease:
    """
    A lease that has ended.

    :param waited: seconds from the start of its task to the lease; ``None`` when Airflow does not know.
    """

    token: int
    owner: str
    resource_id: str | None
    acquired_at: float
    ended_at: float
    why: str
    waited: float | None = None

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return max(0.0, self.ended_at - self.acquired_at)

    @property
    def as_planned(self) -> bool:
        """Whether it was released, and neither taken over by the next owner nor undone."""
        return not self.why.startswith((TAKEN_OVER, UNDONE))

    @property
    def reason(self) -> str:
        """Why it ended, in words that name nobody."""
        first = self.why.split(":")[0].strip()
        return first if first in _REASONS else "ended"


@dataclass(frozen=True, slots=True)
class Usage:
    """
    How an address was used in a period.

    :param since: from when on the record knows; later than the start of the period when it does not reach so far.
    :param idle_share: of that time, without any lease; ``None`` when nothing is known.
    """

    since: float | None
    idle_share: float | None


def past_leases(record: Record, *, since: float, waits: Mapping[int, float]) -> tuple[PastLease, ...]:
    """
    Return the leases that ended after a time, the newest first.

    :param waits: seconds by token, as far as they are known.
    """
    return tuple(_past(lease, waits) for lease in reversed(record.history) if lease.ended_at >= since)


def _past(lease: EndedLease, waits: Mapping[int, float]) -> PastLease:
    return PastLease(
        token=lease.token,
        owner=lease.owner,
        resource_id=lease.resource_id,
        acquired_at=lease.acquired_at,
        ended_at=lease.ended_at,
        why=lease.why,
        waited=waits.get(lease.token),
    )


def usage_of(record: Record, *, since: float, now: float) -> Usage:
    """Return how an address was used since a time; from its first known lease on, when that was later."""
    spans = [(lease.acquired_at, lease.ended_at) for lease in record.history]
    if record.lease is not None:
        spans.append((record.lease.acquired_at, now))
    if not spans:
        return Usage(None, None)
    begin = max(since, min(start for start, _ in spans))
    if now <= begin:
        return Usage(begin, None)
    busy, reached = 0.0, begin
    for start, end in sorted(spans):
        first, last = max(start, reached), min(end, now)
        if last > first:
            busy += last - first
            reached = last
    return Usage(begin, 1 - busy / (now - begin))


def is_cut(record: Record) -> bool:
    """Whether older leases may have left the record, which keeps the newest of them only."""
    return len(record.history) >= LIMITS.history
