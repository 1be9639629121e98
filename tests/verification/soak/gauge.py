"""Memory and file handles of the triggerer, for as long as one lives."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import psutil

from harness.processes import family

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVERY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What the processes of one triggerer had at a moment, all together.

    :param pid: of its first process; tells one triggerer from the next.
    :param time: real, monotonic.
    """

    pid: int
    time: float
    rss_mb: float
    handles: int
    threads: int


class Gauge:
    """Reads every few seconds."""

    def __init__(self) -> None:
        self.readings: list[Reading] = []
        self._due = 0.0

    def read(self, pid: int) -> None:
        """Take a reading, if it is time."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _EVERY_SECONDS
        rss = handles = threads = 0
        try:
            for process in family(pid):
                with process.oneshot():
                    rss += process.memory_info().rss
                    handles += process.num_fds()
                    threads += process.num_threads()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
        self.readings.append(Reading(pid, now, rss / 2**20, handles, threads))


@dataclass(frozen=True, slots=True)
class Quarters:
    """
    The medians of a triggerer's life, by quarter.

    :param minutes: how long it lived, under load.
    """

    minutes: float
    readings: int
    rss_mb: tuple[float, ...]
    handles: tuple[float, ...]
    threads: tuple[float, ...]


def longest_life(readings: Sequence[Reading]) -> list[Reading]:
    """Return the readings of the triggerer that lived longest."""
    lives: dict[int, list[Reading]] = defaultdict(list)
    for reading in readings:
        lives[reading.pid].append(reading)
    return max(lives.values(), key=lambda life: life[-1].time - life[0].time, default=[])


def quarters(life: Sequence[Reading]) -> Quarters | None:
    """Return the medians of each quarter of a life; None when a quarter has no reading."""
    if not life:
        return None
    begun, lasted = life[0].time, life[-1].time - life[0].time
    parts: list[list[Reading]] = [[], [], [], []]
    for reading in life:
        parts[min(3, int(4 * (reading.time - begun) / lasted)) if lasted else 0].append(reading)
    if not all(parts):
        return None
    return Quarters(
        minutes=lasted / 60,
        readings=len(life),
        rss_mb=tuple(median(reading.rss_mb for reading in part) for part in parts),
        handles=tuple(median(reading.handles for reading in part) for part in parts),
        threads=tuple(median(reading.threads for reading in part) for part in parts),
    )
