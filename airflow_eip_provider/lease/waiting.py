"""Counts the waiting owners of several addresses; an owner that waits for a pool is in each of its queues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lease.record import Record


@dataclass(slots=True)
class WaitingOwner:
    """
    An owner that waits for one or more addresses.

    :param name: the owner in readable form.
    :param since: when it joined the first of the queues.
    :param places: from 1, by allocation ID.
    """

    name: str
    since: float
    places: dict[str, int] = field(default_factory=dict)


def waiting_owners(records: Mapping[str, Record]) -> dict[str, WaitingOwner]:
    """
    Return the waiting owners, each once, by their digests; the one that has waited longest comes first.

    :param records: by allocation ID; queues of other addresses are not counted.
    """
    owners: dict[str, WaitingOwner] = {}
    for allocation_id, record in records.items():
        for place, entry in enumerate(record.queue, 1):
            owner = owners.setdefault(entry.attempt.owner, WaitingOwner(entry.attempt.name, entry.arrived_at))
            owner.since = min(owner.since, entry.arrived_at)
            owner.places[allocation_id] = place
    return dict(sorted(owners.items(), key=lambda item: item[1].since))
