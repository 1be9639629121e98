"""The checks of the scenario with a standby pass on a good run, and fail on each way in which it could be bad."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from demo import standby_checks
from demo.standby import AFTER, LOST, WATCH
from tests.unit.demo.event_log import START, Log

LOST_AT = START + timedelta(minutes=10)
STATES = {LOST: "success", AFTER: "success"}
TRIES = {LOST: 2, AFTER: 1}


def good_run(**changes: Any) -> Log:
    """A failover from j-1 to j-2; the changes are what goes wrong."""
    log = Log()
    for minute, job_flow_id in ((0, "j-1"), (3, "j-2")):
        log.call(minute, "RunJobFlow", {"Name": WATCH, "Tags": []}, JobFlowId=job_flow_id)
    log.add(1, "address", job_flow_id="j-1", change="associated", allocation_id="eipalloc-4")
    batch(log, 9, LOST, "j-1", "running")
    if changes.get("false_success"):
        batch(log, 9.5, LOST, "j-1", "success")
    if changes.get("moved", True):
        log.add(12, "address", job_flow_id="j-2", change="associated", allocation_id="eipalloc-4")
        log.add(13, "target", target="127.0.0.2", state="healthy")
    if changes.get("old_ended", True):
        log.add(13.5, "cluster", job_flow_id="j-1", **{"from": "WAITING", "to": "TERMINATING"})
    batch(log, 14, LOST, changes.get("retried_on", "j-2"), "success")
    batch(log, 15, AFTER, "j-2", "success")
    if changes.get("twice"):
        batch(log, 16, AFTER, "j-2", "success")
    return log


def batch(log: Log, minute: float, dag_id: str, job_flow_id: str, state: str) -> None:
    log.add(minute, "batch", name=f"{dag_id}-eip-0123456789ab-1", job_flow_id=job_flow_id, state=state)


def moved(log: Log, *, state: str = "success") -> Any:
    return standby_checks.service_moved(log.events, lost_at=LOST_AT, allocation_id="eipalloc-4", state=state)


def test_a_service_that_moved_passes_with_its_duration():
    check = moved(good_run())
    assert check.passed
    assert "120 s after the loss, healthy after 180 s" in check.detail


def test_a_service_that_did_not_move_fails():
    assert not moved(good_run(moved=False)).passed
    assert not moved(good_run(), state="failed").passed
    assert not moved(Log()).passed
    assert not standby_checks.service_moved(
        good_run().events, lost_at=None, allocation_id="eipalloc-4", state="success"
    ).passed


def test_one_live_primary_needs_the_end_of_the_old_one_and_the_life_of_the_new_one():
    assert standby_checks.one_live_primary(good_run().events, standby_state="WAITING").passed
    assert not standby_checks.one_live_primary(good_run(old_ended=False).events, standby_state="WAITING").passed
    assert not standby_checks.one_live_primary(good_run().events, standby_state="gone").passed
    assert not standby_checks.one_live_primary([], standby_state="").passed


def test_batches_that_succeed_on_the_standby_pass():
    assert standby_checks.batches_succeed(good_run().events, states=STATES, tries=TRIES).passed


@pytest.mark.parametrize("changes", [{"false_success": True}, {"retried_on": "j-1"}, {"twice": True}], ids=str)
def test_a_batch_that_succeeded_elsewhere_fails(changes):
    assert not standby_checks.batches_succeed(good_run(**changes).events, states=STATES, tries=TRIES).passed


@pytest.mark.parametrize(
    ("states", "tries"),
    [({**STATES, LOST: "failed"}, TRIES), ({}, {}), (STATES, {**TRIES, LOST: 1}), (STATES, {**TRIES, AFTER: 2})],
    ids=str,
)
def test_a_run_that_failed_or_needed_other_tries_fails(states, tries):
    assert not standby_checks.batches_succeed(good_run().events, states=states, tries=tries).passed


def test_nothing_seen_fails():
    assert not standby_checks.batches_succeed([], states=STATES, tries=TRIES).passed
