"""What is written is read again, and whatever else is there is an error."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given

from airflow_eip_provider.exceptions import CorruptRecordError, LockStoreError, NewerRecordError
from airflow_eip_provider.lease.codec import SCHEMA, decode, encode
from airflow_eip_provider.lease.observation import clusters_of
from airflow_eip_provider.lease.record import FIRST_GRACE, Attempt, Limits, Record
from airflow_eip_provider.lease.transitions import Acquire, Prewarm, Queue, Reenter, Release, step
from tests.unit.lease.records import FULL, records
from tests.verification.model.replay import Replay, run

if TYPE_CHECKING:
    from collections.abc import Iterator

WHERE = "dynamodb://locks address=eipalloc-1"
Path = tuple[str | int, ...]


def plain() -> dict[str, Any]:
    return json.loads(json.dumps(encode(FULL)))


def paths(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the way to every value within a JSON value."""
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield (*path, name)
        yield from paths(child, (*path, name))


def spoilt(path: Path, value: Any) -> dict[str, Any]:
    there = plain()
    inner = there
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return there


ADDED = ("grace", "passed", "moved_from")
ALL_PATHS = [path for path in paths(plain()) if path != ("schema",)]
OBJECTS = [path for path in ALL_PATHS if path[-1] in {"lease", "speaker", 0}]
TIMES = ["taken_at", "written_at", "handover_by", "arrived_at", "ended_at", "until", "free_since"]


def show(path: Path) -> str:
    return ".".join(map(str, path)) or "record"


@given(records)
def test_every_record_survives_the_way_through_json(record):
    record = replace(record, grace=record.grace + (record.grace == FIRST_GRACE))
    assert decode(json.loads(json.dumps(encode(record))), where=WHERE) == record


@given(records)
def test_what_is_read_of_a_record_with_the_grace_of_the_previous_version_is_written_back_as_it_was(record):
    stored = encode(replace(record, grace=FIRST_GRACE))
    assert encode(decode(json.loads(json.dumps(stored)), where=WHERE)) == stored


@pytest.mark.parametrize("path", ALL_PATHS, ids=show)
@pytest.mark.parametrize("value", [{}, ["x"], 1j], ids=["an object", "a list", "a thing of no kind"])
def test_a_value_of_another_type_is_an_error(path, value):
    with pytest.raises(CorruptRecordError, match=WHERE):
        decode(spoilt(path, value), where=WHERE)


@pytest.mark.parametrize("path", [(), *OBJECTS], ids=show)
def test_a_missing_and_an_unknown_field_are_errors(path):
    there = plain()
    inner = there
    for name in path:
        inner = inner[name]
    for field in [name for name in inner if name not in {"schema", *ADDED}]:
        whole = copy.deepcopy(inner)
        del inner[field]
        with pytest.raises(CorruptRecordError, match=field):
            decode(there, where=WHERE)
        inner.update(whole)
    inner["colour"] = "red"
    with pytest.raises(CorruptRecordError, match="colour"):
        decode(there, where=WHERE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("lease", "token"), "2"),
        (("lease", "token"), True),
        (("lease", "token"), 2.0),
        (("lease", "phase"), "lost"),
        (("lease", "doubtful"), 1),
        (("lease", "taken_at"), float("nan")),
        (("lease", "taken_at"), float("inf")),
        (("lease", "taken_at"), 10**400),
        (("issued",), None),
        (("queue",), None),
        (("queue",), "ab"),
    ],
)
def test_a_value_that_looks_nearly_right_is_an_error(path, value):
    with pytest.raises(CorruptRecordError):
        decode(spoilt(path, value), where=WHERE)


@pytest.mark.parametrize("path", [path for path in ALL_PATHS if path[-1] in TIMES], ids=show)
def test_a_time_of_whole_seconds_is_a_time(path):
    assert isinstance(decode(spoilt(path, 7), where=WHERE), Record)


def test_a_newer_record_is_distinguished_from_a_corrupt_one():
    with pytest.raises(NewerRecordError, match=f"schema {SCHEMA + 1}.*reads schemas up to {SCHEMA}.*upgrade"):
        decode({"schema": SCHEMA + 1, "anything": "else"}, where=WHERE)


@pytest.mark.parametrize("schema", [None, 0, -1, "1", [], 1.5])
def test_no_schema_is_no_record(schema):
    with pytest.raises(CorruptRecordError, match="its schema is") as corrupt:
        decode({**plain(), "schema": schema}, where=WHERE)
    assert isinstance(corrupt.value, LockStoreError)


def test_what_is_stored_shows_a_phase_as_a_word():
    assert plain()["lease"]["phase"] == "held"


FIRST_SCHEMA = """{"schema": 1, "issued": 3, "lease": {"token": 2, "speaker": {"owner": "a1b2", "name": "dag.task",
"try_number": 2, "nonce": "n"}, "phase": "taken", "taken_at": 10.5, "written_at": 11.0, "handover_by": 20.0,
"cluster_name": "daily", "carrier": null, "doubtful": true, "doomed": false}, "free_since": 9.0, "queue":
[{"token": 3, "speaker": {"owner": "c3d4", "name": "dag.other", "try_number": 1, "nonce": "m"}, "arrived_at":
12.0, "cluster_name": "other", "handover_seconds": 600.0, "prewarmed_at": 13.0, "carrier": null, "doubtful":
false}], "suspects": [{"token": 1, "owner": "0af1", "cluster_name": "daily", "keep": "j-0", "until": 100.0}],
"history": [{"token": 1, "owner": "dag.task", "carrier": "j-0", "taken_at": 1.0, "ended_at": 9.0, "why":
"released"}]}"""


def test_a_record_of_the_previous_version_is_read_and_written_back_as_it_was():
    stored = json.loads(FIRST_SCHEMA)
    record = decode(stored, where=WHERE)
    assert (record.grace, record.queue[0].passed) == (60, 0), "what the previous version had built in"
    assert encode(record) == stored, "the previous version can read it again"


@pytest.mark.parametrize(
    "record",
    [
        replace(decode(json.loads(FIRST_SCHEMA), where=WHERE), grace=120.0),
        replace(FULL, grace=60.0),
    ],
    ids=["another grace", "an entry that was passed over"],
)
def test_what_the_previous_version_cannot_store_has_a_schema_that_it_refuses_by_name(record):
    assert encode(record)["schema"] == 2
    assert decode(encode(record), where=WHERE) == record


def after_an_early_start(grace: float) -> tuple[Record, Record]:
    """Return a record whose lease had announced an early launch while it queued, and the one after its undo."""
    first, second = Attempt("a", "a", 1, "n"), Attempt("b", "b", 1, "n")
    events = (
        Acquire(first, "daily", 600.0),
        Queue(second, "daily", 600.0),
        Prewarm(second),
        Release(1, "j-1", "done"),
        Acquire(second, "daily", 600.0),
        Release(2, None, "undone", may_have_orphans=True),
    )
    records = [Record()]
    for number, event in enumerate(events):
        record = step(records[-1], event, 1000.0 + number, Limits(grace=grace))
        assert isinstance(record, Record)
        records.append(record)
    return records[-2], records[-1]


def test_the_previous_version_can_read_early_starts_and_unclear_launches_while_the_grace_is_its_own():
    taken, undone = after_an_early_start(FIRST_GRACE)
    assert undone.possible_orphans, "something may be left behind"
    for record in (taken, undone):
        stored = encode(record)
        assert stored["schema"] == 1
        assert "since" not in json.dumps(stored).replace("free_since", "")
    for record in after_an_early_start(120.0):
        assert decode(encode(record), where=WHERE) == record


def searched_since(of) -> float:
    asked, _ = run(lambda world: clusters_of(world, of), Replay(()))
    return asked.arguments[1]


def test_clusters_older_than_the_lease_are_found_even_if_the_record_has_no_start():
    taken, undone = (decode(encode(record), where=WHERE) for record in after_an_early_start(FIRST_GRACE))
    assert searched_since(taken.lease) <= 1002
    assert searched_since(undone.possible_orphans[0]) <= 1002
    retried = decode(encode(step(taken, Reenter(Attempt("b", "b", 2, "n")), 1310.0)), where=WHERE)
    assert searched_since(retried.lease) <= 1002
