"""One owner with python-dynamodb-lock, its periods as they come."""

from __future__ import annotations

from concurrent.futures import Executor, Future
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
from life import live
from python_dynamodb_lock import python_dynamodb_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from clock import Clock


class _AtOnce(Executor):
    """Runs the callbacks on the thread that finds a reason for them, so that simulated time waits for them."""

    def submit(self, call: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        """Call it."""
        call(*arguments, **named)
        return Future()


@contextmanager
def lease_period(clock: Clock, plan: dict[str, Any]) -> Iterator[None]:
    """Wait as the client waits, but for as long as it takes."""
    python_dynamodb_lock.time = clock
    python_dynamodb_lock.threading = clock.threading
    client = python_dynamodb_lock.DynamoDBLockClient(
        boto3.resource("dynamodb", region_name=plan["region"]),
        table_name=plan["place"],
        app_callback_executor=_AtOnce(),
    )
    lock = client.acquire_lock(
        "address", retry_timeout=timedelta(days=1), app_callback=lambda code, _: clock.tell(fact="told", code=code)
    )
    yield
    lock.release()


live(lease_period)
