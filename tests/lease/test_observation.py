"""What a free lease is judged by: where the address is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_eip_provider.lease.observation import Action, Arrival, Sight, judge
from airflow_eip_provider.lease.record import Entry, Record, Speaker
from airflow_eip_provider.lease.store import Seen
from airflow_eip_provider.lease.world import Mark, Place

ARRIVAL = Arrival(Speaker("A", "A", 1, "A1"), "daily", handover_seconds=60)
MARK = Mark(7, "B")


@pytest.mark.parametrize(
    ("place", "action"),
    [
        (Place(), Action.TAKE),
        (Place("eipassoc-1", ("i-1", "j-1"), live=True, mark=MARK), Action.QUEUE),
        (Place("eipassoc-1", ("i-1", "j-1"), mark=MARK), Action.QUEUE),
        (Place("nat-1", ("j-1",), live=True, mark=MARK), Action.QUEUE),
        (Place("nat-1", ("j-1",), mark=MARK, left=True), Action.TAKE),
    ],
    ids=["nowhere", "instance", "ended instance", "gateway", "gateway left behind"],
)
def test_an_address_is_taken_where_nothing_has_it_or_where_only_the_next_holder_takes_it_off(place, action):
    assert judge(Sight(Seen(Record(), None, 0.0), place=place), ARRIVAL) is action


OWN = replace(ARRIVAL, cluster_name="", wants="j-1")
HELD_BY_ITS_OWN = Place("eipassoc-1", ("i-1", "j-1"), live=True)
QUEUED = Record(issued=1, queue=(Entry(1, Speaker("B", "B", 1, "B1"), 0.0, "weekly", 60.0),))


@pytest.mark.parametrize(
    ("record", "arrival", "action"),
    [
        (Record(), OWN, Action.TAKE),
        (Record(), replace(OWN, wants="j-2"), Action.QUEUE),
        (Record(), ARRIVAL, Action.QUEUE),
        (QUEUED, OWN, Action.QUEUE),
    ],
    ids=["its own", "another's", "a launch", "others queue"],
)
def test_what_has_the_address_already_takes_the_lease_in_its_turn(record, arrival, action):
    assert judge(Sight(Seen(record, None, 0.0), place=HELD_BY_ITS_OWN), arrival) is action
