"""What the lock's record said, whenever it said something new: who has the address, and who waits in which place."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

TABLE = "airflow-eip-leases"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """
    One state of the record.

    :param holder: the DAG that has the lease; empty when it is free.
    :param phase: "taken", "held" or "closing".
    :param queue: the DAGs that wait, the next one first.
    :param ended: the tokens of the lease periods that have ended.
    """

    time: datetime
    holder: str
    token: int
    phase: str
    resource_id: str
    queue: tuple[str, ...]
    ended: tuple[int, ...]
    possible_orphans: int = 0

    @property
    def lease(self) -> str:
        """The lease in words."""
        if not self.holder:
            return "free"
        on = f" on {self.resource_id}" if self.resource_id else ""
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
        resource_id=lease.get("carrier") or "",
        queue=tuple(_dag_of(entry["speaker"]) for entry in record["queue"]),
        ended=tuple(session["token"] for session in record["history"]),
        possible_orphans=len(record["suspects"]),
    )


def _dag_of(attempt: dict[str, Any]) -> str:
    return str(attempt["name"].split("/")[1])


def standings(events: Sequence[dict[str, Any]], *, at: Any, allocation_id: str = "") -> list[Standing]:
    """
    Return every state that was ever written to the table, from the bodies of the calls that wrote it.

    :param at: reads an event's time.
    :param allocation_id: of the address whose record it is; needed when there are several.
    """
    found = []
    for event in events:
        if event["kind"] != "call" or event["operation"] != "PutItem" or event.get("error_code"):
            continue
        if event["request"].get("TableName") != TABLE:
            continue
        item = event["request"]["Item"]
        if allocation_id in item["address"]["S"]:
            found.append(read(json.loads(item["record"]["S"]), time=at(event)))
    return found


def rows(found: Sequence[Standing], *, start: datetime, clock: Any) -> list[tuple[str, ...]]:
    """Return a row for each state."""
    return [(clock((s.time - start).total_seconds()), s.lease, s.places) for s in found]
