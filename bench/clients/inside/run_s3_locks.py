"""One owner with s3-locks."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from life import live
from loguru import logger
from s3_locks import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clock import Clock

_RETRIES = 1_000_000


@contextmanager
def lease_period(clock: Clock, plan: dict[str, Any]) -> Iterator[None]:
    """Wait as the client waits."""
    logger.remove()
    main.time = clock
    with main.S3Lock(plan["place"], "address", ttl=plan["lease"], retries=_RETRIES, retry_interval=plan["poll"]):
        yield


live(lease_period)
