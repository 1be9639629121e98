"""One read whose result all concurrent requests share, also for some seconds after it."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_eip_provider import clock

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# How long a request waits for a read: when there is an earlier result to fall back to, and when there is none.
_PATIENCE_SECONDS = 2.0
_FIRST_SECONDS = 30.0


class SharedRead(Generic[T]):
    """
    Limits how often something is read, in a separate thread, however many requests there are.

    While a read is slow, requests get the last result. Otherwise a slow lock store would keep the few workers of
    Airflow 2's web server busy, and block all of Airflow's pages. In an event loop waiting holds no thread.

    :param seconds: the minimum time from the start of one read to the start of the next.
    :param late: returns what to show while a read is slow; its argument is the last result, or ``None``.
    :param patience: seconds to wait for a read, with an earlier result and without one.
    """

    def __init__(
        self,
        read: Callable[[], T],
        *,
        seconds: float,
        late: Callable[[T | None], T],
        patience: tuple[float, float] = (_PATIENCE_SECONDS, _FIRST_SECONDS),
    ) -> None:
        self._seconds = seconds
        self._read = read
        self._late = late
        self._patience = patience
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._future: Future[T] | None = None
        self._last: T | None = None
        self._began = 0.0

    def wait(self) -> T:
        """Return the current result; wait for it in this thread."""
        future, last = self._newest()
        try:
            return future.result(timeout=self._patience[last is None])
        except TimeoutError:
            return future.result() if future.done() else self._late(last)

    async def wait_in_loop(self) -> T:
        """Return the current result; wait for it in the event loop."""
        future, last = self._newest()
        result = asyncio.wrap_future(future)
        # Unlike "await result", this does not cancel the read when a viewer disconnects: others wait for it.
        await asyncio.wait({result}, timeout=self._patience[last is None])
        return result.result() if result.done() else self._late(last)

    def _newest(self) -> tuple[Future[T], T | None]:
        """Return the newest read and the last result before it; start a read if one is due."""
        with self._lock:
            now = clock.monotonic()
            if self._future is None or (self._future.done() and now - self._began >= self._seconds):
                if self._pool is None:  # created at the first use, because web servers fork
                    self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eip-page")
                if self._future is not None and self._future.exception() is None:
                    self._last = self._future.result()
                self._began = now
                self._future = self._pool.submit(self._read)
            return self._future, self._last
