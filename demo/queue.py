"""The versions of the lock's record: the holder of the address and the queue after each write."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.judge import calls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

TABLE = "airflow-eip-leases"


@dataclass(frozen=True, kw_only=True)
class Standing:
    """
    One version of the record.

    :param holder: the DAG that has the lease; empty if it is free.
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
        """The lease, for printing."""
        if not self.holder:
            return "free"
        on = f" on {self.resource_id}" if self.resource_id else ""
        return f"{self.holder} (token {self.token}, {self.phase}{on})"

    @property
    def places(self) -> str:
        """The queue, for printing."""
        return ", ".join(f"{place}. {dag_id}" for place, dag_id in enumerate(self.queue, 1)) or "-"


def read(record: dict[str, Any], *, time: datetime) -> Standing:
    """Read a stored record."""
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
    Return every version that was written to the table, from the requests that wrote it.

    :param at: returns an event's time.
    :param allocation_id: of the record's address; needed if there are several.
    """
    items = [
        (at(call), call["request"]["Item"])
        for call in calls(events, "PutItem")
        if not call.get("error_code") and call["request"].get("TableName") == TABLE
    ]
    return [
        read(json.loads(item["record"]["S"]), time=time)
        for time, item in items
        if allocation_id in item["address"]["S"]
    ]


def rows(found: Sequence[Standing], *, start: datetime, clock: Any) -> list[tuple[str, ...]]:
    """Return a row for each version."""
    return [(clock((s.time - start).total_seconds()), s.lease, s.places) for s in found]
