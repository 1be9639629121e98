"""
The transitions of a record: everything that changes one is here.

:func:`step` applies one event to one record. :data:`TABLE` is the same as data: from which state, by what, to which.
Every event is idempotent, so a write whose answer was lost is resolved by applying the event to what is read next: if
it had taken effect, nothing changes.

An address is free (there is no lease), or its lease is ACQUIRED (its owner launches a cluster and associates the
address), ACTIVE (steps may run) or RELEASING (no further step may start). Time enters as a
number and decides about one thing only: whose turn it is at a free address.

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

from airflow_eip_provider.lease.record import (
    LIMITS,
    MOVED,
    Attempt,
    EndedLease,
    Entry,
    Lease,
    Limits,
    Phase,
    PossibleOrphan,
    Record,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Acquire:
    """
    Acquire the lease of a free address: at once when the queue is empty, else in its order.

    :param handover_seconds: how long the owner may take until the lease is active.
    :param moved_from: the cluster whose service a failover moves; other failovers of it find this lease by that.
    :param since: when the owner announced the early start of a cluster, while it queued for another address of its
        pool; the lease goes on with that cluster, if :class:`Bring` follows.
    """

    attempt: Attempt
    cluster_name: str
    handover_seconds: float
    moved_from: str | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Queue:
    """Join the queue at its end."""

    attempt: Attempt
    cluster_name: str
    handover_seconds: float


@dataclass(frozen=True, slots=True)
class Reenter:
    """Take the owner's lease or queue entry over (a retry), or renew it (a new time to launch)."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Prewarm:
    """
    Announce that the owner starts its cluster while it queues.

    :param depth: how many of the queue's first entries may.
    """

    attempt: Attempt
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Prewarmed:
    """Name the cluster that was started early."""

    attempt: Attempt
    resource_id: str


@dataclass(frozen=True, slots=True)
class Bring:
    """Name the cluster that was started early for another address of the pool, once its owner has left that queue."""

    attempt: Attempt
    token: int
    resource_id: str


@dataclass(frozen=True, slots=True)
class Activate:
    """Hand the lease over: record the resource with which the address is associated."""

    attempt: Attempt
    token: int
    resource_id: str


@dataclass(frozen=True, slots=True)
class Replace:
    """
    Give up a cluster of an acquired lease that did not start: it is terminated, and never handed over.

    :param resource_id: that cluster; another is launched under the same lease when it has ended.
    """

    attempt: Attempt
    token: int
    resource_id: str


@dataclass(frozen=True, slots=True)
class Move:
    """
    Take an active lease over from the cluster that has it, for another one: a failover.

    The lease gets the next token and is acquired again, so no step may start on either cluster.

    :param token: of the lease as it is.
    :param resource_id: the cluster that it leaves.
    :param cluster_name: of the cluster that will be launched; empty when the other one exists.
    """

    attempt: Attempt
    token: int
    resource_id: str
    cluster_name: str
    handover_seconds: float


@dataclass(frozen=True, slots=True)
class StartRelease:
    """
    Let no further step start.

    :param to_be_terminated: its cluster has to be terminated, by any owner that observes it.
    """

    token: int
    to_be_terminated: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """
    End a lease.

    :param resource_id: the cluster or instance that had the address, for the history.
    :param why: for the history.
    :param may_have_orphans: a cluster may have been launched that no record names.
    """

    token: int
    resource_id: str | None
    why: str
    may_have_orphans: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """
    Give up a place in the queue.

    :param keep: the cluster that was started early under it, if the owner goes on with it at another address.
    """

    attempt: Attempt
    keep: str | None = None


FREE, SAME = "free", "same"
_LEASED = ("acquired", "active", "releasing")
_ANY = (FREE, *_LEASED)

Event: TypeAlias = Union[
    Acquire, Queue, Reenter, Prewarm, Prewarmed, Bring, Activate, Replace, Move, StartRelease, Release, Leave
]


@dataclass(frozen=True, slots=True)
class Refused:
    """
    The event is not allowed.

    :param superseded: because a newer attempt of the owner is at work.
    """

    why: str
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row of the table: what an event does to the lease, and when it may.

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
    return record.lease.phase.name.lower() if record.lease else FREE


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


def _superseded(attempt: Attempt, by: Attempt) -> Refused:
    return Refused(f"try {by.try_number} acts for this owner now, not try {attempt.try_number}", superseded=True)


def _acquire(record: Record, event: Acquire, now: float, limits: Limits) -> Record | Refused:
    if record.lease is not None:
        held = record.lease.attempt
        # Its own lease: the answer to its write was lost. So it is with the other events that change nothing.
        return record if held == event.attempt else Refused(f"the address is leased to {held.name}")
    place = record.place(event.attempt.owner)
    if place is not None:
        return _acquire_in_turn(record, event, place, now, limits)
    if record.queue:
        return Refused("others queue")
    lease = Lease(
        token=record.issued + 1,
        attempt=event.attempt,
        phase=Phase.ACQUIRED,
        acquired_at=now,
        written_at=now,
        handover_by=now + event.handover_seconds,
        cluster_name=event.cluster_name,
        since=event.since,
        moved_from=event.moved_from,
    )
    return replace(record, issued=lease.token, lease=lease, possible_orphans=_open(record, now), grace=limits.grace)


def _acquire_in_turn(record: Record, event: Acquire, place: int, now: float, limits: Limits) -> Record | Refused:
    entry = record.queue[place]
    if entry.attempt != event.attempt:
        return _superseded(event.attempt, entry.attempt)
    turn = turn_at(record, event.attempt.owner)
    if turn is not None and now < turn:
        return Refused(f"place {place} of the queue has its turn in {turn - now:.0f} s")
    lease = Lease(
        token=entry.token,  # not a new one: a cluster that was started early carries it as a tag
        attempt=entry.attempt,
        phase=Phase.ACQUIRED,
        acquired_at=now,
        written_at=now,
        handover_by=now + entry.handover_seconds,
        cluster_name=entry.cluster_name,
        resource_id=entry.resource_id,
        # It was announced and not named: its process died in between, so there is a cluster, or there is none.
        may_have_orphans=entry.may_have_orphans or (entry.prewarmed_at is not None and entry.resource_id is None),
        since=event.since if entry.prewarmed_at is None else entry.prewarmed_at,
        moved_from=event.moved_from,
    )
    # Those before it did not acquire the lease in their windows. They keep their places and their prewarmed clusters
    # until they have had all their turns: then the entry leaves, and its cluster is swept.
    passed, behind = record.queue[:place], record.queue[place + 1 :]
    kept = tuple(replace(before, passed=before.passed + 1) for before in passed if before.passed < limits.turns)
    gone = [before for before in passed if before.passed >= limits.turns]
    left = [_left_by(before, now, limits) for before in gone if before.prewarmed_at is not None]
    return replace(record, lease=lease, queue=(*kept, *behind), possible_orphans=(*_open(record, now), *left))


def _queue(record: Record, event: Queue, now: float, limits: Limits) -> Record | Refused:
    owner = event.attempt.owner
    if record.lease is not None and record.lease.attempt.owner == owner:
        return Refused("this owner holds the address")
    place = record.place(owner)
    if place is not None:
        there = record.queue[place].attempt
        return record if there == event.attempt else _superseded(event.attempt, there)
    entry = Entry(
        token=record.issued + 1,
        attempt=event.attempt,
        arrived_at=now,
        cluster_name=event.cluster_name,
        handover_seconds=event.handover_seconds,
    )
    # All owners share it; it changes only while there is neither a lease nor a queue.
    grace = record.grace if record.lease or record.queue else limits.grace
    return replace(record, issued=entry.token, queue=(*record.queue, entry), grace=grace)


def _reenter(record: Record, event: Reenter, now: float, limits: Limits) -> Record | Refused:
    attempt, lease = event.attempt, record.lease
    if lease is not None and lease.attempt.owner == attempt.owner:
        if lease.phase is Phase.RELEASING:
            return Refused("the lease is releasing")
        if not attempt.may_follow(lease.attempt):
            return _superseded(attempt, lease.attempt)
        late = lease.handover_by - lease.written_at
        # The attempt before may have sent RunJobFlow and died: this one must search before it launches.
        may_have_orphans = lease.may_have_orphans or lease.attempt != attempt
        renewed = replace(
            lease, attempt=attempt, written_at=now, handover_by=now + late, may_have_orphans=may_have_orphans
        )
        return replace(record, lease=renewed)
    place = record.place(attempt.owner)
    if place is None:
        return Refused("this owner neither holds nor queues")
    entry = record.queue[place]
    if not attempt.may_follow(entry.attempt):
        return _superseded(attempt, entry.attempt)
    may_have_orphans = entry.may_have_orphans or entry.attempt != attempt
    return _with_entry(record, place, replace(entry, attempt=attempt, may_have_orphans=may_have_orphans))


def _prewarm(record: Record, event: Prewarm, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.attempt.owner)
    if record.lease is None or place is None:
        return Refused("only a queue entry behind a holder starts its cluster early")
    entry = record.queue[place]
    if entry.attempt != event.attempt:
        return _superseded(event.attempt, entry.attempt)
    if entry.prewarmed_at is not None:
        return record  # once an entry: RunJobFlow has no idempotency token
    # Of the whole queue: the depth is each owner's own, so entries further back may have started, too.
    if place >= event.depth or sum(e.prewarmed_at is not None for e in record.queue) >= event.depth:
        return Refused(f"only the first {event.depth} of the queue may, and no more at a time")
    return _with_entry(record, place, replace(entry, prewarmed_at=now))


def _prewarmed(record: Record, event: Prewarmed, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.attempt.owner)
    if place is None:
        return Refused("this owner does not queue")
    entry = record.queue[place]
    if entry.attempt != event.attempt:
        return _superseded(event.attempt, entry.attempt)
    if entry.prewarmed_at is None:
        return Refused("it was not announced")
    return _with_entry(record, place, replace(entry, resource_id=event.resource_id))


def _own_lease(record: Record, event: Bring | Activate | Replace) -> Lease | Refused:
    """Return the lease that the event names, if it is still its attempt's."""
    lease = record.lease
    if lease is None or lease.token != event.token:
        return Refused(f"token {event.token} is not current")
    return lease if lease.attempt == event.attempt else _superseded(event.attempt, lease.attempt)


def _bring(record: Record, event: Bring, now: float, limits: Limits) -> Record | Refused:
    lease = _own_lease(record, event)
    if isinstance(lease, Refused):
        return lease
    if lease.phase is not Phase.ACQUIRED or lease.resource_id not in {None, event.resource_id}:
        return Refused(f"the lease is {lease.phase.name.lower()}, with {lease.resource_id}")
    return replace(record, lease=replace(lease, resource_id=event.resource_id))


def _activate(record: Record, event: Activate, now: float, limits: Limits) -> Record | Refused:
    lease = _own_lease(record, event)
    if isinstance(lease, Refused):
        return lease
    if lease.phase is Phase.RELEASING:
        return Refused("the lease is releasing")
    if lease.is_given_up(event.resource_id):
        return Refused(f"cluster {event.resource_id} did not start, and is being replaced")
    active = replace(lease, phase=Phase.ACTIVE, resource_id=event.resource_id, to_be_terminated=False)
    return replace(record, lease=active)


def _replace(record: Record, event: Replace, now: float, limits: Limits) -> Record | Refused:
    lease = _own_lease(record, event)
    if isinstance(lease, Refused):
        return lease
    if lease.phase is not Phase.ACQUIRED:
        return Refused(f"the lease is {lease.phase.name.lower()}")
    if lease.is_given_up(event.resource_id):
        return record
    # From now on the record does not name the cluster that the lease has, or will have.
    late = lease.handover_by - lease.written_at
    given_up = replace(
        lease,
        resource_id=event.resource_id,
        to_be_terminated=True,
        may_have_orphans=True,
        written_at=now,
        handover_by=now + late,
    )
    return replace(record, lease=given_up)


def _move(record: Record, event: Move, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is not None and lease.attempt == event.attempt and lease.moved_from == event.resource_id:
        return record
    if lease is None or lease.token != event.token or lease.resource_id != event.resource_id:
        return Refused(f"token {event.token} is not current, or not of {event.resource_id}")
    if lease.phase is not Phase.ACTIVE:
        return Refused(f"the lease is {lease.phase.name.lower()}")
    if event.attempt.is_superseded_by(lease.attempt):
        return _superseded(event.attempt, lease.attempt)
    if record.place(event.attempt.owner) is not None:
        return Refused("this owner queues")
    moved = Lease(
        token=record.issued + 1,
        attempt=event.attempt,
        phase=Phase.ACQUIRED,
        acquired_at=now,
        written_at=now,
        handover_by=now + event.handover_seconds,
        cluster_name=event.cluster_name,
        moved_from=event.resource_id,
    )
    after = _with_history(record, lease, now, limits, why=f"{MOVED} by {event.attempt.name}")
    return replace(after, issued=moved.token, lease=moved)


def _start_release(record: Record, event: StartRelease, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is None or lease.token != event.token:
        return Refused(f"token {event.token} is not current")
    if lease.phase is Phase.RELEASING:
        return record  # the first has said whether the cluster has to be terminated
    return replace(record, lease=replace(lease, phase=Phase.RELEASING, to_be_terminated=event.to_be_terminated))


def _release(record: Record, event: Release, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is None or lease.token != event.token:
        # Tokens only grow: one that was given, and is neither the lease's nor an entry's, is over.
        has_ended = event.token <= record.issued and all(entry.token != event.token for entry in record.queue)
        return record if has_ended else Refused(f"token {event.token} is not current")
    resource_id = event.resource_id or lease.resource_id
    named = replace(lease, resource_id=resource_id, may_have_orphans=event.may_have_orphans or lease.may_have_orphans)
    after = _with_history(replace(record, possible_orphans=_open(record, now)), named, now, limits, why=event.why)
    return replace(after, lease=None, free_since=now)


def _with_history(record: Record, lease: Lease, now: float, limits: Limits, *, why: str) -> Record:
    """Return the record with a lease that ends noted, and what it may leave behind."""
    ended = EndedLease(
        token=lease.token,
        owner=lease.attempt.name,
        resource_id=lease.resource_id,
        acquired_at=lease.acquired_at,
        ended_at=now,
        why=why,
    )
    possible_orphans = record.possible_orphans
    # Only a cluster that no record names is worth a search, and only as long as it can surface.
    until = lease.written_at + limits.surface
    if lease.may_have_orphans and now < until:
        since = lease.acquired_at if lease.since is None else lease.since
        left = PossibleOrphan(
            lease.token, lease.attempt.owner, lease.cluster_name, keep=lease.resource_id, until=until, since=since
        )
        possible_orphans = (*possible_orphans, left)
    return replace(record, possible_orphans=possible_orphans, history=(*record.history, ended)[-limits.history :])


def _leave(record: Record, event: Leave, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.attempt.owner)
    if place is None:
        return record
    entry = record.queue[place]
    # A newer try may give up the place of an older one, not the other way round.
    if entry.attempt.is_superseded_by(event.attempt) or entry.attempt == event.attempt:
        queue = (*record.queue[:place], *record.queue[place + 1 :])
        left = () if entry.prewarmed_at is None else (_left_by(entry, now, limits, keep=event.keep),)
        return replace(record, queue=queue, possible_orphans=(*record.possible_orphans, *left))
    return _superseded(event.attempt, entry.attempt)


def _open(record: Record, now: float) -> tuple[PossibleOrphan, ...]:
    """Return the possible orphans that may still surface; the writer has just swept all of them."""
    return tuple(orphan for orphan in record.possible_orphans if now < orphan.until)


def _left_by(entry: Entry, now: float, limits: Limits, *, keep: str | None = None) -> PossibleOrphan:
    since, until = entry.prewarmed_at or 0.0, now + limits.surface
    return PossibleOrphan(entry.token, entry.attempt.owner, entry.cluster_name, keep=keep, until=until, since=since)


def _with_entry(record: Record, place: int, entry: Entry) -> Record:
    return replace(record, queue=(*record.queue[:place], entry, *record.queue[place + 1 :]))


TABLE: tuple[Row, ...] = (
    Row(
        Acquire,
        _acquire,
        (FREE,),
        "acquired",
        "anyone",
        "the queue is empty, or free_since + the windows before it have passed",
    ),
    Row(Queue, _queue, _ANY, SAME, "anyone", "neither holds nor queues"),
    Row(
        Reenter,
        _reenter,
        _ANY,
        SAME,
        "a try of the holder or of a queue entry",
        "no newer attempt has it; not releasing",
    ),
    Row(Prewarm, _prewarm, _LEASED, SAME, "a queue entry", "among the first places; no more at a time than places"),
    Row(Prewarmed, _prewarmed, _ANY, SAME, "the same queue entry", "it had announced so"),
    Row(
        Bring,
        _bring,
        ("acquired",),
        "acquired",
        "the holder's attempt, which has left another queue",
        "the token is current, and it has no cluster",
    ),
    Row(Activate, _activate, ("acquired", "active"), "active", "the holder's attempt", "the token is current"),
    Row(
        Replace,
        _replace,
        ("acquired",),
        "acquired",
        "the holder's attempt, which launches another cluster",
        "the token is current",
    ),
    Row(Move, _move, ("active",), "acquired", "a failover", "the token is current, and the cluster has it"),
    Row(
        StartRelease,
        _start_release,
        ("acquired", "active"),
        "releasing",
        "early release, undo; the next owner",
        "the token is current",
    ),
    Row(Release, _release, _LEASED, FREE, "teardown, early release, undo; the next owner", "the token is current"),
    Row(Leave, _leave, _ANY, SAME, "a queue entry", "no newer attempt has it"),
)
_ROWS = {row.event: row for row in TABLE}
