from __future__ import annotations

import json

from local_emr.clock import ManualClock
from local_emr.events import EventLog


def test_events_are_numbered_without_gaps_and_carry_simulated_time():
    clock = ManualClock()
    log = EventLog(clock)
    log.append("cluster", job_flow_id="j-1")
    clock.advance(60)
    log.append("address", change="associated")
    assert [event["seq"] for event in log.read()] == [1, 2]
    assert log.read()[1]["time"] == clock.now().isoformat()


def test_reading_continues_where_it_stopped_and_selects_a_kind():
    log = EventLog(ManualClock())
    for kind in ("call", "step", "call"):
        log.append(kind, operation="X")
    assert [event["seq"] for event in log.read(after=1)] == [2, 3]
    assert [event["seq"] for event in log.read(kind="call")] == [1, 3]


def test_a_page_is_the_oldest_events_after_a_number():
    log = EventLog(ManualClock())
    for kind in ("call", "step", "call", "call"):
        log.append(kind)
    assert [event["seq"] for event in log.read(after=1, limit=2)] == [2, 3]
    assert [event["seq"] for event in log.read(after=1, kind="call", limit=1)] == [3]
    assert log.last == 4


def test_calls_are_found_by_operation():
    log = EventLog(ManualClock())
    log.append("call", operation="RunJobFlow")
    log.append("call", operation="AssociateAddress")
    assert [event["seq"] for event in log.calls("AssociateAddress")] == [2]
    assert len(log.calls()) == 2


def test_every_event_is_a_line_of_json_in_the_file(tmp_path):
    log = EventLog(ManualClock(), path=tmp_path / "events.jsonl")
    log.append("step", step_id="s-1")
    log.close()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["step_id"] for line in lines] == ["s-1"]


def test_a_cleared_log_begins_at_one(tmp_path):
    log = EventLog(ManualClock(), path=tmp_path / "events.jsonl")
    log.append("step")
    before = log.id
    log.clear()
    assert log.id != before
    assert log.last == 0
    assert log.read(kind="step") == []
    assert log.append("step")["seq"] == 1
    log.close()
    assert len((tmp_path / "events.jsonl").read_text().splitlines()) == 1
