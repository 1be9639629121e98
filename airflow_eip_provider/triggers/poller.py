"""
One poller for all waits of a triggerer that look through the same connection.

However many wait, they share one set of clients and one tick: what the waits that are due ask for is read by calls that
answer for all of them, see :mod:`~airflow_eip_provider.triggers.observed`. A wait gives its judgement and says when it
is due; the poller never decides anything.

Clients are made, and AWS is called, in threads that are never cancelled, by a task that is never cancelled either:
cancelling a coroutine inside a connection fetch ends the whole triggerer on Airflow 3.0.6 and 3.2.1
(apache/airflow#64620). The poller stops by itself when no wait is left.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from asgiref.sync import sync_to_async
from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.triggers.observed import Clients, Listing, Observed, Wants

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from airflow_eip_provider.triggers.connection import Connection
    from airflow_eip_provider.triggers.verdict import Verdict

# How many calls of AWS one poller makes at a time.
THREADS = 6
# A new wait looks through what its Airflow connection says now. Waits that come together cost one reading of it.
_CONTENT_COUNTS_SECONDS = 10.0

_pollers: dict[tuple[asyncio.AbstractEventLoop, Connection], Poller] = {}


class Wait(Protocol):
    """What is polled for."""

    def announce(self, wants: Wants) -> None:
        """Say what the judgement will ask for."""

    def judge(self, observed: Observed) -> Verdict:
        """Judge what is observed; called in a thread."""


@dataclass(slots=True, eq=False)
class _Seat:
    """
    A wait until its next judgement.

    :param due: when it is to be judged, by the monotonic clock.
    :param from_: from when on it may be judged together with others that are due.
    :param is_new: the wait has not been judged before.
    :param context: of the task that waits: what the judgement logs belongs to it.
    """

    wait: Wait
    due: float
    from_: float
    is_new: bool
    judged: asyncio.Future[Verdict]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def tell(self, found: Verdict | Exception) -> None:
        """Hand over what came of the judgement, unless the wait was cancelled meanwhile."""
        if self.judged.done():
            return
        if isinstance(found, Exception):
            self.judged.set_exception(found)
        else:
            self.judged.set_result(found)


class Poller:
    """
    Judge each wait when it is due, those together that can be.

    An error of one judgement is told to that wait alone. When AWS refuses what one asks for, as it does when the
    credentials have expired, the next tick has new clients; so it has when there is a new wait and the Airflow
    connection has changed.

    :ivar chance: random, from 0 to 1, and another with each tick; for pauses that are to end at the same time.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._members = 0
        self._seats: set[_Seat] = set()
        self._changed = asyncio.Event()
        self._ticks: set[asyncio.Task[None]] = set()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="eip-poller")
        self._clients = Clients(connection.client)
        self._content: object = None
        self._content_read_at = -math.inf
        self._listing = Listing()
        self._task: asyncio.Task[None] | None = None
        self.chance = 1.0

    @classmethod
    @asynccontextmanager
    async def joined(cls, connection: Connection) -> AsyncIterator[Poller]:
        """Join the poller of a connection in the running event loop, or start it; leave it at the end."""
        key = (asyncio.get_running_loop(), connection)
        poller = _pollers.get(key)
        if poller is None:
            poller = _pollers[key] = cls(connection)
        poller._members += 1
        if poller._task is None:
            # In a context of its own: what it logs belongs to none of its waits.
            poller._task = asyncio.create_task(poller._run(), context=contextvars.Context())
        try:
            yield poller
        finally:
            poller._members -= 1
            if not poller._members:
                del _pollers[key]  # it ends; who comes now starts another
                poller._changed.set()

    async def poll(self, wait: Wait, *, after: float, early: float = 0.0, is_new: bool = False) -> Verdict:
        """
        Wait until it is time, and return the judgement.

        :param after: in so many seconds.
        :param early: it may come so many seconds earlier, to be made together with others.
        :param is_new: the wait comes for the first time.
        :raises Exception: the one that the judgement ended with.
        """
        due = clock.monotonic() + after
        seat = _Seat(wait, due, due - early, is_new, asyncio.get_running_loop().create_future())
        self._seats.add(seat)
        self._changed.set()
        try:
            return await seat.judged
        finally:
            self._seats.discard(seat)

    async def _run(self) -> None:
        while self._members:
            self._changed.clear()
            now = clock.monotonic()
            if any(seat.due <= now for seat in self._seats):
                self._begin_tick([seat for seat in self._seats if seat.from_ <= now])
            next_due = min((seat.due for seat in self._seats), default=None)
            await self._pause(None if next_due is None else next_due - now)
        if self._ticks:
            await asyncio.wait(self._ticks)
        await self._in_thread(self._clients.close)
        self._threads.shutdown(wait=False)

    async def _pause(self, seconds: float | None) -> None:
        """Let time pass, but not when somebody comes or the last one goes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _begin_tick(self, seats: list[_Seat]) -> None:
        """Judge without waiting for the end: a call that AWS does not answer must not hold up the next tick."""
        self._seats.difference_update(seats)
        self.chance = random.random()  # noqa: S311 - not a secret
        tick = asyncio.create_task(self._tick(seats))
        self._ticks.add(tick)
        tick.add_done_callback(self._ticks.discard)

    async def _tick(self, seats: list[_Seat]) -> None:
        try:
            await self._judge_all(seats)
        except Exception as error:
            for seat in seats:  # nobody else would ever tell them
                seat.tell(error)

    async def _judge_all(self, seats: list[_Seat]) -> None:
        if any(seat.is_new for seat in seats) and clock.monotonic() - self._content_read_at >= _CONTENT_COUNTS_SECONDS:
            self._content_read_at = clock.monotonic()
            if await self._in_thread(self._has_changed):
                self._clients = Clients(self._connection.client)
        clients, wants = self._clients, Wants()
        for seat in seats:
            seat.wait.announce(wants)
        observed, queue = Observed(clients, wants=wants, listing=self._listing), iter(seats)
        threads = min(THREADS, len(seats))
        await asyncio.gather(*(self._in_thread(self._judge, queue, observed, clients) for _ in range(threads)))
        if clients is not self._clients:
            await self._in_thread(clients.close)

    def _has_changed(self) -> bool:
        try:
            content = self._connection.content()
        except Exception:
            return False
        before, self._content = self._content, content
        return content != before

    def _judge(self, queue: Iterator[_Seat], observed: Observed, clients: Clients) -> None:
        """Judge one wait after the other, in a thread; several threads share the queue."""
        for seat in queue:
            if seat.judged.done():
                continue
            try:
                found: Verdict | Exception = seat.context.run(seat.wait.judge, observed)
            except Exception as error:
                found = error
            seat.judged.get_loop().call_soon_threadsafe(self._tell, seat, found, clients)

    def _tell(self, seat: _Seat, found: Verdict | Exception, clients: Clients) -> None:
        if isinstance(found, Exception) and _is_refusal(found) and clients is self._clients:
            self._clients = Clients(self._connection.client)
        seat.tell(found)

    async def _in_thread(self, do: Any, *args: Any) -> Any:
        # asgiref's threads, because Airflow's own code for connections finds the event loop by them.
        return await sync_to_async(do, thread_sensitive=False, executor=self._threads)(*args)


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, ClientError) and not is_transient(error)
