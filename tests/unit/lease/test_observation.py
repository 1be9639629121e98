"""What a free lease is judged by: where the address is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_eip_provider.lease.observation import Action, LeaseRequest, Observation, decide
from airflow_eip_provider.lease.record import Attempt, Entry, Record
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease.world import AddressLocation, LeaseTags

LEASE_REQUEST = LeaseRequest(Attempt("A", "A", 1, "A1"), "daily", handover_seconds=60)
LEASE_TAGS = LeaseTags(7, "B")


@pytest.mark.parametrize(
    ("location", "action"),
    [
        (AddressLocation(), Action.ACQUIRE),
        (AddressLocation("eipassoc-1", ("i-1", "j-1"), live=True, lease_tags=LEASE_TAGS), Action.QUEUE),
        (AddressLocation("eipassoc-1", ("i-1", "j-1"), lease_tags=LEASE_TAGS), Action.QUEUE),
        (AddressLocation("nat-1", ("j-1",), live=True, lease_tags=LEASE_TAGS), Action.QUEUE),
        (AddressLocation("nat-1", ("j-1",), lease_tags=LEASE_TAGS, left=True), Action.ACQUIRE),
    ],
    ids=["nowhere", "instance", "ended instance", "gateway", "gateway left behind"],
)
def test_an_address_is_taken_where_nothing_has_it_or_where_only_the_next_holder_takes_it_off(location, action):
    assert decide(Observation(Snapshot(Record(), None, 0.0), location=location), LEASE_REQUEST) is action


OWN = replace(LEASE_REQUEST, cluster_name="", wants="j-1")
HELD_BY_ITS_OWN = AddressLocation("eipassoc-1", ("i-1", "j-1"), live=True)
QUEUED = Record(issued=1, queue=(Entry(1, Attempt("B", "B", 1, "B1"), 0.0, "weekly", 60.0),))


@pytest.mark.parametrize(
    ("record", "lease_request", "action"),
    [
        (Record(), OWN, Action.ACQUIRE),
        (Record(), replace(OWN, wants="j-2"), Action.QUEUE),
        (Record(), LEASE_REQUEST, Action.QUEUE),
        (QUEUED, OWN, Action.QUEUE),
    ],
    ids=["its own", "another's", "a launch", "others queue"],
)
def test_what_has_the_address_already_takes_the_lease_in_its_turn(record, lease_request, action):
    assert decide(Observation(Snapshot(record, None, 0.0), location=HELD_BY_ITS_OWN), lease_request) is action
