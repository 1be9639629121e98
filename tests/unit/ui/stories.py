"""Records and snapshots of the page's tests: three addresses, a queue of five, hundreds of leases that have ended."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.addresses import Address
from airflow_eip_provider.lease.owners import attempt_for
from airflow_eip_provider.lease.record import TAKEN_OVER, EndedLease, Entry, Lease, Phase, Record
from airflow_eip_provider.ui.names import TaskName, Viewer, task_of
from airflow_eip_provider.ui.snapshot import Reading, Snapshot

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW = 1_795_903_200.0  # 2026-11-28 22:00:00Z
HOUR = 3600.0
ALLOCATION = "eipalloc-0123456789abcdef0"
SECOND = "eipalloc-0123456789abcdef1"
THIRD = "eipalloc-0123456789abcdef2"
EVERYONE = Viewer("prod", lambda dag_id: True)
NOBODY = Viewer("prod", lambda dag_id: False)


def owner(dag: str, run: int = 0, environment: str = "prod") -> str:
    day = datetime(2026, 11, 28, 3, tzinfo=UTC) - timedelta(hours=run % 700)
    return f"{environment}/{dag}/scheduled__{day.isoformat()}/azure.create/-1"


def ended(token: int, *, hours_ago: float, hours: float = 1.0, why: str = "terminated", name: str = "") -> EndedLease:
    begin = NOW - hours_ago * HOUR
    return EndedLease(token, name or owner("daily", token), f"j-{token:013d}", begin, begin + hours * HOUR, why)


def entry(token: int, *, minutes: float, name: str = "", passed: int = 0, early: bool = False) -> Entry:
    attempt = attempt_for(name or owner(f"waits_{token}", token), try_number=1, nonce="n")
    arrived = NOW - minutes * 60
    made = Entry(token, attempt, arrived, "cluster", 600.0, passed=passed)
    return replace(made, prewarmed_at=arrived + 60, resource_id="j-EARLY0000001") if early else made


def lease(token: int, *, minutes: float = 30, phase: Phase = Phase.ACTIVE, name: str = "") -> Lease:
    at = NOW - minutes * 60
    attempt = attempt_for(name or owner("holder", token), try_number=1, nonce="n")
    return Lease(token, attempt, phase, at, at, at + 600, "cluster", resource_id="j-HOLDER000001")


def history(count: int) -> tuple[EndedLease, ...]:
    """So many leases, the newest two hours ago, one in ten of them taken over."""
    return tuple(
        ended(
            token,
            hours_ago=2 + (count - token) * 1.4,
            hours=0.4 + token % 7 / 10,
            why=f"{TAKEN_OVER}: j-{token:013d} has ended" if token % 10 == 0 else "terminated",
            name=owner(f"daily_{token % 4}", token),
        )
        for token in range(1, count + 1)
    )


BUSY = Record(
    issued=600,
    lease=lease(501),
    queue=(
        entry(502, minutes=24, early=True),
        entry(503, minutes=19, passed=1),
        entry(504, minutes=12, name=owner("other_team", 4, "staging")),
        entry(505, minutes=6),
        entry(506, minutes=0.5),
    ),
    history=history(500),
    grace=120.0,
)
FREE = Record(issued=8, free_since=NOW - 5 * HOUR, history=history(8), grace=120.0)


def reading(record: Record | None, allocation_id: str = ALLOCATION, **values: object) -> Reading:
    waits: Mapping[int, float] = values.pop("waits", {})  # type: ignore[assignment]
    given = {"is_written": record is not None, "address": address(allocation_id), "waits": waits, **values}
    return Reading(allocation_id, NOW, record=record, **given)  # type: ignore[arg-type]


def address(allocation_id: str = ALLOCATION, *, on: str | None = None) -> Address:
    last = int(allocation_id[-1], 16) + 7
    return Address(
        allocation_id, f"203.0.113.{last}", "vpc", instance_id=on, association_id="eipassoc-1" if on else None
    )


def snapshot(
    *readings: Reading, problems: tuple[str, ...] = (), lock_store: str | None = "dynamodb://leases"
) -> Snapshot:
    return Snapshot(readings, problems, lock_store, "eu-west-1", NOW, 5.0)


def task(name: str) -> TaskName:
    found = task_of(name)
    assert found is not None
    return found
