"""Tests of the stress test's checks: logs that must fail, and logs that must pass."""

from __future__ import annotations

from harness.judge import of_address
from tests.event_log import Log, entry, lease
from tests.verification.stress import judge, queue_order
from tests.verification.stress.log_reader import record_versions, tokens_of_clusters
from tests.verification.stress.try_log import BEGUN, FAILED, KILLED_LATE_RETRY, SUCCESS, TryEvent

POLL = 15.0
REFUSED = {"status": 400, "error_code": "ConditionalCheckFailedException"}


def free_with_queue(*queue):
    """Return a log in which owner 1 has just released the lease, and owners wait in the queue."""
    return Log().acquire(1).queue(*(queue or (2, 3))).release(1)


def polls(log, worker="w02", count=4):
    """Let a worker read the record, and then make a call in every poll."""
    log.read_record(worker)
    for _ in range(count):
        log.wait(16).call(worker, "DescribeAddresses")
    return log


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
    log = free_with_queue().wait(30).acquire(3)
    assert in_order(log).problems == (f"{len(log.events)}: token 3 acquired it too early, 30 s after it was free",)


def test_an_acquisition_without_a_place_in_the_queue_fails():
    assert not in_order(free_with_queue().wait(1000).acquire(4, queue=(2, 3))).passed


def test_overtaking_an_owner_that_was_ready_fails():
    log = polls(free_with_queue().wait(10)).acquire(3)
    assert in_order(log).problems == (f"{len(log.events)}: token 3 overtook 2, which was ready",)


def test_an_owner_that_read_the_record_before_the_lease_was_free_may_be_overtaken():
    log = Log().acquire(1).queue(2, 3).read_record("w01").wait(10).read_record("w02")
    log.wait(5).write("w01", lease=None).wait(60).acquire(3)
    assert in_order(log).passed
    assert "1 without a poll in time" in in_order(log).detail


def test_an_owner_whose_process_stalled_may_be_overtaken():
    log = free_with_queue().wait(10).read_record("w02").wait(65).acquire(3)
    assert in_order(log).passed
    assert "1 with a stalled process" in in_order(log).detail


def test_too_many_missed_turns_fail():
    log = free_with_queue(*range(2, 8)).wait(400).acquire(7)
    assert in_order(log).problems == ("too many owners missed their turn: the processes were too slow, or do not poll",)


def test_an_owner_that_did_not_poll_in_time_may_be_overtaken():
    log = free_with_queue().wait(20).read_record("w02").wait(55).acquire(3)
    assert in_order(log).passed
    assert "1 without a poll in time" in in_order(log).detail


def test_an_owner_that_was_killed_or_retried_may_be_overtaken():
    log = free_with_queue().wait(10).read_record("w02").wait(5).add("kill", worker="w02").wait(60).acquire(3)
    assert in_order(log).passed
    log = free_with_queue().wait(10).read_record("w02").wait(65).acquire(3)
    retried = [try_event("create", BEGUN, time=log.now - 30, worker="w02")]
    assert in_order(log, retried).passed
    assert "1 killed or retrying" in in_order(log, retried).detail


def test_an_owner_whose_write_was_refused_may_be_overtaken():
    log = free_with_queue().wait(10).read_record("w02").wait(5).call("w02", "PutItem", **REFUSED).wait(60).acquire(3)
    assert in_order(log).passed
    assert "1 with a refused write" in in_order(log).detail


def test_an_owner_whose_write_is_refused_just_after_the_acquisition_may_be_overtaken():
    log = polls(free_with_queue().wait(10)).acquire(3).wait(5)
    assert not in_order(log).passed
    log.call("w02", "PutItem", **REFUSED)
    assert "1 with a refused write" in in_order(log).detail
    assert in_order(log).passed


def test_a_refused_write_after_another_read_is_no_excuse():
    log = polls(free_with_queue().wait(10)).acquire(3).wait(5).read_record("w02").wait(1)
    assert not in_order(log.call("w02", "PutItem", **REFUSED)).passed


def test_a_kill_before_the_read_is_no_excuse():
    log = polls(free_with_queue().add("kill", worker="w02").wait(10))
    assert not in_order(log.acquire(3)).passed


ONE, TWO = "eipalloc-1", "eipalloc-2"


def pool_in_order(log, allocation_id):
    """Judge the queue of one of several addresses."""
    writes = record_versions(log.events)
    activity = queue_order.WorkerActivity(log.events, (), allocation_id=allocation_id)
    own_writes = [write for write in writes if write.allocation_id == allocation_id]
    return queue_order.served_in_order(own_writes, activity, poll=POLL, leases=queue_order.Leases(writes))


def pool_exclusion(log, allocation_id):
    events = of_address(log.events, allocation_id)
    return judge.exclusion(events, record_versions(events), least=1)


def served(log):
    return [
        judge.served_clusters(events, record_versions(events))
        for events in (of_address(log.events, name) for name in (ONE, TWO))
    ]


def ready_and_overtaken(log):
    """Let owner 3 acquire the second address, while owner 2 is first in its queue and polls it."""
    return polls(log.at(TWO).acquire(1).queue(2, 3).release(1).wait(10), count=8).acquire(3)


def test_lease_periods_on_two_addresses_at_a_time_pass_and_on_one_of_them_fail():
    log = Log().at(ONE).lease_period(1).at(TWO).lease_period(2)
    assert pool_exclusion(log, ONE).passed
    assert pool_exclusion(log, TWO).passed
    assert judge.enough_periods(served(log), least=2, addresses=2).passed
    log = Log().at(ONE).address("j-1", "associated").at(TWO).address("j-2", "associated")
    assert not any("while" in problem for name in (ONE, TWO) for problem in pool_exclusion(log, name).problems)
    log.at(ONE).address("j-3", "associated")
    assert "3: j-3 got the address while j-1 had it" in pool_exclusion(log, ONE).problems


def test_a_step_on_a_cluster_that_never_had_an_address_fails():
    log = Log().at(ONE).lease_period(1).at(TWO).lease_period(2).step("j-3", "RUNNING")
    assert any("s-j-3 started on j-3" in problem for problem in pool_exclusion(log, ONE).problems)


def test_too_few_lease_periods_a_cluster_with_two_addresses_and_an_address_without_a_lease_fail():
    log = Log().at(ONE).lease_period(1).at(TWO).lease_period(1)
    check = judge.enough_periods(served(log), least=2, addresses=3)
    assert check.problems == (
        "j-1 had 2 addresses",
        "1 lease periods, fewer than 2",
        "2 of 3 addresses were leased",
    )


def test_an_owner_with_two_active_leases_fails():
    log = Log().at(ONE).write("w01", lease=lease(1, phase="held")).at(TWO).write("w01", lease=lease(1, phase="held"))
    assert judge.one_lease_an_owner(record_versions(log.events)).problems == (
        "2: stress/stress/w01-0000/create/-1 has eipalloc-2 besides another address",
    )
    log = Log().at(ONE).write("w01", lease=lease(1, phase="held")).write("w01", lease=None)
    log.at(TWO).write("w01", lease=lease(1, phase="held"))
    assert judge.one_lease_an_owner(record_versions(log.events)).passed
    assert not judge.one_lease_an_owner([]).passed


def test_a_lease_that_never_ended_fails():
    log = Log().lease_period(1).acquire(2)
    assert judge.leases_ended(record_versions(log.events)).problems == ("the lease with token 2 never ended",)
    assert judge.leases_ended(record_versions(Log().lease_period(1).events)).passed
    assert not judge.leases_ended([]).passed


def test_overtaking_in_the_queue_of_one_of_several_addresses_fails():
    log = ready_and_overtaken(Log())
    assert pool_in_order(log, TWO).problems == (f"{len(log.events)}: token 3 overtook 2, which was ready",)


def test_a_read_of_another_address_is_none_of_this_one():
    log = polls(Log().at(TWO).acquire(1).queue(2, 3).release(1).wait(10).at(ONE)).at(TWO).acquire(3)
    assert pool_in_order(log, TWO).passed
    assert "1 without a poll in time" in pool_in_order(log, TWO).detail


def test_the_turn_begins_when_the_one_before_has_left_the_queue_for_another_address():
    log = polls(Log().at(TWO).acquire(1).queue(2, 3, 4).release(1).wait(10), "w03", count=8)
    log.write("w02", queue=[entry(3), entry(4)]).wait(60).call("w03", "DescribeAddresses").acquire(4)
    assert pool_in_order(log, TWO).passed
    assert "1 without a poll in time" in pool_in_order(log, TWO).detail


def test_an_owner_that_has_another_address_may_be_overtaken_while_it_has_it():
    log = ready_and_overtaken(Log().at(ONE).acquire(2))
    assert pool_in_order(log, TWO).passed
    assert "1 with another address" in pool_in_order(log, TWO).detail
    assert not pool_in_order(ready_and_overtaken(Log().at(ONE).acquire(2).release(2)), TWO).passed


def test_the_token_of_a_cluster_is_the_one_that_it_was_given_last():
    log = Log().launch("j-1", token="7")
    tags = [{"Key": "airflow-eip:token", "Value": "3"}]
    log.call("w01", "AddTags", request={"ResourceId": "j-1", "Tags": tags})
    assert tokens_of_clusters(log.events) == {"j-1": 3}
