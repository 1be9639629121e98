"""Descriptions of a lease for logs and the UI."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.record import Phase

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lease.observation import Observation

_ACTIVITIES = {
    Phase.ACQUIRED: "; its cluster is starting",
    Phase.ACTIVE: "",
    Phase.RELEASING: "; its release has begun",
}


@dataclass(frozen=True, slots=True)
class QueuePlace:
    """
    The place of a waiting owner in the queue.

    :param place: from 1; ``None`` when it is not in the queue.
    :param holder: a description of the owner that has the address.
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
    """Return a time of the record in readable form."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")


def queue_place_of(observation: Observation, owner: str) -> QueuePlace:
    """
    Return an owner's place in the queue, and the owner that has the address.

    :param owner: the owner's digest.
    """
    record = observation.snapshot.record
    place = record.place(owner)
    return QueuePlace(None if place is None else place + 1, len(record.queue), holder_of(observation))


@dataclass(frozen=True, slots=True)
class PoolPlace:
    """
    The places of a waiting owner in the queues of several addresses.

    :param places: by allocation ID.
    """

    places: Mapping[str, QueuePlace]

    def __str__(self) -> str:
        return "; ".join(f"{allocation_id}: {place}" for allocation_id, place in self.places.items())

    def facts(self) -> dict[str, Any]:
        """Return the best place as plain JSON, and all places by allocation ID in ``addresses``."""
        best = min(self.places.values(), key=lambda place: (place.place or place.waiting + 1, place.waiting))
        holders = "; ".join(f"{allocation_id} {place.holder}" for allocation_id, place in self.places.items())
        addresses = {allocation_id: place.facts() for allocation_id, place in self.places.items()}
        return {**best.facts(), "holder": holders, "addresses": addresses}


def pool_place_of(observations: Mapping[str, Observation], owner: str) -> PoolPlace:
    """
    Return an owner's places in the queues of several addresses.

    :param observations: by allocation ID.
    :param owner: the owner's digest.
    """
    return PoolPlace({name: queue_place_of(observation, owner) for name, observation in observations.items()})


def holder_of(observation: Observation) -> str:
    """Describe who has the address, on which resource, and since when."""
    lease = observation.snapshot.record.lease
    if lease is None:
        if observation.location is not None and not observation.location.is_free:
            resource = " / ".join(reversed(observation.location.resource_ids))
            return f"held by no owner, but the address is on {resource}"
        return "held by no owner"
    on = f" on {lease.resource_id}" if lease.resource_id else ""
    return f"held by '{lease.attempt.name}'{on} since {utc(lease.acquired_at)}{_ACTIVITIES[lease.phase]}"
