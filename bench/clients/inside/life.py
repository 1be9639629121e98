"""The life of one owner: it comes, waits for the lock, works, and lets the lock go."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from clock import Clock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

_TICKS = 10  # work is lost while a process is stopped, so it is done in pieces


def live(lease_period: Callable[[Clock, dict[str, Any]], AbstractContextManager[None]]) -> None:
    """
    Live through what the command line says.

    :param lease_period: waits for the lock and holds it; told the clock and what the command line says.
    """
    plan = json.loads(sys.argv[1])
    clock = Clock(epoch=plan["epoch"], now=plan["now"], skew=plan["skew"])
    with lease_period(clock, plan):
        clock.tell(fact="acquired")
        for _ in range(_TICKS):
            clock.sleep(plan["work"] / _TICKS)
    clock.tell(fact="released")
    os._exit(0)
