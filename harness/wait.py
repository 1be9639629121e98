"""Waits for a condition in real time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def wait_for(
    condition: Callable[[], T], *, seconds: float, error: Callable[[], Exception], pause_seconds: float = 0.5
) -> T:
    """
    Poll a condition until its value is true, and return that value.

    :param error: makes the exception that is raised when the time is over.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise error()
        time.sleep(pause_seconds)
    return value
