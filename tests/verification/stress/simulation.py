"""
Simulates many owners at one lock store: the real functions of the lease protocol, in one process and simulated time.

A simulated process is a generator that yields the seconds for which it does nothing. Calls of the store and of AWS take
time, so other processes act between a read and the write that depends on it, as they do in reality.
"""

from __future__ import annotations

import heapq
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.record import LIMITS, Attempt, Limits, Record
from airflow_eip_provider.lease.store import Conflict, Snapshot
from airflow_eip_provider.lease.world import AddressLocation, Resource
from airflow_eip_provider.lease_client.client import pause_seconds
from tests.verification.model.replay import PausingReplay, run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Process = Generator[float, None, Any]

# A call of DynamoDB takes about ten milliseconds; a worker needs some more between two calls.
_CALL_SECONDS = (0.005, 0.03)
_MAX_CONFLICTS = 12

NEW_LIMITS = LIMITS
# Version 0.1.0: an owner that was passed over left the queue, and the grace was a minute.
OLD_LIMITS = replace(LIMITS, grace=60.0, turns=0)


class GaveUpError(Exception):
    """A task of version 0.1.0 gave up after twelve conflicting writes in a row."""


class Simulation:
    """
    One address: its record, the simulated processes, and the time.

    :param pauses: whether a task pauses after a conflict; without, as in version 0.1.0, it gives up after twelve.
    """

    def __init__(self, seed: int, *, limits: Limits = NEW_LIMITS, pauses: bool = True) -> None:
        self.random = Random(seed)
        self.limits = limits
        self.now = 1_800_000_000.0
        self.record, self.version = Record(), 0
        self.writes: Counter[str] = Counter()
        self._pauses = pauses
        self._queue: list[tuple[float, int, Process]] = []
        self._started = 0

    def start(self, process: Process, *, after: float = 0.0) -> None:
        self._started += 1
        heapq.heappush(self._queue, (self.now + after, self._started, process))

    def run(self) -> None:
        """Run until every process has ended."""
        while self._queue:
            self.now, _, process = heapq.heappop(self._queue)
            with suppress(StopIteration):
                self.start(process, after=next(process))

    def call(self, who: str, function: Callable[..., Any], *args: Any, **options: Any) -> Process:
        """
        Call a function of the lease protocol, with simulated time between its requests, and return its result.

        :param who: the owner for which writes are counted.
        :param function: takes a world, and the arguments.
        :raises GaveUpError: without pauses, after twelve conflicting writes in a row.
        """
        conflicts, answers = 0, ()
        while True:
            request, result = run(lambda world: function(world, *args, **options), PausingReplay(answers))
            if request is None:
                return result
            if request.method == "pause":
                conflicts += 1
                if not self._pauses and conflicts >= _MAX_CONFLICTS:
                    raise GaveUpError
                yield pause_seconds(conflicts - 1, self.random.random()) if self._pauses else 0.0
                answer = None
            else:
                yield self.random.uniform(*_CALL_SECONDS)
                answer = self._answer(who, request)
                yield self.random.uniform(*_CALL_SECONDS)
            answers = (*answers, answer)

    def seen(self) -> Snapshot:
        """Return the current record."""
        return Snapshot(self.record, str(self.version) if self.version else None, float(int(self.now)))

    def _answer(self, who: str, request: Any) -> Any:
        if request.method == "write_record":
            record, version, _ = request.arguments
            self.writes[who] += 1
            if version != self.seen().version:
                return Conflict(self.seen())
            self.record, self.version = record, self.version + 1
            return self.seen()
        return _READS[request.method](self, *request.arguments)


_READS: dict[str, Any] = {
    "read_record": lambda simulation: simulation.seen(),
    "read_location": lambda _: AddressLocation(),
    "read_resource": lambda _, resource_id: Resource(resource_id, "live"),
    "find_clusters": lambda *_: (),
    "active_steps": lambda *_: (),
}


def attempt(name: str) -> Attempt:
    """Return the first attempt of an owner of this name."""
    return Attempt(name, f"test/{name}/scheduled__2026-11-28T00:00:00+00:00/create/-1", 1, f"{name}-1")
