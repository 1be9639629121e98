"""
One look for all: the waits for one address of one lock store share a poller in their triggerer.

However many wait, each tick makes one look. The poller lives in a task of its own that is never cancelled: cancelling
a coroutine inside a connection fetch ends the whole triggerer on Airflow 3.0.6 and 3.2.1 (apache/airflow#64620). It
stops by itself when nobody waits any more.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_eip_provider.calls import is_expired, is_transient, perform_async
from airflow_eip_provider.triggers.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Mapping

    from airflow_eip_provider.calls import Reading

T = TypeVar("T")

_pollers: dict[Hashable, Poller[Any]] = {}


class Poller(Generic[T]):
    """
    Look every so often, and hand what was seen to everyone who waits for it.

    No answer from AWS, to a look or while connecting, is handed to them too and costs one look; expired credentials are
    read anew once, before anybody is told; any other error is the last that they are handed.

    :param connect: connects to AWS: service name → client, closed with the stack.
    :param look: makes one look.
    :param delay: seconds between two looks that AWS answers.
    """

    def __init__(
        self,
        connect: Callable[[AsyncExitStack], Awaitable[Mapping[str, Any]]],
        look: Callable[[], Reading[T]],
        *,
        delay: float,
    ) -> None:
        self._connect = connect
        self._look = look
        self._delay = delay
        self._waiting = 0
        self._task: asyncio.Future[None] | None = None
        self._next: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    async def next(self) -> T:
        """
        Wait for the next look.

        :raises Exception: the one that the look ended with.
        """
        return await asyncio.shield(self._next)

    async def _run(self, key: Hashable) -> None:
        try:
            async with AsyncExitStack() as stack:
                clients, pause, renewed = None, Backoff(self._delay), False
                while True:
                    await asyncio.sleep(pause.seconds())
                    if not self._waiting:
                        return
                    try:
                        if clients is None:
                            clients = await self._connect(stack)
                        self._tell(await perform_async(self._look(), clients))
                        pause.answered()
                        renewed = False
                    except Exception as error:
                        if is_expired(error) and not renewed:
                            await stack.aclose()
                            clients, renewed = None, True
                            continue
                        if not is_transient(error):
                            raise
                        self._tell(error)
                        pause.missed()
        except Exception as error:
            self._tell(error)
        finally:
            if _pollers.get(key) is self:
                del _pollers[key]

    def _tell(self, seen: Any) -> None:
        told, self._next = self._next, asyncio.get_running_loop().create_future()
        if isinstance(seen, Exception):
            told.set_exception(seen)
            told.exception()  # nobody may be waiting right now
        else:
            told.set_result(seen)

    @classmethod
    @asynccontextmanager
    async def shared(cls, key: Hashable, make: Callable[[], Poller[T]]) -> AsyncIterator[Poller[T]]:
        """
        Join the poller of this key in the running event loop, or start it.

        :param key: everything that makes two waits look at the same.
        """
        key = (asyncio.get_running_loop(), key)
        poller = _pollers.get(key)
        if poller is None:
            poller = _pollers[key] = make()
        poller._waiting += 1  # noqa: SLF001 - of this very class
        if poller._task is None:  # noqa: SLF001
            poller._task = asyncio.ensure_future(poller._run(key))  # noqa: SLF001
        try:
            yield poller
        finally:
            poller._waiting -= 1  # noqa: SLF001
            if not poller._waiting and _pollers.get(key) is poller:  # noqa: SLF001
                del _pollers[key]  # it ends after its tick; who comes now starts another
