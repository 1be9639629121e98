"""The lock in words, for logs and the UI."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.record import Phase

if TYPE_CHECKING:
    from airflow_eip_provider.lease.observation import Sight

_DOING = {Phase.TAKEN: "which is starting", Phase.HELD: "", Phase.CLOSING: "which is ending"}


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """
    Where a waiting owner stands.

    :param place: from 1; ``None`` when it is not in the queue.
    :param holder: the owner that has the address, in words.
    """

    place: int | None
    waiting: int
    holder: str

    def __str__(self) -> str:
        where = f"place {self.place} of {self.waiting} in the queue" if self.place else f"{self.waiting} in the queue"
        return f"{where}; {self.holder}"

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        return {"place": self.place, "waiting": self.waiting, "holder": self.holder}


def utc(seconds: float) -> str:
    """Return a time of the record as people write it."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def standing_of(sight: Sight, owner: str) -> QueuePlace:
    """
    Say where an owner stands, and who has the address.

    :param owner: the owner's digest.
    """
    record = sight.seen.record
    place = record.place(owner)
    return QueuePlace(None if place is None else place + 1, len(record.queue), holder_of(sight))


def holder_of(sight: Sight) -> str:
    """Say who has the address, on what, since when."""
    lease = sight.seen.record.lease
    if lease is None:
        if sight.place is not None and not sight.place.is_free:
            return f"nobody has the lease, but the address is on {' / '.join(reversed(sight.place.carriers))}"
        return "nobody has the lease"
    on = f" on {lease.carrier}" if lease.carrier else ""
    doing = f", {_DOING[lease.phase]}" if _DOING[lease.phase] else ""
    return f"held by '{lease.speaker.name}'{on} since {utc(lease.taken_at)}{doing}"
