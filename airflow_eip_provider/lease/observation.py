"""
What an attempt observes of a lease, and how it decides what to do.

The state of its cluster and the location of the address decide whether others may end a lease (invariant I7). No lease
ends by time alone: time only decides when the absence of a cluster is conclusive, and when a lease that is still
ACQUIRED is overdue. So no task renews a lease, and no owner loses the address because Airflow or the lock store is
down.

- An ended cluster is not enough: its instance runs for some seconds longer, and keeps the address.
- It is also not enough that EMR shows no cluster: RunJobFlow may have been sent just before a crash, and ListClusters
  may lag. Until ``Limits.surface`` has passed since the attempt's last write, its lease is in use, whatever AWS shows
  (rule 5). A lease whose cluster was given up is also in use until its hand-over is overdue, because its owner launches
  another cluster.
- DescribeCluster may lag, too: a cluster that the record names and EMR does not know counts as live for the same time.
- Other owners may start the release of an overdue lease that is still ACQUIRED, because its owner may never resume.
  They do not do so while a step runs on its cluster. They never start the release of an ACTIVE lease.
- A RELEASING lease whose cluster is kept is finished as soon as the address is free and no fenced step runs: no further
  step can start (rule 3).
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
    The record, and the part of the state in AWS that a decision about it needs.

    :param location: where the address is; ``None`` when the decision does not depend on it.
    :param resources: the clusters or the instance of the lease.
    :param busy: a step on one of them is pending or running.
    """

    snapshot: Snapshot
    location: AddressLocation | None = None
    resources: tuple[Resource, ...] = ()
    busy: bool = False


class LeaseCondition(Enum):
    """The condition of an observed lease; ``airflow-eip status --json`` shows the values."""

    IN_USE = "alive"
    ENDING = "ending"  # its cluster is terminating, or its release is in progress
    FINISHED = "dead"  # any owner may release it
    OVERDUE = "late"  # never active, and no step runs: the next owner may start its release
    TO_BE_TERMINATED = "doomed"  # its release has begun, and its cluster still has to be terminated


class Action(Enum):
    """The next action of an owner that wants the address; the events of a deferred wait contain the values."""

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


# Stands for a number of places that is estimated during the wait; see :mod:`airflow_eip_provider.lease.forecast`.
ESTIMATED = -1


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """
    A request for the address, for a cluster that the attempt launches or for an existing resource.

    :param cluster_name: the name of the clusters that it launches; empty when it will certainly launch none.
    :param handover_seconds: the longest time from acquiring the lease until it is active.
    :param prewarm: the number of places at the front of the queue from which it starts its cluster early. 0 means
        never. :data:`ESTIMATED` also means never: the code that waits replaces it with an estimate.
    :param wants: the existing cluster or instance that needs the address; empty for a launch.
    """

    attempt: Attempt
    cluster_name: str = ""
    handover_seconds: float = 0.0
    prewarm: int = 0
    wants: str = ""


def observe(world: ReadOnlyWorld, limits: Limits = LIMITS) -> Observation:
    """
    Read the record first, then AWS, so that the state of AWS is at least as new as the record (rule 11).

    A write that follows names the version of the record, and is refused if the record has changed since. So a state of
    AWS that is older than a lease decides nothing about it.
    """
    snapshot = world.read_record()
    lease = snapshot.record.lease
    if lease is None:
        return Observation(snapshot, location=world.read_location())
    if _is_in_use(lease, snapshot.now, limits):
        return Observation(snapshot)  # whatever AWS shows; so most observations cost one read
    resources = _resources(world, lease)
    observation = Observation(snapshot, resources=resources)
    live = [resource.resource_id for resource in resources if resource.state != "ended"]
    if not live:
        return replace(observation, location=world.read_location())
    if lease.phase is Phase.ACQUIRED and snapshot.now >= lease.handover_by:
        # Any step counts: before the hand-over a step is the user's, and other owners must not end it.
        return replace(observation, busy=_is_busy(world, live, guarded=False))
    if lease.phase is Phase.RELEASING and not lease.to_be_terminated:
        # Its release may have stopped halfway. The cluster may continue to run, so the address and the steps decide.
        location = world.read_location()
        return replace(observation, location=location, busy=_is_busy(world, live, guarded=True))
    return observation


def _resources(world: ReadOnlyWorld, lease: Lease) -> tuple[Resource, ...]:
    recorded = () if lease.resource_id is None else (world.read_resource(lease.resource_id),)
    if not _is_searched(lease):
        return recorded
    clusters = clusters_of(world, lease)
    return recorded + tuple(cluster for cluster in clusters if cluster.resource_id != lease.resource_id)


def clusters_of(world: ReadOnlyWorld, of: Lease | Entry | PossibleOrphan) -> tuple[Resource, ...]:
    """Find the clusters of a lease, a queue entry or a possible orphan by their tags; names may differ by try."""
    if not of.cluster_name:
        return ()  # it launches no cluster
    owner = of.owner if isinstance(of, PossibleOrphan) else of.attempt.owner
    return world.find_clusters(LeaseTags(of.token, owner), _since(of))


def _since(of: Lease | Entry | PossibleOrphan) -> float:
    """Return a time before which none of these clusters was launched."""
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
    """Return the condition of the observed lease."""
    lease, now = observation.snapshot.record.lease, observation.snapshot.now
    if lease is None:
        raise ValueError("there is no lease")
    is_new = any(may_be_new(resource, lease, now, limits) for resource in observation.resources)
    if is_new or _is_in_use(lease, now, limits):
        return LeaseCondition.IN_USE
    if all(resource.state == "ended" for resource in observation.resources):
        # This includes a lease without any resource: the time in which a cluster could still appear has passed. An
        # address on an instance that is shutting down is no reason to wait: EC2 frees it, and refuses the next owner
        # until then.
        return LeaseCondition.ENDING if _is_on(observation) and _location(observation).live else LeaseCondition.FINISHED
    if lease.phase is Phase.ACQUIRED:
        # Not FINISHED: its cluster is live. First the release is started, then the cluster is terminated.
        return LeaseCondition.OVERDUE if now >= lease.handover_by and not observation.busy else LeaseCondition.IN_USE
    if lease.phase is Phase.RELEASING:
        if lease.to_be_terminated:
            live = any(resource.is_live for resource in observation.resources)
            return LeaseCondition.TO_BE_TERMINATED if live else LeaseCondition.ENDING
        # The release stopped halfway: no further step can start, and the address may be free already.
        return LeaseCondition.ENDING if _is_on(observation) or observation.busy else LeaseCondition.FINISHED
    return (
        LeaseCondition.IN_USE if any(resource.is_live for resource in observation.resources) else LeaseCondition.ENDING
    )


def _is_in_use(lease: Lease, now: float, limits: Limits) -> bool:
    """Whether the lease is in use, whatever AWS shows."""
    # Its owner launches the next cluster when the one that was given up has ended.
    is_replacing = lease.is_given_up(lease.resource_id) and now < lease.handover_by
    return is_replacing or _may_surface(lease, now, limits)


def _may_surface(lease: Lease, now: float, limits: Limits) -> bool:
    """Whether a cluster of this lease may exist that EMR does not show yet."""
    # While the lease is ACQUIRED, a retry may have launched another cluster than the one that the record names.
    unknown = lease.phase is Phase.ACQUIRED or lease.resource_id is None
    return unknown and now < lease.written_at + limits.surface


def may_be_new(resource: Resource, lease: Lease, now: float, limits: Limits) -> bool:
    """Whether EMR or EC2 does not know a resource of this lease, and perhaps only does not know it yet."""
    return not resource.is_known and now < lease.written_at + limits.surface


def _location(observation: Observation) -> AddressLocation:
    return observation.location or AddressLocation()


def _is_on(observation: Observation) -> bool:
    location, lease = _location(observation), observation.snapshot.record.lease
    if any(resource.resource_id in location.resource_ids for resource in observation.resources):
        return True
    # The search does not find an ended cluster; its instance may still have the address and the lease's tags.
    return (
        lease is not None and _is_searched(lease) and location.lease_tags == LeaseTags(lease.token, lease.attempt.owner)
    )


_FOR_OTHERS = {
    LeaseCondition.FINISHED: Action.EVICT,
    LeaseCondition.OVERDUE: Action.START_RELEASE,
    LeaseCondition.TO_BE_TERMINATED: Action.TERMINATE,
}


def is_for_others(observation: Observation, limits: Limits = LIMITS) -> bool:
    """Whether any owner may now end the observed lease, or take a step towards that."""
    return condition_of(observation, limits) in _FOR_OTHERS


def decide(
    observation: Observation, lease_request: LeaseRequest, *, due_seconds: float = 0.0, limits: Limits = LIMITS
) -> Action:
    """
    Decide what an attempt does next.

    :param due_seconds: for how long it has observed that the lease has to be ended. Each owner in the queue first waits
        for the windows of the owners before it, so that they do not all write at once.
    """
    record = observation.snapshot.record
    lease, attempt = record.lease, lease_request.attempt
    if lease is not None and lease.attempt.owner == attempt.owner:
        return _decide_own(observation, lease, attempt, limits)
    place = record.place(attempt.owner)
    entry = None if place is None else record.queue[place]
    if entry is not None and entry.attempt != attempt:
        # Take over the entry of an earlier try; never touch that of a newer one.
        return Action.STOP if attempt.is_superseded_by(entry.attempt) else Action.REENTER
    if lease is None:
        return _decide_at_free_address(observation, lease_request)
    # Ending a lease is idempotent, but all waiting owners would write at once; so they do it in the queue's order.
    due_action = _FOR_OTHERS.get(condition_of(observation, limits))
    seconds_before = record.seconds_before(attempt.owner)
    if due_action is not None and (not record.queue if seconds_before is None else due_seconds >= seconds_before):
        return due_action
    if entry is None or place is None:
        return Action.QUEUE
    return Action.PREWARM if _may_prewarm(observation, entry, place, lease_request.prewarm) else Action.WAIT


def _decide_at_free_address(observation: Observation, lease_request: LeaseRequest) -> Action:
    record, location = observation.snapshot.record, _location(observation)
    turn = turn_at(record, lease_request.attempt.owner)
    is_turn = turn is not None and observation.snapshot.now >= turn
    # A resource that already has the address need not wait: no other owner can associate it.
    if is_turn and (location.is_free or location.left or lease_request.wants in location.resource_ids):
        return Action.ACQUIRE
    if record.place(lease_request.attempt.owner) is None:
        return Action.QUEUE
    if not (is_turn and location.live):
        return Action.WAIT
    # An orphan that has the address blocks every owner. Acquiring the lease would sweep it, but has to wait until the
    # address is free. So the owner whose turn it is terminates the orphan.
    on_orphan = any(LeaseTags(orphan.token, orphan.owner) == location.lease_tags for orphan in record.possible_orphans)
    return Action.SWEEP if on_orphan else Action.WAIT


def _decide_own(observation: Observation, lease: Lease, attempt: Attempt, limits: Limits) -> Action:
    if attempt.is_superseded_by(lease.attempt):
        return Action.STOP
    resume = Action.PROCEED if lease.attempt == attempt else Action.REENTER
    if lease.phase is Phase.ACQUIRED:
        return resume  # for others it may be finished or overdue, but its owner can still launch
    condition = condition_of(observation, limits)
    if condition is LeaseCondition.IN_USE and lease.phase is Phase.ACTIVE:
        return resume
    return _FOR_OTHERS.get(condition, Action.WAIT)


def _may_prewarm(observation: Observation, entry: Entry, place: int, depth: int) -> bool:
    record = observation.snapshot.record
    if place >= depth or entry.prewarmed_at is not None or record.lease is None:
        return False
    started = sum(other.prewarmed_at is not None for other in record.queue)
    return record.lease.phase is not Phase.ACQUIRED and started < depth


class Due:
    """Measures for how long a waiting owner has observed that one lease has to be ended."""

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
