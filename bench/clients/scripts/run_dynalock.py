"""One owner with dynalock, which does not wait for a lock, so the owner retries."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from dynalock import DynaLock, LockAlreadyAcquiredError, dynalock
from owner import run_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clock import Clock


@contextmanager
def lease_period(clock: Clock, plan: dict[str, Any]) -> Iterator[None]:
    """Retry until the lock is acquired."""
    dynalock.time = clock
    lock = DynaLock(lock_id="address", region_name=plan["region"], table_name=plan["location"], ttl=int(plan["lease"]))
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(lock.lock())
                break
            except LockAlreadyAcquiredError:
                clock.sleep(plan["poll"])
        yield


run_owner(lease_period)
