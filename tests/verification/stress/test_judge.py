"""Tests of the stress test's checks: logs that must fail, and logs that must pass."""

from __future__ import annotations

from tests.event_log import Log
from tests.verification.stress import judge, queue_order
from tests.verification.stress.log_reader import record_versions
from tests.verification.stress.try_log import BEGUN, FAILED, KILLED_LATE_RETRY, SUCCESS, TryEvent

POLL = 15.0


def exclusion(log, least=1):
    return judge.exclusion(log.events, record_versions(log.events), least=least)


def nothing_left(log):
    return judge.nothing_left(log.events, record_versions(log.events))


def tokens(log):
    return judge.tokens_grow(log.events, record_versions(log.events))


def ended(log, try_events, expected=1):
    return judge.runs_ended(log.events, try_events, expected=expected)


def in_order(log, try_events=()):
    activity = queue_order.WorkerActivity(log.events, try_events)
    return queue_order.served_in_order(record_versions(log.events), activity, poll=POLL)


def try_event(task, what, text="", *, time=0.0, worker="w01"):
    return TryEvent(time, worker, 0, task, 1, what, text, final=True)


def test_two_lease_periods_one_after_the_other_pass():
    log = Log().lease_period(1).lease_period(2)
    checks = [exclusion(log, least=2), nothing_left(log), tokens(log), in_order(log)]
    assert [check.problems for check in checks] == [(), (), (), ()]
    assert exclusion(log).detail.startswith("2 lease periods")


def test_an_empty_log_passes_nothing():
    checks = exclusion(Log()), nothing_left(Log()), tokens(Log()), in_order(Log())
    assert not any(check.passed for check in checks)
    assert not ended(Log(), []).passed


def test_two_clusters_with_the_address_at_once_fail():
    log = Log().address("j-1", "associated").address("j-2", "associated")
    assert exclusion(log, least=0).problems == ("2: j-2 got the address while j-1 had it",)


def test_an_association_without_hand_over_or_step_is_no_lease_period():
    log = Log().lease_period(1).address("j-2", "associated").address("j-2", "disassociated")
    assert exclusion(log, least=2).problems == ("1 lease periods, fewer than 2",)


def test_a_cluster_and_an_address_that_are_left_fail():
    log = Log().lease_period(1).cluster("j-2", "STARTING", "WAITING").address("j-9", "associated")
    assert nothing_left(log).problems == ("j-2 is left WAITING", "the address is left on j-9")


def test_a_lease_and_a_queue_that_are_left_fail():
    log = Log().lease_period(1).acquire(2, queue=(3,))
    assert nothing_left(log).problems == (
        "the lease is still stress/stress/w02-0000/create/-1's",
        "1 still queue, the first is stress/stress/w03-0000/create/-1",
    )


def test_a_token_that_is_used_again_fails():
    log = Log().lease_period(2).lease_period(1)
    assert "the lease went from token 2 to 1" in tokens(log).problems
    assert "j-1 (token 1) was bound after j-2 (token 2)" in tokens(log).problems
    assert any(problem.startswith("a history is [2, 1]") for problem in tokens(log).problems)
    assert any("issued fell from 2 to 1" in problem for problem in tokens(log).problems)


def test_a_run_without_an_end_fails():
    assert ended(Log(), [try_event("create", SUCCESS)]).problems == ("0 of 1 runs ended",)


def test_a_failure_without_a_cause_fails():
    try_events = [
        try_event("create", SUCCESS, "j-1"),
        try_event("steps", FAILED, "ValueError: no"),
        try_event("", FAILED),
    ]
    assert ended(Log(), try_events).problems == ("w01-0000 failed without an injected cause: ValueError: no",)


def test_failures_with_a_cause_pass():
    try_events = [try_event("create", SUCCESS, "j-1"), try_event("steps", FAILED), try_event("", FAILED)]
    assert ended(Log().cluster("j-1", "TERMINATING", code="INSTANCE_FAILURE"), try_events).passed
    assert ended(Log(), [try_event("create", KILLED_LATE_RETRY), try_event("", FAILED)]).passed


def test_a_queue_that_is_served_in_order_passes():
    log = (
        Log().acquire(1).queue(2, 3).wait(100).release(1).wait(10).acquire(2, queue=(3,)).release(2).wait(10).acquire(3)
    )
    assert in_order(log).passed
    assert in_order(log).detail.startswith("1 pairs at 2 acquisitions")


def test_a_lease_that_is_taken_from_its_holder_fails():
    log = Log().acquire(1).queue(2).wait(100).acquire(2)
    assert in_order(log).problems == (f"{len(log.events)}: token 2 acquired the lease while token 1 had it",)


def test_an_acquisition_before_the_acquirers_turn_fails():
    log = Log().acquire(1).queue(2, 3).release(1).wait(30).acquire(3)
    assert in_order(log).problems == (f"{len(log.events)}: token 3 acquired it too early, 30 s after it was free",)


def test_an_acquisition_without_a_place_in_the_queue_fails():
    log = Log().acquire(1).queue(2, 3).release(1).wait(1000).acquire(4, queue=(2, 3))
    assert not in_order(log).passed


def test_overtaking_an_owner_that_was_ready_fails():
    log = Log().acquire(1).queue(2, 3).release(1).wait(10).read_record("w02")
    for _ in range(4):
        log.wait(16).call("w02", "DescribeAddresses")
    log.acquire(3)
    assert in_order(log).problems == (f"{len(log.events)}: token 3 overtook 2, which was ready",)


def test_an_owner_that_read_the_record_before_the_lease_was_free_may_be_overtaken():
    log = (
        Log()
        .acquire(1)
        .queue(2, 3)
        .read_record("w01")
        .wait(10)
        .read_record("w02")
        .wait(5)
        .write("w01", lease=None)
        .wait(60)
        .acquire(3)
    )
    assert in_order(log).passed
    assert "1 without a poll in time" in in_order(log).detail


def test_an_owner_whose_process_stalled_may_be_overtaken():
    log = Log().acquire(1).queue(2, 3).release(1).wait(10).read_record("w02").wait(65).acquire(3)
    assert in_order(log).passed
    assert "1 with a stalled process" in in_order(log).detail


def test_too_many_missed_turns_fail():
    log = Log().acquire(1).queue(*range(2, 8)).release(1).wait(400).acquire(7)
    assert in_order(log).problems == ("too many owners missed their turn: the processes were too slow, or do not poll",)


def test_an_owner_that_did_not_poll_in_time_may_be_overtaken():
    log = Log().acquire(1).queue(2, 3).release(1).wait(20).read_record("w02").wait(55).acquire(3)
    assert in_order(log).passed
    assert "1 without a poll in time" in in_order(log).detail


def test_an_owner_that_was_killed_or_retried_may_be_overtaken():
    log = (
        Log()
        .acquire(1)
        .queue(2, 3)
        .release(1)
        .wait(10)
        .read_record("w02")
        .wait(5)
        .add("kill", worker="w02")
        .wait(60)
        .acquire(3)
    )
    assert in_order(log).passed
    log = Log().acquire(1).queue(2, 3).release(1).wait(10).read_record("w02").wait(65)
    assert in_order(log.acquire(3), [try_event("create", BEGUN, time=log.now - 30, worker="w02")]).passed
    assert "1 killed or retrying" in in_order(log, [try_event("create", BEGUN, time=log.now - 30, worker="w02")]).detail


def test_an_owner_whose_write_was_refused_may_be_overtaken():
    log = Log().acquire(1).queue(2, 3).release(1).wait(10).read_record("w02").wait(5)
    log.call("w02", "PutItem", status=400, error_code="ConditionalCheckFailedException").wait(60).acquire(3)
    assert in_order(log).passed
    assert "1 with a refused write" in in_order(log).detail


def test_an_owner_whose_write_is_refused_just_after_the_acquisition_may_be_overtaken():
    log = Log().acquire(1).queue(2, 3).release(1).wait(10).read_record("w02")
    for _ in range(4):
        log.wait(16).call("w02", "DescribeAddresses")
    log.acquire(3).wait(5)
    late = {"status": 400, "error_code": "ConditionalCheckFailedException"}
    assert not in_order(log).passed
    log.call("w02", "PutItem", **late)
    assert "1 with a refused write" in in_order(log).detail
    assert in_order(log).passed


def test_a_refused_write_after_another_read_is_no_excuse():
    log = Log().acquire(1).queue(2, 3).release(1).wait(10).read_record("w02")
    for _ in range(4):
        log.wait(16).call("w02", "DescribeAddresses")
    log.acquire(3).wait(5).read_record("w02").wait(1)
    log.call("w02", "PutItem", status=400, error_code="ConditionalCheckFailedException")
    assert not in_order(log).passed


def test_a_kill_before_the_read_is_no_excuse():
    log = Log().acquire(1).queue(2, 3).release(1).add("kill", worker="w02").wait(10).read_record("w02")
    for _ in range(4):
        log.wait(16).call("w02", "DescribeAddresses")
    assert not in_order(log.acquire(3)).passed
