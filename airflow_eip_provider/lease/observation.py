"""
What an attempt observes of a lease, and what it does because of that.

Liveness is a fact, not a heartbeat: the state of its cluster and the location of the address decide whether others may
end a lease. Time alone ends no lease; it only says from when on the absence of a cluster is conclusive. So no task has
to renew a lease, and no owner loses the address by an outage of Airflow or of the lock store (invariant I7).

- "Its cluster has ended" is not enough: an instance outlives its cluster for some seconds, and keeps the address.
- "EMR shows no cluster" is not enough either: RunJobFlow may have been sent just before a crash, and ListClusters may
  lag. Until ``Limits.surface`` has passed since the attempt's last write, its lease is in use, whatever AWS shows
  (rule 5). A lease whose cluster is given up is its owner's until the hand-over is overdue: it launches another one.
- Others may start the release of a lease that is still acquired once it is overdue, for its owner may never come back;
  but not while a step runs on its cluster, and never the release of an active lease.
- A lease that is releasing is finished as soon as the address is free and no fenced step runs: no further step can
  start, so neither can come back (rule 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import LIMITS, Entry, Lease, Limits, Phase, PossibleOrphan
from airflow_eip_provider.lease.transitions import turn_at
from airflow_eip_provider.lease.world import AddressLocation, LeaseTags

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Attempt
    from airflow_eip_provider.lease.store import Snapshot
    from airflow_eip_provider.lease.world import ReadOnlyWorld, Resource


@dataclass(frozen=True, slots=True)
class Observation:
    """
    The record as it was read, and as much of the state in AWS as it makes necessary.

    :param location: where the address is; ``None`` when the decision does not depend on it.
    :param resources: the clusters or the instance of the lease.
    :param busy: a step on one of them is pending or running.
    """

    snapshot: Snapshot
    location: AddressLocation | None = None
    resources: tuple[Resource, ...] = ()
    busy: bool = False


class LeaseCondition(Enum):
    """What the observed facts say about a lease; the values are those of ``airflow-eip status --json``."""

    IN_USE = "alive"
    ENDING = "ending"  # its cluster is terminating
    FINISHED = "dead"  # any owner may release it
    OVERDUE = "late"  # never active, and no step runs: the next owner may start its release
    TO_BE_TERMINATED = "doomed"  # its release has begun, and its cluster still has to be terminated


class Action(Enum):
    """What an owner that wants the address does next; the values are in the events of a deferred wait."""

    PROCEED = "hold"
    WAIT = "wait"
    QUEUE = "queue"
    REENTER = "reenter"
    ACQUIRE = "take"
    SWEEP = "sweep"
    PREWARM = "prewarm"
    EVICT = "evict"
    START_RELEASE = "close"
    TERMINATE = "terminate"
    STOP = "yield"


# A number of places that is estimated while the owner waits; see :mod:`airflow_eip_provider.lease.forecast`.
ESTIMATED = -1


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """
    What an attempt asks for: the address, for a cluster that it launches or for something that exists.

    :param cluster_name: of the clusters that it launches; empty when it launches none.
    :param handover_seconds: how long it may take from acquiring the lease until the lease is active.
    :param prewarm: it starts its cluster early from one of so many first places of the queue; 0 is never, and
        :data:`ESTIMATED` is never until whoever waits for it puts an estimate in its place.
    :param wants: the cluster or instance that was made elsewhere and is to have the address; empty for a launch.
    """

    attempt: Attempt
    cluster_name: str = ""
    handover_seconds: float = 0.0
    prewarm: int = 0
    wants: str = ""


def observe(world: ReadOnlyWorld, limits: Limits = LIMITS) -> Observation:
    """
    Read the record first, then AWS: the facts from there are at least as new as the record.

    A write that follows from them names the record's version, and is refused if the record has changed since. So facts
    that are older than a lease decide nothing about it.
    """
    snapshot = world.read_record()
    lease = snapshot.record.lease
    if lease is None:
        return Observation(snapshot, location=world.read_location())
    if _is_in_use(lease, snapshot.now, limits):
        return Observation(snapshot)  # in use, whatever AWS shows; so most observations cost one read
    resources = _resources(world, lease)
    observation = Observation(snapshot, resources=resources)
    live = [resource.resource_id for resource in resources if resource.state != "ended"]
    if not live:
        return replace(observation, location=world.read_location())
    if lease.phase is Phase.ACQUIRED and snapshot.now >= lease.handover_by:
        # Any step counts: before the hand-over a step is the user's own, and others must not end it.
        return replace(observation, busy=_is_busy(world, live, guarded=False))
    if lease.phase is Phase.RELEASING and not lease.to_be_terminated:
        # Its release may have stopped halfway, so the facts that it waited for decide. The cluster may live on.
        location = world.read_location()
        return replace(observation, location=location, busy=_is_busy(world, live, guarded=True))
    return observation


def _resources(world: ReadOnlyWorld, lease: Lease) -> tuple[Resource, ...]:
    known = () if lease.resource_id is None else (world.read_resource(lease.resource_id),)
    if not _is_searched(lease):
        return known
    found = clusters_of(world, lease)
    return known + tuple(resource for resource in found if resource.resource_id != lease.resource_id)


def clusters_of(world: ReadOnlyWorld, of: Lease | Entry | PossibleOrphan) -> tuple[Resource, ...]:
    """Find the clusters of a lease, a queue entry or a possible orphan: by tags, as names may differ by try."""
    if not of.cluster_name:
        return ()  # it launches no cluster
    owner = of.owner if isinstance(of, PossibleOrphan) else of.attempt.owner
    return world.find_clusters(LeaseTags(of.token, owner), _since(of))


def _since(of: Lease | Entry | PossibleOrphan) -> float:
    """Return a time before which none of its clusters was launched."""
    if isinstance(of, PossibleOrphan):
        return of.since
    if isinstance(of, Entry):
        return of.prewarmed_at or of.arrived_at
    return of.acquired_at if of.since is None else of.since


def _is_searched(lease: Lease) -> bool:
    """Whether the lease may have clusters that the record does not name."""
    return lease.phase is Phase.ACQUIRED or lease.resource_id is None or lease.to_be_terminated


def _is_busy(world: ReadOnlyWorld, resource_ids: list[str], *, guarded: bool) -> bool:
    return any(world.active_steps(resource_id, guarded=guarded) for resource_id in resource_ids)


def condition_of(observation: Observation, limits: Limits = LIMITS) -> LeaseCondition:
    """Return the condition of the observed lease; there must be one."""
    lease, now = observation.snapshot.record.lease, observation.snapshot.now
    if lease is None:
        raise ValueError("there is no lease")
    if _is_in_use(lease, now, limits):
        return LeaseCondition.IN_USE
    if all(resource.state == "ended" for resource in observation.resources):
        # Also with no resource at all: the time in which a cluster could still surface is over. An address on an
        # instance that is shutting down is no reason to wait: EC2 frees it, and refuses the next owner until then.
        return LeaseCondition.ENDING if _is_on(observation) and _location(observation).live else LeaseCondition.FINISHED
    if lease.phase is Phase.ACQUIRED:
        # Not FINISHED: its cluster lives. First the release is started, then the cluster is terminated.
        return LeaseCondition.OVERDUE if now >= lease.handover_by and not observation.busy else LeaseCondition.IN_USE
    if lease.phase is Phase.RELEASING:
        if lease.to_be_terminated:
            live = any(resource.is_live for resource in observation.resources)
            return LeaseCondition.TO_BE_TERMINATED if live else LeaseCondition.ENDING
        # Released halfway: the fence lets no further step start, and the address may be free already.
        return LeaseCondition.ENDING if _is_on(observation) or observation.busy else LeaseCondition.FINISHED
    return (
        LeaseCondition.IN_USE if any(resource.is_live for resource in observation.resources) else LeaseCondition.ENDING
    )


def _is_in_use(lease: Lease, now: float, limits: Limits) -> bool:
    """Whether the lease is in use, whatever AWS shows."""
    # A cluster that is given up ends in its own time, and its owner launches the next one after that.
    is_replacing = lease.is_given_up(lease.resource_id) and now < lease.handover_by
    return is_replacing or _may_surface(lease, now, limits)


def _may_surface(lease: Lease, now: float, limits: Limits) -> bool:
    """Whether a cluster of this lease may exist that EMR does not show yet."""
    # While it is ACQUIRED a cluster that the record names may be one of two: a retry may have launched another.
    unknown = lease.phase is Phase.ACQUIRED or lease.resource_id is None
    return unknown and now < lease.written_at + limits.surface


def _location(observation: Observation) -> AddressLocation:
    return observation.location or AddressLocation()


def _is_on(observation: Observation) -> bool:
    location, lease = _location(observation), observation.snapshot.record.lease
    if any(resource.resource_id in location.resource_ids for resource in observation.resources):
        return True
    # The search does not find a cluster that has ended; its instance may still carry the address, and the lease's tags.
    return (
        lease is not None and _is_searched(lease) and location.lease_tags == LeaseTags(lease.token, lease.attempt.owner)
    )


_FOR_OTHERS = {
    LeaseCondition.FINISHED: Action.EVICT,
    LeaseCondition.OVERDUE: Action.START_RELEASE,
    LeaseCondition.TO_BE_TERMINATED: Action.TERMINATE,
}


def is_for_others(observation: Observation, limits: Limits = LIMITS) -> bool:
    """Whether any owner may end the observed lease, or a part of it, now; there must be one."""
    return condition_of(observation, limits) in _FOR_OTHERS


def decide(
    observation: Observation, lease_request: LeaseRequest, *, due_seconds: float = 0.0, limits: Limits = LIMITS
) -> Action:
    """
    Decide what an attempt does next.

    :param due_seconds: for how long it has observed that the lease has to be ended. Each owner of the queue first waits
        for the windows of those before it, so that they do not all write at once.
    """
    record = observation.snapshot.record
    lease, attempt = record.lease, lease_request.attempt
    if lease is not None and lease.attempt.owner == attempt.owner:
        return _decide_own(observation, lease, attempt, limits)
    place = record.place(attempt.owner)
    entry = None if place is None else record.queue[place]
    if entry is not None and entry.attempt != attempt:
        # Of an earlier try: this one takes the entry over. Of a newer try: this one must not touch it.
        return Action.STOP if attempt.is_superseded_by(entry.attempt) else Action.REENTER
    if lease is None:
        return _decide_at_free_address(observation, lease_request)
    # Ending a lease is idempotent, but all that wait would write at once; so they do it in the queue's order.
    found = _FOR_OTHERS.get(condition_of(observation, limits))
    before = record.seconds_before(attempt.owner)
    if found is not None and (not record.queue if before is None else due_seconds >= before):
        return found
    if entry is None or place is None:
        return Action.QUEUE
    return Action.PREWARM if _may_prewarm(observation, entry, place, lease_request.prewarm) else Action.WAIT


def _decide_at_free_address(observation: Observation, lease_request: LeaseRequest) -> Action:
    record, location = observation.snapshot.record, _location(observation)
    turn = turn_at(record, lease_request.attempt.owner)
    is_turn = turn is not None and observation.snapshot.now >= turn
    # A resource that has the address already need not wait: no other owner could associate it before.
    if is_turn and (location.is_free or location.left or lease_request.wants in location.resource_ids):
        return Action.ACQUIRE
    if record.place(lease_request.attempt.owner) is None:
        return Action.QUEUE
    if not (is_turn and location.live):
        return Action.WAIT
    # An orphan that has the address blocks every owner, and acquiring the lease, which would sweep it, has to wait
    # until the orphan is gone. So the owner whose turn it is terminates the orphan.
    left_behind = any(LeaseTags(left.token, left.owner) == location.lease_tags for left in record.possible_orphans)
    return Action.SWEEP if left_behind else Action.WAIT


def _decide_own(observation: Observation, lease: Lease, attempt: Attempt, limits: Limits) -> Action:
    if attempt.is_superseded_by(lease.attempt):
        return Action.STOP
    goes_on = Action.PROCEED if lease.attempt == attempt else Action.REENTER
    if lease.phase is Phase.ACQUIRED:
        return goes_on  # others may find it finished or overdue, but its owner can still launch
    found = condition_of(observation, limits)
    if found is LeaseCondition.IN_USE and lease.phase is Phase.ACTIVE:
        return goes_on
    return _FOR_OTHERS.get(found, Action.WAIT)


def _may_prewarm(observation: Observation, entry: Entry, place: int, depth: int) -> bool:
    record = observation.snapshot.record
    if place >= depth or entry.prewarmed_at is not None or record.lease is None:
        return False
    started = sum(other.prewarmed_at is not None for other in record.queue)
    return record.lease.phase is not Phase.ACQUIRED and started < depth


class Due:
    """Measures for how long a waiting owner has observed that the same lease has to be ended."""

    def __init__(self) -> None:
        self._since: tuple[int, float] | None = None

    def seconds(self, observation: Observation, limits: Limits = LIMITS) -> float:
        """Return the seconds up to this observation; 0 when the lease need not be ended."""
        lease, now = observation.snapshot.record.lease, observation.snapshot.now
        if lease is None or condition_of(observation, limits) not in _FOR_OTHERS:
            self._since = None
            return 0.0
        if self._since is None or self._since[0] != lease.token:
            self._since = (lease.token, now)
        return now - self._since[1]
