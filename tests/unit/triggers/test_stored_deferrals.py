"""Deferrals of an earlier version can be resumed, from the stored class paths and parameters of their triggers."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from airflow_eip_provider.lease.observation import Observation
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease.world import AddressLocation
from airflow_eip_provider.triggers import undo

STORED: list[Any] = json.loads(Path(__file__).with_name("stored_deferrals.json").read_text())


def built(stored: Any) -> Any:
    module, _, name = stored[0].rpartition(".")
    return getattr(import_module(module), name)(**stored[1])


def name_of(stored: Any) -> str:
    return str(stored[0]).rpartition(".")[2]


@pytest.mark.parametrize("stored", STORED, ids=name_of)
def test_a_stored_trigger_is_rebuilt_and_serialized_unchanged(stored):
    assert json.loads(json.dumps(built(stored).serialize())) == stored


def test_a_stored_wait_in_the_queue_continues():
    free = Observation(Snapshot(Record(), None, 1_800_000_000.0), location=AddressLocation())
    verdict = built(STORED[0]).judge_observation(free)
    assert verdict.status == "done"
    assert verdict.data["action"] == "take"
    assert verdict.data["queue"].keys() == {"place", "waiting", "holder"}


@pytest.mark.parametrize("stored", [stored for stored in STORED if stored[1]["undo"]], ids=name_of)
def test_the_undo_of_a_stored_trigger_is_read(stored):
    kind, what = stored[1]["undo"]
    known = undo.from_stored(kind, what)
    assert known.resource_id == what.get("launched", what.get("job_flow_id"))
    again = undo.as_stored(known, allocation_id="eipalloc-1", lock_store=what.get("lock_store"))
    assert again is not None
    assert (again[0], {**again[1], **what}) == (kind, again[1])
