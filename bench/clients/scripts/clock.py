"""Simulated time in a child process: the parent advances it while all threads sleep."""

from __future__ import annotations

import heapq
import itertools
import json
import os
import sys
import threading
from types import SimpleNamespace
from typing import Any


class Clock:
    """
    Replaces the module ``time`` in a client's module, and ``threading`` through :attr:`threading`.

    :param epoch: the correct wall-clock time at which simulated time is 0.
    :param now: the simulated time.
    :param skew: the error of this process's wall clock.
    """

    def __init__(self, *, epoch: float, now: float, skew: float) -> None:
        self._epoch = epoch + skew
        self._now = now
        self._awake = 1
        self._numbers = itertools.count()
        self._sleepers: list[tuple[float, int, threading.Event]] = []
        self._lock = threading.Lock()
        self.threading = SimpleNamespace(Thread=self._thread, RLock=threading.RLock)
        threading.Thread(target=self._listen, daemon=True).start()

    def time(self) -> float:
        """Return the wall-clock time of this process, which may be wrong."""
        return self._epoch + self._now

    def monotonic(self) -> float:
        """Return the simulated time."""
        return self._now

    def sleep(self, seconds: float) -> None:
        """Sleep in simulated time."""
        woken = threading.Event()
        with self._lock:
            heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), woken))
            self._fall_asleep()
        woken.wait()

    def send(self, **message: Any) -> None:
        """Send a message to the parent, as one line of JSON."""
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    def _fall_asleep(self) -> None:
        """Count one active thread less; after the last one, send the parent the time at which the first wakes up."""
        self._awake -= 1
        if not self._awake:
            self.send(idle_until=self._sleepers[0][0])

    def _listen(self) -> None:
        """Set the time that the parent sends, and wake the threads that are due; exit when the parent has ended."""
        for line in sys.stdin:
            with self._lock:
                self._now = json.loads(line)["now"]
                while self._sleepers and self._sleepers[0][0] <= self._now:
                    self._awake += 1
                    heapq.heappop(self._sleepers)[2].set()
        os._exit(1)

    def _thread(self, *, name: str, target: Any) -> threading.Thread:
        """Return a thread that is counted while it works."""

        def counted() -> None:
            with self._lock:
                self._awake += 1
            started.set()
            target()
            with self._lock:
                self._fall_asleep()

        started = threading.Event()
        thread = threading.Thread(name=name, target=counted)
        start = thread.start

        def start_counted() -> None:
            start()
            started.wait()

        thread.start = start_counted  # type: ignore[method-assign]
        return thread
