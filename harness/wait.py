"""Waits for a condition in real time."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr import LocalAws

T = TypeVar("T")

_MARGIN_SECONDS = 300.0


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


def wait_for_clusters_to_end(aws: LocalAws, seconds: float) -> None:
    """
    Wait until every cluster of a local EMR has ended.

    :param seconds: simulated seconds after which the idle timeout has ended clusters that no task terminates.
    """
    deadline = aws.clock.now() + timedelta(seconds=seconds + _MARGIN_SECONDS)
    while aws.clock.now() < deadline and any(cluster.ended is None for cluster in aws.emr.life.clusters):
        time.sleep(0.05)
