"""Runs the triggerer's poller in simulated time: a pause between two ticks advances the clock."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from airflow_eip_provider.triggers.poller import Poller


def passing(advance: Callable[[float], Any]) -> Callable[[Poller, float | None], Awaitable[None]]:
    """
    Return a replacement of ``Poller._pause``.

    :param advance: advances the clock by a number of seconds; called in a thread.
    """

    async def pause(self: Poller, seconds: float | None) -> None:
        if self._ticks:
            await asyncio.wait(self._ticks)
        for _ in range(10):  # so that the triggers that were answered can register again
            await asyncio.sleep(0)
        if self._changed.is_set():
            return
        if seconds is None:
            await self._changed.wait()
        else:
            await asyncio.to_thread(advance, max(1e-6, seconds))  # the resolution of the clocks

    return pause
