"""Who waits, in the queues of several addresses: an owner that waits for any one of a pool is in each of its queues."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lease.record import Record


@dataclass(slots=True)
class WaitingOwner:
    """
    An owner that waits, however many addresses it waits for.

    :param name: the owner in readable form.
    :param since: when it joined the first of the queues.
    :param places: from 1, by allocation ID.
    """

    name: str
    since: float
    places: dict[str, int] = field(default_factory=dict)


def waiting_owners(records: Mapping[str, Record]) -> dict[str, WaitingOwner]:
    """
    Return the owners that wait, each once, by their digests; who has waited longest comes first.

    :param records: by allocation ID. Queues of other addresses are not known.
    """
    found: dict[str, WaitingOwner] = {}
    for allocation_id, record in records.items():
        for place, entry in enumerate(record.queue, 1):
            one = found.setdefault(entry.attempt.owner, WaitingOwner(entry.attempt.name, entry.arrived_at))
            one.since = min(one.since, entry.arrived_at)
            one.places[allocation_id] = place
    return dict(sorted(found.items(), key=lambda item: item[1].since))
