"""A file in which a worker logs its tries, as Airflow's database would; it survives a kill of the worker."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BEGUN, SUCCESS, FAILED = "begun", "success", "failed"
KILLED, KILLED_LATE_RETRY = "killed", "killed, late retry"


@dataclass(frozen=True, slots=True)
class TryEvent:
    """
    A change of state of one try, or the end of a run.

    :param time: simulated, seconds since the epoch.
    :param task: "" for the end of the run.
    :param what: one of the constants above.
    :param text: the task's result, or its error.
    :param final: whether no other try of this task follows.
    """

    time: float
    worker: str
    run: int
    task: str
    try_number: int
    what: str
    text: str = ""
    final: bool = False

    @property
    def run_id(self) -> str:
        return f"{self.worker}-{self.run:04}"


class TryLog:
    """An append-only file of events; each is written before the worker continues."""

    def __init__(self, path: Path) -> None:
        self.events = read(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def add(self, event: TryEvent) -> None:
        """Append an event with a single write."""
        os.write(self._file, (json.dumps(asdict(event)) + "\n").encode())
        self.events.append(event)

    def of(self, run: int, task: str) -> list[TryEvent]:
        """Return the events of one task of a run, oldest first."""
        return [event for event in self.events if (event.run, event.task) == (run, task)]

    def forget(self, run: int) -> None:
        """Drop the events of a finished run from memory; its end stays."""
        self.events = [event for event in self.events if event.run != run or not event.task]


def read(path: Path) -> list[TryEvent]:
    """Read a try log; return nothing if the file does not exist yet."""
    if not path.exists():
        return []
    return [TryEvent(**json.loads(line)) for line in path.read_text().splitlines()]
