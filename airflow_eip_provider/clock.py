"""
The clock of this package: all of it reads the time, and pauses, here.

It is the machine's. A test puts another one in its place with :func:`used`, for all threads of the process; nothing has
to be replaced in the modules that ask.
"""

from __future__ import annotations

import time as _system
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock(Protocol):
    """What tells the time and lets it pass; the module ``time`` is one."""

    def time(self) -> float:
        """Return the seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds of which only differences mean something, and which never go back."""

    def sleep(self, seconds: float, /) -> None:
        """Return after so many seconds."""


# The last one counts. No context variable: the threads of a pool and of the triggerer would not see it.
_clocks: list[Clock] = [_system]


def time() -> float:
    """Return the seconds since the epoch."""
    return _clocks[-1].time()


def now() -> datetime:
    """Return the same moment as a date in UTC."""
    return datetime.fromtimestamp(time(), timezone.utc)


def monotonic() -> float:
    """Return seconds of which only differences mean something, and which never go back."""
    return _clocks[-1].monotonic()


def sleep(seconds: float) -> None:
    """Return after so many seconds."""
    _clocks[-1].sleep(seconds)


@contextmanager
def used(clock: Clock) -> Iterator[None]:
    """Let the package use another clock for a block, in all threads; blocks may be in each other."""
    _clocks.append(clock)
    try:
        yield
    finally:
        _clocks.pop()
