"""
What the attempts of a task do with the lease: enter, launch, hand over, close, release, undo.

Plain functions over a :class:`~airflow_eip_provider.lease.world.World`. Each starts from nothing, looks, and then
changes one thing at a time. It may be cut off between any two calls and run again, by the same attempt or a newer one:
what it finds in the record and in AWS tells it how far it had come. So nothing is kept in memory that matters.

The theory, in the rules that a model of the protocol forced (``tests/model`` takes out each guard below, one at a time,
and finds what then goes wrong):

- **Attempts are ordered** (rule 1). A retry is the same owner and a newer attempt. It re-enters by a conditional write;
  an older attempt that is still at work finds that out at its next look, and from then on touches nothing.
- **Undo reads first, and writes before it acts** (rule 2). What a newer attempt keeps must not be terminated, so the
  lease is closed in the record before its cluster is: nobody adopts a cluster of a lease that is closing.
- **Releasing comes before freeing** (rule 3). Close, wait until no step needs the address, take it off, release. In any
  other order a step could start between the look for steps and the moment at which the address is gone.
- **A lost answer is resolved by what the lease says** (rule 7), never by "who wrote last". Every event is idempotent
  (:mod:`airflow_eip_provider.lease.transitions`), so after an unclear write the functions look again and apply it anew.
- **Possible orphans** (rule 6). RunJobFlow has no idempotency token: one that was in flight at a crash may surface
  later. Its cluster carries owner and token as tags, and a *suspect* in the record says for how long to look for them.
  Whoever takes, takes over or releases a lease sweeps first: it terminates what it finds.
- **A retry adopts, it does not launch again** (rule 8): the recorded cluster, else one that the tags lead to, else one
  that has the address already.

A write that met another, or whose answer was lost, is followed by a pause and another look: however many write the same
record, nobody gives up because others were faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.observation import Action, Arrival, Sight, clusters_of, judge, look
from airflow_eip_provider.lease.record import LIMITS, Phase
from airflow_eip_provider.lease.store import Seen
from airflow_eip_provider.lease.transitions import (
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
from airflow_eip_provider.lease.world import Mark, TooLate

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Entry, Lease, Limits, Record, Speaker
    from airflow_eip_provider.lease.world import Carrier, ReadOnlyWorld, Unclear, World

# So often a function looks again at once because of what it has done itself; then it pauses, too.
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


def enter(
    world: World, arrival: Arrival, *, dead_seconds: float = 0.0, limits: Limits = LIMITS
) -> Held | Waiting | Yielded:
    """
    Take the lease, or a place in the queue; end a lease that is dead; prewarm when that is due.

    :param dead_seconds: for how long this owner has seen that the lease is dead or late.
    """
    for number in count(1):
        sight = look(world, limits)
        action = judge(sight, arrival, dead_seconds=dead_seconds, limits=limits)
        if action is Action.WAIT:
            return Waiting(sight)
        if action is Action.YIELD:
            return Yielded()
        # After each change it looks again: others may have been faster, and what was judged is out of date.
        entered = _act(world, action, sight, arrival, limits)
        if entered is not None:
            return entered
        if number >= _ROUNDS:
            world.pause()
    raise AssertionError("unreachable")


def _act(world: World, action: Action, sight: Sight, arrival: Arrival, limits: Limits) -> Held | Waiting | None:
    """
    Do what was judged.

    :return: ``None`` to look again.
    """
    if action is Action.HOLD:
        return Held(sight.seen)
    if action is Action.QUEUE:
        return _queue(world, sight, arrival, limits)
    if action is Action.REENTER:
        return _reenter(world, sight, arrival, limits)
    if action is Action.TAKE:
        return _take(world, sight, arrival, limits)
    if action is Action.SWEEP:
        return _sweep_and_wait(world, sight)
    _act_on_others(world, action, sight, arrival, limits)
    return None


def _act_on_others(world: World, action: Action, sight: Sight, arrival: Arrival, limits: Limits) -> None:
    """Do what was judged while another owner has the lease; whoever waits looks again then."""
    if action is Action.PREWARM:
        _prewarm(world, sight, arrival, limits)
    elif action is Action.EVICT:
        _evict(world, sight, limits)
    elif action is Action.CLOSE:
        _close_late(world, sight, limits)
    elif action is Action.TERMINATE:
        _terminate_live(world, sight.carriers)
    else:
        raise AssertionError(f"nothing is done about {action}")


def launch(world: World, held: Seen, speaker: Speaker, limits: Limits = LIMITS) -> str | Lost | Unclear:
    """
    Give the lease its cluster: the one that was prewarmed or that an earlier try launched, else a new one.

    :param held: the record in which the lease is this speaker's.
    """
    lease = held.record.lease
    if lease is None or lease.speaker != speaker:
        return Lost("it is not this task's")
    # Also the first try of a lease looks: an entry that started early may have given it a cluster already.
    adopted = _adopt(world, lease)
    if adopted is not None:
        return adopted
    while True:
        launched = world.launch(lease.token, lease.written_at)
        if not isinstance(launched, TooLate):
            return launched
        # Others take a lease without a cluster for dead once RunJobFlow cannot surface any more. A request that is sent
        # later than its write promised would surface after that; so it is promised anew first.
        renewed = _renew(world, lease.token, speaker, limits)
        if renewed is None:
            return Lost("it went to another while this task did nothing")
        lease = renewed


def _renew(world: World, token: int, speaker: Speaker, limits: Limits) -> Lease | None:
    while True:
        seen = world.read_record()
        lease = seen.record.lease
        if lease is None or lease.token != token or lease.speaker != speaker or lease.phase is Phase.CLOSING:
            return None
        if lease.written_at == seen.now:
            return lease  # there is nothing to write: an answer was lost a moment ago
        written = _change(world, seen, Reenter(speaker), limits)
        if written is not None:
            return written.record.lease


def _adopt(world: ReadOnlyWorld, lease: Lease) -> str | None:
    """
    Find the cluster that the lease has already.

    What is not kept is ended later, after the hand-over: until then a newer try may be about to keep it.
    """
    live: list[str] = []
    if lease.carrier is not None:
        known = world.read_carrier(lease.carrier)
        live += [known.carrier] * known.is_live
    if not lease.doubtful or lease.phase is Phase.HELD:
        # No earlier try can have launched another; or the steps that follow know this one, so no other will do.
        return next(iter(live), None)
    live += [carrier.carrier for carrier in clusters_of(world, lease) if carrier.is_live]
    if not live:
        # ListClusters may lag behind; an instance that has the address shows its cluster's tags.
        return relocate(world, mark_of(lease), carrier="") or None
    return relocate(world, mark_of(lease), carrier=live[0])


def relocate(world: ReadOnlyWorld, mark: Mark, *, carrier: str) -> str:
    """
    Find out whether the address that is not free is on another cluster of the same lease, and keep that one then.

    An earlier try that is still at work may have bound a cluster of its own, which nobody could see before.

    :param mark: the lease's.
    :param carrier: the cluster that is to carry the address.
    :return: the cluster that the lease goes on with.
    """
    place = world.read_place()
    if place.mark != mark or carrier in place.carriers:
        return carrier
    # The mark is its instance's: of the carriers, the cluster is the one that has it, too, and it must still live.
    for name in place.carriers:
        there = world.read_carrier(name)
        if there.is_live and there.mark == mark:
            return name
    return carrier


def hand_over(world: World, speaker: Speaker, *, token: int, carrier: str, limits: Limits = LIMITS) -> Seen | Lost:
    """Record what carries the address now, which is also the last look whether the lease is still current."""
    handed = _handed_over(world, HandOver(speaker, token, carrier), limits)
    lease = handed.record.lease if isinstance(handed, Seen) else None
    if lease is not None and lease.doubtful:
        # From now on no newer try keeps another cluster of this lease.
        _terminate_others(world, lease, keep=carrier)
    return handed


def _handed_over(world: World, event: HandOver, limits: Limits) -> Seen | Lost:
    while True:
        seen = world.read_record()
        after = step(seen.record, event, seen.now, limits)
        if isinstance(after, Refused):
            return Lost(after.why)  # closed by others because it was late, or a newer try is at work (I4)
        if after == seen.record:
            return seen  # an earlier write took effect, and its answer was lost
        written = _change(world, seen, event, limits)
        if written is not None:
            return written


def guard(world: ReadOnlyWorld, carrier: str) -> str | None:
    """
    Check that a step may start on a cluster.

    Asked before a step is submitted, and again right after: whoever closes the lease writes that before it looks for
    steps, so of the two at least one sees the other (rule 10).

    :return: why not; ``None`` when it may.
    """
    lease = world.read_record().record.lease
    if lease is None or lease.carrier != carrier:
        return f"leased to {lease.speaker.name}" if lease else "leased to nobody"
    if lease.phase is Phase.HELD:
        return None
    return f"leased to {lease.speaker.name}, and the lease is {lease.phase.value}"


def close(world: World, carrier: str, limits: Limits = LIMITS) -> bool:
    """
    Let no further step start on this carrier.

    :return: whether the lease is its own; there is nothing to close otherwise.
    """
    while True:
        seen = world.read_record()
        lease = seen.record.lease
        if lease is None or lease.carrier != carrier:
            return False
        if lease.phase is Phase.CLOSING or _change(world, seen, Close(lease.token), limits) is not None:
            return True


def release(world: World, carrier: str, *, why: str, limits: Limits = LIMITS) -> bool:
    """
    Take the address off a carrier on which no step needs it any more, end its lease, and sweep.

    The address first: after a crash between the two, whoever waits finds a lease that is dead and ends it. The other
    way round the lease would be free while the address is in use, and nobody would know that it is to be taken off.

    :return: whether the lease was its own.
    """
    _take_off(world, carrier)
    while True:
        seen = world.read_record()
        lease = seen.record.lease
        if lease is None or lease.carrier != carrier:
            return False
        _sweep(world, seen.record)
        if lease.doubtful:
            # What surfaced by now is ended by this; what may still surface is left as a suspect.
            _terminate_others(world, lease, keep=carrier)
        if _change(world, seen, Release(lease.token, carrier, why), limits) is not None:
            return True


@dataclass(frozen=True, slots=True)
class _Work:
    """What an attempt has done that is to be undone; the parameters of :func:`undo`."""

    speaker: Speaker
    launched: str | None
    token: int | None
    terminate: bool
    association_id: str | None
    may_lag: bool


def undo(
    world: World,
    speaker: Speaker,
    *,
    launched: str | None = None,
    token: int | None = None,
    terminate: bool = True,
    association_id: str | None = None,
    may_lag: bool = False,
    limits: Limits = LIMITS,
) -> None:
    """
    Leave nothing behind of what this try did; nothing else is touched, and a newer try's work least of all.

    The record is changed before AWS is: then no newer try adopts what is about to be terminated.

    :param launched: the cluster that this try launched or adopted, if it knows.
    :param token: of the lease under which it did; ``None`` when it does not know.
    :param terminate: end the cluster; otherwise only the address is taken off it.
    :param association_id: the association that this try made, if it knows: it is undone whatever EC2 shows.
    :param may_lag: this try may have made one a moment ago: look for it until EC2 must show it.
    """
    work = _Work(speaker, launched, token, terminate, association_id, may_lag)
    while True:
        seen = world.read_record()
        lease, place = seen.record.lease, seen.record.place(speaker.owner)
        if lease is not None and lease.speaker.owner == speaker.owner:
            ended = _undo_holder(world, seen, lease, work, limits)
        elif place is not None:
            ended = _undo_waiter(world, seen, seen.record.queue[place], work, limits)
        else:
            # Others took the lease over while this try was at work, or it never came to have one.
            _undo_stray(world, work)
            return
        if ended:
            return


def _undo_holder(world: World, seen: Seen, lease: Lease, work: _Work, limits: Limits) -> bool:
    """
    Undo while this owner has the lease.

    :return: ``False`` to look again.
    """
    if work.speaker.yields_to(lease.speaker):
        _undo_older(world, work, current=lease.token)
        return True
    # Doomed: should this process die before it has terminated the cluster, whoever sees the lease does.
    closing = Close(lease.token, doomed=work.terminate)
    if lease.phase is not Phase.CLOSING and _change(world, seen, closing, limits) is None:
        return False
    _undo_lease(world, lease.token, work.launched or lease.carrier, work, limits)
    return True


def _undo_waiter(world: World, seen: Seen, entry: Entry, work: _Work, limits: Limits) -> bool:
    """
    Undo while this owner is in the queue: what it may have started early ends with its place.

    :return: ``False`` to look again.
    """
    if work.speaker.yields_to(entry.speaker):
        _undo_older(world, work, current=entry.token)
        return True
    if _change(world, seen, Leave(work.speaker), limits) is None:
        return False
    if entry.prewarmed_at is not None:
        _terminate_live(world, clusters_of(world, entry))
    if entry.carrier is not None:
        world.terminate(entry.carrier)
    return True


def _undo_lease(world: World, token: int, carrier: str | None, work: _Work, limits: Limits) -> None:
    """End a lease that is closing, as far as that is possible now; what remains ends by fact."""
    while True:
        seen = world.read_record()
        lease = seen.record.lease
        if lease is None or lease.token != token:
            return  # somebody else has ended it: a closing lease is for everybody who sees it
        # EMR may show it later: then it is found by the lease's tags, and ended with what is doubtful.
        unknown = carrier is None or (work.terminate and not world.terminate(carrier))
        if work.terminate and (lease.doubtful or unknown):
            _terminate_live(world, clusters_of(world, lease))
        if carrier is not None:
            # A cluster that lives on runs whatever else it was made for.
            if world.active_steps(carrier, guarded=not work.terminate):
                return
            _unbind(world, carrier, work)
        _sweep(world, seen.record)
        ended = Release(token, None if unknown else carrier, "undone", doubtful=unknown)
        if _change(world, seen, ended, limits) is not None:
            return


def _undo_older(world: World, work: _Work, *, current: int) -> None:
    """
    Undo what was done under an earlier lease: a newer try may keep a cluster of its own lease only.

    :param current: the token of the newer try.
    """
    if work.token is not None and work.token != current:
        _undo_stray(world, work)


def _undo_stray(world: World, work: _Work) -> None:
    """Undo what was done under a lease that is gone: it is recorded nowhere, and no other try can find it."""
    if work.launched is None:
        return
    if work.terminate:
        world.terminate(work.launched)
    _unbind(world, work.launched, work)


def _unbind(world: World, carrier: str, work: _Work) -> None:
    if work.association_id is not None:
        world.disassociate(work.association_id)
    else:
        _take_off(world, carrier, may_lag=work.may_lag)


def _take_off(world: World, carrier: str, *, may_lag: bool = False) -> None:
    """Disassociate the address if this carrier has it: never another owner's association (I2)."""
    place = world.settled_place(carrier) if may_lag else world.read_place()
    if place.association_id is not None and carrier in place.carriers:
        world.disassociate(place.association_id)


def _change(world: World, seen: Seen, event: Event, limits: Limits) -> Seen | None:
    """
    Write one transition.

    :return: ``None`` when it was not (surely) written, after a pause, or there was nothing to write: look again.
    """
    after = step(seen.record, event, seen.now, limits)
    if isinstance(after, Refused) or after == seen.record:
        return None
    outcome = world.write_record(after, seen.version, joins=isinstance(event, Queue))
    if isinstance(outcome, Seen):
        return outcome
    # A conflict and a lost answer are the same from here: only the next look tells what the record is now.
    world.pause()
    return None


def _terminate_live(world: World, carriers: tuple[Carrier, ...]) -> None:
    for carrier in carriers:
        if carrier.is_live:
            world.terminate(carrier.carrier)


def _terminate_others(world: World, lease: Lease, *, keep: str) -> None:
    """Terminate what earlier tries launched under the same lease and nobody kept."""
    _terminate_live(world, tuple(other for other in clusters_of(world, lease) if other.carrier != keep))


def _sweep(world: World, record: Record) -> None:
    """Terminate what ended leases and dropped entries left behind."""
    for suspect in record.suspects:
        # By its own token: a cluster with the token of the lease, or of an entry, is never touched here.
        found = clusters_of(world, suspect)
        _terminate_live(world, tuple(carrier for carrier in found if carrier.carrier != suspect.keep))


def _queue(world: World, sight: Sight, arrival: Arrival, limits: Limits) -> Waiting | None:
    event = Queue(arrival.speaker, arrival.cluster_name, arrival.handover_seconds)
    queued = _change(world, sight.seen, event, limits)
    return Waiting(replace(sight, seen=queued)) if queued else None


def _reenter(world: World, sight: Sight, arrival: Arrival, limits: Limits) -> Held | None:
    again = _change(world, sight.seen, Reenter(arrival.speaker), limits)
    # It may have been the entry in the queue that this try speaks for now; then there is still to be waited.
    ours = again is not None and again.record.lease is not None and again.record.lease.speaker == arrival.speaker
    return Held(again) if again and ours else None


def _take(world: World, sight: Sight, arrival: Arrival, limits: Limits) -> Held | None:
    # Before the write: it drops the suspects whose time is over, as those of which nothing was found.
    _sweep(world, sight.seen.record)
    event = Take(arrival.speaker, arrival.cluster_name, arrival.handover_seconds)
    taken = _change(world, sight.seen, event, limits)
    return Held(taken) if taken else None


def _sweep_and_wait(world: World, sight: Sight) -> Waiting:
    """End an orphan that has the address, so that it comes free; nobody could take the lease before."""
    _sweep(world, sight.seen.record)
    return Waiting(sight)  # its instance keeps the address for some time yet


def _close_late(world: World, sight: Sight, limits: Limits) -> None:
    lease = sight.seen.record.lease
    # Closed first: the hand-over of its owner, should that wake up now, is refused, and it undoes what it did.
    if lease and _change(world, sight.seen, Close(lease.token, doomed=True), limits) is not None:
        _terminate_live(world, sight.carriers)


def _evict(world: World, sight: Sight, limits: Limits) -> None:
    lease = sight.seen.record.lease
    if lease is None:
        return
    # Nothing is terminated besides: the lease is dead because its clusters have ended, or can never appear any more.
    _sweep(world, sight.seen.record)
    ended = ", ".join(carrier.carrier for carrier in sight.carriers)
    never = "no cluster was launched" if lease.cluster_name else "it was never handed over"
    why = f"taken over: {ended} has ended" if ended else f"taken over: {never}"
    _change(world, sight.seen, Release(lease.token, lease.carrier, why), limits)


def _prewarm(world: World, sight: Sight, arrival: Arrival, limits: Limits) -> None:
    """Start the cluster while another owner has the address; announced first, so that it happens once (rule 9)."""
    speaker = arrival.speaker
    announced = _change(world, sight.seen, Prewarm(speaker, arrival.prewarm), limits)
    place = announced.record.place(speaker.owner) if announced else None
    if announced is None or place is None:
        return
    entry = announced.record.queue[place]
    token = entry.token
    launched = world.launch(token, float(entry.prewarmed_at or 0))
    if not isinstance(launched, str):
        return  # whoever takes the lease looks for it
    # Meanwhile the entry may have become the lease, by another try of this owner, or have left the queue.
    while True:
        after = step(announced.record, Prewarmed(speaker, launched), announced.now, limits)
        if isinstance(after, Refused):
            lease = announced.record.lease
            if not after.superseded and (lease is None or lease.token != token):
                world.terminate(launched)  # the queue went on without this entry; nothing names its cluster
            return
        if after == announced.record or _change(world, announced, Prewarmed(speaker, launched), limits) is not None:
            return
        announced = world.read_record()
