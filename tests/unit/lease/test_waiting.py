"""An owner that waits for any one of several addresses is in several queues, and counts once."""

from __future__ import annotations

from airflow_eip_provider.lease.owners import attempt_for
from airflow_eip_provider.lease.record import Entry, Record
from airflow_eip_provider.lease.waiting import waiting_owners


def entry(token: int, name: str, *, arrived_at: float, nonce: str = "n") -> Entry:
    return Entry(token, attempt_for(name, try_number=1, nonce=nonce), arrived_at, "cluster", 600.0)


def test_an_owner_counts_once_with_its_place_in_each_queue():
    owners = waiting_owners(
        {
            "a": Record(issued=9, queue=(entry(3, "single", arrived_at=5.0), entry(4, "pool", arrived_at=30.0))),
            "b": Record(issued=9, queue=(entry(7, "pool", arrived_at=20.0, nonce="a later try"),)),
            "c": Record(issued=2),
        }
    )
    assert [(owner.name, owner.since, owner.places) for owner in owners.values()] == [
        ("single", 5.0, {"a": 1}),
        ("pool", 20.0, {"a": 2, "b": 1}),
    ]


def test_nobody_waits():
    assert waiting_owners({}) == {}
