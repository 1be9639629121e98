"""Every check passes on a good run, and fails on each way in which the run could have been bad."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from demo import checks
from demo.queue import Standing
from demo.timeline import sessions
from harness.calls import TRIGGERER
from tests.unit.demo.event_log import CLUSTERS, DAGS, EIP, START, sample, task

if TYPE_CHECKING:
    from demo.checks import Check
    from tests.unit.demo.event_log import Log

ROWS = [("1", "a"), ("2", "b"), ("2", "b")]


def event(log: Log, kind: str, cluster: str, **fields: Any) -> dict[str, Any]:
    """Return the one event that this is about."""
    wanted = {"kind": kind, "job_flow_id": cluster, **fields}
    return next(event for event in log.events if wanted.items() <= event.items())


def test_equal_rows_pass_in_any_order():
    assert checks.rows_equal(DAGS[0], expected=ROWS, found=ROWS[::-1]).passed


@pytest.mark.parametrize(
    "found", [[], ROWS[:2], [*ROWS, ("3", "c")], [("1", "a"), ("1", "a"), ("2", "b")], [("1", "x"), *ROWS[1:]]]
)
def test_rows_that_differ_fail(found: list[tuple[str, ...]]):
    assert not checks.rows_equal(DAGS[0], expected=ROWS, found=found).passed


def test_no_rows_on_either_side_fail():
    assert not checks.rows_equal(DAGS[0], expected=[], found=[]).passed


def read(log: Log) -> Check:
    return checks.read_from_the_address(log.events, found=sessions(log.events), public_ip=EIP)


def test_reading_from_the_address_passes(log: Log):
    assert read(log).passed


def test_reading_from_another_address_fails(log: Log):
    log.connection(4, CLUSTERS[0], from_ip="198.51.100.20")
    assert "198.51.100.20" in read(log).detail
    assert not read(log).passed


def test_a_cluster_that_never_connected_fails(log: Log):
    event(log, "connection", CLUSTERS[1])["job_flow_id"] = "j-3"
    assert not read(log).passed


def refused(run: Log, **changes: str) -> Check:
    given = {"job_flow_id": "j-3", "step_state": "FAILED", "log": "error 40615", **changes}
    return checks.refused_without_address(run.events, **given)


def test_a_refused_cluster_passes(log: Log):
    log.connection(3, "j-3", from_ip="198.51.100.20", error_code=40615)
    assert refused(log).passed


@pytest.mark.parametrize("changes", [{"step_state": "COMPLETED"}, {"log": "timed out"}, {"job_flow_id": "j-1"}])
def test_a_cluster_without_the_address_that_was_not_refused_for_its_address_fails(log: Log, changes: dict[str, str]):
    log.connection(3, "j-3", from_ip="198.51.100.20", error_code=40615)
    assert not refused(log, **changes).passed


@pytest.mark.parametrize("error_code", [None, 18456])
def test_a_cluster_without_the_address_that_passed_the_firewall_fails(log: Log, error_code: int | None):
    log.connection(3, "j-3", from_ip="198.51.100.20", error_code=error_code)
    assert not refused(log).passed


def test_a_cluster_without_the_address_that_had_it_fails(log: Log):
    log.connection(3, "j-3", from_ip="198.51.100.20", error_code=40615)
    log.address(4, "j-3", "associated")
    assert not refused(log).passed


def overlap(log: Log) -> Check:
    return checks.sessions_do_not_overlap(log.events, found=sessions(log.events))


def test_sessions_one_after_the_other_pass(log: Log):
    assert overlap(log).passed


def test_a_theft_fails(log: Log):
    log.events.remove(event(log, "address", CLUSTERS[0], change="disassociated"))
    assert "j-2 got the address while j-1 had it" in overlap(log).detail
    assert not overlap(log).passed


def test_a_step_that_starts_before_the_binding_fails(log: Log):
    bound = event(log, "address", CLUSTERS[1], change="associated")
    log.events.remove(bound)
    log.events.insert(log.events.index(event(log, "step", CLUSTERS[1], state="RUNNING")) + 1, bound)
    assert not overlap(log).passed


def test_an_address_that_leaves_before_the_step_ends_fails(log: Log):
    freed = event(log, "address", CLUSTERS[0], change="disassociated")
    ended = event(log, "step", CLUSTERS[0], state="COMPLETED")
    freed["seq"], ended["seq"] = ended["seq"], freed["seq"]
    assert "left j-1 before its step ended" in overlap(log).detail
    assert not overlap(log).passed


def test_a_single_session_fails(log: Log):
    log.events = log.events[: len(log.events) // 2]
    assert not overlap(log).passed


def test_the_second_dag_seen_waiting_passes(log: Log):
    found = sessions(log.events)
    assert checks.second_waited([sample(3, task(DAGS[1], since=2))], found=found, waiting_dag=DAGS[1]).passed


@pytest.mark.parametrize(("minute", "state"), [(3, "running"), (8, "deferred")])
def test_dags_that_never_met_fail(log: Log, minute: float, state: str):
    samples = [sample(minute, task(DAGS[1], state=state))]
    assert not checks.second_waited(samples, found=sessions(log.events), waiting_dag=DAGS[1]).passed


def test_binding_before_the_cluster_is_ready_passes(log: Log):
    assert checks.bound_before_ready(sessions(log.events)).passed


def test_binding_after_the_cluster_is_ready_fails(log: Log):
    bound, ready = event(log, "address", CLUSTERS[1], change="associated"), event(log, "cluster", CLUSTERS[1])
    bound["seq"], ready["seq"] = ready["seq"], bound["seq"]
    assert CLUSTERS[1] in checks.bound_before_ready(sessions(log.events)).detail
    assert not checks.bound_before_ready(sessions(log.events)).passed


def test_no_cluster_at_all_fails():
    assert not checks.bound_before_ready([]).passed


def test_association_that_cannot_steal_passes(log: Log):
    assert checks.never_steals(log.events, periods_seen=2).passed


@pytest.mark.parametrize(
    "request_", [{"AllowReassociation": True}, {"AllowReassociation": None}, {"NetworkInterfaceId": None}]
)
def test_association_that_could_steal_fails(log: Log, request_: dict[str, Any]):
    log.associate(20, **request_)
    assert not checks.never_steals(log.events, periods_seen=2).passed


def test_fewer_associations_than_sessions_fail(log: Log):
    assert not checks.never_steals(log.events, periods_seen=3).passed


CONTROL = sample(0, task(state="running"), owners=frozenset({task().id}))


def no_worker(log: Log, *samples: Any) -> Check:
    return checks.create_takes_no_worker(samples, session=sessions(log.events)[0], task_id="azure.create")


def test_a_deferred_create_without_a_process_passes(log: Log):
    assert no_worker(log, CONTROL, sample(1, task())).passed


def test_a_deferred_create_with_a_process_fails(log: Log):
    assert not no_worker(log, CONTROL, sample(1, task(), owners=frozenset({task().id}))).passed


def test_no_sample_in_the_window_fails(log: Log):
    assert not no_worker(log, CONTROL, sample(2, task()), sample(1, task(DAGS[1]))).passed


def test_a_look_that_never_saw_any_process_fails(log: Log):
    assert not no_worker(log, sample(1, task())).passed


def test_a_process_that_is_just_ending_does_not_count_as_waiting(log: Log):
    leaving = sample(0.01, task(), owners=frozenset({task().id}))
    assert no_worker(log, CONTROL, leaving, sample(1, task())).passed


def test_any_deferred_task_with_a_process_fails():
    step = task(DAGS[1], task_id="azure.read")
    assert checks.waits_take_no_worker([CONTROL, sample(2, step)]).passed
    assert not checks.waits_take_no_worker([CONTROL, sample(2, step, owners=frozenset({step.id}))]).passed


def test_no_wait_at_all_fails():
    assert not checks.waits_take_no_worker([CONTROL]).passed


def left(**changes: Any) -> Check:
    return checks.nothing_left(
        **{"active_clusters": [], "association_id": None, "step_processes": 0, "seen": 3, **changes}
    )


def test_an_empty_end_passes():
    assert left().passed


@pytest.mark.parametrize(
    "changes", [{"active_clusters": ["j-1"]}, {"association_id": "eipassoc-1"}, {"step_processes": 1}, {"seen": 0}]
)
def test_anything_left_fails(changes: dict[str, Any]):
    assert not left(**changes).passed


@pytest.mark.parametrize(
    ("states", "passed"),
    [(("success", "success"), True), (("success", "failed"), False), (("success",), False), ((), False)],
)
def test_all_runs_must_succeed(states: tuple[str, ...], passed: bool):  # noqa: FBT001 - a parameter of the test
    given = dict(zip(DAGS, states, strict=False))
    tries = {dag_id: 2 if dag_id == DAGS[0] else 1 for dag_id in given}
    assert checks.runs_succeeded(given, tries=tries, killed=DAGS[0]).passed is passed
    assert not checks.runs_succeeded(given, tries=dict.fromkeys(given, 1), killed=DAGS[0]).passed
    assert not checks.runs_succeeded(given, tries=dict.fromkeys(given, 2), killed=DAGS[0]).passed


def test_without_a_killed_task_no_run_may_need_a_retry():
    given = dict.fromkeys(DAGS, "success")
    assert checks.runs_succeeded(given, tries=dict.fromkeys(given, 1), killed=None).passed
    assert not checks.runs_succeeded(given, tries={DAGS[0]: 1, DAGS[1]: 2}, killed=None).passed


def test_the_killed_run_has_one_cluster_and_it_is_bound(log: Log):
    found = sessions(log.events)
    assert checks.killed_was_adopted(found, killed=DAGS[0]).passed
    assert not checks.killed_was_adopted(found, killed="nobody").passed
    assert not checks.killed_was_adopted([*found, found[0]], killed=DAGS[0]).passed


def standing(holder: str, queue: tuple[str, ...] = (), *, ended: tuple[int, ...] = (), after: float = 0.0) -> Standing:
    time = START + timedelta(seconds=after)
    return Standing(time=time, holder=holder, token=1, phase="held", resource_id="j-1", queue=queue, ended=ended)


def test_those_who_queue_have_the_address_in_their_order(log: Log):
    states = [standing("zeroth_daily", DAGS)]
    assert checks.first_come_first_served(states, found=sessions(log.events)).passed
    turned = [standing("zeroth_daily", DAGS[::-1])]
    assert not checks.first_come_first_served(turned, found=sessions(log.events)).passed
    assert not checks.first_come_first_served([], found=sessions(log.events)).passed


def test_the_first_holder_counts_as_the_first_who_came(log: Log):
    first, second = DAGS
    assert checks.first_come_first_served([standing(first, (second,))], found=sessions(log.events)).passed
    assert not checks.first_come_first_served([standing(second, (first,))], found=sessions(log.events)).passed
    # Nobody queued: the order says nothing.
    assert not checks.first_come_first_served([standing(first), standing(second)], found=sessions(log.events)).passed


def test_who_queued_and_never_had_the_address_fails_the_check(log: Log):
    states = [standing(DAGS[0], (DAGS[1], "third_daily"))]
    assert not checks.first_come_first_served(states, found=sessions(log.events)).passed


def test_who_was_passed_over_fails_the_check_and_is_named(log: Log):
    first, second = DAGS
    served = [
        standing("zeroth_daily", (second, first)),
        standing("", (second, first), ended=(1,), after=10_000),
        standing(first, (second,), ended=(1,)),
    ]
    check = checks.first_come_first_served(served, found=sessions(log.events))
    assert not check.passed
    assert f"they arrived as {second} → {first}" in check.detail


def test_a_cluster_that_was_launched_before_the_address_was_free_fails(log: Log):
    assert checks.nobody_pays_for_waiting(sessions(log.events)).passed
    freed = event(log, "address", CLUSTERS[0], change="disassociated")
    log.events.remove(freed)
    log.events.append({**freed, "seq": 999})
    assert not checks.nobody_pays_for_waiting(sessions(log.events)).passed
    assert not checks.nobody_pays_for_waiting([]).passed


def test_a_write_too_many_fails():
    states = [standing("a"), standing("a", DAGS), *[standing("a")] * 5, standing("", ended=(1, 2))]
    assert len(states) == 8
    assert not checks.three_writes_a_session(states, retries=1).passed
    assert checks.three_writes_a_session([states[0], *states], retries=1).passed
    assert checks.three_writes_a_session(states, retries=0).passed
    assert not checks.three_writes_a_session([], retries=1).passed


@pytest.mark.parametrize(
    "last", [standing("a", ended=(1, 2)), standing("", DAGS, ended=(1, 2)), standing("", ended=(1, 3)), standing("")]
)
def test_a_lease_a_queue_or_a_missing_token_at_the_end_fails(last: Standing):
    assert not checks.lease_is_free([last]).passed
    assert not checks.lease_is_free([standing("", ended=(1, 3, 2))]).passed
    assert checks.lease_is_free([last, standing("", ended=(1, 2, 3))]).passed
    assert not checks.lease_is_free([]).passed


@pytest.mark.parametrize(
    ("first", "triggerer", "passed"),
    [(checks.TASK_CALLS, 8, True), (checks.TASK_CALLS + 1, 8, False), (10, 11, False), (0, 8, False), (10, 0, False)],
)
def test_calls_beyond_their_bound_or_none_fail(first: int, triggerer: int, passed: bool):  # noqa: FBT001 - as above
    counts = {DAGS[0]: Counter(a=first), TRIGGERER: Counter(a=triggerer)}
    assert checks.calls_bounded(counts, waited_seconds=10).passed is passed


def test_waits_are_added_up_from_sample_to_sample():
    samples = [sample(0, task(), task(DAGS[1])), sample(1, task(DAGS[1])), sample(2, task(state="running"))]
    assert checks.deferred_seconds(samples) == 180
