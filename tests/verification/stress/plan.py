"""What a run consists of, and what is to go wrong in it; all of it follows from the seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_emr import Durations

if TYPE_CHECKING:
    from pathlib import Path

TASKS = ("create", "steps", "terminate")
MAX_TRIES = {"create": 30, "steps": 4, "terminate": 10}
RETRY_DELAY = 20.0
# Simulated seconds between two looks, by task; in the queue and for the steps the lock's own minimum is 15.
POLL = {"create": 30, "steps": 15, "terminate": 120}
STEP_SECONDS = 10
# An absent owner comes back after this: late enough for others to have ended its lease by fact.
ABSENT_SECONDS = 4000.0
IDLE_SECONDS = 1800

_VANISH, _ABSENT = 0.05, 0.003
_CALLS = {"create": 30, "steps": 9, "terminate": 10}  # about so many calls of a task are worth a kill between them


@dataclass(frozen=True, slots=True)
class Options:
    """
    The size of a run.

    :param processes: worker processes; each runs its lease periods one after the other.
    :param periods: lease periods for each process.
    :param store: "dynamodb" or "s3".
    :param time_scale: simulated seconds a real one.
    :param kills: how many times a worker process is killed by SIGKILL.
    """

    processes: int
    periods: int
    seed: int
    store: str
    time_scale: float
    kills: int

    @property
    def durations(self) -> Durations:
        """How long clusters take; they end so slowly that most processes wait for that, and the rest queue."""
        return Durations(
            fulfilment=1,
            instance_boot=4,
            starting=10,
            bootstrapping=5,
            terminating=45.0 * self.processes,
            instance_shutdown=15,
            address_drop=5,
        )

    @property
    def total(self) -> int:
        """All lease periods together."""
        return self.processes * self.periods

    @property
    def lock_store(self) -> str:
        """The URI of the lock store."""
        return "dynamodb://leases?create=true" if self.store == "dynamodb" else "s3://leases/eip"


@dataclass(frozen=True, slots=True)
class Job:
    """
    What a worker process is told.

    :param zero: the simulated time at ``real_zero`` of the machine's monotonic clock.
    :param directory: for its journal and its log.
    """

    options: Options
    number: int
    endpoint_url: str
    region: str
    allocation_id: str
    directory: Path
    zero: float
    real_zero: float

    @property
    def worker(self) -> str:
        """Its name, which is in its run ids and in the user agent of its calls."""
        return f"w{self.number:02}"

    @property
    def journal(self) -> Path:
        """Where it notes its tries."""
        return self.directory / f"{self.worker}.jsonl"


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    The end of a task's first try, between two calls to AWS.

    :param absent: whether the retry comes late.
    :param call: how many calls the try makes before.
    """

    task: str
    call: int
    absent: bool


def trouble(job: Job, run: int) -> Trouble | None:
    """Return what happens to a run of this worker, if anything does."""
    dice = random.Random(f"{job.options.seed}/{job.worker}/{run}")
    thrown = dice.random()
    if thrown > _VANISH + _ABSENT:
        return None
    task = dice.choice(TASKS)
    return Trouble(task, dice.randint(1, _CALLS[task]), absent=thrown < _ABSENT)
