"""Size of the record of a long queue, and the time that a triggerer takes to judge all its waits."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from dataclasses import asdict
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.codec import encode
from airflow_eip_provider.lease.observation import Observation
from airflow_eip_provider.lease.record import Attempt, Entry, Lease, Phase, Record
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease.world import Resource
from airflow_eip_provider.stores.records import to_text
from airflow_eip_provider.triggers.lock import EipLeaseTrigger

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000.0


def attempt_of(number: int) -> Attempt:
    """Return an attempt of a daily DAG, with a digest and a nonce that are as long and as random as real ones."""
    day = f"2026-{number % 12 + 1:02}-{number % 28 + 1:02}T{number % 24:02}:00:00+00:00"
    name = f"production/azure_sql_daily_{number}/scheduled__{day}/azure_sql.create_cluster/-1"
    digest = hashlib.sha256(name.encode()).hexdigest()
    return Attempt(digest[:32], name, 1, digest[32:48])


def record_of(waiting: int) -> Record:
    """Return a record with a holder and this number of owners in its queue."""
    holder = Lease(1, attempt_of(0), Phase.ACTIVE, NOW, NOW, NOW + 3600, "azure-sql-daily", resource_id="j-1")
    queue = tuple(
        Entry(number + 1, attempt_of(number), NOW + number, "azure-sql-daily", 5400.0)
        for number in range(1, waiting + 1)
    )
    return Record(issued=waiting + 1, lease=holder, queue=queue, grace=120.0)


def judging_seconds(waiting: int) -> float:
    """Return the CPU time in which all waits of one triggerer judge one observation."""
    logging.disable(logging.INFO)
    waits = [_wait(number) for number in range(1, waiting + 1)]
    observation = Observation(Snapshot(record_of(waiting), "v", NOW), resources=(Resource("j-1", "live"),))
    started = time.process_time()
    for wait in waits:
        wait.judge_observation(observation)
    taken = time.process_time() - started
    logging.disable(logging.NOTSET)
    return taken


def _wait(number: int) -> EipLeaseTrigger:
    return EipLeaseTrigger(
        allocation_id="eipalloc-1",
        lock_store="dynamodb://leases",
        speaker=asdict(attempt_of(number)),
        cluster_name="azure-sql-daily",
        handover_seconds=5400.0,
        waiter_delay=15,
        deadline=NOW + 3600,
        hint={"try_number": 1, "lock_deadline": NOW + 3600, "nonce": "n", "token": None, "waiting_for": "lease"},
        aws_conn_id=None,
    )


def rows() -> Iterator[tuple[str, ...]]:
    """Yield a table row for each length of the queue."""
    for waiting in (10, 100, 1000, 4000):
        record = record_of(waiting)
        _, kwargs = _wait(1).serialize()
        yield (
            f"{waiting:,}",
            f"{len(json.dumps(encode(record))):,}",
            f"{len(to_text(record)):,}",
            f"{len(json.dumps(kwargs)):,}",
            f"{min(judging_seconds(waiting) for _ in range(3)) * 1000:.0f} ms",
        )


HEADER = ("queued", "record as JSON", "as stored", "a wait's kwargs", "judging them all")
