"""Whether the queue was served in its order."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from harness.judge import Check
from tests.verification.stress.journal import SUCCESS
from tests.verification.stress.traces import calls_of_workers, looks, lost_races, seconds, worker_of_owner

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.judge import Event
    from tests.verification.stress.journal import Note
    from tests.verification.stress.traces import Stored

FIRST_GRACE = 60.0  # of a record that names none
MOST_PASSED_GRACES = 8.0  # the windows of all that were passed over, together
TIME_TO_ACT = 60.0  # simulated seconds in which a live worker acts on what it has seen


def windows(record: dict[str, Any], places: int) -> float:
    """Return for how long a free address is kept for so many first entries of the queue, one after the other."""
    passed = [entry.get("passed", 0) for entry in record["queue"]]
    factor = min(1.0, MOST_PASSED_GRACES / max(sum(2**times for times in passed if times), 1))
    graces = sum(2**times * factor if times else 1 for times in passed[:places])
    return float(record.get("grace", FIRST_GRACE) * graces)


class Lives:
    """When each worker process looked at the record, was beaten to a write, and began, failed or was killed."""

    def __init__(self, events: Sequence[Event], notes: Iterable[Note]) -> None:
        self._looks: dict[str, list[float]] = defaultdict(list)
        self._beaten: dict[str, list[float]] = defaultdict(list)
        self._breaks: dict[str, list[float]] = defaultdict(list)
        for look in looks(events):
            self._looks[look.worker].append(look.time)
        self._calls = calls_of_workers(events)
        for lost in lost_races(events):
            self._beaten[lost.worker].append(lost.time)
        for event in events:
            if event["kind"] == "kill":
                self._breaks[event["worker"]].append(seconds(event))
        for note in notes:
            if note.task and note.what != SUCCESS:
                self._breaks[note.worker].append(note.time)
        for times in self._breaks.values():
            times.sort()

    def last_look(self, worker: str | None, *, before: float) -> float:
        """Return when a worker had its last look; the moment itself when it had none."""
        times = self._looks.get(worker or "", [])
        place = bisect_right(times, before)
        return times[place - 1] if place else before

    def looked(self, worker: str, *, since: float, until: float) -> float | None:
        """Return the first look between two moments."""
        times = self._looks.get(worker, [])
        place = bisect_left(times, since)
        return times[place] if place < len(times) and times[place] <= until else None

    def broke_off(self, worker: str, *, since: float, until: float) -> bool:
        """Whether a try of the worker began, failed or was killed between two moments."""
        return _any(self._breaks.get(worker, []), since, until)

    def beaten(self, worker: str, *, since: float, until: float) -> bool:
        """Whether a write of the worker's was refused between two moments, as another was faster."""
        return _any(self._beaten.get(worker, []), since, until)

    def longest_silence(self, worker: str, *, since: float, until: float) -> float:
        """Return for how long, between two moments, a worker made no call at all."""
        times = self._calls.get(worker, [])
        made = times[bisect_left(times, since) : bisect_right(times, until)]
        return max(after - before for before, after in pairwise([since, *made, until]))


def _any(times: list[float], since: float, until: float) -> bool:
    place = bisect_left(times, since)
    return place < len(times) and times[place] <= until


def in_order(writes: Sequence[Stored], lives: Lives, *, poll: float) -> Check:
    """
    See that the queue was served in its order, within the windows of its entries.

    A *taking* is a write after which the lease has a token that it had not before. Its *pairs* are the taker and each
    owner that was in the queue just before the write. A pair is in order when the taker's token is the smaller one. A
    taker with the greater one has overtaken, which is unfair in two cases; taking a lease that another has always is.

    - *early*: its own place had no turn yet. It has it when, after the address became free, the windows of all before
      it have passed, by the looks on which the freeing and the taking were decided, give or take one poll.
    - *live*: the overtaken one was there. It had looked at the record in its own turn, after the write that freed it
      and at least a minute before the taking. Since that look no try of its owner began, failed or was killed; no
      write of its was refused, then or next, because another's (or this very taking) was faster; and its process did
      not stand still, but made a call at least every one and a half polls.

    As a live waiter looks once a poll, nobody who does nothing wrong is overtaken after its turn began. Whoever did
    not look in time, was killed, beaten or stood still, let its turn pass, and is counted. More of these than one in
    fifty takings, and the run was too slow to show an order.

    :param poll: simulated seconds between two looks of a waiter.
    """
    problems: list[str] = []
    counted: Counter[str] = Counter()
    free, freed = None, 0.0
    for before, after in pairwise(writes):
        if before.lease and not after.lease:
            free, freed = lives.last_look(after.worker, before=after.time), after.time
        if after.token is None or after.token == before.token:
            continue
        queue, place = before.record["queue"], before.place(after.token)
        counted["takings"] += 1
        counted["pairs"] += len(queue) - (place is not None)
        if before.lease:
            problems.append(f"{after.seq}: token {after.token} took the lease while token {before.token} had it")
        taken = lives.last_look(after.worker, before=after.time)
        since = taken if free is None else free
        if (place is None and queue) or (place and taken - since < windows(before.record, place) - poll):
            problems.append(f"{after.seq}: token {after.token} took it early, {taken - since:.0f} s after it was free")
            continue
        for k, entry in enumerate(queue[:place] if place else ()):
            turn = max(since + windows(before.record, k), freed)
            passed = _passed(entry, lives, turn=turn, taken=after.time, poll=poll)
            counted[passed] += 1
            if passed == _UNFAIR:
                problems.append(f"{after.seq}: token {after.token} overtook {entry['token']}, which was there")
    return Check("order", (*problems, *_too_little(counted)), _told(counted))


def _too_little(counted: Counter[str]) -> list[str]:
    """Return why a run shows nothing about the order."""
    if not counted["takings"]:
        return ["nobody took the lease"]
    if sum(counted[name] for name in _EXCUSES) > max(_FEW, counted["takings"] * _EXCUSED):
        return ["too many let their turns pass: the processes were too slow, or do not look"]
    return []


def _told(counted: Counter[str]) -> str:
    excused = ", ".join(f"{counted[name]} {name}" for name in _EXCUSES)
    return f"{counted['pairs']:,} pairs at {counted['takings']:,} takings; let their turn pass: {excused}"


_BROKEN, _BEATEN, _STILL, _AWAY = "killed or retrying", "beaten to a write", "standing still", "not looking in time"
_UNFAIR = "unfair"
_EXCUSES = (_BROKEN, _BEATEN, _STILL, _AWAY)
_EXCUSED, _FEW = 1 / 50, 3


def _passed(entry: dict[str, Any], lives: Lives, *, turn: float, taken: float, poll: float) -> str:
    """Return how a waiter let its turn pass, or that it did not."""
    worker = worker_of_owner(entry["speaker"]["name"])
    look = lives.looked(worker, since=turn, until=taken - TIME_TO_ACT)
    if lives.broke_off(worker, since=turn if look is None else look, until=taken):
        return _BROKEN
    if look is None:
        return _AWAY
    # Its next write is still about this turn if no other look comes before it.
    again = lives.looked(worker, since=taken, until=taken + TIME_TO_ACT)
    if lives.beaten(worker, since=look, until=taken + TIME_TO_ACT if again is None else again):
        return _BEATEN
    return _STILL if lives.longest_silence(worker, since=look, until=taken) > 1.5 * poll else _UNFAIR
