"""
The transitions of a record. Only this module changes a record.

:func:`step` applies one event to one record. :data:`TABLE` lists the same as data, one row for each event: from which
states, to which state. Every event is idempotent. So after a write whose answer was lost, the event is applied to the
record that is read next; if the write took effect, nothing changes.

An address is free (it has no lease), or its lease is ACQUIRED (its owner launches a cluster and associates the
address), ACTIVE (steps may run) or RELEASING (no further step may start). Time is a parameter. It decides only whose
turn it is at a free address, and which possible orphans are kept.

Fairness. A free address is kept for the first entry of the queue for its *window*. Then the second entry may take it
too, after the window of the second also the third, and so on. An entry is *passed over* when an entry behind it takes
the address: it keeps its place, and its window doubles. After k passes the window is ``grace * 2**k`` seconds, so an
owner whose task takes the address within that time after its turn begins is passed over at most k times. After
``Limits.turns`` passes the next one removes the entry. So the entry of a task that no longer exists costs the others at
most ``grace * (2**(turns + 1) - 1)`` seconds in all, spread over ``turns + 1`` leases. With a grace of 120 s and 3
turns the windows are 2, 4, 8 and 16 minutes. The last window is longer than Airflow takes to resume a deferred task,
even while its workers scale up.

The windows of many such entries must not add up: together the windows of all entries that were passed over are at most
``MOST_PASSED_GRACES`` graces long. If they were longer, each is shortened by the same factor, and "that time"
above is the shortened window.
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
    :param moved_from: the cluster whose service a failover moves; other failovers of that cluster find this lease by
        it.
    :param since: when the owner announced the early start of a cluster in the queue of another address of its pool;
        the lease continues with that cluster if :class:`Bring` follows.
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
    """Take over the owner's lease or queue entry (a retry), or renew it (a later time to launch)."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Prewarm:
    """
    Announce that the owner starts its cluster while it queues.

    :param depth: how many entries may do so, counted from the front of the queue.
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
    """Name the cluster that was started early for another address of the pool, after its owner has left that queue."""

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
    Give up a cluster of an acquired lease that did not start, so that it is never handed over.

    :param resource_id: that cluster; after it has ended, another one is launched under the same lease.
    """

    attempt: Attempt
    token: int
    resource_id: str


@dataclass(frozen=True, slots=True)
class Move:
    """
    Move an active lease from its cluster to another one: a failover.

    The lease gets the next token and is ACQUIRED again, so no step may start on either cluster.

    :param token: the current token of the lease.
    :param resource_id: the cluster that the lease leaves.
    :param cluster_name: the name of the cluster if one may be launched; empty when only an existing one is used.
    """

    attempt: Attempt
    token: int
    resource_id: str
    cluster_name: str
    handover_seconds: float


@dataclass(frozen=True, slots=True)
class MoveBack:
    """
    Give a moved lease back to the cluster that it left, which has the address again: the inverse of :class:`Move`.

    The lease gets the next token, so what the failover still does under its own token is refused.

    :param token: the current token of the lease.
    """

    attempt: Attempt
    token: int


@dataclass(frozen=True, slots=True)
class StartRelease:
    """
    Start the release: no further step may start.

    :param to_be_terminated: any owner that observes the lease has to terminate its cluster.
    """

    token: int
    to_be_terminated: bool = False


@dataclass(frozen=True, slots=True)
class Release:
    """
    End a lease.

    :param resource_id: the cluster or instance that had the address, for the history.
    :param why: the reason, for the history.
    :param may_have_orphans: a cluster that nobody terminates may have been launched: one that no record names, or one
        that EMR did not know when it was to be terminated.
    """

    token: int
    resource_id: str | None
    why: str
    may_have_orphans: bool = False


@dataclass(frozen=True, slots=True)
class Leave:
    """
    Leave the queue.

    :param keep: the cluster that was started early under this entry, if the owner uses it at another address.
    """

    attempt: Attempt
    keep: str | None = None


FREE, SAME = "free", "same"
_LEASED = ("acquired", "active", "releasing")
_ANY = (FREE, *_LEASED)

Event: TypeAlias = Union[
    Acquire,
    Queue,
    Reenter,
    Prewarm,
    Prewarmed,
    Bring,
    Activate,
    Replace,
    Move,
    MoveBack,
    StartRelease,
    Release,
    Leave,
]


@dataclass(frozen=True, slots=True)
class Refused:
    """
    The event is not allowed.

    :param superseded: the reason is a newer attempt of the owner.
    """

    why: str
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """
    One row of the table: what an event does to the lease, and under which conditions.

    :param sources: the states in which it changes anything.
    :param target: the state that follows; "same" when the state does not change.
    :param who: who causes the event, for the documentation.
    :param guard: the conditions, for the documentation.
    """

    event: type[Event]
    apply: Callable[..., Record | Refused]
    sources: tuple[str, ...]
    target: str
    who: str
    guard: str


def state_of(record: Record) -> str:
    """Return the state of a record, as the table names it."""
    return record.lease.phase.name.lower() if record.lease else FREE


def step(record: Record, event: Event, now: float, limits: Limits = LIMITS) -> Record | Refused:
    """
    Apply one event.

    :param now: the store's time when the record was read.
    :return: the new record, the same record when the event had taken effect already, or why it is refused.
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
    """Return the time from which an owner may acquire a free address; ``None`` when it must queue first."""
    before = record.seconds_before(owner)
    if before is None:
        return None if record.queue else record.free_since
    return record.free_since + before


def _superseded(attempt: Attempt, by: Attempt) -> Refused:
    return Refused(f"try {by.try_number} acts for this owner now, not try {attempt.try_number}", superseded=True)


def _acquire(record: Record, event: Acquire, now: float, limits: Limits) -> Record | Refused:
    if record.lease is not None:
        holder = record.lease.attempt
        # If the lease is its own, the answer to its write was lost. The same holds for the other events.
        return record if holder == event.attempt else Refused(f"the address is leased to {holder.name}")
    place = record.place(event.attempt.owner)
    if place is not None:
        return _acquire_in_turn(record, event, place, now, limits)
    if record.queue:
        return Refused("other owners are in the queue")
    lease = replace(_new_lease(event, record.issued + 1, now), since=event.since, moved_from=event.moved_from)
    return replace(record, issued=lease.token, lease=lease, possible_orphans=_open(record, now), grace=limits.grace)


def _new_lease(of: Acquire | Move | Entry, token: int, now: float) -> Lease:
    return Lease(token, of.attempt, Phase.ACQUIRED, now, now, now + of.handover_seconds, of.cluster_name)


def _acquire_in_turn(record: Record, event: Acquire, place: int, now: float, limits: Limits) -> Record | Refused:
    entry = record.queue[place]
    if entry.attempt != event.attempt:
        return _superseded(event.attempt, entry.attempt)
    turn = turn_at(record, event.attempt.owner)
    if turn is not None and now < turn:
        return Refused(f"place {place} of the queue has its turn in {turn - now:.0f} s")
    lease = replace(
        _new_lease(entry, entry.token, now),  # no new token: a cluster that was started early carries this one as a tag
        resource_id=entry.resource_id,
        # If a launch was announced and no cluster was named, the process died in between or the answer was lost, so the
        # cluster may exist.
        may_have_orphans=entry.may_have_orphans or (entry.prewarmed_at is not None and entry.resource_id is None),
        since=event.since if entry.prewarmed_at is None else entry.prewarmed_at,
        moved_from=event.moved_from,
    )
    # The entries before it did not acquire the lease in their windows. Each keeps its place and its prewarmed cluster,
    # until it has had all its turns: then it is removed, and its cluster is swept.
    passed, behind = record.queue[:place], record.queue[place + 1 :]
    kept = tuple(replace(entry, passed=entry.passed + 1) for entry in passed if entry.passed < limits.turns)
    removed = [entry for entry in passed if entry.passed >= limits.turns]
    orphans = [_orphan_of(entry, now, limits) for entry in removed if entry.prewarmed_at is not None]
    return replace(record, lease=lease, queue=(*kept, *behind), possible_orphans=(*_open(record, now), *orphans))


def _queue(record: Record, event: Queue, now: float, limits: Limits) -> Record | Refused:
    owner = event.attempt.owner
    if record.lease is not None and record.lease.attempt.owner == owner:
        return Refused("this owner has the lease")
    place = record.place(owner)
    if place is not None:
        queued = record.queue[place].attempt
        return record if queued == event.attempt else _superseded(event.attempt, queued)
    entry = Entry(
        token=record.issued + 1,
        attempt=event.attempt,
        arrived_at=now,
        cluster_name=event.cluster_name,
        handover_seconds=event.handover_seconds,
    )
    # All owners share the grace; it changes only while there is neither a lease nor a queue.
    grace = record.grace if record.lease or record.queue else limits.grace
    return replace(record, issued=entry.token, queue=(*record.queue, entry), grace=grace)


def _reenter(record: Record, event: Reenter, now: float, limits: Limits) -> Record | Refused:
    attempt, lease = event.attempt, record.lease
    if lease is not None and lease.attempt.owner == attempt.owner:
        if lease.phase is Phase.RELEASING:
            return Refused("the lease is releasing")
        if not attempt.may_follow(lease.attempt):
            return _superseded(attempt, lease.attempt)
        # The earlier attempt may have sent RunJobFlow and died: this one must search before it launches.
        may_have_orphans = lease.may_have_orphans or lease.attempt != attempt
        return replace(record, lease=replace(_renewed(lease, now), attempt=attempt, may_have_orphans=may_have_orphans))
    place = record.place(attempt.owner)
    if place is None:
        return Refused("this owner has neither the lease nor a queue entry")
    entry = record.queue[place]
    if not attempt.may_follow(entry.attempt):
        return _superseded(attempt, entry.attempt)
    may_have_orphans = entry.may_have_orphans or entry.attempt != attempt
    return _with_entry(record, place, replace(entry, attempt=attempt, may_have_orphans=may_have_orphans))


def _prewarm(record: Record, event: Prewarm, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.attempt.owner)
    if record.lease is None or place is None:
        return Refused("only a queue entry behind a lease starts its cluster early")
    entry = record.queue[place]
    if entry.attempt != event.attempt:
        return _superseded(event.attempt, entry.attempt)
    if entry.prewarmed_at is not None:
        return record  # once for each entry: RunJobFlow has no idempotency token
    # Count in the whole queue: owners may have different depths, so entries further back may have started, too.
    if place >= event.depth or sum(entry.prewarmed_at is not None for entry in record.queue) >= event.depth:
        return Refused(
            f"only the first {event.depth} of the queue may start early, and at most {event.depth} at a time"
        )
    return _with_entry(record, place, replace(entry, prewarmed_at=now))


def _prewarmed(record: Record, event: Prewarmed, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.attempt.owner)
    if place is None:
        return Refused("this owner is not in the queue")
    entry = record.queue[place]
    if entry.attempt != event.attempt:
        return _superseded(event.attempt, entry.attempt)
    if entry.prewarmed_at is None:
        return Refused("the early start was not announced")
    return _with_entry(record, place, replace(entry, resource_id=event.resource_id))


def _own_lease(record: Record, event: Bring | Activate | Replace) -> Lease | Refused:
    """Return the lease that the event names, if it is still this attempt's."""
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
    # The record names this cluster until the hand-over, so the next one can only be found by its tags.
    given_up = replace(
        _renewed(lease, now), resource_id=event.resource_id, to_be_terminated=True, may_have_orphans=True
    )
    return replace(record, lease=given_up)


def _renewed(lease: Lease, now: float) -> Lease:
    """Return the lease with as much time to launch and to hand over as it had at its last write."""
    return replace(lease, written_at=now, handover_by=now + (lease.handover_by - lease.written_at))


def _move(record: Record, event: Move, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    is_moved = lease is not None and lease.moved_from == event.resource_id != lease.resource_id
    if is_moved and lease is not None and lease.attempt == event.attempt:
        return record
    if lease is None or lease.token != event.token or lease.resource_id != event.resource_id:
        return Refused(f"token {event.token} is not current, or not of {event.resource_id}")
    if lease.phase is not Phase.ACTIVE:
        return Refused(f"the lease is {lease.phase.name.lower()}")
    if event.attempt.is_superseded_by(lease.attempt):
        return _superseded(event.attempt, lease.attempt)
    if record.place(event.attempt.owner) is not None:
        return Refused("this owner is in the queue")
    moved = replace(_new_lease(event, record.issued + 1, now), moved_from=event.resource_id)
    why = f"{MOVED} by {event.attempt.name}"
    after = _with_history(record, lease, now, limits, why=why, keep=lease.resource_id)
    return replace(after, issued=moved.token, lease=moved)


def _move_back(record: Record, event: MoveBack, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is None or lease.moved_from is None:
        return Refused("no failover has the lease")
    if lease.attempt == event.attempt and lease.phase is Phase.ACTIVE and lease.resource_id == lease.moved_from:
        return record
    if lease.token != event.token or lease.attempt.owner != event.attempt.owner:
        return Refused(f"token {event.token} is not current, or not of this owner")
    if event.attempt.is_superseded_by(lease.attempt):
        return _superseded(event.attempt, lease.attempt)
    if not lease.is_before_handover:
        return Refused(f"the lease is {lease.phase.name.lower()}, with {lease.resource_id}")
    # No record names the cluster that the failover launched, so until it has surely surfaced it is a possible orphan.
    ended = replace(lease, resource_id=None, written_at=now, may_have_orphans=bool(lease.cluster_name))
    after = _with_history(record, ended, now, limits, why=f"{MOVED} back by {event.attempt.name}", keep=None)
    back = replace(
        Lease(record.issued + 1, event.attempt, Phase.ACTIVE, now, now, now, cluster_name=""),
        resource_id=lease.moved_from,
        moved_from=lease.moved_from,
    )
    return replace(after, issued=back.token, lease=back)


def _start_release(record: Record, event: StartRelease, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is None or lease.token != event.token:
        return Refused(f"token {event.token} is not current")
    if lease.phase is Phase.RELEASING:
        return record  # the first release decided whether the cluster has to be terminated
    return replace(record, lease=replace(lease, phase=Phase.RELEASING, to_be_terminated=event.to_be_terminated))


def _release(record: Record, event: Release, now: float, limits: Limits) -> Record | Refused:
    lease = record.lease
    if lease is None or lease.token != event.token:
        # A token that was issued, and that neither the lease nor an entry has, belongs to an ended lease or a removed
        # entry.
        has_ended = event.token <= record.issued and all(entry.token != event.token for entry in record.queue)
        return record if has_ended else Refused(f"token {event.token} is not current")
    resource_id = event.resource_id or lease.resource_id
    named = replace(lease, resource_id=resource_id, may_have_orphans=event.may_have_orphans or lease.may_have_orphans)
    # An undo that could not terminate its cluster leaves even the cluster that the lease names to the sweeps.
    keep = None if event.may_have_orphans else resource_id
    swept = replace(record, possible_orphans=_open(record, now))
    after = _with_history(swept, named, now, limits, why=event.why, keep=keep)
    return replace(after, lease=None, free_since=now)


def _with_history(record: Record, lease: Lease, now: float, limits: Limits, *, why: str, keep: str | None) -> Record:
    """
    Return the record with an ended lease in its history and, if it may have one, its possible orphan.

    :param keep: the cluster of the lease that is not an orphan.
    """
    ended = EndedLease(
        token=lease.token,
        owner=lease.attempt.name,
        resource_id=lease.resource_id,
        acquired_at=lease.acquired_at,
        ended_at=now,
        why=why,
    )
    possible_orphans = record.possible_orphans
    # A search is needed for a cluster that no record names, as long as it can surface.
    until = lease.written_at + limits.surface
    if lease.may_have_orphans and now < until:
        since = lease.acquired_at if lease.since is None else lease.since
        orphan = PossibleOrphan(
            lease.token, lease.attempt.owner, lease.cluster_name, keep=keep, until=until, since=since
        )
        possible_orphans = (*possible_orphans, orphan)
    return replace(record, possible_orphans=possible_orphans, history=(*record.history, ended)[-limits.history :])


def _leave(record: Record, event: Leave, now: float, limits: Limits) -> Record | Refused:
    place = record.place(event.attempt.owner)
    if place is None:
        return record
    entry = record.queue[place]
    # A newer try may remove the entry of an older one, but not the other way round.
    if entry.attempt != event.attempt and not entry.attempt.is_superseded_by(event.attempt):
        return _superseded(event.attempt, entry.attempt)
    queue = (*record.queue[:place], *record.queue[place + 1 :])
    orphans = () if entry.prewarmed_at is None else (_orphan_of(entry, now, limits, keep=event.keep),)
    return replace(record, queue=queue, possible_orphans=(*record.possible_orphans, *orphans))


def _open(record: Record, now: float) -> tuple[PossibleOrphan, ...]:
    """Return the possible orphans that may still surface; the writer has just swept all of them."""
    return tuple(orphan for orphan in record.possible_orphans if now < orphan.until)


def _orphan_of(entry: Entry, now: float, limits: Limits, *, keep: str | None = None) -> PossibleOrphan:
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
        "the queue is empty, or the windows of the entries before it have passed",
    ),
    Row(Queue, _queue, _ANY, SAME, "anyone", "has neither the lease nor a queue entry"),
    Row(
        Reenter,
        _reenter,
        _ANY,
        SAME,
        "a try of the holder or of a queue entry",
        "no newer attempt has it; not releasing",
    ),
    Row(
        Prewarm,
        _prewarm,
        _LEASED,
        SAME,
        "a queue entry",
        "it is among the first places; at most as many early starts as places",
    ),
    Row(Prewarmed, _prewarmed, _ANY, SAME, "the same queue entry", "it announced the early start"),
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
        MoveBack,
        _move_back,
        ("acquired", "releasing"),
        "active",
        "a failover that failed",
        "the token is current, and no newer attempt has it; not handed over",
    ),
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
