"""Run the waits from stdin in one event loop until each has polled, and print what they cost."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import time
from collections import Counter
from pathlib import Path
from resource import getpagesize
from typing import Any

import structlog
from aiobotocore.client import AioClientCreator
from botocore.client import ClientCreator

from airflow_eip_provider.triggers import lock, watch
from airflow_eip_provider.triggers.eip import EipAssociationTrigger
from airflow_eip_provider.triggers.emr import EmrClusterTrigger
from airflow_eip_provider.triggers.lock import EipLeaseTrigger

_HOUR = 3600
_BLOCK_SECONDS = 0.005


def _wait(parameters: dict[str, Any], delay: float) -> watch.WatchTrigger:
    kinds = {"target": EmrClusterTrigger, "speaker": EipLeaseTrigger}
    cls = next((cls for name, cls in kinds.items() if name in parameters), EipAssociationTrigger)
    return cls(**parameters, waiter_delay=delay, deadline=time.time() + _HOUR, aws_conn_id=None)


def _main() -> None:
    lock.SHORTEST_POLL_SECONDS = 0
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    clients: Counter[str] = Counter()
    polls: Counter[int] = Counter()
    for creator in (ClientCreator, AioClientCreator):
        setattr(creator, "create_client", _counting(creator.create_client, clients))  # noqa: B010 - it is a method
    answered = watch._Polls.answered  # noqa: SLF001 - it is called after every poll of a wait

    def counted(self: Any, verdict: Any) -> None:
        polls[id(self._wait)] += 1
        answered(self, verdict)

    setattr(watch._Polls, "answered", counted)  # noqa: B010, SLF001
    plan = json.load(sys.stdin)
    waits = [_wait(parameters, plan["delay"]) for parameters in plan["waits"]]
    measured = asyncio.run(_run(waits, polls, plan["polls"]))
    sys.stdout.write(json.dumps({**measured, "clients": clients.total()}) + "\n")


def _counting(create: Any, clients: Counter[str]) -> Any:
    def create_client(self: Any, service_name: str, *args: Any, **options: Any) -> Any:
        clients[service_name] += 1
        return create(self, service_name, *args, **options)

    return create_client


async def _run(waits: list[Any], polls: Counter[int], most: int) -> dict[str, float]:
    longest = 0.0

    async def time_the_loop() -> None:
        nonlocal longest
        while True:
            before = time.perf_counter()
            await asyncio.sleep(_BLOCK_SECONDS)
            longest = max(longest, time.perf_counter() - before - _BLOCK_SECONDS)

    async def first(wait: Any) -> None:
        async for event in wait.run():
            raise RuntimeError(f"a wait ended: {event.payload}")

    async def all_have_polled(times: int) -> None:
        while len(polls) < len(waits) or min(polls.values()) < times:  # noqa: ASYNC110 - what other tasks do
            await asyncio.sleep(_BLOCK_SECONDS)

    memory, started, cpu = _memory(), time.perf_counter(), time.process_time()
    watching = asyncio.ensure_future(time_the_loop())
    tasks = [asyncio.ensure_future(first(wait)) for wait in waits]
    await all_have_polled(1)
    found = {"polled_after": time.perf_counter() - started, "cpu_seconds": time.process_time() - cpu}
    await all_have_polled(most)
    found |= {"memory_mb": (_memory() - memory) / 2**20, "longest_block": longest, "polls": polls.total() / len(waits)}
    for task in (*tasks, watching):
        task.cancel()
    await asyncio.gather(*tasks, watching, return_exceptions=True)
    return found


def _memory() -> int:
    return int(Path("/proc/self/statm").read_text("ascii").split()[1]) * getpagesize()


if __name__ == "__main__":
    _main()
