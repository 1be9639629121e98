from __future__ import annotations

import threading

import pytest

from local_emr.clock import GuardedClock, ManualClock, ScaledClock


def test_a_manual_clock_does_not_move_until_advanced():
    clock = ManualClock()
    before = clock.now()
    assert clock.now() == before
    clock.advance(60)
    assert (clock.now() - before).total_seconds() == 60


def test_callbacks_run_in_order_each_at_its_own_moment():
    clock, seen = ManualClock(), []
    start = clock.now()
    for seconds in (30, 10, 20):
        clock.call_later(seconds, lambda: seen.append((clock.now() - start).total_seconds()), name="note")
    clock.advance(25)
    assert seen == [10, 20]
    clock.advance(5)
    assert seen == [10, 20, 30]


def test_what_a_callback_plans_happens_within_the_same_turn():
    clock, seen = ManualClock(), []
    clock.call_later(10, lambda: clock.call_later(10, lambda: seen.append("second"), name="b"), name="a")
    clock.advance(20)
    assert seen == ["second"]


def test_a_cancelled_timer_does_nothing():
    clock, seen = ManualClock(), []
    clock.call_later(10, lambda: seen.append("x"), name="x").cancel()
    clock.advance(10)
    assert seen == []


def test_time_does_not_run_backwards():
    with pytest.raises(ValueError, match="forwards only"):
        ManualClock().advance(-1)


def test_a_scaled_clock_runs_callbacks_by_itself_in_order():
    seen: list[str] = []
    done = threading.Event()
    with ScaledClock(10_000) as clock:
        clock.call_later(200, lambda: (seen.append("late"), done.set()), name="late")
        clock.call_later(100, lambda: seen.append("early"), name="early")
        assert done.wait(30)
    assert seen == ["early", "late"]


def test_a_scaled_clock_continues_after_a_callback_that_fails(caplog):
    done = threading.Event()

    def fail() -> None:
        raise RuntimeError("broken")

    with ScaledClock(10_000) as clock:
        clock.call_later(1, fail, name="breaks")
        clock.call_later(2, done.set, name="works")
        assert done.wait(30)
    assert "breaks" in caplog.text


def test_a_closed_clock_runs_nothing_more():
    clock, seen = ManualClock(), []
    guarded = GuardedClock(clock, threading.RLock())
    guarded.call_later(10, lambda: seen.append("x"), name="x")
    guarded.close()
    clock.advance(10)
    assert seen == []


def test_a_scale_must_be_positive():
    with pytest.raises(ValueError, match="positive"):
        ScaledClock(0)
