"""One read for all who ask at the same time, and for some seconds after."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class SharedRead(Generic[T]):
    """
    Reads at most once in so many seconds, in a thread of its own, whoever and however many ask.

    Who asks gets a future: in an event loop waiting for it holds no thread, so a store that is slow to answer does not
    use up the threads of Airflow's API server.

    :param seconds: from the begin of one read to the begin of the next, at least; a read that takes longer goes on.
    """

    def __init__(self, read: Callable[[], T], *, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._future: Future[T] | None = None
        self._began = 0.0

    def get(self) -> Future[T]:
        """Return the result that is or will be there."""
        with self._lock:
            now = self._clock()
            if self._future is None or (self._future.done() and now - self._began >= self.seconds):
                if self._pool is None:  # not before the first use: web servers fork
                    self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eip-page")
                self._began = now
                self._future = self._pool.submit(self._read)
            return self._future
