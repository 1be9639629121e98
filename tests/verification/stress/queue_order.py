"""Checks that the queue was served in its order."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.judge import Check
from tests.verification.stress.log_reader import (
    calls_of_workers,
    record_reads,
    refused_writes,
    seconds,
    worker_of_owner,
)
from tests.verification.stress.try_log import SUCCESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.judge import Event
    from tests.verification.stress.log_reader import RecordVersion
    from tests.verification.stress.try_log import TryEvent

DEFAULT_GRACE = 60.0  # of a record that does not name its grace
MOST_PASSED_GRACES = 8.0  # upper bound of the windows, in graces, of all entries that were passed over, together
TIME_TO_ACT = 60.0  # simulated seconds within which a live worker acts on what it has read
TIME_TO_ACT_IN_POOL = 120.0  # it reads and writes the records of two addresses


def windows(record: dict[str, Any], places: int) -> float:
    """Return for how many seconds a free address is reserved for the first ``places`` entries of the queue."""
    passed = [entry.get("passed", 0) for entry in record["queue"]]
    factor = min(1.0, MOST_PASSED_GRACES / max(sum(2**times for times in passed if times), 1))
    graces = sum(2**times * factor if times else 1 for times in passed[:places])
    return float(record.get("grace", DEFAULT_GRACE) * graces)


class WorkerActivity:
    """
    The times at which each worker read the record or had a write refused, and its tries began, failed or were killed.

    :param allocation_id: of the record's address; needed if there are several.
    """

    def __init__(
        self, events: Sequence[Event], try_events: Iterable[TryEvent], *, allocation_id: str | None = None
    ) -> None:
        self._reads: dict[str, list[float]] = defaultdict(list)
        self._refused: dict[str, list[float]] = defaultdict(list)
        self._interruptions: dict[str, list[float]] = defaultdict(list)
        for read in record_reads(events, allocation_id):
            self._reads[read.worker].append(read.time)
        self._calls = calls_of_workers(events)
        for refused in refused_writes(events, allocation_id):
            self._refused[refused.worker].append(refused.time)
        for event in events:
            if event["kind"] == "kill":
                self._interruptions[event["worker"]].append(seconds(event))
        for try_event in try_events:
            if try_event.task and try_event.what != SUCCESS:
                self._interruptions[try_event.worker].append(try_event.time)
        for times in self._interruptions.values():
            times.sort()

    def last_read(self, worker: str | None, *, before: float) -> float:
        """Return when a worker last read the record; ``before`` if it never did."""
        times = self._reads.get(worker or "", [])
        place = bisect_right(times, before)
        return times[place - 1] if place else before

    def first_read(self, worker: str, *, since: float, until: float) -> float | None:
        """Return when a worker first read the record between two times."""
        times = self._reads.get(worker, [])
        place = bisect_left(times, since)
        return times[place] if place < len(times) and times[place] <= until else None

    def was_interrupted(self, worker: str, *, since: float, until: float) -> bool:
        """Whether a try of the worker began, failed or was killed between two times."""
        return _has_time(self._interruptions.get(worker, []), since, until)

    def write_refused(self, worker: str, *, since: float, until: float) -> bool:
        """Whether a write of the worker was refused between two times because another one was faster."""
        return _has_time(self._refused.get(worker, []), since, until)

    def longest_pause(self, worker: str, *, since: float, until: float) -> float:
        """Return the longest time without any call of a worker between two times."""
        times = self._calls.get(worker, [])
        made = times[bisect_left(times, since) : bisect_right(times, until)]
        return max(after - before for before, after in pairwise([since, *made, until]))


def _has_time(times: list[float], since: float, until: float) -> bool:
    place = bisect_left(times, since)
    return place < len(times) and times[place] <= until


class Leases:
    """
    The periods in which each owner had the lease of an address.

    :param writes: of all records.
    """

    def __init__(self, writes: Iterable[RecordVersion]) -> None:
        self._held: dict[str, list[tuple[int, int, str | None]]] = defaultdict(list)
        since: dict[str | None, tuple[int, str]] = {}
        for write in sorted(writes, key=lambda write: write.seq):
            before, owner = since.get(write.allocation_id), write.lease and write.lease["speaker"]["name"]
            if before is not None and before[1] != owner:
                self._held[before[1]].append((before[0], write.seq, write.allocation_id))
                del since[write.allocation_id]
            if owner is not None and write.allocation_id not in since:
                since[write.allocation_id] = (write.seq, owner)
        for allocation_id, (seq, owner) in since.items():
            self._held[owner].append((seq, sys.maxsize, allocation_id))

    def has_another(self, owner: str, *, than: str | None, at: int) -> bool:
        """Whether an owner had the lease of another address than this one at an event of the log."""
        return any(since <= at < until for since, until, there in self._held[owner] if there != than)


def served_in_order(
    writes: Sequence[RecordVersion], activity: WorkerActivity, *, poll: float, leases: Leases | None = None
) -> Check:
    """
    Check that the queue was served in its order, within the windows of its entries.

    An *acquisition* is a write that gives the lease to a new token. Its *pairs* are the acquirer and each owner that
    was in the queue just before the write. A pair is in order if the acquirer has the smaller token. Otherwise the
    acquirer has overtaken. It is always a problem to acquire a lease that is held; overtaking is one in two cases:

    - *early*: the acquirer's turn had not begun. Its turn begins when the windows of all entries before it have passed
      since the address became free. Both times are those of the reads on which the two writes were decided, give or
      take one poll.
    - *unfair*: the overtaken owner was ready. It had read the record in its own turn, after the write that freed the
      address and at least a minute before the acquisition. Since that read no try of its owner began, failed or was
      killed; none of its writes, including the next one, was refused because another (or this acquisition) was faster;
      and its process made a call at least every one and a half polls.

    A live waiter reads the record in every poll, so a correct one is never overtaken after its turn began. The others
    are counted as having missed their turn. If there are more of them than one in fifty acquisitions, the run was too
    slow to prove an order, and the check fails.

    An owner that waits for any one of several addresses may be overtaken while it has another one already, and is about
    to leave this queue.

    :param poll: simulated seconds between two polls of a waiter.
    :param leases: of all addresses, where there are several.
    """
    problems: list[str] = []
    counted: Counter[str] = Counter()
    free, freed = None, 0.0
    for before, after in pairwise(writes):
        if before.lease and not after.lease:
            free, freed = activity.last_read(after.worker, before=after.time), after.time
        if not before.lease and not after.lease and len(after.record["queue"]) < len(before.record["queue"]):
            freed = after.time  # an owner of a pool has another address, and the next one's turn begins
        if after.token is None or after.token == before.token:
            continue
        queue, place = before.record["queue"], before.place(after.token)
        counted["acquisitions"] += 1
        counted["pairs"] += len(queue) - (place is not None)
        if before.lease:
            problems.append(f"{after.seq}: token {after.token} acquired the lease while token {before.token} had it")
        acquired = activity.last_read(after.worker, before=after.time)
        since = acquired if free is None else free
        if (place is None and queue) or (place and acquired - since < windows(before.record, place) - poll):
            problems.append(
                f"{after.seq}: token {after.token} acquired it too early, {acquired - since:.0f} s after it was free"
            )
            continue
        for k, entry in enumerate(queue[:place] if place else ()):
            turn = max(since + windows(before.record, k), freed)
            owner = entry["speaker"]["name"]
            if leases is not None and leases.has_another(owner, than=after.allocation_id, at=after.seq):
                counted[_ELSEWHERE] += 1
                continue
            act = TIME_TO_ACT if leases is None else TIME_TO_ACT_IN_POOL
            reason = _why_overtaken(entry, activity, turn=turn, acquired=after.time, poll=poll, act=act)
            counted[reason] += 1
            if reason == _UNFAIR:
                problems.append(f"{after.seq}: token {after.token} overtook {entry['token']}, which was ready")
    return Check("order", (*problems, *_not_conclusive(counted)), _detail(counted))


def _not_conclusive(counted: Counter[str]) -> list[str]:
    """Return the reason why a run proves nothing about the order, if there is one."""
    if not counted["acquisitions"]:
        return ["the lease was never acquired"]
    if sum(counted[name] for name in _EXCUSES) > max(_EXCUSED_LEAST, counted["acquisitions"] * _EXCUSED_SHARE):
        return ["too many owners missed their turn: the processes were too slow, or do not poll"]
    return []


def _detail(counted: Counter[str]) -> str:
    shown = [name for name in _EXCUSES if name != _ELSEWHERE or counted[name]]
    excused = ", ".join(f"{counted[name]} {name}" for name in shown)
    return f"{counted['pairs']:,} pairs at {counted['acquisitions']:,} acquisitions; missed their turn: {excused}"


_INTERRUPTED, _WRITE_REFUSED = "killed or retrying", "with a refused write"
_STALLED, _NO_READ = "with a stalled process", "without a poll in time"
_ELSEWHERE = "with another address"
_UNFAIR = "unfair"
_EXCUSES = (_INTERRUPTED, _WRITE_REFUSED, _STALLED, _NO_READ, _ELSEWHERE)
_EXCUSED_SHARE, _EXCUSED_LEAST = 1 / 50, 3


def _why_overtaken(
    entry: dict[str, Any], activity: WorkerActivity, *, turn: float, acquired: float, poll: float, act: float
) -> str:
    """Return why a waiter missed its turn, or that it was overtaken unfairly."""
    worker = worker_of_owner(entry["speaker"]["name"])
    read = activity.first_read(worker, since=turn, until=acquired - act)
    if activity.was_interrupted(worker, since=turn if read is None else read, until=acquired):
        return _INTERRUPTED
    if read is None:
        return _NO_READ
    # Its next write still belongs to this turn if it does not read the record again before.
    again = activity.first_read(worker, since=acquired, until=acquired + TIME_TO_ACT)
    if activity.write_refused(worker, since=read, until=acquired + TIME_TO_ACT if again is None else again):
        return _WRITE_REFUSED
    return _STALLED if activity.longest_pause(worker, since=read, until=acquired) > 1.5 * poll else _UNFAIR
