"""A replaced clock is used everywhere within a block. Ruff finds code that bypasses it: TID251 in pyproject.toml."""

from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.aws import lag
from harness.simulated_clock import SimulatedClock


class Shown:
    """A clock that sleeping advances."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.clock = SimulatedClock(lambda: self.seconds, self.sleep)

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def read() -> tuple[float, float, datetime]:
    return clock.time(), clock.monotonic(), clock.now()


def test_another_clock_counts_for_a_block_and_the_one_before_after_it():
    outer, inner = Shown(1000.0), Shown(5.0)
    with clock.used(outer.clock):
        with clock.used(inner.clock):
            clock.sleep(2.5)
            assert read() == (7.5, 7.5, datetime.fromtimestamp(7.5, UTC))
        clock.sleep(60)
        assert read() == (1060.0, 1060.0, datetime.fromtimestamp(1060, UTC))
    assert inner.seconds == 7.5
    assert clock.time() > 1_700_000_000


def test_an_error_ends_the_block():
    with pytest.raises(KeyError), clock.used(Shown(5.0).clock):
        raise KeyError
    assert clock.time() > 1_700_000_000


def test_a_thread_that_was_there_before_goes_by_it():
    begun, read_now, seen = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        read_now.wait(30)
        seen.append(clock.time())

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(30)
    with clock.used(Shown(5.0).clock):
        read_now.set()
        thread.join()
    assert seen == [5.0]


def test_what_waits_by_default_waits_by_it():
    shown = Shown(0.0)
    with clock.used(shown.clock):
        assert lag.until_shown(lambda: shown.seconds >= 25) is True
    assert shown.seconds == 30
