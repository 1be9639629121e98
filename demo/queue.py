"""What the lock's record said, whenever it said something new: who has the address, and who waits in which place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lock.model import LIMITS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

TABLE = "airflow-eip-leases"
_DATE_SECONDS = 1.0  # the store's clock is the Date header, in whole seconds


@dataclass(frozen=True, kw_only=True)
class Standing:
    """
    One state of the record.

    :param holder: the DAG that has the lease; empty when it is free.
    :param phase: "taken", "held" or "closing".
    :param queue: the DAGs that wait, the next one first.
    :param ended: the tokens of the tenancies that have ended.
    """

    time: datetime
    holder: str
    token: int
    phase: str
    carrier: str
    queue: tuple[str, ...]
    ended: tuple[int, ...]
    suspects: int = 0

    @property
    def lease(self) -> str:
        """The lease in words."""
        if not self.holder:
            return "free"
        on = f" on {self.carrier}" if self.carrier else ""
        return f"{self.holder} (token {self.token}, {self.phase}{on})"

    @property
    def places(self) -> str:
        """The queue in words."""
        return ", ".join(f"{place}. {dag_id}" for place, dag_id in enumerate(self.queue, 1)) or "-"


def read(record: dict[str, Any], *, time: datetime) -> Standing:
    """Return what a record says."""
    lease = record["lease"] or {}
    return Standing(
        time=time,
        holder=_dag_of(lease["speaker"]) if lease else "",
        token=lease.get("token", 0),
        phase=lease.get("phase", ""),
        carrier=lease.get("carrier") or "",
        queue=tuple(_dag_of(entry["speaker"]) for entry in record["queue"]),
        ended=tuple(tenancy["token"] for tenancy in record["history"]),
        suspects=len(record["suspects"]),
    )


def _dag_of(speaker: dict[str, Any]) -> str:
    return str(speaker["name"].split("/")[1])


def standings(events: Sequence[dict[str, Any]], *, at: Any) -> list[Standing]:
    """
    Return every state that was ever written to the table, from the bodies of the calls that wrote it.

    :param at: reads an event's time.
    """
    found = []
    for event in events:
        if event["kind"] != "call" or event["operation"] != "PutItem" or event.get("error_code"):
            continue
        if event["request"].get("TableName") == TABLE:
            found.append(read(json.loads(event["request"]["Item"]["record"]["S"]), time=at(event)))
    return found


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """
    A DAG that somebody behind it in the queue was faster than.

    :param after_seconds: for how long the address had been free.
    :param place: from 0, of who was faster: it may take the address after as many graces.
    """

    dag_id: str
    by: str
    place: int
    after_seconds: float

    @property
    def is_lawful(self) -> bool:
        """Whether it had the time that the lock gives: an owner that does not come may be dead."""
        return self.after_seconds >= self.place * LIMITS.grace - _DATE_SECONDS


def passed_over(states: Sequence[Standing]) -> list[PassedOver]:
    """Return who lost a place in the queue to somebody behind."""
    found: list[PassedOver] = []
    freed = None
    for before, after in pairwise(states):
        if before.holder and not after.holder:
            freed = after.time
        if before.holder or after.holder not in before.queue[1:] or freed is None:
            continue
        place, seconds = before.queue.index(after.holder), (after.time - freed).total_seconds()
        found += [
            PassedOver(dag_id=slow, by=after.holder, place=place, after_seconds=seconds)
            for slow in before.queue[:place]
        ]
    return found


def rows(found: Sequence[Standing], *, start: datetime, clock: Any) -> list[tuple[str, ...]]:
    """Return a row for each state."""
    return [(clock((s.time - start).total_seconds()), s.lease, s.places) for s in found]
