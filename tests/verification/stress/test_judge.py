"""The judge on logs that it must object to, and on those that are as they should be."""

from __future__ import annotations

from tests.event_log import Log
from tests.verification.stress import judge, order
from tests.verification.stress.journal import ABSENT, BEGUN, FAILED, SUCCESS, Note
from tests.verification.stress.traces import stored

POLL = 15.0


def exclusion(log, least=1):
    return judge.exclusion(log.events, stored(log.events), least=least)


def lost(log):
    return judge.nothing_lost(log.events, stored(log.events))


def tokens(log):
    return judge.tokens_grow(log.events, stored(log.events))


def ended(log, notes, expected=1):
    return judge.runs_ended(log.events, notes, expected=expected)


def in_order(log, notes=()):
    lives = order.Lives(log.events, notes)
    return order.in_order(stored(log.events), lives, poll=POLL)


def note(task, what, text="", *, time=0.0, worker="w01"):
    return Note(time, worker, 0, task, 1, what, text, final=True)


def test_two_sessions_one_after_the_other_are_fine():
    log = Log().period(1).period(2)
    checks = [exclusion(log, least=2), lost(log), tokens(log), in_order(log)]
    assert [check.problems for check in checks] == [(), (), (), ()]
    assert exclusion(log).detail.startswith("2 lease periods")


def test_an_empty_log_passes_nothing():
    assert not any(check.passed for check in (exclusion(Log()), lost(Log()), tokens(Log()), in_order(Log())))
    assert not ended(Log(), []).passed


def test_two_clusters_with_the_address_at_once():
    log = Log().address("j-1", "associated").address("j-2", "associated")
    assert exclusion(log, least=0).problems == ("2: j-2 got the address while j-1 had it",)


def test_an_association_without_hand_over_or_step_is_no_session():
    log = Log().period(1).address("j-2", "associated").address("j-2", "disassociated")
    assert exclusion(log, least=2).problems == ("1 lease periods, fewer than 2",)


def test_a_cluster_and_an_address_that_were_left():
    log = Log().period(1).cluster("j-2", "STARTING", "WAITING").address("j-9", "associated")
    assert lost(log).problems == ("j-2 is left WAITING", "the address is left on j-9")


def test_a_lease_and_a_queue_that_were_left():
    log = Log().period(1).take(2, queue=(3,))
    assert lost(log).problems == (
        "the lease is still stress/stress/w02-0000/create/-1's",
        "1 still queue, the first is stress/stress/w03-0000/create/-1",
    )


def test_a_token_that_comes_back():
    log = Log().period(2).period(1)
    assert "the lease went from token 2 to 1" in tokens(log).problems
    assert "j-1 (token 1) was bound after j-2 (token 2)" in tokens(log).problems
    assert any(problem.startswith("a history is [2, 1]") for problem in tokens(log).problems)
    assert any("issued fell from 2 to 1" in problem for problem in tokens(log).problems)


def test_a_run_without_an_end():
    assert ended(Log(), [note("create", SUCCESS)]).problems == ("0 of 1 runs came to an end",)


def test_a_failure_without_a_cause():
    notes = [note("create", SUCCESS, "j-1"), note("steps", FAILED, "ValueError: no"), note("", FAILED)]
    assert ended(Log(), notes).problems == ("w01-0000 failed without an injected cause: ValueError: no",)


def test_failures_with_a_cause():
    notes = [note("create", SUCCESS, "j-1"), note("steps", FAILED), note("", FAILED)]
    assert ended(Log().cluster("j-1", "TERMINATING", code="INSTANCE_FAILURE"), notes).passed
    assert ended(Log(), [note("create", ABSENT), note("", FAILED)]).passed


def test_the_queue_in_its_order():
    log = Log().take(1).queue(2, 3).wait(100).free(1).wait(10).take(2, queue=(3,)).free(2).wait(10).take(3)
    assert in_order(log).passed
    assert in_order(log).detail.startswith("1 pairs at 2 takings")


def test_a_lease_that_is_taken_from_its_holder():
    log = Log().take(1).queue(2).wait(100).take(2)
    assert in_order(log).problems == (f"{len(log.events)}: token 2 took the lease while token 1 had it",)


def test_overtaking_before_its_turn():
    log = Log().take(1).queue(2, 3).free(1).wait(30).take(3)
    assert in_order(log).problems == (f"{len(log.events)}: token 3 took it early, 30 s after it was free",)


def test_jumping_the_queue():
    log = Log().take(1).queue(2, 3).free(1).wait(1000).take(4, queue=(2, 3))
    assert not in_order(log).passed


def test_overtaking_one_who_was_there():
    log = Log().take(1).queue(2, 3).free(1).wait(10).look("w02")
    for _ in range(4):
        log.wait(16).call("w02", "DescribeAddresses")
    log.take(3)
    assert in_order(log).problems == (f"{len(log.events)}: token 3 overtook 2, which was there",)


def test_overtaking_one_who_looked_while_the_lease_was_not_free_yet():
    log = Log().take(1).queue(2, 3).look("w01").wait(10).look("w02").wait(5).write("w01", lease=None).wait(60).take(3)
    assert in_order(log).passed
    assert "1 not looking in time" in in_order(log).detail


def test_overtaking_one_whose_process_stood_still():
    log = Log().take(1).queue(2, 3).free(1).wait(10).look("w02").wait(65).take(3)
    assert in_order(log).passed
    assert "1 standing still" in in_order(log).detail


def test_too_many_who_let_their_turns_pass():
    log = Log().take(1).queue(*range(2, 8)).free(1).wait(400).take(7)
    assert in_order(log).problems == ("too many let their turns pass: the processes were too slow, or do not look",)


def test_overtaking_one_who_did_not_look_in_time():
    log = Log().take(1).queue(2, 3).free(1).wait(20).look("w02").wait(55).take(3)
    assert in_order(log).passed
    assert "1 not looking in time" in in_order(log).detail


def test_overtaking_one_who_was_killed_or_retried():
    log = Log().take(1).queue(2, 3).free(1).wait(10).look("w02").wait(5).add("kill", worker="w02").wait(60).take(3)
    assert in_order(log).passed
    log = Log().take(1).queue(2, 3).free(1).wait(10).look("w02").wait(65)
    assert in_order(log.take(3), [note("create", BEGUN, time=log.now - 30, worker="w02")]).passed
    assert "1 killed or retrying" in in_order(log, [note("create", BEGUN, time=log.now - 30, worker="w02")]).detail


def test_overtaking_one_who_lost_a_race():
    log = Log().take(1).queue(2, 3).free(1).wait(10).look("w02").wait(5)
    log.call("w02", "PutItem", status=400, error_code="ConditionalCheckFailedException").wait(60).take(3)
    assert in_order(log).passed
    assert "1 beaten to a write" in in_order(log).detail


def test_overtaking_one_that_comes_a_moment_too_late():
    log = Log().take(1).queue(2, 3).free(1).wait(10).look("w02")
    for _ in range(4):
        log.wait(16).call("w02", "DescribeAddresses")
    log.take(3).wait(5)
    late = {"status": 400, "error_code": "ConditionalCheckFailedException"}
    assert not in_order(log).passed
    log.call("w02", "PutItem", **late)
    assert "1 beaten to a write" in in_order(log).detail
    assert in_order(log).passed


def test_losing_a_race_for_a_new_place_excuses_nothing():
    log = Log().take(1).queue(2, 3).free(1).wait(10).look("w02")
    for _ in range(4):
        log.wait(16).call("w02", "DescribeAddresses")
    log.take(3).wait(5).look("w02").wait(1)
    log.call("w02", "PutItem", status=400, error_code="ConditionalCheckFailedException")
    assert not in_order(log).passed


def test_a_kill_before_its_look_excuses_nothing():
    log = Log().take(1).queue(2, 3).free(1).add("kill", worker="w02").wait(10).look("w02")
    for _ in range(4):
        log.wait(16).call("w02", "DescribeAddresses")
    assert not in_order(log.take(3)).passed
