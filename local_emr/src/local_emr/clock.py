"""Simulated time: advanced manually in tests, faster than real time elsewhere."""

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
    """A callback at a moment of simulated time.

    Timers are ordered by that moment, then by when they were set.
    """

    due: datetime
    number: int
    callback: Callable[[], None] = field(compare=False)
    name: str = field(compare=False)
    cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Cancel the timer; cancelling late or twice has no effect."""
        self.cancelled = True


class Clock(Protocol):
    """The time of the simulated AWS."""

    def now(self) -> datetime:
        """Return the simulated time, in UTC."""

    def call_later(self, seconds: float, callback: Callable[[], None], *, name: str) -> Timer:
        """Run a callback once, after a number of simulated seconds.

        :param name: The purpose of the timer, for a log.
        """


class RootClock(Clock, Protocol):
    """A clock that owns its timers."""

    def clear(self) -> None:
        """Drop every timer."""

    def close(self) -> None:
        """Stop permanently: no callback runs after this returns."""


class ManualClock:
    """A clock that a test advances; callbacks run in order, in the thread that advances it.

    :param start: The initial time; now by default.
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
        """Run a callback once the clock has been advanced that far."""
        with self._lock:
            timer = Timer(self._now + timedelta(seconds=seconds), next(self._numbers), callback, name)
            heapq.heappush(self._timers, timer)
            return timer

    def advance(self, seconds: float) -> None:
        """Advance the clock and run each due callback at exactly its own moment."""
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
    """A clock that runs at ``scale`` simulated seconds per real second; callbacks run on its own thread."""

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
        """Stop the thread, after a running callback has finished."""
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

    Callbacks set before a reset of the simulated AWS must not run after it, so each reset closes the guarded clock and
    makes a new one.

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
        """Cancel all callbacks."""
        self._closed = True
