"""One owner: it waits for the lock, works, and releases the lock."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_TICKS = 10  # the work is done in parts, because time in which the process is paused does not count as work


def run_owner(lease_period: Callable[[Clock, dict[str, Any]], AbstractContextManager[None]]) -> None:
    """
    Run the owner that the command line describes.

    :param lease_period: waits for the lock and holds it; takes the clock and the plan of the command line.
    """
    plan = json.loads(sys.argv[1])
    clock = Clock(epoch=plan["epoch"], now=plan["now"], skew=plan["skew"])
    with lease_period(clock, plan):
        clock.send(fact="acquired")
        for _ in range(_TICKS):
            clock.sleep(plan["work"] / _TICKS)
    clock.send(fact="released")
    os._exit(0)
