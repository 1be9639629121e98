"""One owner with python-dynamodb-lock and its default periods."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from owner import run_owner
from python_dynamodb_lock import python_dynamodb_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clock import Clock


class _AtOnce(Executor):
    """Runs callbacks on the calling thread, so that simulated time does not advance meanwhile."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Call it at once."""
        call(*arguments, **named)
        return Future()


@contextmanager
def lease_period(clock: Clock, plan: dict[str, Any]) -> Iterator[None]:
    """Acquire the lock with the client's own waiting, without its timeout."""
    python_dynamodb_lock.time = clock
    python_dynamodb_lock.threading = clock.threading
    client = python_dynamodb_lock.DynamoDBLockClient(
        boto3.resource("dynamodb", region_name=plan["region"]),
        table_name=plan["location"],
        app_callback_executor=_AtOnce(),
    )
    lock = client.acquire_lock(
        "address",
        retry_timeout=timedelta(days=1),
        app_callback=lambda code, _: clock.send(fact="loss noticed", code=code),
    )
    yield
    lock.release()


run_owner(lease_period)
