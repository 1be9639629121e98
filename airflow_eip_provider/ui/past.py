"""Ended leases as the record keeps them, how a viewer sees them, and the usage of an address in a period."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import LIMITS, TAKEN_OVER, UNDONE, EndedLease
from airflow_eip_provider.ui.clusters import cluster_view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.ui.clusters import ClusterView
    from airflow_eip_provider.ui.names import OwnerView, Viewer

# The reasons that the provider writes; a part after a colon names clusters.
_REASONS = frozenset({TAKEN_OVER, UNDONE, "terminated", "released early", "released by hand", "reaped"})


@dataclass(frozen=True, slots=True)
class PastLease(EndedLease):
    """
    A lease that has ended.

    :param waited: seconds from the start of its task to the lease; ``None`` when Airflow does not know.
    """

    waited: float | None = None

    @property
    def seconds(self) -> float:
        """How long it lasted."""
        return max(0.0, self.ended_at - self.acquired_at)

    @property
    def as_planned(self) -> bool:
        """Whether it was released: neither taken over by the next owner nor undone."""
        return not self.why.startswith((TAKEN_OVER, UNDONE))

    @property
    def reason(self) -> str:
        """Why it ended, without the names of owners and clusters."""
        first = self.why.split(":")[0].strip()
        return first if first in _REASONS else "ended"


@dataclass(frozen=True, slots=True)
class PastView:
    """A lease that has ended, as a viewer sees it."""

    lease: PastLease
    owner: OwnerView
    cluster: ClusterView | None
    why: str


@dataclass(frozen=True, slots=True)
class Usage:
    """
    How an address was used in a period.

    :param since: from when on the record knows; later than the start of the period when it does not reach that far.
    :param idle_share: the share of that time without a lease; ``None`` when nothing is known.
    """

    since: float | None
    idle_share: float | None


def past_leases(record: Record, *, since: float, waits: Mapping[int, float]) -> tuple[PastLease, ...]:
    """
    Return the leases that ended after a time, the newest first.

    :param waits: the known waits in seconds, by token.
    """
    ended = [lease for lease in reversed(record.history) if lease.ended_at >= since]
    return tuple(PastLease(**asdict(lease), waited=waits.get(lease.token)) for lease in ended)


def past_view(lease: PastLease, viewer: Viewer, region: str | None) -> PastView:
    """Return an ended lease as a viewer sees it; when its owner is hidden, so are names in the reason."""
    owner = viewer.view_owner(lease.owner)
    why = lease.reason if owner.hidden else lease.why
    return PastView(lease=lease, owner=owner, cluster=cluster_view(lease.resource_id, region), why=why)


def usage_of(record: Record, *, since: float, now: float) -> Usage:
    """Return how an address was used since a time, or since its first known lease when that is later."""
    spans = [(lease.acquired_at, lease.ended_at) for lease in record.history]
    if record.lease is not None:
        spans.append((record.lease.acquired_at, now))
    if not spans:
        return Usage(None, None)
    begin = max(since, min(start for start, _ in spans))
    if now <= begin:
        return Usage(begin, None)
    busy, counted_until = 0.0, begin
    for start, end in sorted(spans):
        first, last = max(start, counted_until), min(end, now)
        if last > first:
            busy += last - first
            counted_until = last
    return Usage(begin, 1 - busy / (now - begin))


def is_cut(record: Record) -> bool:
    """Whether older leases may have been dropped from the record, which keeps only the newest."""
    return len(record.history) >= LIMITS.history
