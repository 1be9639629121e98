"""
The clock of this package: every module reads the time, and sleeps, with these functions.

They use the system clock. A test replaces it for all threads of the process with :func:`used`.
"""

from __future__ import annotations

import time as _system
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock(Protocol):
    """A clock; the module ``time`` is one."""

    def time(self) -> float:
        """Return the seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never go back; only their differences have a meaning."""

    def sleep(self, seconds: float, /) -> None:
        """Wait for some seconds."""


# The last one is used. Not a context variable: the threads of a pool and of the triggerer would not see it.
_clocks: list[Clock] = [_system]


def time() -> float:
    """Return the seconds since the epoch."""
    return _clocks[-1].time()


def now() -> datetime:
    """Return the present time in UTC."""
    return datetime.fromtimestamp(time(), timezone.utc)


def monotonic() -> float:
    """Return seconds that never go back; only their differences have a meaning."""
    return _clocks[-1].monotonic()


def sleep(seconds: float) -> None:
    """Wait for some seconds."""
    _clocks[-1].sleep(seconds)


@contextmanager
def used(clock: Clock) -> Iterator[None]:
    """Use another clock within a block, in all threads. Blocks may be nested."""
    _clocks.append(clock)
    try:
        yield
    finally:
        _clocks.pop()
