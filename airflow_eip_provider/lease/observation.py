"""
What can be seen of a lease, and what follows from it.

Liveness is a fact, not a heartbeat: whether a lease may be ended by others is decided by the state of its cluster and
the place of the address. Time alone ends nothing; it only says from when on the absence of a cluster is conclusive.
So nobody renews a lease, and an outage of Airflow or of the lock store costs no holder the address (invariant I7).

- "Its cluster has ended" is not enough: an instance outlives its cluster for some seconds, and keeps the address.
- "No cluster to be seen" is not enough either: RunJobFlow may have been sent just before a crash, and ListClusters may
  lag. Until ``Limits.surface`` has passed since the attempt's last write, its lease is alive whatever is seen (rule 5).
- A lease that was never handed over may be closed once it is late, for its owner may be gone for good; but never while
  a step runs on its cluster, and never a lease that was handed over.
- A lease that is closing is dead as soon as the address is off and no fenced step runs: closing lets no step start any
  more, so neither can come back (rule 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import LIMITS, Entry, Lease, Limits, Phase, Suspect
from airflow_eip_provider.lease.transitions import turn_at
from airflow_eip_provider.lease.world import Mark, Place

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Speaker
    from airflow_eip_provider.lease.store import Seen
    from airflow_eip_provider.lease.world import Carrier, ReadOnlyWorld


@dataclass(frozen=True, slots=True)
class Sight:
    """
    One look: the record, and as much of the world as it makes necessary.

    :param place: where the address is; ``None`` when that did not matter.
    :param carriers: what belongs to the lease.
    :param busy: a step on one of them is pending or running.
    """

    seen: Seen
    place: Place | None = None
    carriers: tuple[Carrier, ...] = ()
    busy: bool = False


class Standing(Enum):
    """What becomes of the lease that was seen."""

    ALIVE = auto()
    ENDING = auto()  # its cluster is on its way out
    DEAD = auto()  # anyone may end it
    LATE = auto()  # never handed over, and nothing runs: the next owner may close it
    DOOMED = auto()  # closed, and its cluster is still to be terminated


class Action(Enum):
    """What an owner that wants the address does next."""

    HOLD = auto()
    WAIT = auto()
    QUEUE = auto()
    REENTER = auto()
    TAKE = auto()
    SWEEP = auto()
    PREWARM = auto()
    EVICT = auto()
    CLOSE = auto()
    TERMINATE = auto()
    YIELD = auto()


@dataclass(frozen=True, slots=True)
class Arrival:
    """
    An owner that wants the address.

    :param cluster_name: of the clusters that it launches; empty for something that was made elsewhere.
    :param handover_seconds: how long it may take from getting the lease to handing over.
    :param prewarm: among how many first places of the queue it starts its cluster early; 0 is never.
    :param wants: the cluster or instance that was made elsewhere and is to have the address; empty for a launch.
    """

    speaker: Speaker
    cluster_name: str = ""
    handover_seconds: float = 0.0
    prewarm: int = 0
    wants: str = ""


def look(world: ReadOnlyWorld, limits: Limits = LIMITS) -> Sight:
    """
    Look at the record first, then at the world: what was seen there is at least as new as the record.

    Whatever is written because of it is refused if the record has changed since (it names the record's version). So
    nothing is decided about a lease by facts that are older than the lease.
    """
    seen = world.read_record()
    lease = seen.record.lease
    if lease is None:
        return Sight(seen, place=world.read_place())
    if _may_surface(lease, seen.now, limits):
        return Sight(seen)  # it is alive whatever would be seen; so most looks cost one read
    carriers = _carriers(world, lease)
    sight = Sight(seen, carriers=carriers)
    live = [carrier.carrier for carrier in carriers if carrier.state != "ended"]
    if not live:
        return replace(sight, place=world.read_place())
    if lease.phase is Phase.TAKEN and seen.now >= lease.handover_by:
        # Any step counts: before the hand-over those are its user's own, and nobody else may end them.
        return replace(sight, busy=_is_busy(world, live, guarded=False))
    if lease.phase is Phase.CLOSING and not lease.doomed:
        # Its release may have stopped halfway: what that was waiting for decides now. The cluster may live on.
        place = world.read_place()
        return replace(sight, place=place, busy=_is_busy(world, live, guarded=True))
    return sight


def _carriers(world: ReadOnlyWorld, lease: Lease) -> tuple[Carrier, ...]:
    known = () if lease.carrier is None else (world.read_carrier(lease.carrier),)
    if not _is_searched(lease):
        return known
    found = clusters_of(world, lease)
    return known + tuple(carrier for carrier in found if carrier.carrier != lease.carrier)


def clusters_of(world: ReadOnlyWorld, of: Lease | Entry | Suspect) -> tuple[Carrier, ...]:
    """Look for the clusters of a lease, a queue entry or what one left behind: by tags, as names may differ by try."""
    if not of.cluster_name:
        return ()  # of something that was made elsewhere
    owner = of.owner if isinstance(of, Suspect) else of.speaker.owner
    return world.find_clusters(Mark(of.token, owner), _since(of))


def _since(of: Lease | Entry | Suspect) -> float:
    """Return a moment before which no cluster of it was launched."""
    if isinstance(of, Suspect):
        return of.since
    if isinstance(of, Entry):
        return of.prewarmed_at or of.arrived_at
    return of.taken_at if of.since is None else of.since


def _is_searched(lease: Lease) -> bool:
    """Whether clusters of this lease that the record does not name are its own, too."""
    return lease.phase is Phase.TAKEN or lease.carrier is None or lease.doomed


def _is_busy(world: ReadOnlyWorld, carriers: list[str], *, guarded: bool) -> bool:
    return any(world.active_steps(carrier, guarded=guarded) for carrier in carriers)


def standing(sight: Sight, limits: Limits = LIMITS) -> Standing:
    """Judge the lease that was seen; there must be one."""
    lease, now = sight.seen.record.lease, sight.seen.now
    if lease is None:
        raise ValueError("there is no lease")
    if _may_surface(lease, now, limits):
        return Standing.ALIVE
    if all(carrier.state == "ended" for carrier in sight.carriers):
        # With no carrier at all, too: the time in which one could still surface is over. The address on an instance
        # that is shutting down is no reason to wait: EC2 takes it off, and refuses the next owner until then.
        return Standing.ENDING if _is_on(sight) and _place(sight).live else Standing.DEAD
    if lease.phase is Phase.TAKEN:
        # Not DEAD: its cluster lives, so it is closed first, and terminated then.
        return Standing.LATE if now >= lease.handover_by and not sight.busy else Standing.ALIVE
    if lease.phase is Phase.CLOSING:
        if lease.doomed:
            live = any(carrier.is_live for carrier in sight.carriers)
            return Standing.DOOMED if live else Standing.ENDING
        # Released halfway: the fence lets no step start any more, and the address is off already.
        return Standing.ENDING if _is_on(sight) or sight.busy else Standing.DEAD
    return Standing.ALIVE if any(carrier.is_live for carrier in sight.carriers) else Standing.ENDING


def _may_surface(lease: Lease, now: float, limits: Limits) -> bool:
    """Whether a cluster of this lease may exist that nobody can see yet."""
    # While it is TAKEN a cluster that the record names may be one of two: a retry may have launched another.
    unknown = lease.phase is Phase.TAKEN or lease.carrier is None
    return unknown and now < lease.written_at + limits.surface


def _place(sight: Sight) -> Place:
    return sight.place or Place()


def _is_on(sight: Sight) -> bool:
    place, lease = _place(sight), sight.seen.record.lease
    if any(carrier.carrier in place.carriers for carrier in sight.carriers):
        return True
    # A cluster that has ended is found no more; its instance may still carry the address, and the lease's tags.
    return lease is not None and _is_searched(lease) and place.mark == Mark(lease.token, lease.speaker.owner)


_FOR_OTHERS = {
    Standing.DEAD: Action.EVICT,
    Standing.LATE: Action.CLOSE,
    Standing.DOOMED: Action.TERMINATE,
}


def judge(sight: Sight, arrival: Arrival, *, dead_seconds: float = 0.0, limits: Limits = LIMITS) -> Action:
    """
    Decide what an owner does about what was seen.

    :param dead_seconds: for how long it has seen that something is to be done about the lease; those behind the first
        of the queue leave it to those before them for the window of each.
    """
    record = sight.seen.record
    lease, speaker = record.lease, arrival.speaker
    if lease is not None and lease.speaker.owner == speaker.owner:
        return _judge_own(sight, lease, speaker, limits)
    place = record.place(speaker.owner)
    entry = None if place is None else record.queue[place]
    if entry is not None and entry.speaker != speaker:
        # The entry of an earlier try: its place is this one's now. Or of a newer one, which must not be disturbed.
        return Action.YIELD if speaker.yields_to(entry.speaker) else Action.REENTER
    if lease is None:
        return _judge_free(sight, arrival)
    # To end a lease is idempotent, but everybody who waits would write at once; so it is done in the queue's order.
    found = _FOR_OTHERS.get(standing(sight, limits))
    before = record.seconds_before(speaker.owner)
    if found is not None and (not record.queue if before is None else dead_seconds >= before):
        return found
    if entry is None or place is None:
        return Action.QUEUE
    return Action.PREWARM if _may_prewarm(sight, entry, place, arrival.prewarm) else Action.WAIT


def _judge_free(sight: Sight, arrival: Arrival) -> Action:
    record, place = sight.seen.record, _place(sight)
    turn = turn_at(record, arrival.speaker.owner)
    is_turn = turn is not None and sight.seen.now >= turn
    # What has the address already waits for nobody: nobody else could have it before.
    if is_turn and (place.is_free or place.left or arrival.wants in place.carriers):
        return Action.TAKE
    if record.place(arrival.speaker.owner) is None:
        return Action.QUEUE
    if not (is_turn and place.live):
        return Action.WAIT
    # An orphan that has the address blocks everybody, and nobody takes the lease, which would sweep it, before it is
    # gone. So whoever has its turn ends it.
    left_behind = any(Mark(left.token, left.owner) == place.mark for left in record.suspects)
    return Action.SWEEP if left_behind else Action.WAIT


def _judge_own(sight: Sight, lease: Lease, speaker: Speaker, limits: Limits) -> Action:
    if speaker.yields_to(lease.speaker):
        return Action.YIELD
    goes_on = Action.HOLD if lease.speaker == speaker else Action.REENTER
    if lease.phase is Phase.TAKEN:
        return goes_on  # dead or late for others, but not for its owner, who can still launch
    found = standing(sight, limits)
    if found is Standing.ALIVE and lease.phase is Phase.HELD:
        return goes_on
    return _FOR_OTHERS.get(found, Action.WAIT)


def _may_prewarm(sight: Sight, entry: Entry, place: int, depth: int) -> bool:
    record = sight.seen.record
    if place >= depth or entry.prewarmed_at is not None or record.lease is None:
        return False
    started = sum(other.prewarmed_at is not None for other in record.queue)
    return record.lease.phase is not Phase.TAKEN and started < depth


class Due:
    """For how long those who wait have seen that something is to be done about the same lease."""

    def __init__(self) -> None:
        self._since: tuple[int, float] | None = None

    def seconds(self, sight: Sight, limits: Limits = LIMITS) -> float:
        """Take notice of what is seen now."""
        lease, now = sight.seen.record.lease, sight.seen.now
        if lease is None or standing(sight, limits) not in _FOR_OTHERS:
            self._since = None
            return 0.0
        if self._since is None or self._since[0] != lease.token:
            self._since = (lease.token, now)
        return now - self._since[1]
