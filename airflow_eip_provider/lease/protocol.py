"""
What the attempts of a task do with the lease: enter, launch, replace, hand over, start the release, release, undo.

Plain functions over a :class:`~airflow_eip_provider.lease.world.World`. Each starts from nothing, observes, and then
changes one thing at a time. It may be cut off between any two calls and run again, by the same attempt or a newer one:
what it finds in the record and in AWS tells it how far it had come. So nothing is kept in memory that matters.

The theory, in the rules that a model of the protocol forced (``tests/verification/model`` takes out each guard
below, one at a time, and finds what then goes wrong):

- **Attempts are ordered** (rule 1). A retry is the same owner and a newer attempt. It re-enters by a conditional write;
  an older attempt that is still at work finds that out at its next read, and from then on changes nothing.
- **Undo reads first, and writes before it acts** (rule 2). What a newer attempt keeps must not be terminated, so the
  record says "releasing" before the cluster is terminated: no attempt adopts a cluster of such a lease.
- **Releasing comes before freeing** (rule 3). Start the release, wait until no step needs the address, disassociate,
  release. In any other order a step could start between the search for steps and the disassociation.
- **A lost answer is resolved by what the lease says** (rule 7), never by "who wrote last". Every event is idempotent
  (:mod:`airflow_eip_provider.lease.transitions`), so after an unclear write the functions read again and apply it anew.
- **Possible orphans** (rule 6). RunJobFlow has no idempotency token: one that was in flight at a crash may surface
  later. Its cluster has owner and token as tags, and a *possible orphan* in the record says for how long to search for
  it. Before an attempt acquires or releases a lease it sweeps: it terminates what it finds.
- **A retry adopts, it does not launch again** (rule 8): the recorded cluster, else one that the tags lead to, else one
  that has the address already.
- **A cluster that did not start is given up in the record first**, then terminated, and the next one is launched when
  it has ended. So no attempt hands it over meanwhile, and a lease has one cluster at a time.

After a write that conflicted with another, or whose answer was lost, come a pause and another read: however many write
the same record, none gives up because others were faster.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.observation import (
    Action,
    LeaseRequest,
    Observation,
    clusters_of,
    decide,
    is_for_others,
    observe,
)
from airflow_eip_provider.lease.record import LIMITS, TAKEN_OVER, UNDONE, Phase
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease.transitions import (
    Acquire,
    Activate,
    Event,
    Leave,
    Move,
    Prewarm,
    Prewarmed,
    Queue,
    Reenter,
    Refused,
    Release,
    Replace,
    StartRelease,
    step,
)
from airflow_eip_provider.lease.world import LeaseTags, TooLate

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Attempt, Entry, Lease, Limits, Record
    from airflow_eip_provider.lease.world import ReadOnlyWorld, Resource, Unclear, World

# So often a function observes again at once after its own changes; then it pauses, too.
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Acquired:
    """The attempt has the lease, as of this record."""

    snapshot: Snapshot

    @property
    def token(self) -> int | None:
        """The fencing token; ``None`` without a lock store, where there is no record."""
        lease = self.snapshot.record.lease
        return None if lease is None else lease.token


@dataclass(frozen=True, slots=True)
class Queued:
    """It is another owner's turn; this is the last observation."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer attempt of the owner is at work; this one must not change anything."""


@dataclass(frozen=True, slots=True)
class MovedByAnother:
    """
    Another owner moves the lease off the cluster, or has moved it.

    :param lease: as it is now.
    """

    lease: Lease


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The lease has a cluster that did not start: replace it."""

    resource_id: str


@dataclass(frozen=True, slots=True)
class Ending:
    """
    The cluster that is replaced is not gone yet: call again when it is.

    :param has_ended: it is in a terminal state, and the address is still on it.
    """

    has_ended: bool


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The attempt does not have the lease, or has it no longer."""

    why: str


def lease_tags_of(lease: Lease | Entry) -> LeaseTags:
    """Return the tags by which the clusters of a lease, or of a queue entry, are found."""
    return LeaseTags(lease.token, lease.attempt.owner)


def enter(
    world: World,
    lease_request: LeaseRequest,
    *,
    due_seconds: float = 0.0,
    moved_from: str | None = None,
    brought: Entry | None = None,
    limits: Limits = LIMITS,
) -> Acquired | Queued | Superseded:
    """
    Acquire the lease, or join the queue; end another owner's lease that is finished or overdue; prewarm when it is due.

    :param due_seconds: for how long this owner has observed that the lease has to be ended.
    :param moved_from: the cluster whose service a failover moves, which has no active lease.
    :param brought: the owner's entry in the queue of another address, with the cluster that it started early there.
    """
    attempt = lease_request.attempt
    for number in count(1):
        observation = observe(world, limits)
        action = decide(observation, lease_request, due_seconds=due_seconds, limits=limits)
        settled = _settled(world, action, observation)
        if settled is not None:
            return settled
        if action is Action.ACQUIRE:
            # Before the write, which drops the possible orphans whose time is over.
            _sweep(world, observation.snapshot.record)
        event = _own_event(action, lease_request, moved_from, brought)
        if event is None:
            _act_on_others(world, action, observation, lease_request, limits)
        elif (written := change(world, observation.snapshot, event, limits)) is not None:
            lease = written.record.lease
            if lease is not None and lease.attempt == attempt:
                return Acquired(written)
            if action is Action.QUEUE:
                return Queued(replace(observation, snapshot=written))
        # After each change it observes again: others may have been faster, and the decision is out of date.
        if number >= _ROUNDS:
            world.pause()
    raise AssertionError("unreachable")


def move(
    world: World, lease_request: LeaseRequest, *, moved_from: str, due_seconds: float = 0.0, limits: Limits = LIMITS
) -> Acquired | Queued | Superseded | MovedByAnother:
    """
    Take the lease of a cluster that does not work over for another cluster, with the next token.

    One write decides between several failovers of the same cluster, and closes the fence of that cluster: the record
    does not name it any more. Where the cluster has no active lease this is as :func:`enter`.

    :param lease_request: it wants the cluster that has the address: this one, or the one that takes over.
    :param moved_from: the cluster that the lease leaves.
    """
    attempt = lease_request.attempt
    while True:
        snapshot = world.read_record()
        lease = snapshot.record.lease
        if lease is None:
            break
        if lease.attempt.owner != attempt.owner and snapshot.record.has_moved_from(moved_from):
            observation = observe(world, limits)
            if observation.snapshot.record.lease != lease:
                continue
            if is_for_others(observation, limits):
                break  # it has not come to its end, and never will
            return MovedByAnother(lease)
        event = Move(attempt, lease.token, moved_from, lease_request.cluster_name, lease_request.handover_seconds)
        after = step(snapshot.record, event, snapshot.now, limits)
        if isinstance(after, Refused):
            if after.superseded:
                return Superseded()
            break
        written = snapshot if after == snapshot.record else change(world, snapshot, event, limits)
        if written is not None:
            return Acquired(written)
    return enter(world, lease_request, due_seconds=due_seconds, moved_from=moved_from, limits=limits)


def _settled(world: World, action: Action, observation: Observation) -> Acquired | Queued | Superseded | None:
    """Return what has become of the attempt when it writes nothing; ``None`` when it does."""
    if action is Action.PROCEED:
        return Acquired(observation.snapshot)
    if action is Action.WAIT:
        return Queued(observation)
    if action is Action.SWEEP:
        return _sweep_and_wait(world, observation)
    return Superseded() if action is Action.STOP else None


def _own_event(
    action: Action, lease_request: LeaseRequest, moved_from: str | None, brought: Entry | None
) -> Event | None:
    """Return what an attempt writes for itself; ``None`` when it is to act on the lease of another owner."""
    attempt = lease_request.attempt
    if action is Action.QUEUE:
        return Queue(attempt, lease_request.cluster_name, lease_request.handover_seconds)
    if action is Action.REENTER:
        # It may be the queue entry that this try takes over; then it still has to wait.
        return Reenter(attempt)
    if action is Action.ACQUIRE:
        since = None if brought is None or brought.resource_id is None else brought.prewarmed_at
        return Acquire(attempt, lease_request.cluster_name, lease_request.handover_seconds, moved_from, since)
    return None


def _act_on_others(
    world: World, action: Action, observation: Observation, lease_request: LeaseRequest, limits: Limits
) -> None:
    """Do what was decided while another owner has the lease; the caller observes again then."""
    if action is Action.PREWARM:
        _prewarm(world, observation, lease_request, limits)
    elif action is Action.EVICT:
        _evict(world, observation, limits)
    elif action is Action.START_RELEASE:
        _start_overdue_release(world, observation, limits)
    elif action is Action.TERMINATE:
        _terminate_live(world, observation.resources)
    else:
        raise AssertionError(f"nothing is done about {action}")


def launch(
    world: World, held: Snapshot, attempt: Attempt, limits: Limits = LIMITS, *, replaces: bool = False
) -> str | NotStarted | LeaseLost | Unclear:
    """
    Give the lease its cluster: the one that was prewarmed or that an earlier try launched, else a new one.

    :param held: the record in which the attempt has the lease.
    :param replaces: the caller launches another way when a cluster did not start; so one that has ended, or is ending,
        is not followed by one that is launched in the same way.
    """
    lease = held.record.lease
    if lease is None or lease.attempt != attempt:
        return LeaseLost("it is not this task's")
    # The first try searches, too: a queue entry that was prewarmed may have brought a cluster.
    adopted = _adopt(world, lease)
    if adopted is not None:
        return adopted
    if (failed := _not_started(world, lease, replaces=replaces)) is not None:
        return NotStarted(failed)
    while isinstance(launched := world.launch(lease.token, lease.written_at), TooLate):
        renewed = _renew(world, lease.token, attempt, limits)
        if isinstance(renewed, LeaseLost):
            return renewed
        lease = renewed
    return launched


def _not_started(world: ReadOnlyWorld, lease: Lease, *, replaces: bool) -> str | None:
    """Return the cluster of a lease, of which none lives, that the next one has to wait for."""
    if lease.is_given_up(lease.resource_id):
        return lease.resource_id
    if not replaces:
        return None
    ending = clusters_of(world, lease) if lease.may_have_orphans else ()
    return next((resource.resource_id for resource in ending if resource.state != "ended"), lease.resource_id)


def replace_cluster(
    world: World, attempt: Attempt, *, token: int, failed: str, other: str | None = None, limits: Limits = LIMITS
) -> str | Ending | LeaseLost | Unclear:
    """
    Launch the lease's next cluster in the place of one that did not start.

    The record gives that one up before it is terminated: no other attempt of the owner, which may judge it otherwise,
    hands it over. The next is launched when it has ended, and the address is off it.

    :param failed: that cluster; it no longer needs the address, and no step was let through to it.
    :param other: one of the lease that this attempt launched before it went on with that of an earlier attempt.
    """
    lease = give_up(world, attempt, token=token, failed=failed, limits=limits)
    if isinstance(lease, LeaseLost):
        return lease
    there = world.read_resource(failed)
    has_ended = there.state == "ended"
    if there.is_live or not there.is_known:
        is_known = world.terminate(failed)
        # A read that does not show a new cluster says nothing of its end.
        has_ended = has_ended and not is_known
    _disassociate(world, failed)
    if not has_ended or failed in world.read_location().resource_ids:
        return Ending(has_ended=has_ended)
    # An earlier call may have launched it, and not have come to its answer.
    found = [resource.resource_id for resource in clusters_of(world, lease) if resource.resource_id != failed]
    if not found and other is not None and not _has_ended(world.read_resource(other)):
        found = [other]  # ListClusters may not show it yet
    if found:
        return found[0]
    while isinstance(launched := world.launch(lease.token, lease.written_at), TooLate):
        renewed = _renew(world, lease.token, attempt, limits)
        if isinstance(renewed, LeaseLost):
            return renewed
        lease = renewed
    return launched


def _has_ended(resource: Resource) -> bool:
    """Whether EMR says so; it may not know a new cluster for a moment."""
    return resource.state == "ended" and resource.is_known


def give_up(world: World, attempt: Attempt, *, token: int, failed: str, limits: Limits = LIMITS) -> Lease | LeaseLost:
    """Write that a cluster did not start, so that no attempt adopts it or hands it over; return the lease."""
    event = Replace(attempt, token, failed)
    while True:
        snapshot = world.read_record()
        after = step(snapshot.record, event, snapshot.now, limits)
        if isinstance(after, Refused):
            return LeaseLost(after.why)
        written = snapshot if after == snapshot.record else change(world, snapshot, event, limits)
        if written is not None and written.record.lease is not None:
            return written.record.lease


def _renew(world: World, token: int, attempt: Attempt, limits: Limits) -> Lease | LeaseLost:
    """
    Announce a launch anew that would be sent later than the last write announced.

    Once RunJobFlow can no longer surface, a lease without a cluster counts as finished; a request that is sent later
    would surface after that.
    """
    while True:
        snapshot = world.read_record()
        lease = snapshot.record.lease
        if lease is None or lease.token != token or lease.attempt != attempt or lease.phase is Phase.RELEASING:
            return LeaseLost("another owner acquired it while this task did nothing")
        if lease.written_at == snapshot.now:
            return lease  # there is nothing to write: an answer was lost a moment ago
        written = change(world, snapshot, Reenter(attempt), limits)
        if written is not None and written.record.lease is not None:
            return written.record.lease


def _adopt(world: ReadOnlyWorld, lease: Lease) -> str | None:
    """
    Find the cluster that the lease has already.

    The others are terminated after the hand-over: until then a newer try may be about to keep one of them.
    """
    live: list[str] = []
    if lease.resource_id is not None and not lease.is_given_up(lease.resource_id):
        known = world.read_resource(lease.resource_id)
        live += [known.resource_id] * known.is_live
    if not lease.may_have_orphans or lease.phase is Phase.ACTIVE:
        # No earlier try can have launched another; or the steps that follow know this one, and need this one.
        return next(iter(live), None)
    live += [resource.resource_id for resource in clusters_of(world, lease) if resource.is_live]
    live = [resource_id for resource_id in live if not lease.is_given_up(resource_id)]
    if not live:
        # ListClusters may lag behind; an instance that has the address shows its cluster's tags.
        there = relocate(world, lease_tags_of(lease), resource_id="") or None
        return None if lease.is_given_up(there) else there
    there = relocate(world, lease_tags_of(lease), resource_id=live[0])
    return live[0] if lease.is_given_up(there) else there


def relocate(world: ReadOnlyWorld, lease_tags: LeaseTags, *, resource_id: str) -> str:
    """
    Find out whether the address that is not free is on another cluster of the same lease, and keep that one then.

    An earlier try that is still at work may have bound a cluster of its own, which EMR did not show before.

    :param lease_tags: of the lease.
    :param resource_id: the cluster with which the address is to be associated.
    :return: the cluster that the lease goes on with.
    """
    location = world.read_location()
    if location.lease_tags != lease_tags or resource_id in location.resource_ids:
        return resource_id
    # The tags are the instance's: of the resources, the cluster has them, too, and it must still live.
    for name in location.resource_ids:
        there = world.read_resource(name)
        if there.is_live and there.lease_tags == lease_tags:
            return name
    return resource_id


def hand_over(
    world: World, attempt: Attempt, *, token: int, resource_id: str, limits: Limits = LIMITS
) -> Snapshot | LeaseLost:
    """Record the resource that has the address now; this is also the last check whether the lease is still current."""
    event = Activate(attempt, token, resource_id)
    while True:
        snapshot = world.read_record()
        after = step(snapshot.record, event, snapshot.now, limits)
        if isinstance(after, Refused):
            return LeaseLost(after.why)  # released by others because it was overdue, or a newer try is at work (I4)
        # When nothing changes, an earlier write took effect, and its answer was lost.
        handed = snapshot if after == snapshot.record else change(world, snapshot, event, limits)
        if handed is None:
            continue
        lease = handed.record.lease
        if lease is not None and lease.may_have_orphans:
            # From now on no newer try keeps another cluster of this lease.
            _terminate_others(world, lease, keep=resource_id)
        return handed


def guard(world: ReadOnlyWorld, resource_id: str) -> str | None:
    """
    Check that a step may start on a cluster.

    Asked before a step is submitted, and again right after: starting the release is written before
    the search for steps, so at least one of the two sees the other (rule 10).

    :return: why not; ``None`` when it may.
    """
    lease = world.read_record().record.lease
    if lease is None or lease.resource_id != resource_id:
        return f"leased to {lease.attempt.name}" if lease else "leased to nobody"
    if lease.phase is Phase.ACTIVE:
        return None
    return f"leased to {lease.attempt.name}, and the lease is {lease.phase.name.lower()}"


def start_release(world: World, resource_id: str, limits: Limits = LIMITS) -> bool:
    """
    Start the release of the lease of this cluster or instance: no further step may start on it.

    :return: whether it has the lease; otherwise there is nothing to release.
    """
    while True:
        snapshot = world.read_record()
        lease = snapshot.record.lease
        if lease is None or lease.resource_id != resource_id:
            return False
        if lease.phase is Phase.RELEASING or change(world, snapshot, StartRelease(lease.token), limits) is not None:
            return True


def release(world: World, resource_id: str, *, why: str, limits: Limits = LIMITS) -> bool:
    """
    Disassociate the address from a resource on which no step needs it, end the lease, and sweep.

    The address first: after a crash between the two, the next owner finds a finished lease and ends it. The other way
    round the lease would be free while the address is associated, and no record would say what to disassociate.

    :return: whether the resource had the lease.
    """
    _disassociate(world, resource_id)
    while True:
        snapshot = world.read_record()
        lease = snapshot.record.lease
        if lease is None or lease.resource_id != resource_id:
            return False
        _sweep(world, snapshot.record)
        if lease.may_have_orphans:
            # This terminates the clusters that EMR shows by now; the record keeps a possible orphan for the others.
            _terminate_others(world, lease, keep=resource_id)
        if change(world, snapshot, Release(lease.token, resource_id, why), limits) is not None:
            return True


@dataclass(frozen=True, slots=True)
class _Work:
    """What an attempt has done and :func:`undo` reverts; its parameters."""

    attempt: Attempt
    launched: str | None
    token: int | None
    terminate: bool
    association_id: str | None
    may_lag: bool


def undo(
    world: World,
    attempt: Attempt,
    *,
    launched: str | None = None,
    token: int | None = None,
    terminate: bool = True,
    association_id: str | None = None,
    may_lag: bool = False,
    limits: Limits = LIMITS,
) -> None:
    """
    Leave nothing behind of what this try did; change nothing else, and above all not what a newer try did.

    The record is changed before AWS is: then no newer try adopts a cluster that is about to be terminated.

    :param launched: the cluster that this try launched or adopted, if it knows.
    :param token: of the lease under which it did; ``None`` when it does not know.
    :param terminate: end the cluster; otherwise only the address is disassociated from it.
    :param association_id: the association that this try made, if it knows: it is undone whatever EC2 shows.
    :param may_lag: this try may have made one a moment ago: search for it until EC2 must show it.
    """
    work = _Work(attempt, launched, token, terminate, association_id, may_lag)
    while True:
        snapshot = world.read_record()
        lease, place = snapshot.record.lease, snapshot.record.place(attempt.owner)
        if lease is not None and lease.attempt.owner == attempt.owner:
            ended = _undo_holder(world, snapshot, lease, work, limits)
        elif place is not None:
            ended = _undo_waiter(world, snapshot, snapshot.record.queue[place], work, limits)
        else:
            # Others took the lease over while this try was at work, or it never had one.
            _undo_stray(world, work, lease)
            return
        if ended:
            return


def _undo_holder(world: World, snapshot: Snapshot, lease: Lease, work: _Work, limits: Limits) -> bool:
    """
    Undo while this owner has the lease.

    :return: ``False`` to read again.
    """
    if work.attempt.is_superseded_by(lease.attempt):
        _undo_older(world, work, lease, current=lease.token)
        return True
    # Should this process die before it has terminated the cluster, the next that observes the lease does.
    releasing = StartRelease(lease.token, to_be_terminated=work.terminate)
    if lease.phase is not Phase.RELEASING and change(world, snapshot, releasing, limits) is None:
        return False
    _undo_lease(world, lease.token, work.launched or lease.resource_id, work, limits)
    return True


def _undo_waiter(world: World, snapshot: Snapshot, entry: Entry, work: _Work, limits: Limits) -> bool:
    """
    Undo while this owner is in the queue: what it may have started early ends with its place.

    :return: ``False`` to read again.
    """
    if work.attempt.is_superseded_by(entry.attempt):
        _undo_older(world, work, snapshot.record.lease, current=entry.token)
        return True
    if change(world, snapshot, Leave(work.attempt), limits) is None:
        return False
    if entry.prewarmed_at is not None:
        _terminate_live(world, clusters_of(world, entry))
    if entry.resource_id is not None:
        world.terminate(entry.resource_id)
    return True


def _undo_lease(world: World, token: int, resource_id: str | None, work: _Work, limits: Limits) -> None:
    """End a lease that is releasing, as far as that is possible now; others end the rest when the facts allow it."""
    while True:
        snapshot = world.read_record()
        lease = snapshot.record.lease
        if lease is None or lease.token != token:
            # Another owner, or another try, has ended it: any owner may end a releasing lease. What this try launched
            # under it may have been unknown to whoever did.
            _undo_stray(world, work, lease)
            return
        # EMR may show the cluster later: then it is found by its lease tags, as a possible orphan.
        unknown = resource_id is None or (work.terminate and not world.terminate(resource_id))
        if work.terminate and (lease.may_have_orphans or unknown):
            _terminate_live(world, clusters_of(world, lease))
        if resource_id is not None:
            # A cluster that lives on may run other steps.
            if world.active_steps(resource_id, guarded=not work.terminate):
                return
            _unbind(world, resource_id, work)
        _sweep(world, snapshot.record)
        ended = Release(token, None if unknown else resource_id, UNDONE, may_have_orphans=unknown)
        if change(world, snapshot, ended, limits) is not None:
            return


def _undo_older(world: World, work: _Work, lease: Lease | None, *, current: int) -> None:
    """
    Undo what was done under an earlier lease: a newer try may keep a cluster of its own lease only.

    :param current: the token of the newer try.
    """
    if work.token is not None and work.token != current:
        _undo_stray(world, work, lease)


def _undo_stray(world: World, work: _Work, lease: Lease | None) -> None:
    """
    Undo what was done under a lease that is gone: no record names it, and no other try can find it.

    :param lease: the one that there is now; it may name a cluster that this try did not launch, such as a standby.
    """
    if work.launched is None:
        return
    if not work.terminate and lease is not None and lease.resource_id == work.launched:
        return  # it has the address by that lease
    if work.terminate:
        world.terminate(work.launched)
    _unbind(world, work.launched, work)


def _unbind(world: World, resource_id: str, work: _Work) -> None:
    if work.association_id is not None:
        world.disassociate(work.association_id)
    else:
        _disassociate(world, resource_id, may_lag=work.may_lag)


def _disassociate(world: World, resource_id: str, *, may_lag: bool = False) -> None:
    """Disassociate the address if this resource has it: never another owner's association (I2)."""
    location = world.settled_location(resource_id) if may_lag else world.read_location()
    if location.association_id is not None and resource_id in location.resource_ids:
        world.disassociate(location.association_id)


def change(world: World, snapshot: Snapshot, event: Event, limits: Limits) -> Snapshot | None:
    """
    Write one transition.

    :return: ``None`` when it was not (surely) written, after a pause, or there was nothing to write: read again.
    """
    after = step(snapshot.record, event, snapshot.now, limits)
    if isinstance(after, Refused) or after == snapshot.record:
        return None
    outcome = world.write_record(after, snapshot.version, joins=isinstance(event, Queue))
    if isinstance(outcome, Snapshot):
        return outcome
    # A conflict and a lost answer are the same from here: only the next read tells what the record is now.
    world.pause()
    return None


def _terminate_live(world: World, resources: tuple[Resource, ...]) -> None:
    for resource in resources:
        if resource.is_live:
            world.terminate(resource.resource_id)


def _terminate_others(world: World, lease: Lease, *, keep: str) -> None:
    """Terminate the clusters of the lease that earlier tries launched and that were not kept."""
    _terminate_live(world, tuple(other for other in clusters_of(world, lease) if other.resource_id != keep))


def _sweep(world: World, record: Record) -> None:
    """Terminate the clusters that ended leases and dropped queue entries left behind."""
    for orphan in record.possible_orphans:
        # By its own token: a cluster with the token of the lease, or of an entry, is never terminated here.
        found = clusters_of(world, orphan)
        _terminate_live(world, tuple(resource for resource in found if resource.resource_id != orphan.keep))


def _sweep_and_wait(world: World, observation: Observation) -> Queued:
    """Terminate an orphan that has the address, so that it becomes free; before that no owner can acquire the lease."""
    _sweep(world, observation.snapshot.record)
    return Queued(observation)  # its instance keeps the address for some time yet


def _start_overdue_release(world: World, observation: Observation, limits: Limits) -> None:
    lease = observation.snapshot.record.lease
    # The record first: should the owner come back now, its hand-over is refused, and it undoes what it did.
    if (
        lease
        and change(world, observation.snapshot, StartRelease(lease.token, to_be_terminated=True), limits) is not None
    ):
        _terminate_live(world, observation.resources)


def _evict(world: World, observation: Observation, limits: Limits) -> None:
    lease = observation.snapshot.record.lease
    if lease is None:
        return
    # No cluster is left to terminate: the lease is finished because its clusters have ended or can never appear.
    _sweep(world, observation.snapshot.record)
    ended = ", ".join(resource.resource_id for resource in observation.resources)
    never = "no cluster was launched" if lease.cluster_name else "it was never handed over"
    why = f"{TAKEN_OVER}: {ended} has ended" if ended else f"{TAKEN_OVER}: {never}"
    change(world, observation.snapshot, Release(lease.token, lease.resource_id, why), limits)


def _prewarm(world: World, observation: Observation, lease_request: LeaseRequest, limits: Limits) -> None:
    """Start the cluster while another owner has the address; announced first, so that it happens once (rule 9)."""
    attempt = lease_request.attempt
    announced = change(world, observation.snapshot, Prewarm(attempt, lease_request.prewarm), limits)
    place = announced.record.place(attempt.owner) if announced else None
    if announced is None or place is None:
        return
    entry = announced.record.queue[place]
    token = entry.token
    launched = world.launch(token, float(entry.prewarmed_at or 0))
    if not isinstance(launched, str):
        return  # the attempt that acquires the lease searches for it
    # Meanwhile the entry may have become the lease, by another try of this owner, or have left the queue.
    while True:
        after = step(announced.record, Prewarmed(attempt, launched), announced.now, limits)
        if isinstance(after, Refused):
            lease = announced.record.lease
            if not after.superseded and (lease is None or lease.token != token):
                world.terminate(launched)  # the queue went on without this entry, and no record names its cluster
            return
        if after == announced.record or change(world, announced, Prewarmed(attempt, launched), limits) is not None:
            return
        announced = world.read_record()
