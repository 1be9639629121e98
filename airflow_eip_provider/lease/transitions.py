"""
The lock's law: everything that changes a record is here.

:func:`step` applies one event to one record. :data:`TABLE` is the same as data: from which state, by what, to which.
Every event is idempotent, so a write whose answer was lost is resolved by applying the event to what is read next: if
it had taken effect, nothing changes.

A lease is FREE (there is none), TAKEN (its owner launches and binds a cluster), HELD (handed over) or CLOSING (no step
may start any more). Time enters as a number and decides about one thing only: whose turn it is at a free address.

Fairness. A free address is kept for the first entry of the queue for its *window*, then also for the second for its
window, and so on. The window of an entry that was passed over k times (an entry behind it took the address) is
``grace * 2**k`` seconds, and the entry keeps its place. So a waiter whose task takes the address within
``grace * 2**k`` seconds of its turn is passed over at most k times. After ``Limits.turns`` passes the next one removes
the entry, so an entry of a task that is gone costs the others ``grace * (2**(turns + 1) - 1)`` seconds in all, spread
over as many leases, and not more. With a grace of 120 s and 3 turns the windows are 2, 4, 8 and 16 minutes: longer than
Airflow takes to resume a deferred task even while its workers scale up.

Many entries of tasks that are gone must not add up: the windows of all entries that were passed over are together at
most ``MOST_PASSED_GRACES`` graces long. If they would be longer, each is shortened by the same factor, and the sentence
about ``grace * 2**k`` seconds holds for the shortened windows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Union

from airflow_eip_provider.lease.record import LIMITS, Entry, Lease, Limits, Phase, Record, Speaker, Suspect, Tenancy

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Take:
    """
    Take a free address: at once when nobody queues, else in the order of the queue.

    :param handover_seconds: how long the owner may take until it hands over.
    """

    speaker: Speaker
    cluster_name: str
    handover_seconds: float


@dataclass(frozen=True, slots=True)
class Queue:
    """Join the queue at its end."""

    speaker: Speaker
    cluster_name: str
    handover_seconds: float


@dataclass(frozen=True, slots=True)
class Reenter:
    """Speak for the owner from now on (a retry), or go on speaking (a new time to launch)."""

    speaker: Speaker


@dataclass(frozen=True, slots=True)
class Prewarm:
    """
    Announce that the owner starts its cluster while it queues.

    :param depth: how many of the queue's first places may.
    """

    speaker: Speaker
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Prewarmed:
    """Name the cluster that was started early."""

    speaker: Speaker
    carrier: str


@dataclass(frozen=True, slots=True)
class HandOver:
    """Record what carries the address: the creating task has done its part."""

    speaker: Speaker
    token: int
    carrier: str


@dataclass(frozen=True, slots=True)
class Close:
    """
    Let no further step start.

    :param doomed: its cluster is to be terminated, by whoever sees it.
    """

    token: int
    doomed: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """
    End a lease.

    :param carrier: the cluster or instance that the tenancy had, for the history.
    :param why: for the history.
    :param doubtful: a cluster may have been launched that is recorded nowhere.
    """

    token: int
    carrier: str | None
    why: str
    doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """Give up a place in the queue."""

    speaker: Speaker


FREE, SAME = "free", "same"
_LEASED = ("taken", "held", "closing")
_ANY = (FREE, *_LEASED)

Event: TypeAlias = Union[Take, Queue, Reenter, Prewarm, Prewarmed, HandOver, Close, Release, Leave]


@dataclass(frozen=True, slots=True)
class Refused:
    """
    The event is against the law.

    :param superseded: because a newer try speaks for the owner.
    """

    why: str
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row of the law: what an event does to the lease, and when it may.

    :param sources: the states in which it changes anything.
    :param target: the state that follows; "same" when the lease stays as it is.
    """

    event: type[Event]
    apply: Callable[..., Record | Refused]
    sources: tuple[str, ...]
    target: str
    who: str
    guard: str


def state_of(record: Record) -> str:
    """Return the table's name of a record's state."""
    return record.lease.phase.value if record.lease else FREE


def step(record: Record, event: Event, now: float, limits: Limits = LIMITS) -> Record | Refused:
    """
    Apply one event.

    :param now: the store's time, from the answer that brought the record.
    :return: the new record, the same one when the event has taken effect already, or why it is refused.
    """
    row = _ROWS[type(event)]
    after = row.apply(record, event, now, limits)
    if isinstance(after, Refused) or after == record:
        return after
    source, target = state_of(record), state_of(after)
    if source not in row.sources or target != (source if row.target == SAME else row.target):
        raise AssertionError(f"{type(event).__name__} leads from {source} to {target}, against the table")
    return after


def turn_at(record: Record, owner: str) -> float | None:
    """Return from when on an owner may take a free address; ``None`` when it must queue first."""
    before = record.seconds_before(owner)
    if before is None:
        return None if record.queue else record.free_since
    return record.free_since + before


def _superseded(speaker: Speaker, by: Speaker) -> Refused:
    return Refused(f"try {by.try_number} speaks for this owner now, not try {speaker.try_number}", superseded=True)


def _take(record: Record, event: Take, now: float, limits: Limits) -> Record | Refused:
    if record.lease is not None:
        held = record.lease.speaker
        # Its own: the answer to its write was lost. The same holds for the other events that change nothing.
        return record if held == event.speaker else Refused(f"the address is leased to {held.name}")
    place = record.place(event.speaker.owner)
    if place is not None:
        return _take_in_turn(record, event, place, now, limits)
    if record.queue:
        return Refused("others queue")
    lease = Lease(
        token=record.issued + 1,
        speaker=event.speaker,
        phase=Phase.TAKEN,
        taken_at=now,
        written_at=now,
        handover_by=now + event.handover_seconds,
        cluster_name=event.cluster_name,
    )
    return replace(record, issued=lease.token, lease=lease, suspects=_open(record, now), grace=limits.grace)


def _take_in_turn(record: Record, event: Take, place: int, now: float, limits: Limits) -> Record | Refused:
    entry = record.queue[place]
    if entry.speaker != event.speaker:
        return _superseded(event.speaker, entry.speaker)
    turn = turn_at(record, event.speaker.owner)
    if turn is not None and now < turn:
        return Refused(f"place {place} of the queue has its turn in {turn - now:.0f} s")
    lease = Lease(
        token=entry.token,  # not a new one: a cluster that was started early carries it as a tag
        speaker=entry.speaker,
        phase=Phase.TAKEN,
        taken_at=now,
        written_at=now,
        handover_by=now + entry.handover_seconds,
        cluster_name=entry.cluster_name,
        carrier=entry.carrier,
        # It was announced and not named: its process died in between, so there is a cluster, or there is none.
        doubtful=entry.doubtful or (entry.prewarmed_at is not None and entry.carrier is None),
        since=entry.prewarmed_at,
    )
    # Those before it did not take the address in their window. They keep their places, and what they started early,
    # until they have had all their turns: then the entry leaves, and what it started is swept.
    passed, behind = record.queue[:place], record.queue[place + 1 :]
    kept = tuple(replace(before, passed=before.passed + 1) for before in passed if before.passed < limits.turns)
    gone = [before for before in passed if before.passed >= limits.turns]
    left = [_left_by(before, now, limits) for before in gone if before.prewarmed_at is not None]
    return replace(record, lease=lease, queue=(*kept, *behind), suspects=(*_open(record, now), *left))


def _queue(record: Record, event: Queue, now: float, limits: Limits) -> Record | Refused:
    owner = event.speaker.owner
    if record.lease is not None and record.lease.speaker.owner == owner:
        return Refused("this owner holds the address")
    place = record.place(owner)
    if place is not None:
        there = record.queue[place].speaker
        return record if there == event.speaker else _superseded(event.speaker, there)
    entry = Entry(
        token=record.issued + 1,
        speaker=event.speaker,
        arrived_at=now,
        cluster_name=event.cluster_name,
        handover_seconds=event.handover_seconds,
    )
    # It is everybody's; it changes only while nobody counts on it.
    grace = record.grace if record.lease or record.queue else limits.grace
    return replace(record, issued=entry.token, queue=(*record.queue, entry), grace=grace)


def _reenter(record: Record, event: Reenter, now: float, limits: Limits) -> Record | Refused:
    speaker, lease = event.speaker, record.lease
    if lease is not None and lease.speaker.owner == speaker.owner:
        if lease.phase is Phase.CLOSING:
            return Refused("the lease is closing")
        if not speaker.may_follow(lease.speaker):
            return _superseded(speaker, lease.speaker)
        late = lease.handover_by - lease.written_at
        # The attempt before may have sent RunJobFlow and died: this one must look before it launches.
        doubtful = lease.doubtful or lease.speaker != speaker
        renewed = replace(lease, speaker=speaker, written_at=now, handover_by=now + late, doubtful=doubtful)
        return replace(record, lease=renewed)
    place = record.place(speaker.owner)
    if place is None:
        return Refused("this owner neither holds nor queues")
    entry = record.queue[place]
    if not speaker.may_follow(entry.speaker):
        return _superseded(speaker, entry.speaker)
    doubtful = entry.doubtful or entry.speaker != speaker
    return _with_entry(record, place, replace(entry, speaker=speaker, doubtful=doubtful))


def _prewarm(record: Record, event: Prewarm, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.speaker.owner)
    if record.lease is None or place is None:
        return Refused("only a queue entry behind a holder starts its cluster early")
    entry = record.queue[place]
    if entry.speaker != event.speaker:
        return _superseded(event.speaker, entry.speaker)
    if entry.prewarmed_at is not None:
        return record  # once an entry: RunJobFlow has no idempotency token
    # Of the whole queue: the depth is each owner's own, so entries further back may have started, too.
    if place >= event.depth or sum(e.prewarmed_at is not None for e in record.queue) >= event.depth:
        return Refused(f"only the first {event.depth} of the queue may, and no more at a time")
    return _with_entry(record, place, replace(entry, prewarmed_at=now))


def _prewarmed(record: Record, event: Prewarmed, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.speaker.owner)
    if place is None:
        return Refused("this owner does not queue")
    entry = record.queue[place]
    if entry.speaker != event.speaker:
        return _superseded(event.speaker, entry.speaker)
    if entry.prewarmed_at is None:
        return Refused("it was not announced")
    return _with_entry(record, place, replace(entry, carrier=event.carrier))


def _hand_over(record: Record, event: HandOver, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is None or lease.token != event.token:
        return Refused(f"token {event.token} is not current")
    if lease.speaker != event.speaker:
        return _superseded(event.speaker, lease.speaker)
    if lease.phase is Phase.CLOSING:
        return Refused("the lease is closing")
    return replace(record, lease=replace(lease, phase=Phase.HELD, carrier=event.carrier))


def _close(record: Record, event: Close, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is None or lease.token != event.token:
        return Refused(f"token {event.token} is not current")
    if lease.phase is Phase.CLOSING:
        return record  # whoever closed it first has said whether its cluster is to be terminated
    return replace(record, lease=replace(lease, phase=Phase.CLOSING, doomed=event.doomed))


def _release(record: Record, event: Release, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is None or lease.token != event.token:
        # Tokens only grow: one that was given, and is neither the lease's nor an entry's, is over.
        has_ended = event.token <= record.issued and all(entry.token != event.token for entry in record.queue)
        return record if has_ended else Refused(f"token {event.token} is not current")
    carrier = event.carrier or lease.carrier
    ended = Tenancy(
        token=lease.token,
        owner=lease.speaker.name,
        carrier=carrier,
        taken_at=lease.taken_at,
        ended_at=now,
        why=event.why,
    )
    suspects = _open(record, now)
    # Only what may have been launched and is recorded nowhere is worth a search, and only as long as it can surface.
    until = lease.written_at + limits.surface
    if (event.doubtful or lease.doubtful) and now < until:
        since = lease.taken_at if lease.since is None else lease.since
        left = Suspect(lease.token, lease.speaker.owner, lease.cluster_name, keep=carrier, until=until, since=since)
        suspects = (*suspects, left)
    return replace(
        record,
        lease=None,
        free_since=now,
        suspects=suspects,
        history=(*record.history, ended)[-limits.history :],
    )


def _leave(record: Record, event: Leave, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.speaker.owner)
    if place is None:
        return record
    entry = record.queue[place]
    # A newer try may give up the place of an older one, not the other way round.
    if entry.speaker.yields_to(event.speaker) or entry.speaker == event.speaker:
        queue = (*record.queue[:place], *record.queue[place + 1 :])
        left = () if entry.prewarmed_at is None else (_left_by(entry, now, limits),)
        return replace(record, queue=queue, suspects=(*record.suspects, *left))
    return _superseded(event.speaker, entry.speaker)


def _open(record: Record, now: float) -> tuple[Suspect, ...]:
    """Return the suspects of which something may still surface; whoever writes has just swept all of them."""
    return tuple(suspect for suspect in record.suspects if now < suspect.until)


def _left_by(entry: Entry, now: float, limits: Limits) -> Suspect:
    since, until = entry.prewarmed_at or 0.0, now + limits.surface
    return Suspect(entry.token, entry.speaker.owner, entry.cluster_name, keep=None, until=until, since=since)


def _with_entry(record: Record, place: int, entry: Entry) -> Record:
    return replace(record, queue=(*record.queue[:place], entry, *record.queue[place + 1 :]))


TABLE: tuple[Row, ...] = (
    Row(
        Take,
        _take,
        (FREE,),
        "taken",
        "anyone",
        "nobody queues, or free_since + the windows before it have passed",
    ),
    Row(Queue, _queue, _ANY, SAME, "anyone", "neither holds nor queues"),
    Row(Reenter, _reenter, _ANY, SAME, "a try of the holder or of a queue entry", "no newer try speaks; not closing"),
    Row(Prewarm, _prewarm, _LEASED, SAME, "a queue entry", "among the first places; no more at a time than places"),
    Row(Prewarmed, _prewarmed, _ANY, SAME, "the same queue entry", "it had announced so"),
    Row(HandOver, _hand_over, ("taken", "held"), "held", "the holder's speaker", "the token is current"),
    Row(Close, _close, ("taken", "held"), "closing", "early release, undo; the next owner", "the token is current"),
    Row(Release, _release, _LEASED, FREE, "teardown, early release, undo; the next owner", "the token is current"),
    Row(Leave, _leave, _ANY, SAME, "a queue entry", "no newer try speaks for it"),
)
_ROWS = {row.event: row for row in TABLE}
