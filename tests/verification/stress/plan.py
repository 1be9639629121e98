"""The size of a stress test, and which tries are killed in it; everything is derived from the seed."""

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
# Simulated seconds between two polls, by task. The provider's own minimum in the queue and for steps is 15.
POLL = {"create": 30, "steps": 15, "terminate": 120}
STEP_SECONDS = 10
# The delay of a late retry: so long that others may have ended its lease because its cluster has ended.
LATE_RETRY_DELAY = 4000.0
IDLE_SECONDS = 1800
_SINGLE_EVERY = 5

_KILL_RATE, _LATE_RETRY_RATE = 0.05, 0.003
_CALLS = {"create": 30, "steps": 9, "terminate": 10}  # the last call of a task before which a kill is planned


@dataclass(frozen=True, slots=True)
class Options:
    """
    The size of a run.

    :param processes: worker processes; each runs its lease periods one after the other.
    :param periods: lease periods for each process.
    :param store: "dynamodb" or "s3".
    :param time_scale: simulated seconds per real second.
    :param kills: number of SIGKILLs of worker processes.
    :param addresses: number of Elastic IPs; with several, most processes ask for any one of two of them.
    """

    processes: int
    periods: int
    seed: int
    store: str
    time_scale: float
    kills: int
    addresses: int = 1

    @property
    def durations(self) -> Durations:
        """How long the states of a cluster last."""
        # Clusters end slowly, so that most processes wait for the end of theirs, and the others queue. With several
        # addresses more of them queue, because the test is about the order of several queues.
        serving = 1 if self.addresses == 1 else 2 * self.addresses
        return Durations(
            fulfilment=1,
            instance_boot=4,
            starting=10,
            bootstrapping=5,
            terminating=45.0 * self.processes / serving,
            instance_shutdown=15,
            address_drop=5,
        )

    def poll(self, task: str) -> int:
        """Return the simulated seconds between two polls of a task; a poll of two addresses makes twice the calls."""
        return POLL[task] * (2 if task == "create" and self.addresses > 1 else 1)

    @property
    def total(self) -> int:
        """The number of all lease periods."""
        return self.processes * self.periods

    @property
    def lock_store(self) -> str:
        return "dynamodb://leases?create=true" if self.store == "dynamodb" else "s3://leases/eip"


@dataclass(frozen=True, slots=True)
class Job:
    """
    The parameters of a worker process.

    :param environment: the variables through which AWS clients find the local EMR.
    :param allocation_ids: of the run's addresses.
    :param zero: the simulated time at ``real_zero`` of the machine's monotonic clock.
    :param directory: for its try log and its log.
    """

    options: Options
    number: int
    environment: dict[str, str]
    allocation_ids: tuple[str, ...]
    directory: Path
    zero: float
    real_zero: float

    @property
    def worker(self) -> str:
        """The worker's name, which is in its run ids and in the user agent of its calls."""
        return f"w{self.number:02}"

    @property
    def allocation_id(self) -> str | list[str]:
        """
        The address that its tasks name, or two addresses, any one of which can be used.

        With several addresses, every fifth process asks for one and the others for two neighbours, so each queue has
        owners of several pools.
        """
        addresses = self.allocation_ids
        if len(addresses) == 1 or self.number % _SINGLE_EVERY == 0:
            return addresses[self.number // _SINGLE_EVERY % len(addresses)]
        return [addresses[number % len(addresses)] for number in (self.number, self.number + 1)]

    @property
    def try_log(self) -> Path:
        """The file of its tries."""
        return self.directory / f"{self.worker}.jsonl"


@dataclass(frozen=True, slots=True)
class PlannedKill:
    """
    A kill of a task's first try between two calls to AWS.

    :param call: number of calls that the try makes before it.
    :param late_retry: whether the retry comes after LATE_RETRY_DELAY.
    """

    task: str
    call: int
    late_retry: bool


def planned_kill(job: Job, run: int) -> PlannedKill | None:
    """Return which try of a run is killed; None for most runs."""
    rng = random.Random(f"{job.options.seed}/{job.worker}/{run}")
    drawn = rng.random()
    if drawn > _KILL_RATE + _LATE_RETRY_RATE:
        return None
    task = rng.choice(TASKS)
    return PlannedKill(task, rng.randint(1, _CALLS[task]), late_retry=drawn < _LATE_RETRY_RATE)
