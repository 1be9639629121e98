"""
What tasks do with the lock, one program each.

Every program starts from nothing, looks, and then changes one thing at a time. It may be cut off between any two
requests and run again, by the same try or by a newer one: what it finds in the record and in AWS tells it how far it
had come. A write that met another, or whose answer was lost, is followed by a pause and another look: however many
write the same record, nobody gives up because others were faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lock.model import LIMITS, Phase
from airflow_eip_provider.lock.requests import (
    Carrier,
    Disassociate,
    Launch,
    Mark,
    Pause,
    Place,
    Program,
    ReadCarrier,
    ReadPlace,
    ReadRecord,
    ReadSteps,
    Terminate,
    TooLate,
    Unclear,
    WriteRecord,
)
from airflow_eip_provider.lock.sight import Action, Arrival, Sight, find_clusters, judge, look
from airflow_eip_provider.lock.store import Seen
from airflow_eip_provider.lock.transitions import (
    Close,
    Event,
    HandOver,
    Leave,
    Prewarm,
    Prewarmed,
    Queue,
    Reenter,
    Refused,
    Release,
    Take,
    step,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_eip_provider.lock.model import Entry, Lease, Limits, Record, Speaker

# So often a program looks again at once because of what it has done itself; then it pauses, too.
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Held:
    """The lease is this speaker's, as of this record."""

    seen: Seen


@dataclass(frozen=True, slots=True)
class Waiting:
    """It is somebody else's turn; this is what was seen last."""

    sight: Sight


@dataclass(frozen=True, slots=True)
class Yielded:
    """A newer try speaks for the owner; this one must touch nothing any more."""


@dataclass(frozen=True, slots=True)
class Lost:
    """The lease is not this speaker's any more."""

    why: str


def mark_of(lease: Lease | Entry) -> Mark:
    """Return what the clusters of a lease, or of a queue entry, are marked with."""
    return Mark(lease.token, lease.speaker.owner)


def enter(arrival: Arrival, *, dead_seconds: float = 0.0, limits: Limits = LIMITS) -> Program[Held | Waiting | Yielded]:
    """
    Take the lease, or a place in the queue; end a lease that is dead; prewarm when that is due.

    :param dead_seconds: for how long this owner has seen that the lease is dead or late.
    """
    for number in count(1):
        sight = yield from look(limits)
        action = judge(sight, arrival, dead_seconds=dead_seconds, limits=limits)
        if action is Action.WAIT:
            return Waiting(sight)
        outcome: Held | Waiting | Yielded | None = yield from _DEEDS[action](sight, arrival, limits)
        if outcome is not None:
            return outcome
        if number >= _ROUNDS:
            yield Pause()
    raise AssertionError("unreachable")


def launch(held: Seen, speaker: Speaker, limits: Limits = LIMITS) -> Program[str | Lost | Unclear]:
    """
    Give the lease its cluster: the one that was prewarmed or that an earlier try launched, else a new one.

    :param held: the record in which the lease is this speaker's.
    """
    lease = held.record.lease
    if lease is None or lease.speaker != speaker:
        return Lost("it is not this task's")
    if (adopted := (yield from _adopt(held))) is not None:
        return adopted
    while True:
        launched: str | TooLate | Unclear = yield Launch(lease.token, lease.written_at)
        if not isinstance(launched, TooLate):
            return launched
        renewed = yield from _renew(lease.token, speaker, limits)
        if renewed is None:
            return Lost("it went to another while this task did nothing")
        lease = renewed


def _renew(token: int, speaker: Speaker, limits: Limits) -> Program[Lease | None]:
    while True:
        seen: Seen = yield ReadRecord()
        lease = seen.record.lease
        if lease is None or lease.token != token or lease.speaker != speaker or lease.phase is Phase.CLOSING:
            return None
        if lease.written_at == seen.now:
            return lease  # there is nothing to write: an answer was lost a moment ago
        if written := (yield from _change(seen, Reenter(speaker), limits)):
            return written.record.lease


def _adopt(held: Seen) -> Program[str | None]:
    """
    Find the cluster that the lease has already.

    What is not kept is ended later, after the hand-over: until then a newer try may be about to keep it.
    """
    lease = held.record.lease
    assert lease is not None  # noqa: S101 - the caller has looked
    live: list[str] = []
    if lease.carrier is not None:
        known: Carrier = yield ReadCarrier(lease.carrier)
        live += [known.carrier] * known.is_live
    if not lease.doubtful or lease.phase is Phase.HELD:
        return next(iter(live), None)
    found = yield from find_clusters(lease)
    live += [carrier.carrier for carrier in found if carrier.is_live]
    if not live:
        return (yield from relocate(mark_of(lease), carrier="")) or None
    return (yield from relocate(mark_of(lease), carrier=live[0]))


def relocate(mark: Mark, *, carrier: str) -> Program[str]:
    """
    Find out whether the address that is not free is on another cluster of the same lease, and keep that one then.

    An earlier try that is still at work may have bound a cluster of its own, which nobody could see before.

    :param mark: the lease's.
    :param carrier: the cluster that is to carry the address.
    :return: the cluster that the lease goes on with.
    """
    place: Place = yield ReadPlace()
    if place.mark != mark or carrier in place.carriers:
        return carrier
    for name in place.carriers:
        there: Carrier = yield ReadCarrier(name)
        if there.is_live and there.mark == mark:
            return name
    return carrier


def hand_over(speaker: Speaker, *, token: int, carrier: str, limits: Limits = LIMITS) -> Program[Seen | Lost]:
    """Record what carries the address now, which is also the last look whether the lease is still current."""
    handed = yield from _handed_over(HandOver(speaker, token, carrier), limits)
    lease = handed.record.lease if isinstance(handed, Seen) else None
    if lease is not None and lease.doubtful:
        # From now on no newer try keeps another cluster of this lease.
        found = yield from find_clusters(lease)
        yield from _terminate_live(tuple(other for other in found if other.carrier != carrier))
    return handed


def _handed_over(event: HandOver, limits: Limits) -> Program[Seen | Lost]:
    while True:
        seen: Seen = yield ReadRecord()
        after = step(seen.record, event, seen.now, limits)
        if isinstance(after, Refused):
            return Lost(after.why)
        if after == seen.record:
            return seen
        if written := (yield from _change(seen, event, limits)):
            return written


def guard(carrier: str) -> Program[str | None]:
    """
    Check that a step may start on a cluster.

    :return: why not; ``None`` when it may.
    """
    seen: Seen = yield ReadRecord()
    lease = seen.record.lease
    if lease is None or lease.carrier != carrier:
        return f"leased to {lease.speaker.name}" if lease else "leased to nobody"
    return (
        None if lease.phase is Phase.HELD else f"leased to {lease.speaker.name}, and the lease is {lease.phase.value}"
    )


def close(carrier: str, limits: Limits = LIMITS) -> Program[bool]:
    """
    Let no further step start on this carrier.

    :return: whether the lease is its own; there is nothing to close otherwise.
    """
    while True:
        seen: Seen = yield ReadRecord()
        lease = seen.record.lease
        if lease is None or lease.carrier != carrier:
            return False
        if lease.phase is Phase.CLOSING or (yield from _change(seen, Close(lease.token), limits)):
            return True


def release(carrier: str, *, why: str, limits: Limits = LIMITS) -> Program[bool]:
    """
    Take the address off a carrier on which no step needs it any more, end its lease, and sweep.

    :return: whether the lease was its own.
    """
    yield from _take_off(carrier)
    while True:
        seen: Seen = yield ReadRecord()
        lease = seen.record.lease
        if lease is None or lease.carrier != carrier:
            return False
        yield from _sweep(seen.record)
        if lease.doubtful:
            found = yield from find_clusters(lease)
            yield from _terminate_live(tuple(other for other in found if other.carrier != carrier))
        if (yield from _change(seen, Release(lease.token, carrier, why), limits)):
            return True


def undo(
    speaker: Speaker,
    *,
    launched: str | None = None,
    token: int | None = None,
    terminate: bool = True,
    association_id: str | None = None,
    may_lag: bool = False,
    limits: Limits = LIMITS,
) -> Program[None]:
    """
    Leave nothing behind of what this try did; nothing else is touched, and a newer try's work least of all.

    The record is changed before AWS is: then no newer try adopts what is about to be terminated.

    :param launched: the cluster that this try launched or adopted, if it knows.
    :param token: of the lease under which it did; ``None`` when it does not know.
    :param terminate: end the cluster; otherwise only the address is taken off it.
    :param association_id: the association that this try made, if it knows: it is undone whatever EC2 shows.
    :param may_lag: this try may have made one a moment ago: look for it until EC2 must show it.
    """
    unbind = partial(_unbind, association_id=association_id, may_lag=may_lag)
    while True:
        seen: Seen = yield ReadRecord()
        record = seen.record
        lease = record.lease
        if lease is not None and lease.speaker.owner == speaker.owner:
            if speaker.yields_to(lease.speaker):
                yield from _undo_other(lease.token, launched, token, unbind, terminate=terminate)
                return
            doom = Close(lease.token, doomed=terminate)
            if lease.phase is not Phase.CLOSING and not (yield from _change(seen, doom, limits)):
                continue
            carrier = launched or lease.carrier
            yield from _undo_lease(lease.token, carrier, unbind, terminate=terminate, limits=limits)
            return
        place = record.place(speaker.owner)
        if place is None:
            yield from _undo_stray(launched, unbind, terminate=terminate)
            return
        entry = record.queue[place]
        if speaker.yields_to(entry.speaker):
            yield from _undo_other(entry.token, launched, token, unbind, terminate=terminate)
            return
        if (yield from _change(seen, Leave(speaker), limits)):
            if entry.prewarmed_at is not None:
                found = yield from find_clusters(entry)
                yield from _terminate_live(found)
            if entry.carrier is not None:
                yield Terminate(entry.carrier)
            return


def _undo_lease(
    token: int, carrier: str | None, unbind: Callable[[str], Program[None]], *, terminate: bool, limits: Limits
) -> Program[None]:
    """End a lease that is closing, as far as that is possible now; what remains ends by fact."""
    while True:
        seen: Seen = yield ReadRecord()
        lease = seen.record.lease
        if lease is None or lease.token != token:
            return
        # EMR may show it later: then it is found by the lease's tags, and ended with what is doubtful.
        unknown = carrier is None or (terminate and not (yield Terminate(carrier)))
        if terminate and (lease.doubtful or unknown):
            found = yield from find_clusters(lease)
            yield from _terminate_live(found)
        if carrier is not None:
            # A cluster that lives on runs whatever else it was made for.
            if (yield ReadSteps(carrier, guarded=not terminate)):
                return
            yield from unbind(carrier)
        yield from _sweep(seen.record)
        ended = Release(token, None if unknown else carrier, "undone", doubtful=unknown)
        if (yield from _change(seen, ended, limits)):
            return


def _undo_other(
    current: int,
    carrier: str | None,
    token: int | None,
    unbind: Callable[[str], Program[None]],
    *,
    terminate: bool,
) -> Program[None]:
    """Undo what was done under an earlier lease: a newer try may keep a cluster of its own lease only."""
    if token is not None and token != current:
        yield from _undo_stray(carrier, unbind, terminate=terminate)


def _undo_stray(carrier: str | None, unbind: Callable[[str], Program[None]], *, terminate: bool) -> Program[None]:
    """Undo what was done under a lease that is gone: it is recorded nowhere, and no other try can find it."""
    if carrier is None:
        return
    if terminate:
        yield Terminate(carrier)
    yield from unbind(carrier)


def _unbind(carrier: str, *, association_id: str | None = None, may_lag: bool = False) -> Program[None]:
    if association_id is not None:
        yield Disassociate(association_id)
    else:
        yield from _take_off(carrier, may_lag=may_lag)


def _take_off(carrier: str, *, may_lag: bool = False) -> Program[None]:
    place: Place = yield ReadPlace(expected=carrier if may_lag else None)
    if place.association_id is not None and carrier in place.carriers:
        yield Disassociate(place.association_id)


def _change(seen: Seen, event: Event, limits: Limits) -> Program[Seen | None]:
    """
    Write one transition.

    :return: ``None`` when it was not (surely) written, after a pause, or there was nothing to write: look again.
    """
    after = step(seen.record, event, seen.now, limits)
    if isinstance(after, Refused) or after == seen.record:
        return None
    outcome = yield WriteRecord(after, seen.version, joins=isinstance(event, Queue))
    if isinstance(outcome, Seen):
        return outcome
    yield Pause()
    return None


def _terminate_live(carriers: tuple[Carrier, ...]) -> Program[None]:
    for carrier in carriers:
        if carrier.is_live:
            yield Terminate(carrier.carrier)


def _sweep(record: Record) -> Program[None]:
    """Terminate what ended leases and dropped entries left behind."""
    for suspect in record.suspects:
        found = yield from find_clusters(suspect)
        yield from _terminate_live(tuple(carrier for carrier in found if carrier.carrier != suspect.keep))


def _hold(sight: Sight, arrival: Arrival, limits: Limits) -> Program[Held]:
    yield from ()
    return Held(sight.seen)


def _yield(sight: Sight, arrival: Arrival, limits: Limits) -> Program[Yielded]:
    yield from ()
    return Yielded()


def _queue(sight: Sight, arrival: Arrival, limits: Limits) -> Program[Waiting | None]:
    event = Queue(arrival.speaker, arrival.cluster_name, arrival.handover_seconds)
    queued = yield from _change(sight.seen, event, limits)
    return Waiting(replace(sight, seen=queued)) if queued else None


def _reenter(sight: Sight, arrival: Arrival, limits: Limits) -> Program[Held | None]:
    again = yield from _change(sight.seen, Reenter(arrival.speaker), limits)
    ours = again is not None and again.record.lease is not None and again.record.lease.speaker == arrival.speaker
    return Held(again) if again and ours else None


def _sweep_only(sight: Sight, arrival: Arrival, limits: Limits) -> Program[Waiting]:
    yield from _sweep(sight.seen.record)
    return Waiting(sight)  # its instance keeps the address for some time yet


def _take(sight: Sight, arrival: Arrival, limits: Limits) -> Program[Held | None]:
    yield from _sweep(sight.seen.record)
    event = Take(arrival.speaker, arrival.cluster_name, arrival.handover_seconds)
    taken = yield from _change(sight.seen, event, limits)
    return Held(taken) if taken else None


def _terminate_doomed(sight: Sight, arrival: Arrival, limits: Limits) -> Program[None]:
    yield from _terminate_live(sight.carriers)


def _close_late(sight: Sight, arrival: Arrival, limits: Limits) -> Program[None]:
    lease = sight.seen.record.lease
    if lease and (yield from _change(sight.seen, Close(lease.token, doomed=True), limits)):
        yield from _terminate_live(sight.carriers)


def _evict(sight: Sight, arrival: Arrival, limits: Limits) -> Program[None]:
    lease = sight.seen.record.lease
    if lease is None:
        return
    yield from _sweep(sight.seen.record)
    ended = ", ".join(carrier.carrier for carrier in sight.carriers)
    never = "no cluster was launched" if lease.cluster_name else "it was never handed over"
    why = f"taken over: {ended} has ended" if ended else f"taken over: {never}"
    yield from _change(sight.seen, Release(lease.token, lease.carrier, why), limits)


def _prewarm(sight: Sight, arrival: Arrival, limits: Limits) -> Program[None]:
    speaker = arrival.speaker
    announced = yield from _change(sight.seen, Prewarm(speaker, arrival.prewarm), limits)
    place = announced.record.place(speaker.owner) if announced else None
    if announced is None or place is None:
        return
    entry = announced.record.queue[place]
    token = entry.token
    launched: str | TooLate | Unclear = yield Launch(token, float(entry.prewarmed_at or 0))
    if not isinstance(launched, str):
        return  # whoever takes the lease looks for it
    while True:
        after = step(announced.record, Prewarmed(speaker, launched), announced.now, limits)
        if isinstance(after, Refused):
            lease = announced.record.lease
            if not after.superseded and (lease is None or lease.token != token):
                yield Terminate(launched)  # the queue went on without this entry; nothing names its cluster
            return
        if after == announced.record or (yield from _change(announced, Prewarmed(speaker, launched), limits)):
            return
        announced = yield ReadRecord()


_DEEDS: Mapping[Action, Callable[[Sight, Arrival, Limits], Program[Any]]] = {
    Action.HOLD: _hold,
    Action.YIELD: _yield,
    Action.QUEUE: _queue,
    Action.REENTER: _reenter,
    Action.SWEEP: _sweep_only,
    Action.TAKE: _take,
    Action.PREWARM: _prewarm,
    Action.EVICT: _evict,
    Action.CLOSE: _close_late,
    Action.TERMINATE: _terminate_doomed,
}
