"""The triggerer's poller in simulated time: a pause between two ticks passes it on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_eip_provider.triggers.poller import Poller


def passing(pass_on: Callable[[float], Any]) -> Callable[[Poller, float | None], Awaitable[None]]:
    """
    Return what replaces ``Poller._pause``.

    :param pass_on: lets so many seconds pass; called in a thread.
    """

    async def pause(self: Poller, seconds: float | None) -> None:
        if self._ticks:
            await asyncio.wait(self._ticks)
        for _ in range(10):  # those that were told come again
            await asyncio.sleep(0)
        if self._changed.is_set():
            return
        if seconds is None:
            await self._changed.wait()
        else:
            await asyncio.to_thread(pass_on, max(1e-6, seconds))  # what clocks are exact to

    return pause
