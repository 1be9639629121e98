"""The lease data in a deferral: small, regardless of the length of the queue."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_eip_provider.lease.record import Attempt, Entry, Record
from airflow_eip_provider.stores.uri import open_store

WAITING = 300


@pytest.fixture
def crowd(lock_store, allocation_id, boto):
    """Put many other owners into the queue."""

    def join() -> None:
        kind = lock_store.split(":", maxsplit=1)[0]
        client = boto(kind)
        store = open_store(lock_store, lambda *_: client)
        seen = store.read(allocation_id)
        others = (Attempt(f"{n:032}", f"testing/dag-{n}/run-1/create/-1", 1, f"{n:016}") for n in range(WAITING))
        queue = tuple(
            Entry(n, other, seen.now, "daily", 600.0) for n, other in enumerate(others, seen.record.issued + 1)
        )
        record = Record(**{**fields(seen.record), "queue": queue, "issued": seen.record.issued + WAITING})
        store.write(allocation_id, record, expected_version=seen.version)

    return join


def fields(record: Record) -> dict[str, Any]:
    return {
        name: getattr(record, name)
        for name in ("issued", "lease", "free_since", "possible_orphans", "history", "grace")
    }


def size_of(deferral: Any) -> int:
    _, kwargs = deferral.trigger.serialize()
    assert "dag-7" not in json.dumps(kwargs)
    return len(json.dumps(kwargs["hint"])) + len(json.dumps(kwargs["undo"]))


def test_a_deferral_carries_less_than_a_kilobyte_however_many_wait(leased, queue, crowd):
    holder, waits = leased("holder"), leased("waits")
    holder.start()
    crowd()
    waits.start()
    assert waits.deferral is not None
    assert size_of(waits.deferral) < 1000
    sizes = []
    while not holder.ended:
        sizes.append(size_of(holder.deferral))
        queue.tick(holder)
    assert sizes
    assert max(sizes) < 1000
    assert holder.error is None


# What version 0.1.0 put into its deferrals: the record as it was when the lease was taken.
OLD_SEEN = {
    "record": {
        "schema": 1,
        "issued": 1,
        "lease": {
            "token": 1,
            "speaker": {"owner": "0" * 32, "name": "testing/holder/run-1/create/-1", "try_number": 1, "nonce": "n"},
            "phase": "taken",
            "taken_at": 1.0,
            "written_at": 1.0,
            "handover_by": 9.0,
            "cluster_name": "daily",
            "carrier": None,
            "doubtful": False,
            "doomed": False,
        },
        "free_since": 0.0,
        "queue": [],
        "suspects": [],
        "history": [],
    },
    "version": "4f5e",
    "now": 1.0,
}


def test_a_deferral_of_the_previous_version_is_taken_up(leased, queue, record):
    holder = leased("holder")
    holder.start()
    assert holder.deferral is not None
    holder.deferral.trigger.hint["seen"] = OLD_SEEN
    queue.until(lambda: holder.ended, holder)
    assert holder.error is None
    assert record().lease.resource_id == holder.result


def test_a_handover_does_not_depend_on_what_was_seen_when_the_lease_was_taken(leased, queue, crowd, record):
    holder = leased("holder")
    holder.start()
    crowd()
    queue.until(lambda: holder.ended, holder)
    assert holder.error is None
    assert len(record().queue) == WAITING
