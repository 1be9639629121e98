"""The law, row by row: what is allowed, what is refused, and that doing it twice is doing it once."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from airflow_eip_provider.lease.record import Attempt, Limits, Phase, PossibleOrphan, Record
from airflow_eip_provider.lease.transitions import (
    TABLE,
    Acquire,
    Activate,
    Bring,
    Leave,
    Move,
    MoveBack,
    Prewarm,
    Prewarmed,
    Queue,
    Reenter,
    Refused,
    Release,
    Replace,
    StartRelease,
    state_of,
    step,
    turn_at,
)

if TYPE_CHECKING:
    from airflow_eip_provider.lease.transitions import Event

NOW = 1_000_000.0
LIMITS = Limits(grace=60, turns=2, surface=900, history=2)


def attempt(owner: str, try_number: int = 1, nonce: str = "n") -> Attempt:
    return Attempt(owner, f"dag.{owner}", try_number, nonce)


A, A2, AGAIN = attempt("a"), attempt("a", 2), attempt("a", nonce="other process")
B, B2, C = attempt("b"), attempt("b", 2), attempt("c")


def take(who: Attempt = A) -> Acquire:
    return Acquire(who, "daily", 600.0)


def queue(who: Attempt = B) -> Queue:
    return Queue(who, "daily", 600.0)


def after(*events: Event, start: Record | None = None, now: float = NOW) -> Record:
    """Return the record that these events lead to."""
    record = start or Record()
    for event in events:
        changed = step(record, event, now, LIMITS)
        assert not isinstance(changed, Refused), f"{event}: {changed}"
        record = changed
    return record


EMPTY = Record()
ACQUIRED = after(take())
ACTIVE = after(take(), Activate(A, 1, "j-1"))
RELEASING = after(take(), Activate(A, 1, "j-1"), StartRelease(1))
FREED = after(take(), Release(1, None, "done"))
QUEUED = after(queue(), start=ACTIVE)  # B waits for A, with token 2
TWO_QUEUED = after(queue(C), start=QUEUED)
WARMING = after(Prewarm(B), start=QUEUED)
FREE_QUEUED = after(Release(1, None, "done"), start=QUEUED)
GIVEN_UP = after(take(), Replace(A, 1, "j-1"))
MOVE = Move(B, 1, "j-1", "standby", 600.0)
MOVED = after(MOVE, start=ACTIVE)
BACK = after(MoveBack(B, 2), start=MOVED)
LATER = NOW + 100

ALLOWED = [
    pytest.param(EMPTY, take(), "acquired", id="the first takes"),
    pytest.param(FREED, take(B), "acquired", id="the next takes"),
    pytest.param(FREE_QUEUED, take(B), "acquired", id="the queue's first takes"),
    pytest.param(EMPTY, queue(), "free", id="queue at a free address"),
    pytest.param(ACQUIRED, queue(), "acquired", id="queue behind a lease"),
    pytest.param(RELEASING, queue(), "releasing", id="queue behind a lease that ends"),
    pytest.param(ACQUIRED, Reenter(A2), "acquired", id="a retry of the holder"),
    pytest.param(ACQUIRED, Reenter(AGAIN), "acquired", id="another process of the same try"),
    pytest.param(ACTIVE, Reenter(A2), "active", id="a retry after the handover"),
    pytest.param(QUEUED, Reenter(B2), "active", id="a retry in the queue"),
    pytest.param(QUEUED, Prewarm(B), "active", id="the first in the queue starts its cluster"),
    pytest.param(TWO_QUEUED, Prewarm(C, depth=2), "active", id="the second, too, where two may"),
    pytest.param(WARMING, Prewarmed(B, "j-2"), "active", id="it names its cluster"),
    pytest.param(ACQUIRED, Bring(A, 1, "j-1"), "acquired", id="bring a cluster along from another queue"),
    pytest.param(ACQUIRED, Activate(A, 1, "j-1"), "active", id="hand over"),
    pytest.param(ACTIVE, Activate(A, 1, "j-9"), "active", id="hand over to another cluster"),
    pytest.param(ACQUIRED, Replace(A, 1, "j-1"), "acquired", id="give a cluster up that did not start"),
    pytest.param(GIVEN_UP, Replace(A, 1, "j-2"), "acquired", id="give the next one up"),
    pytest.param(GIVEN_UP, Reenter(A2), "acquired", id="a retry after that"),
    pytest.param(GIVEN_UP, Activate(A, 1, "j-2"), "active", id="hand over to the next one"),
    pytest.param(GIVEN_UP, StartRelease(1), "releasing", id="undo after that"),
    pytest.param(ACQUIRED, StartRelease(1), "releasing", id="undo"),
    pytest.param(ACTIVE, StartRelease(1), "releasing", id="release, first half"),
    pytest.param(ACQUIRED, Release(1, None, "done"), "free", id="undone"),
    pytest.param(ACTIVE, Release(1, "j-1", "done"), "free", id="torn down"),
    pytest.param(RELEASING, Release(1, "j-1", "done"), "free", id="release, second half"),
    pytest.param(ACTIVE, MOVE, "acquired", id="move the lease off a cluster"),
    pytest.param(TWO_QUEUED, Move(A2, 1, "j-1", "", 600.0), "acquired", id="its own, while others queue"),
    pytest.param(MOVED, Activate(B, 2, "j-2"), "active", id="hand over to the cluster that takes over"),
    pytest.param(MOVED, MoveBack(B, 2), "active", id="give the lease back"),
    pytest.param(MOVED, MoveBack(B2, 2), "active", id="a retry gives it back"),
    pytest.param(after(StartRelease(2), start=MOVED), MoveBack(B, 2), "active", id="give it back during the undo"),
    pytest.param(BACK, Move(B, 3, "j-1", "", 600.0), "acquired", id="move it again"),
    pytest.param(QUEUED, Leave(B), "active", id="leave the queue"),
    pytest.param(QUEUED, Leave(B2), "active", id="a retry leaves the queue"),
]
REFUSED = [
    pytest.param(GIVEN_UP, Activate(A, 1, "j-1"), "is being replaced", False, id="to hand over what was given up"),
    pytest.param(ACTIVE, Replace(A, 1, "j-1"), "the lease is active", False, id="to give up what was handed over"),
    pytest.param(RELEASING, Replace(A, 1, "j-1"), "the lease is releasing", False, id="to replace while it releases"),
    pytest.param(ACQUIRED, Replace(A, 2, "j-1"), "token 2 is not current", False, id="to replace under another token"),
    pytest.param(EMPTY, Replace(A, 1, "j-1"), "token 1 is not current", False, id="to replace without a lease"),
    pytest.param(
        after(Reenter(A2), start=ACQUIRED), Replace(A, 1, "j-1"), "try 2 acts for", True, id="an old try replaces"
    ),
    pytest.param(MOVED, Move(C, 1, "j-1", "", 600.0), "token 1 is not current", False, id="a second failover"),
    pytest.param(ACTIVE, MoveBack(A, 1), "no failover has the lease", False, id="to give back what was not moved"),
    pytest.param(MOVED, MoveBack(C, 2), "not of this owner", False, id="another owner gives it back"),
    pytest.param(MOVED, MoveBack(B, 1), "token 1 is not current", False, id="to give back under another token"),
    pytest.param(after(Reenter(B2), start=MOVED), MoveBack(B, 2), "try 2 acts", True, id="an old try gives it back"),
    pytest.param(
        after(Activate(B, 2, "j-2"), start=MOVED),
        MoveBack(B, 2),
        "the lease is active",
        False,
        id="after the hand-over",
    ),
    pytest.param(
        after(Activate(B, 2, "j-2"), StartRelease(2), start=MOVED),
        MoveBack(B, 2),
        "the lease is releasing",
        False,
        id="in the release after it",
    ),
    pytest.param(BACK, Activate(B, 2, "j-2"), "token 2 is not current", False, id="to hand over what was given back"),
    pytest.param(ACTIVE, Move(B, 1, "j-9", "", 600.0), "not of j-9", False, id="to move another cluster's lease"),
    pytest.param(RELEASING, MOVE, "the lease is releasing", False, id="to move what is being released"),
    pytest.param(
        after(Reenter(A2), start=ACTIVE), Move(A, 1, "j-1", "", 600.0), "try 2 acts for", True, id="an old try moves"
    ),
    pytest.param(QUEUED, MOVE, "this owner is in the queue", False, id="to move it while it queues"),
    pytest.param(EMPTY, MOVE, "token 1 is not current", False, id="to move nothing"),
    pytest.param(MOVED, Release(3, "j-1", "x"), "not current", False, id="to release what a failover will be given"),
    pytest.param(ACQUIRED, take(B), "leased to dag.a", False, id="two leases"),
    pytest.param(ACQUIRED, take(A2), "leased to dag.a", False, id="two leases of one owner"),
    pytest.param(FREE_QUEUED, take(C), "other owners are in the queue", False, id="to jump the queue"),
    pytest.param(FREE_QUEUED, take(B2), "acts for this owner", True, id="to take another attempt's place"),
    pytest.param(ACQUIRED, queue(A), "has the lease", False, id="to queue behind oneself"),
    pytest.param(QUEUED, queue(B2), "acts for this owner", True, id="to queue twice"),
    pytest.param(EMPTY, Reenter(A), "neither the lease nor a queue entry", False, id="to reenter from nowhere"),
    pytest.param(after(Reenter(A2), start=ACQUIRED), Reenter(A), "try 2 acts for", True, id="an old try of the holder"),
    pytest.param(after(Reenter(B2), start=QUEUED), Reenter(B), "try 2 acts for", True, id="an old try in the queue"),
    pytest.param(RELEASING, Reenter(A2), "releasing", False, id="to reenter a lease that is releasing"),
    pytest.param(FREE_QUEUED, Prewarm(B), "behind a lease", False, id="to prewarm with nobody before"),
    pytest.param(ACTIVE, Prewarm(B), "behind a lease", False, id="to prewarm outside the queue"),
    pytest.param(QUEUED, Prewarm(B2), "try 1 acts for", True, id="another attempt prewarms"),
    pytest.param(TWO_QUEUED, Prewarm(C), "only the first 1", False, id="to prewarm too far behind"),
    pytest.param(ACTIVE, Prewarmed(B, "j-2"), "is not in the queue", False, id="to name a cluster outside the queue"),
    pytest.param(WARMING, Prewarmed(B2, "j-2"), "try 1 acts for", True, id="another attempt names a cluster"),
    pytest.param(QUEUED, Prewarmed(B, "j-2"), "not announced", False, id="to prewarm unannounced"),
    pytest.param(EMPTY, Bring(A, 1, "j-1"), "not current", False, id="to bring a cluster along to nothing"),
    pytest.param(ACTIVE, Bring(A, 1, "j-2"), "is active, with j-1", False, id="to bring a second cluster along"),
    pytest.param(ACQUIRED, Bring(A2, 1, "j-1"), "try 1 acts for", True, id="another attempt brings a cluster along"),
    pytest.param(EMPTY, Activate(A, 1, "j-1"), "not current", False, id="to hand over nothing"),
    pytest.param(ACQUIRED, Activate(A, 2, "j-1"), "not current", False, id="to hand over another lease"),
    pytest.param(ACQUIRED, Activate(A2, 1, "j-1"), "try 1 acts for", True, id="another attempt hands over"),
    pytest.param(RELEASING, Activate(A, 1, "j-1"), "releasing", False, id="to hand over what is releasing"),
    pytest.param(ACQUIRED, StartRelease(2), "not current", False, id="to close another lease"),
    pytest.param(EMPTY, StartRelease(0), "not current", False, id="to close nothing"),
    pytest.param(ACQUIRED, Release(2, None, "x"), "not current", False, id="to release what was never issued"),
    pytest.param(QUEUED, Release(2, None, "x"), "not current", False, id="to release a place in the queue"),
    pytest.param(after(Reenter(B2), start=QUEUED), Leave(B), "try 2 acts for", True, id="an old try leaves"),
]


def test_each_row_of_the_table_is_shown_allowed_and_refused():
    rows = {row.event for row in TABLE}
    assert {type(case.values[1]) for case in ALLOWED} == rows
    assert {type(case.values[1]) for case in REFUSED} == rows


@pytest.mark.parametrize(("record", "event", "state"), ALLOWED)
def test_allowed(record, event, state):
    changed = step(record, event, LATER, LIMITS)
    assert isinstance(changed, Record)
    assert changed != record
    assert state_of(changed) == state
    assert step(changed, event, LATER, LIMITS) == changed, "once more changes nothing"


@pytest.mark.parametrize(("record", "event", "why", "superseded"), REFUSED)
def test_refused(record, event, why, superseded):
    refused = step(record, event, LATER, LIMITS)
    assert isinstance(refused, Refused)
    assert why in refused.why
    assert refused.superseded is superseded


@pytest.mark.parametrize("place", range(4))
def test_a_place_has_its_turn_at_one_moment_and_not_before(place):
    waiting = [attempt(name) for name in "bcde"]
    record = after(*map(queue, waiting), Release(1, None, "done"), start=ACTIVE)
    turn = record.free_since + place * LIMITS.grace
    assert turn_at(record, waiting[place].owner) == turn
    if place:
        early = step(record, take(waiting[place]), math.nextafter(turn, 0), LIMITS)
        assert isinstance(early, Refused)
        assert f"place {place}" in early.why
    taken = after(take(waiting[place]), start=record, now=turn)
    assert taken.lease
    assert taken.lease.token == 2 + place
    assert [entry.attempt for entry in taken.queue] == waiting[:place] + waiting[place + 1 :]
    assert [entry.passed for entry in taken.queue] == [1] * place + [0] * (3 - place)


def passed_over(times: int) -> Record:
    """Return a free record in which B was passed over so often, by as many owners that came later."""
    record = FREE_QUEUED
    for number in range(times):
        late = attempt(f"late{number}")
        record = after(queue(late), start=record)
        record = after(take(late), start=record, now=turn_at(record, late.owner))
        record = after(Release(record.lease.token, None, "done"), start=record)
    return record


@pytest.mark.parametrize("times", [0, 1, 2])
def test_an_entry_that_is_passed_over_keeps_its_place_and_has_twice_the_time_at_its_next_turn(times):
    record = after(queue(C), start=passed_over(times))
    assert [(entry.attempt, entry.passed) for entry in record.queue] == [(B, times), (C, 0)]
    assert turn_at(record, C.owner) == record.free_since + LIMITS.grace * 2**times
    early = step(record, take(C), math.nextafter(turn_at(record, C.owner), 0), LIMITS)
    assert isinstance(early, Refused)
    taken = after(take(B), start=record)
    assert (taken.lease.token, [entry.attempt for entry in taken.queue]) == (2, [C])


def test_after_its_last_turn_an_entry_that_is_passed_over_leaves():
    record = after(queue(C), start=passed_over(LIMITS.turns))
    taken = after(take(C), start=record, now=turn_at(record, C.owner))
    assert taken.place(B.owner) is None
    assert after(queue(B), start=taken).place(B.owner) == 0, "and may come again, as the last"


def queue_of(*passed: int) -> Record:
    """Return a free record whose queue has been passed over so often, the entries in order, with C behind them."""
    waiting = [attempt(f"w{number}") for number in range(len(passed))]
    record = after(*map(queue, (*waiting, C)), Release(1, None, "done"), start=ACTIVE)
    entries = (*map(lambda entry, times: replace(entry, passed=times), record.queue, passed), record.queue[-1])
    return replace(record, queue=entries)


def graces(record: Record) -> list[float]:
    """Return the windows of the queue's entries."""
    return [record.window(entry) / record.grace for entry in record.queue]


@pytest.mark.parametrize(
    ("passed", "windows"),
    [
        ((1,), [2]),
        ((3,), [8]),
        ((1, 1), [2, 2]),
        ((2, 1), [4, 2]),
        ((2, 2, 0), [4, 4, 1]),
        ((3, 3), [4, 4]),
        ((3, 1, 0), [6.4, 1.6, 1]),
    ],
)
def test_the_windows_of_all_that_were_passed_over_are_together_no_longer_than_the_longest_of_one(passed, windows):
    record = queue_of(*passed)
    assert graces(record) == pytest.approx([*windows, 1])
    assert turn_at(record, C.owner) == pytest.approx(record.free_since + sum(windows) * record.grace)


def test_fifty_entries_of_tasks_that_are_gone_cost_fifty_graces_once_and_then_eight_for_each_of_three_leases():
    limits = Limits(grace=60)
    gone = [attempt(f"gone{number}") for number in range(50)]
    record = after(*map(queue, gone), start=ACTIVE)
    cost, now = [], NOW
    for number in range(5):
        late = attempt(f"late{number}")
        record = after(queue(late), Release(record.lease.token, None, "done"), start=record, now=now)
        turn = turn_at(record, late.owner)
        cost.append((turn - now) / record.grace)
        if number < 4:
            assert isinstance(step(record, take(late), math.nextafter(turn, 0), limits), Refused)
        record, now = step(record, take(late), turn, limits), turn
    assert cost == pytest.approx([50, 8, 8, 8, 0])


def test_an_entry_that_is_passed_over_keeps_the_cluster_that_it_started_early():
    record = after(Prewarmed(B, "j-2"), queue(C), Release(1, None, "done"), start=WARMING)
    record = after(take(C), start=record, now=NOW + LIMITS.grace)
    assert record.possible_orphans == ()
    record = after(Release(3, None, "done"), take(B), start=record)
    assert (record.lease.token, record.lease.resource_id, record.lease.may_have_orphans) == (2, "j-2", False)


def test_the_grace_of_a_record_is_what_its_first_writer_has_configured_and_holds_until_nobody_is_left():
    other = replace(LIMITS, grace=10)
    assert EMPTY.grace == 60, "a record of the previous version names none, and had 60 built in"
    assert step(EMPTY, take(), NOW, other).grace == 10
    assert step(EMPTY, queue(), NOW, other).grace == 10
    leased = step(ACTIVE, queue(), NOW, other)
    assert leased.grace == LIMITS.grace, "the holder's holds"
    queued = step(FREE_QUEUED, queue(C), NOW, other)
    assert queued.grace == LIMITS.grace, "that of those who wait holds"
    assert turn_at(queued, C.owner) == queued.free_since + LIMITS.grace
    assert step(queued, take(B), NOW, other).grace == LIMITS.grace
    assert step(FREED, take(C), NOW, other).grace == 10


def test_who_does_not_queue_has_a_turn_only_where_nobody_does():
    assert turn_at(FREED, "z") == FREED.free_since
    assert turn_at(FREE_QUEUED, "z") is None


def test_a_lease_takes_over_what_its_queue_entry_had():
    warm = after(Prewarmed(B, "j-2"), Release(1, None, "done"), take(B), start=WARMING)
    assert warm.lease
    assert (warm.lease.token, warm.lease.resource_id, warm.lease.may_have_orphans) == (2, "j-2", False)
    assert (warm.lease.acquired_at, warm.lease.handover_by) == (NOW, NOW + 600)
    unnamed = after(Release(1, None, "done"), take(B), start=WARMING)
    assert unnamed.lease
    assert unnamed.lease.may_have_orphans, "it may have launched a cluster that is recorded nowhere"


def test_a_retry_makes_a_launch_doubtful_and_the_same_process_does_not():
    assert ACQUIRED.lease
    same = after(Reenter(A), start=ACQUIRED, now=LATER)
    assert same.lease == replace(ACQUIRED.lease, written_at=LATER, handover_by=LATER + 600)
    retried = after(Reenter(A2), start=ACQUIRED, now=LATER)
    assert retried.lease
    assert retried.lease.may_have_orphans
    assert retried.lease.token == ACQUIRED.lease.token
    assert after(Reenter(B2), start=QUEUED).queue[0].may_have_orphans


def test_who_leaves_after_its_last_turn_leaves_what_it_started_to_be_swept():
    record = after(queue(C), Release(1, None, "done"), start=WARMING)
    [entry, last] = record.queue
    record = replace(record, queue=(replace(entry, passed=LIMITS.turns), last))
    late = NOW + LIMITS.grace * 2**LIMITS.turns
    taken = after(take(C), start=record, now=late)
    assert taken.possible_orphans == (
        PossibleOrphan(2, B.owner, "daily", keep=None, until=late + LIMITS.surface, since=NOW),
    )


def test_who_leaves_leaves_what_it_started_to_be_swept():
    assert after(Leave(B), start=WARMING, now=LATER).possible_orphans == (
        PossibleOrphan(2, B.owner, "daily", keep=None, until=LATER + LIMITS.surface, since=NOW),
    )
    assert after(Leave(B), start=QUEUED).possible_orphans == ()
    assert step(EMPTY, Leave(A), NOW, LIMITS) == EMPTY


def test_a_doubtful_launch_is_suspected_until_it_can_surface_no_more():
    assert ACQUIRED.lease
    surfaced = ACQUIRED.lease.written_at + LIMITS.surface
    may_have_orphans = Release(1, None, "undone", may_have_orphans=True)
    before = after(may_have_orphans, start=ACQUIRED, now=math.nextafter(surfaced, 0))
    assert before.possible_orphans == (PossibleOrphan(1, A.owner, "daily", keep=None, until=surfaced, since=NOW),)
    assert after(may_have_orphans, start=ACQUIRED, now=surfaced).possible_orphans == ()
    assert after(take(B), start=before, now=surfaced).possible_orphans == (), "and forgotten then"
    assert after(take(B), start=before, now=math.nextafter(surfaced, 0)).possible_orphans == before.possible_orphans


def test_a_cluster_that_emr_did_not_know_when_it_was_to_be_terminated_is_left_to_the_sweeps():
    assert ACQUIRED.lease
    named = replace(ACQUIRED, lease=replace(ACQUIRED.lease, resource_id="j-1"))
    assert after(Release(1, None, "undone", may_have_orphans=True), start=named).possible_orphans[0].keep is None
    orphaned = replace(named, lease=replace(named.lease, may_have_orphans=True))
    assert after(Release(1, None, "released"), start=orphaned).possible_orphans[0].keep == "j-1"


def test_of_one_queue_no_more_start_early_than_may():
    first = after(Prewarm(B, depth=2), Prewarm(C, depth=2), queue(attempt("d")), start=TWO_QUEUED)
    left = after(Leave(B), start=first)
    assert isinstance(step(left, Prewarm(attempt("d"), depth=1), NOW, LIMITS), Refused)
    assert isinstance(after(Prewarm(attempt("d"), depth=2), start=left), Record)


def test_history_keeps_the_newest():
    record = EMPTY
    for number in range(1, 5):
        record = after(take(), Release(number, f"j-{number}", "done"), start=record)
    assert [(ended.token, ended.resource_id) for ended in record.history] == [(3, "j-3"), (4, "j-4")]
    assert record.free_since == NOW


def test_release_remembers_the_carrier_of_the_lease_when_it_brings_none():
    assert after(Release(1, None, "done"), start=ACTIVE).history[-1].resource_id == "j-1"
    assert ACTIVE.lease
    assert ACTIVE.lease.phase is Phase.ACTIVE


def test_a_row_that_breaks_the_table_is_a_bug_and_is_not_written(monkeypatch):
    row = next(row for row in TABLE if row.event is StartRelease)
    broken = replace(row, apply=lambda record, *_: replace(record, lease=None))
    monkeypatch.setattr("airflow_eip_provider.lease.transitions._ROWS", {StartRelease: broken})
    with pytest.raises(AssertionError, match="StartRelease leads from acquired to free"):
        step(ACQUIRED, StartRelease(1), NOW)


def test_a_cluster_that_was_given_up_is_known_to_every_attempt_until_another_is_handed_over():
    later = after(Reenter(A2), start=GIVEN_UP, now=LATER)
    assert later.lease is not None
    assert later.lease.is_given_up("j-1")
    assert not later.lease.is_given_up("j-2")
    assert later.lease.may_have_orphans, "the next cluster is named nowhere"
    handed = after(Activate(A2, 1, "j-2"), start=later, now=LATER)
    assert handed.lease is not None
    assert not handed.lease.to_be_terminated
    assert not handed.lease.is_given_up("j-2")


def test_giving_a_cluster_up_renews_the_time_to_launch_and_to_hand_over():
    given_up = after(Replace(A, 1, "j-1"), start=ACQUIRED, now=LATER)
    assert ACQUIRED.lease is not None
    assert given_up.lease is not None
    assert given_up.lease.written_at == LATER
    assert given_up.lease.handover_by - ACQUIRED.lease.handover_by == LATER - NOW
    assert after(Replace(A, 1, "j-1"), start=given_up, now=LATER + 100) == given_up, "once"


def test_a_lease_that_is_given_back_is_that_of_the_old_cluster_again():
    assert BACK.lease is not None
    assert (BACK.lease.token, BACK.lease.resource_id, BACK.issued) == (3, "j-1", 3)
    assert not BACK.has_moved_from("j-1")
    assert [ended.why.split()[0] for ended in BACK.history] == ["moved", "moved"]
    (orphan,) = BACK.possible_orphans
    assert (orphan.token, orphan.keep) == (2, None), "a cluster that the failover launched"


def test_a_series_of_failovers_is_still_known_after_the_last_one_was_given_back():
    again = MOVED
    for event in (Activate(B, 2, "j-2"), Move(C, 2, "j-2", "", 600.0), MoveBack(C, 3)):
        moved = step(again, event, NOW, replace(LIMITS, history=9))
        assert not isinstance(moved, Refused)
        again = moved
    assert again.has_moved_from("j-1")
    assert not again.has_moved_from("j-2")
