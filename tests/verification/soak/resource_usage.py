"""Memory, file handles and threads of the triggerer over time."""

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

_INTERVAL_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Sample:
    """
    The sums over all processes of one triggerer at one time.

    :param pid: of its first process; differs from one triggerer to the next.
    :param time: real, monotonic.
    """

    pid: int
    time: float
    rss_mb: float
    handles: int
    threads: int


class ResourceMonitor:
    """Takes a sample every few seconds."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._due = 0.0

    def sample(self, pid: int) -> None:
        """Take a sample of a process and its children, if one is due."""
        now = time.monotonic()
        if now < self._due:
            return
        self._due = now + _INTERVAL_SECONDS
        rss = handles = threads = 0
        try:
            for process in family(pid):
                with process.oneshot():
                    rss += process.memory_info().rss
                    handles += process.num_fds()
                    threads += process.num_threads()
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return
        self.samples.append(Sample(pid, now, rss / 2**20, handles, threads))


@dataclass(frozen=True, slots=True)
class QuarterMedians:
    """
    The medians of a triggerer's samples in each quarter of its lifetime.

    :param minutes: its lifetime under load.
    :param samples: number of samples.
    """

    minutes: float
    samples: int
    rss_mb: tuple[float, ...]
    handles: tuple[float, ...]
    threads: tuple[float, ...]


def longest_lived(samples: Sequence[Sample]) -> list[Sample]:
    """Return the samples of the triggerer that ran longest."""
    by_pid: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        by_pid[sample.pid].append(sample)
    return max(by_pid.values(), key=lambda own: own[-1].time - own[0].time, default=[])


def quarter_medians(samples: Sequence[Sample]) -> QuarterMedians | None:
    """Return the medians of each quarter of one triggerer's lifetime; None when a quarter has no sample."""
    if not samples:
        return None
    begun, lasted = samples[0].time, samples[-1].time - samples[0].time
    parts: list[list[Sample]] = [[], [], [], []]
    for sample in samples:
        parts[min(3, int(4 * (sample.time - begun) / lasted)) if lasted else 0].append(sample)
    if not all(parts):
        return None
    return QuarterMedians(
        minutes=lasted / 60,
        samples=len(samples),
        rss_mb=tuple(median(sample.rss_mb for sample in part) for part in parts),
        handles=tuple(median(sample.handles for sample in part) for part in parts),
        threads=tuple(median(sample.threads for sample in part) for part in parts),
    )
