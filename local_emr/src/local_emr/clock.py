"""Simulated time: turned by hand in tests, running faster than real time elsewhere."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

log = logging.getLogger(__name__)


@dataclass(order=True)
class Timer:
    """One thing to do at a moment of simulated time.

    Timers order by that moment, and then by when they were set.
    """

    due: datetime
    number: int
    callback: Callable[[], None] = field(compare=False)
    name: str = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Drop the timer; too late or twice is harmless."""
        self.cancelled = True


class Clock(Protocol):
    """The time that the simulated AWS lives in."""

    def now(self) -> datetime:
        """Return the simulated time, in UTC."""

    def call_later(self, seconds: float, callback: Callable[[], None], *, name: str) -> Timer:
        """Run a callback once, that many simulated seconds from now.

        :param name: Says in a log what the timer is for.
        """


class RootClock(Clock, Protocol):
    """A clock that owns its timers."""

    def clear(self) -> None:
        """Drop every timer."""

    def close(self) -> None:
        """Stop for good: nothing that was planned happens after this returns."""


class ManualClock:
    """A clock that stands still until a test turns it; callbacks run in the turning thread, in order.

    :param start: The first moment; real time now by default.
    """

    def __init__(self, *, start: datetime | None = None) -> None:
        self._now = start or datetime.now(UTC)
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._lock = threading.RLock()

    def now(self) -> datetime:
        """Return the simulated time, in UTC."""
        with self._lock:
            return self._now

    def call_later(self, seconds: float, callback: Callable[[], None], *, name: str) -> Timer:
        """Run a callback once the clock has been turned that far."""
        with self._lock:
            timer = Timer(self._now + timedelta(seconds=seconds), next(self._numbers), callback, name)
            heapq.heappush(self._timers, timer)
            return timer

    def advance(self, seconds: float) -> None:
        """Turn the clock and run everything that falls due, each callback at exactly its own moment."""
        if seconds < 0:
            raise ValueError(f"advancing the clock by {seconds} s: time runs forwards only")
        with self._lock:
            end = self._now + timedelta(seconds=seconds)
        while (timer := self._next_due(end)) is not None:
            timer.callback()
        with self._lock:
            self._now = max(self._now, end)

    def _next_due(self, end: datetime) -> Timer | None:
        with self._lock:
            while self._timers and self._timers[0].due <= end:
                timer = heapq.heappop(self._timers)
                if not timer.cancelled:
                    self._now = max(self._now, timer.due)
                    return timer
        return None

    def clear(self) -> None:
        """Drop every timer."""
        with self._lock:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()

    def close(self) -> None:
        """Drop every timer; the clock can still be read."""
        self.clear()


class ScaledClock:
    """A clock that runs by itself, ``scale`` simulated seconds a real one; callbacks run on one thread of its own."""

    def __init__(self, scale: float = 1.0, *, start: datetime | None = None) -> None:
        if scale <= 0:
            raise ValueError(f"a time scale of {scale}: it must be positive")
        self.scale = scale
        self._zero = start or datetime.now(UTC)
        self._real_zero = time.monotonic()
        self._timers: list[Timer] = []
        self._numbers = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="local-aws-clock", daemon=True)
        self._thread.start()

    def now(self) -> datetime:
        """Return the simulated time, in UTC."""
        return self._zero + timedelta(seconds=(time.monotonic() - self._real_zero) * self.scale)

    def call_later(self, seconds: float, callback: Callable[[], None], *, name: str) -> Timer:
        """Run a callback after ``seconds / scale`` real seconds."""
        with self._wake:
            timer = Timer(self.now() + timedelta(seconds=seconds), next(self._numbers), callback, name)
            heapq.heappush(self._timers, timer)
            self._wake.notify()
            return timer

    def clear(self) -> None:
        """Drop every timer."""
        with self._wake:
            for timer in self._timers:
                timer.cancel()
            self._timers.clear()

    def close(self) -> None:
        """Stop the thread; a callback that runs now ends first."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        if threading.current_thread() is not self._thread:
            self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        while (timer := self._wait_for_next()) is not None:
            try:
                timer.callback()
            except Exception:
                log.exception("timer %r failed; the clock goes on", timer.name)

    def _wait_for_next(self) -> Timer | None:
        with self._wake:
            while not self._closed:
                if not self._timers:
                    self._wake.wait()
                    continue
                remaining = (self._timers[0].due - self.now()).total_seconds() / self.scale
                if remaining > 0:
                    self._wake.wait(remaining)
                    continue
                timer = heapq.heappop(self._timers)
                if not timer.cancelled:
                    return timer
        return None


class GuardedClock:
    """Runs callbacks of a clock under a lock, until it is closed.

    What one life of the simulated AWS planned must not happen in the next one, so each life has a guarded clock of
    its own, and a reset closes it.

    :param after: Called under the lock after each callback.
    """

    def __init__(
        self, clock: Clock, lock: AbstractContextManager[object], *, after: Callable[[], None] | None = None
    ) -> None:
        self._clock = clock
        self._lock = lock
        self._after = after
        self._closed = False

    def now(self) -> datetime:
        """Return the simulated time, in UTC."""
        return self._clock.now()

    def call_later(self, seconds: float, callback: Callable[[], None], *, name: str) -> Timer:
        """Run a callback once, under the lock."""

        def guarded() -> None:
            with self._lock:
                if not self._closed:
                    callback()
                    if self._after is not None:
                        self._after()

        return self._clock.call_later(seconds, guarded, name=name)

    def close(self) -> None:
        """Let nothing that was planned happen any more."""
        self._closed = True
