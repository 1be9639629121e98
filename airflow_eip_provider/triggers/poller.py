"""
One poller for all waits of a triggerer on the same connection.

All waits share one set of clients and one tick: the reads of all waits that are due are combined into as few calls as
possible, see :mod:`~airflow_eip_provider.triggers.observed`. Each wait judges the result; the poller decides nothing.

Clients are created, and AWS is called, in threads and by a task that are never cancelled: cancelling a coroutine inside
a connection fetch ends the whole triggerer on Airflow 3.0.6 and 3.2.1 (apache/airflow#64620). The poller stops when no
wait is left.
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

# The number of calls to AWS that one poller makes at a time.
THREADS = 6
# A new wait uses the current content of its Airflow connection. Waits that begin together read it once.
_CONTENT_KNOWN_SECONDS = 10.0

_pollers: dict[tuple[asyncio.AbstractEventLoop, Connection], Poller] = {}


class Wait(Protocol):
    """What a poller needs of a wait; see :class:`~airflow_eip_provider.triggers.watch.WatchTrigger`."""

    def announce(self, wants: Wants) -> None:
        """Add what :meth:`judge` will read."""

    def judge(self, observed: Observed) -> Verdict:
        """Return the verdict; called in a thread."""


@dataclass(slots=True, eq=False)
class _Poll:
    """
    The next poll of one wait.

    :param due: when it is due, by the monotonic clock.
    :param earliest: when it may be made together with others that are due.
    :param is_new: it is the first poll of the wait.
    :param context: the context of the waiting task; ``judge`` logs in it.
    """

    wait: Wait
    due: float
    earliest: float
    is_new: bool
    verdict: asyncio.Future[Verdict]
    context: contextvars.Context = field(default_factory=contextvars.copy_context)

    def end(self, result: Verdict | Exception) -> None:
        """Set the result, unless the wait was cancelled meanwhile."""
        if self.verdict.done():
            return
        if isinstance(result, Exception):
            self.verdict.set_exception(result)
        else:
            self.verdict.set_result(result)


class Poller:
    """
    Makes the polls of all waits on one connection when they are due, together where possible.

    An error of ``judge`` is raised in that wait alone. The next tick has new clients after AWS has refused a request,
    for example because the credentials have expired, and when a new wait finds that the Airflow connection has changed.

    :ivar chance: random, from 0 to 1, new at each tick; for pauses that are to end at the same time.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._members = 0
        self._polls: set[_Poll] = set()
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
        """Use the poller of a connection in the running event loop; the first user starts it, the last one stops it."""
        key = (asyncio.get_running_loop(), connection)
        poller = _pollers.get(key)
        if poller is None:
            poller = _pollers[key] = cls(connection)
        poller._members += 1
        if poller._task is None:
            # In an empty context: its log lines belong to none of its waits.
            poller._task = asyncio.create_task(poller._run(), context=contextvars.Context())
        try:
            yield poller
        finally:
            poller._members -= 1
            if not poller._members:
                del _pollers[key]  # it ends; the next user starts another one
                poller._changed.set()

    async def poll(self, wait: Wait, *, after: float, early: float = 0.0, is_new: bool = False) -> Verdict:
        """
        Return the verdict of a wait once its poll is due.

        :param after: in how many seconds it is due.
        :param early: how many seconds earlier it may be made together with others.
        :param is_new: it is the first poll of the wait.
        :raises Exception: the error of ``judge``.
        """
        due = clock.monotonic() + after
        poll = _Poll(wait, due, due - early, is_new, asyncio.get_running_loop().create_future())
        self._polls.add(poll)
        self._changed.set()
        try:
            return await poll.verdict
        finally:
            self._polls.discard(poll)

    async def _run(self) -> None:
        while self._members:
            self._changed.clear()
            now = clock.monotonic()
            if any(poll.due <= now for poll in self._polls):
                self._begin_tick([poll for poll in self._polls if poll.earliest <= now])
            next_due = min((poll.due for poll in self._polls), default=None)
            await self._pause(None if next_due is None else next_due - now)
        if self._ticks:
            await asyncio.wait(self._ticks)
        await self._in_thread(self._clients.close)
        self._threads.shutdown(wait=False)

    async def _pause(self, seconds: float | None) -> None:
        """Pause until a wait joins or the last one leaves, at most for this time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _begin_tick(self, polls: list[_Poll]) -> None:
        """Start the polls in a task: a call that AWS does not answer must not delay the next tick."""
        self._polls.difference_update(polls)
        self.chance = random.random()  # noqa: S311 - not a secret
        tick = asyncio.create_task(self._tick(polls))
        self._ticks.add(tick)
        tick.add_done_callback(self._ticks.discard)

    async def _tick(self, polls: list[_Poll]) -> None:
        try:
            await self._judge_all(polls)
        except Exception as error:
            for poll in polls:
                poll.end(error)

    async def _judge_all(self, polls: list[_Poll]) -> None:
        if any(poll.is_new for poll in polls) and clock.monotonic() - self._content_read_at >= _CONTENT_KNOWN_SECONDS:
            self._content_read_at = clock.monotonic()
            if await self._in_thread(self._has_changed):
                self._clients = Clients(self._connection.client)
        clients, wants = self._clients, Wants()
        for poll in polls:
            try:
                poll.wait.announce(wants)
            except Exception as error:
                poll.end(error)  # of this wait alone
        observed, queue = Observed(clients, wants=wants, listing=self._listing), iter(polls)
        threads = min(THREADS, len(polls))
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

    def _judge(self, queue: Iterator[_Poll], observed: Observed, clients: Clients) -> None:
        """Judge one wait after the other, in a thread; several threads share the queue."""
        for poll in queue:
            if poll.verdict.done():
                continue
            try:
                result: Verdict | Exception = poll.context.run(poll.wait.judge, observed)
            except Exception as error:
                result = error
            poll.verdict.get_loop().call_soon_threadsafe(self._end, poll, result, clients)

    def _end(self, poll: _Poll, result: Verdict | Exception, clients: Clients) -> None:
        is_refused = isinstance(result, ClientError) and not is_transient(result)
        if is_refused and clients is self._clients:
            self._clients = Clients(self._connection.client)
        poll.end(result)

    async def _in_thread(self, do: Any, *args: Any) -> Any:
        # In asgiref's threads: Airflow's code for connections finds the event loop through them.
        return await sync_to_async(do, thread_sensitive=False, executor=self._threads)(*args)
