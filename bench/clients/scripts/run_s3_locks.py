"""One owner with s3-locks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loguru import logger
from owner import run_owner
from s3_locks import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clock import Clock

_RETRIES = 1_000_000


@contextmanager
def lease_period(clock: Clock, plan: dict[str, Any]) -> Iterator[None]:
    """Acquire the lock with the client's own waiting."""
    logger.remove()
    main.time = clock
    with main.S3Lock(plan["location"], "address", ttl=plan["lease"], retries=_RETRIES, retry_interval=plan["poll"]):
        yield


run_owner(lease_period)
