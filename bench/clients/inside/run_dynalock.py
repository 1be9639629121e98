"""One owner with dynalock. It does not wait by itself, so its caller tries again."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dynalock import DynaLock, LockAlreadyAcquiredError, dynalock
from life import live

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clock import Clock


@contextmanager
def lease_period(clock: Clock, plan: dict[str, Any]) -> Iterator[None]:
    """Try until the lock is had."""
    dynalock.time = clock
    lock = DynaLock(lock_id="address", region_name=plan["region"], table_name=plan["place"], ttl=int(plan["lease"]))
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock.lock())
                break
            except LockAlreadyAcquiredError:
                clock.sleep(plan["poll"])
        yield


live(lease_period)
