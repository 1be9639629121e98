"""One read for all who ask at the same time, and for some seconds after."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_eip_provider import clock

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# So long a web server's request waits for a read: with an earlier result, which it gets then, and without one.
_PATIENCE_SECONDS = 2.0
_FIRST_SECONDS = 30.0


class SharedRead(Generic[T]):
    """
    Reads at most once in so many seconds, in a thread of its own, whoever and however many ask.

    While a read takes long, who asks gets the last result: otherwise a lock store that is slow to answer would keep the
    few workers of Airflow 2's web server busy, and with them all of Airflow's pages. In an event loop waiting holds no
    thread.

    :param seconds: from the begin of one read to the begin of the next, at least; a read that takes longer goes on.
    :param late: makes what is shown then of the last result, ``None`` if there is none.
    :param patience: seconds to wait for a read, after an earlier result and without one.
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
        """Return the result that is or will be there; a thread waits for it."""
        future, last = self._newest()
        try:
            return future.result(timeout=self._patience[last is None])
        except TimeoutError:
            return future.result() if future.done() else self._late(last)

    async def wait_in_loop(self) -> T:
        """Return the result that is or will be there; an event loop waits for it."""
        future, last = self._newest()
        result = asyncio.wrap_future(future)
        # Unlike "await result", this cancels nothing when a viewer goes away: the others wait for the same.
        await asyncio.wait({result}, timeout=self._patience[last is None])
        return result.result() if result.done() else self._late(last)

    def _newest(self) -> tuple[Future[T], T | None]:
        """Return the read that is the newest one, and the last result before it; begin one if it is time."""
        with self._lock:
            now = clock.monotonic()
            if self._future is None or (self._future.done() and now - self._began >= self._seconds):
                if self._pool is None:  # not before the first use: web servers fork
                    self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="eip-page")
                if self._future is not None and self._future.exception() is None:
                    self._last = self._future.result()
                self._began = now
                self._future = self._pool.submit(self._read)
            return self._future, self._last
