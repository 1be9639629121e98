"""
What the attempts of a task do with a lease: enter, launch, replace, hand over, start the release, release, undo.

The functions work on a :class:`~airflow_eip_provider.lease.world.World`. Each one first observes, and then makes one
change at a time. A process may die between any two calls, and the same attempt or a newer one runs the function again:
the record and AWS show how far the earlier run got. So no function keeps state in memory.

The rules, each of which a model of the protocol shows to be necessary (``tests/verification/model`` removes one guard
below at a time and finds what then goes wrong):

- **Attempts are ordered** (rule 1). A retry is a newer attempt of the same owner. It re-enters by a conditional write.
  An older attempt that still runs finds that out at its next read, and changes nothing from then on.
- **Undo reads first, and writes before it acts** (rule 2). It must not terminate a cluster that a newer attempt keeps.
  So the record says RELEASING before the cluster is terminated, and no attempt adopts a cluster of such a lease.
- **Releasing comes before freeing** (rule 3): start the release, wait until no step needs the address, disassociate,
  release. In any other order a step could start between the search for steps and the disassociation.
- **The lease itself resolves a lost answer** (rule 7), never "who wrote last". Every event is idempotent
  (:mod:`airflow_eip_provider.lease.transitions`), so after an unclear write the functions read and apply it again.
- **Possible orphans** (rule 6). RunJobFlow has no idempotency token, so a request in flight at a crash may take effect
  later. Its cluster has owner and token as tags, and a *possible orphan* in the record says until when to search for
  it. Before an attempt acquires or releases a lease it sweeps: it terminates the clusters that this search finds.
- **A retry adopts a cluster instead of launching another** (rule 8): the one of the lease that has the address, else
  the recorded one, else one that it finds by its tags.
- **The record gives up a cluster that did not start** before the cluster is terminated, and the next one is launched
  after it has ended (rule 12). So no attempt hands it over meanwhile, and a lease has one cluster at a time.

After a write that conflicted or whose answer was lost, a function pauses and reads again. However many attempts write
to one record, an attempt fails because of conflicts only if they continue for minutes.
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
    may_be_new,
    observe,
)
from airflow_eip_provider.lease.record import LIMITS, MOVED, TAKEN_OVER, UNDONE, Phase
from airflow_eip_provider.lease.store import Snapshot
from airflow_eip_provider.lease.transitions import (
    Acquire,
    Activate,
    Event,
    Leave,
    Move,
    MoveBack,
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
    from airflow_eip_provider.lease.world import AddressLocation, ReadOnlyWorld, Resource, Unclear, World

# After this many rounds, `enter` pauses before each further observation.
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
    """It is another owner's turn, according to the last observation."""

    observation: Observation


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer attempt of the owner is running; this one must not change anything."""


@dataclass(frozen=True, slots=True)
class MovedByAnother:
    """
    Another owner is moving the lease off the cluster, or has moved it.

    :param lease: the current lease.
    """

    lease: Lease


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The cluster of the lease did not start and has to be replaced."""

    resource_id: str


@dataclass(frozen=True, slots=True)
class Ending:
    """
    The cluster that is being replaced still exists or still has the address; call again later.

    :param has_ended: it is in a terminal state, but the address is still on it.
    """

    has_ended: bool


@dataclass(frozen=True, slots=True)
class LeaseLost:
    """The attempt does not have the lease, or no longer has it."""

    why: str


def lease_tags_of(lease: Lease | Entry) -> LeaseTags:
    """Return the tags of the clusters of a lease or a queue entry."""
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
    Acquire the lease or join the queue. End another owner's finished or overdue lease, and prewarm, when either is due.

    :param due_seconds: for how long this owner has observed that the lease has to be ended.
    :param moved_from: the cluster whose service a failover moves; it has no active lease.
    :param brought: the owner's entry in the queue of another address, with the cluster that was started early there.
    """
    attempt = lease_request.attempt
    for number in count(1):
        observation = observe(world, limits)
        action = decide(observation, lease_request, due_seconds=due_seconds, limits=limits)
        result = _result_without_write(world, action, observation)
        if result is not None:
            return result
        if action is Action.ACQUIRE:
            # Before the write, which removes the possible orphans whose time has passed.
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
        # Observe again after each change: the decision may be out of date.
        if number >= _ROUNDS:
            world.pause()
    raise AssertionError("unreachable")


def move(
    world: World, lease_request: LeaseRequest, *, moved_from: str, due_seconds: float = 0.0, limits: Limits = LIMITS
) -> Acquired | Queued | Superseded | MovedByAnother:
    """
    Move the lease of a failed cluster to another cluster, with the next token.

    One write decides between several failovers of the same cluster. It also closes the fence of that cluster, because
    the record no longer names it. If the cluster has no active lease, this does the same as :func:`enter`.

    :param lease_request: its ``wants`` is the cluster that has the address: the failed one, or the one that takes over.
    :param moved_from: the failed cluster.
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
                break  # that failover did not finish, and never will
            return MovedByAnother(lease)
        event = Move(attempt, lease.token, moved_from, lease_request.cluster_name, lease_request.handover_seconds)
        after = step(snapshot.record, event, snapshot.now, limits)
        if isinstance(after, Refused):
            if after.superseded:
                return Superseded()
            break
        _sweep(world, snapshot.record)  # what an earlier try of a failover that was moved back may have launched
        written = snapshot if after == snapshot.record else change(world, snapshot, event, limits)
        if written is not None:
            return Acquired(written)
    entered = enter(world, lease_request, due_seconds=due_seconds, moved_from=moved_from, limits=limits)
    lease = entered.snapshot.record.lease if isinstance(entered, Acquired) else None
    if lease is not None and lease.phase is Phase.ACTIVE and lease.resource_id == moved_from:
        # Meanwhile an older attempt has given it back.
        return move(world, lease_request, moved_from=moved_from, due_seconds=due_seconds, limits=limits)
    return entered


def _result_without_write(
    world: World, action: Action, observation: Observation
) -> Acquired | Queued | Superseded | None:
    """Return the result of an action that writes nothing to the record; ``None`` for any other action."""
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
    """Return the event by which an attempt changes its own part; ``None`` when it acts on another owner's lease."""
    attempt = lease_request.attempt
    if action is Action.QUEUE:
        return Queue(attempt, lease_request.cluster_name, lease_request.handover_seconds)
    if action is Action.REENTER:
        # This may take over a queue entry; then the attempt still has to wait.
        return Reenter(attempt)
    if action is Action.ACQUIRE:
        since = None if brought is None or brought.resource_id is None else brought.prewarmed_at
        return Acquire(attempt, lease_request.cluster_name, lease_request.handover_seconds, moved_from, since)
    return None


def _act_on_others(
    world: World, action: Action, observation: Observation, lease_request: LeaseRequest, limits: Limits
) -> None:
    """Act while another owner has the lease; the caller then observes again."""
    if action is Action.PREWARM:
        _prewarm(world, observation, lease_request, limits)
    elif action is Action.EVICT:
        _evict(world, observation, limits)
    elif action is Action.START_RELEASE:
        _start_overdue_release(world, observation, limits)
    elif action is Action.TERMINATE:
        _terminate_live(world, observation.resources)
    else:
        raise AssertionError(f"unexpected {action}")


def launch(
    world: World, snapshot: Snapshot, attempt: Attempt, limits: Limits = LIMITS, *, replaces: bool = False
) -> str | NotStarted | LeaseLost | Unclear:
    """
    Return the cluster of the lease: the one that was prewarmed or launched by an earlier try, else a new one.

    :param snapshot: the record in which the attempt has the lease.
    :param replaces: the caller replaces a cluster that did not start with one that has other parameters. So if the
        cluster of the lease has ended or is ending, none with the same parameters is launched.
    """
    lease = snapshot.record.lease
    if lease is None or lease.attempt != attempt:
        return LeaseLost("it is not this task's")
    # The first try searches, too: its queue entry may have been prewarmed.
    adopted = _adopt(world, lease, snapshot.now, limits)
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
    """Return the cluster that has to end before the next one is launched; no cluster of the lease is live."""
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
    Launch the next cluster of the lease in place of one that did not start.

    The record gives up the failed cluster before it is terminated, so no other attempt of the owner hands it over. The
    next one is launched when the failed one has ended and no longer has the address.

    :param failed: the cluster that did not start; no step was submitted to it.
    :param other: a cluster that this attempt launched before it continued with that of an earlier attempt.
    """
    lease = give_up(world, attempt, token=token, failed=failed, limits=limits)
    if isinstance(lease, LeaseLost):
        return lease
    cluster = world.read_resource(failed)
    has_ended = cluster.state == "ended"
    if cluster.is_live or not cluster.is_known:
        is_known = world.terminate(failed)
        # A read that does not show a new cluster does not mean that it has ended.
        has_ended = has_ended and not is_known
    _disassociate(world, failed)
    if not has_ended or failed in world.read_location().resource_ids:
        return Ending(has_ended=has_ended)
    # An earlier call may have launched it and lost the answer.
    launched_before = [cluster.resource_id for cluster in clusters_of(world, lease) if cluster.resource_id != failed]
    if not launched_before and other is not None and not _has_ended(world.read_resource(other)):
        launched_before = [other]  # ListClusters may not show it yet
    if launched_before:
        return launched_before[0]
    while isinstance(launched := world.launch(lease.token, lease.written_at), TooLate):
        renewed = _renew(world, lease.token, attempt, limits)
        if isinstance(renewed, LeaseLost):
            return renewed
        lease = renewed
    return launched


def _has_ended(resource: Resource) -> bool:
    """Whether EMR says that it has ended; EMR may not know a new cluster for a moment."""
    return resource.state == "ended" and resource.is_known


def give_up(world: World, attempt: Attempt, *, token: int, failed: str, limits: Limits = LIMITS) -> Lease | LeaseLost:
    """Write that a cluster did not start, so that no attempt adopts it or hands it over; return the lease."""
    written = apply(world, Replace(attempt, token, failed), limits)
    if isinstance(written, Refused):
        return LeaseLost(written.why)
    return written.record.lease or LeaseLost("it has ended")


def _renew(world: World, token: int, attempt: Attempt, limits: Limits) -> Lease | LeaseLost:
    """
    Announce again a launch that would be sent too long after the last write.

    A lease without a cluster counts as finished when a RunJobFlow sent in time would have become visible; a cluster
    that is launched later could appear after that.
    """
    while True:
        snapshot = world.read_record()
        lease = snapshot.record.lease
        if lease is None or lease.token != token or lease.attempt != attempt or lease.phase is Phase.RELEASING:
            return LeaseLost("another owner or a newer try has it, or it is being released")
        if lease.written_at == snapshot.now:
            return lease  # the write took effect, and its answer was lost
        written = change(world, snapshot, Reenter(attempt), limits)
        if written is not None and written.record.lease is not None:
            return written.record.lease


def _adopt(world: ReadOnlyWorld, lease: Lease, now: float, limits: Limits) -> str | None:
    """
    Find the cluster that the lease already has; EMR may not know it yet.

    The others are terminated after the hand-over: until then a newer try may decide to keep one of them.
    """
    live: list[str] = []
    if lease.resource_id is not None and not lease.is_given_up(lease.resource_id):
        recorded = world.read_resource(lease.resource_id)
        live += [recorded.resource_id] * (recorded.is_live or may_be_new(recorded, lease, now, limits))
    if not lease.may_have_orphans or lease.phase is Phase.ACTIVE:
        # No earlier try can have launched another, or the tasks that follow already use this one.
        return next(iter(live), None)
    live += [resource.resource_id for resource in clusters_of(world, lease) if resource.is_live]
    live = [resource_id for resource_id in live if not lease.is_given_up(resource_id)]
    if not live:
        # ListClusters may lag; an instance that has the address shows the tags of its cluster.
        associated = relocate(world, lease_tags_of(lease), resource_id="") or None
        return None if lease.is_given_up(associated) else associated
    associated = relocate(world, lease_tags_of(lease), resource_id=live[0])
    return live[0] if lease.is_given_up(associated) else associated


def relocate(world: ReadOnlyWorld, lease_tags: LeaseTags, *, resource_id: str) -> str:
    """
    Return the cluster with which the lease continues: another cluster of the same lease, if that has the address.

    An earlier try that still runs may have associated the address with a cluster that EMR did not show before.

    :param lease_tags: the tags of the lease.
    :param resource_id: the cluster with which the address is to be associated.
    """
    location = world.read_location()
    if location.lease_tags != lease_tags or resource_id in location.resource_ids:
        return resource_id
    # These tags are the instance's. The cluster must have them, too, and must be live, unless EMR does not know it yet.
    associated = world.read_resource(location.resource_ids[-1])
    is_own = associated.is_live and associated.lease_tags == lease_tags if associated.is_known else location.live
    return associated.resource_id if is_own else resource_id


def take_off(world: World, attempt: Attempt, *, token: int, moved_from: str) -> LeaseLost | None:
    """
    Disassociate the address from the cluster whose service a failover moves.

    The association is read before the record. So what an attempt that is no longer current still sends names an
    association that existed before the lease was given back, and :func:`_give_back` makes another one.
    """
    location = world.read_location()
    lease = world.read_record().record.lease
    if lease is None or lease.token != token or lease.attempt != attempt or lease.phase is Phase.RELEASING:
        state = f"leased to {lease.attempt.name}, and {lease.phase.name.lower()}" if lease else "not leased"
        return LeaseLost(f"it is now {state}")
    if location.association_id is not None and moved_from in location.resource_ids:
        world.disassociate(location.association_id)
    return None


def hand_over(
    world: World, attempt: Attempt, *, token: int, resource_id: str, limits: Limits = LIMITS
) -> Snapshot | LeaseLost:
    """Record the resource that has the address. This is also the last check that the lease is current (I4)."""
    written = apply(world, Activate(attempt, token, resource_id), limits)
    if isinstance(written, Refused):
        return LeaseLost(written.why)  # others released it because it was overdue, or a newer try is running
    lease = written.record.lease
    if lease is not None and lease.may_have_orphans:
        # From now on no newer try keeps another cluster of this lease.
        _terminate_others(world, lease, keep=resource_id)
    return written


def guard(world: ReadOnlyWorld, resource_id: str) -> str | None:
    """
    Check that a step may start on a cluster.

    Call it before a step is submitted, and again right after. A release is written before its search for steps, so
    either the search finds the step or the second call finds the release (rule 10).

    :return: the reason why it may not; ``None`` when it may.
    """
    lease = world.read_record().record.lease
    if lease is None or lease.resource_id != resource_id:
        return f"leased to {lease.attempt.name}" if lease else "not leased"
    if lease.phase is Phase.ACTIVE:
        return None
    return f"leased to {lease.attempt.name}, and the lease is {lease.phase.name.lower()}"


def start_release(world: World, resource_id: str, limits: Limits = LIMITS) -> bool:
    """
    Start the release of the lease of this cluster or instance, so that no further step may start on it.

    :return: whether it has a lease.
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

    The address is disassociated first. After a crash between the two, the next owner finds a finished lease and ends
    it. In the other order the address could be associated while the record shows it as free.

    :return: whether the resource had a lease.
    """
    _disassociate(world, resource_id)
    while True:
        snapshot = world.read_record()
        lease = snapshot.record.lease
        if lease is None or lease.resource_id != resource_id:
            return False
        _sweep(world, snapshot.record)
        if lease.may_have_orphans:
            # Only the clusters that EMR shows now; for the others the record keeps a possible orphan.
            _terminate_others(world, lease, keep=resource_id)
        if change(world, snapshot, Release(lease.token, resource_id, why), limits) is not None:
            return True


@dataclass(frozen=True, slots=True)
class Work:
    """
    What an attempt did, for :func:`undo`.

    :param launched: the cluster that it launched or adopted, if it knows.
    :param token: the token of the lease under which it did so; ``None`` when it does not know.
    :param terminate: terminate the cluster; otherwise only disassociate the address from it.
    :param association_id: the association that it made, if it knows: it is undone whatever EC2 shows.
    :param may_lag: it may have made an association a moment ago: search until EC2 must show it.
    :param succeeded: its task has succeeded, perhaps long ago: only what the record shows as unfinished is undone.
    :param moved_from: the cluster whose service it moves, if it is a failover: that cluster gets address and lease
        back if it is live. Nothing is undone after the hand-over.
    :param keeps_lease: if that cluster is not live, a retry continues with the lease as it is, or with the queue entry.
    :param was_freed: the failover took the address off that cluster; ``None`` when that is not known.
    """

    attempt: Attempt
    launched: str | None = None
    token: int | None = None
    terminate: bool = True
    association_id: str | None = None
    may_lag: bool = False
    succeeded: bool = False
    moved_from: str | None = None
    keeps_lease: bool = False
    was_freed: bool | None = False


def undo(world: World, work: Work, limits: Limits = LIMITS) -> None:
    """
    Undo everything that this attempt did, and nothing that a newer attempt did.

    The record is changed before AWS is, so that no newer try adopts a cluster that is about to be terminated.
    """
    owner = work.attempt.owner
    while True:
        snapshot = world.read_record()
        lease, place = snapshot.record.lease, snapshot.record.place(owner)
        if work.succeeded and not _is_unfinished(snapshot.record, work.attempt):
            return
        if lease is not None and lease.attempt.owner == owner:
            if _undo_holder(world, snapshot, lease, work, limits):
                return
        elif place is not None:
            if _undo_waiter(world, snapshot, snapshot.record.queue[place], work, limits):
                return
        else:
            # Others ended the lease while this try was running, or it never had one.
            if work.moved_from is not None and _was_handed_over(snapshot.record, work):
                return
            _undo_unrecorded(world, work, lease)
            return


def _was_handed_over(record: Record, work: Work) -> bool:
    """Whether a failover's lease ended after its hand-over, or so long ago that the history does not have it."""
    if work.token is None or work.launched is None or not record.history:
        return False
    ended = next((ended for ended in record.history if ended.token == work.token), None)
    if ended is None:
        return work.token < record.history[0].token
    return ended.resource_id == work.launched and not ended.why.startswith(UNDONE)


def _is_unfinished(record: Record, attempt: Attempt) -> bool:
    """
    Whether an attempt is in the queue, launches or binds its cluster, or was interrupted while it undid that.

    Otherwise it may have handed over. Then its cluster is for the tasks that follow, also without the address: an early
    release may have ended its lease.
    """
    lease, place = record.lease, record.place(attempt.owner)
    if place is not None:
        return record.queue[place].attempt == attempt
    if lease is None or lease.attempt != attempt:
        return False
    return lease.phase is Phase.ACQUIRED or (lease.phase is Phase.RELEASING and lease.to_be_terminated)


def _undo_holder(world: World, snapshot: Snapshot, lease: Lease, work: Work, limits: Limits) -> bool:
    """
    Undo while this owner has the lease.

    :return: ``False`` to read again.
    """
    if work.attempt.is_superseded_by(lease.attempt):
        _undo_older(world, work, lease, current=lease.token)
        return True
    if work.moved_from is not None:
        if not lease.is_before_handover:
            # It was handed over, or given back, perhaps while RunJobFlow was in flight under the earlier lease. Since
            # then others may have begun to release it.
            _undo_older(world, work, lease, current=lease.token)
            return True
        if lease.moved_from == work.moved_from:
            given_back = _give_back(world, snapshot, lease, work, limits)
            if given_back is not None:
                return given_back
        if work.keeps_lease and lease.phase is Phase.ACQUIRED:
            return True
    # If this process dies before it has terminated the cluster, any owner that observes the lease later does it.
    releasing = StartRelease(lease.token, to_be_terminated=_ends_clusters(work, lease))
    if lease.phase is not Phase.RELEASING and change(world, snapshot, releasing, limits) is None:
        return False
    _undo_lease(world, lease.token, work.launched or lease.resource_id, work, limits)
    return True


def _ends_clusters(work: Work, lease: Lease) -> bool:
    """Whether the clusters with the lease's tags end. A failover may not know that an earlier try has launched one."""
    return work.terminate or (work.moved_from is not None and bool(lease.cluster_name))


def _give_back(world: World, snapshot: Snapshot, lease: Lease, work: Work, limits: Limits) -> bool | None:
    """
    Undo the move of a failover: address and lease return to the cluster that the service has not left yet.

    The address comes first, so the lease is never active on a cluster without it. If EC2 does not answer, the failover
    keeps the lease, and a retry continues.

    :return: ``False`` to read again; ``None`` when that cluster cannot have the address.
    """
    old = str(lease.moved_from)
    had_service = _had_service(world, snapshot.record, old, was_freed=work.was_freed)
    if not (had_service and world.read_resource(old).is_live):
        return None
    if lease.attempt != work.attempt and lease.phase is Phase.ACQUIRED:
        # An older attempt may still run; from now on it finds that it is not current.
        change(world, snapshot, Reenter(work.attempt), limits)
        return False
    made_free = _free_for_old(world, snapshot, lease, work, limits)
    if not made_free:
        return made_free
    association_id = world.put_on(old)
    if association_id is None and old not in world.read_location().resource_ids:
        return None
    written = apply(world, MoveBack(work.attempt, lease.token), limits)
    if isinstance(written, Refused):
        if association_id is not None:
            _take_off_again(world, old, association_id)
        return False
    # No attempt adopts a cluster of the lease any more.
    _terminate_live(world, clusters_of(world, lease))
    if work.terminate and work.launched is not None:
        world.terminate(work.launched)
    return True


def _had_service(world: World, record: Record, resource_id: str, *, was_freed: bool | None) -> bool:
    """Whether a cluster had the address or the lease when a failover began: not after its early release."""
    last = next((ended for ended in reversed(record.history) if ended.resource_id == resource_id), None)
    if was_freed or (last is not None and last.why.startswith(MOVED)):
        return True
    # Without any lease in the history, it may have got the address before there was a record.
    return (was_freed is None and last is None) or resource_id in world.read_location().resource_ids


def _free_for_old(world: World, snapshot: Snapshot, lease: Lease, work: Work, limits: Limits) -> bool | None:
    """
    Free the address for a failover's old cluster.

    :return: ``False`` to read again; ``None`` when the new cluster has it and a retry hands it over.
    """
    old = str(lease.moved_from)
    location = world.settled_location(work.launched) if work.launched and work.may_lag else world.read_location()
    if work.launched is None or work.launched not in location.resource_ids:
        if old in location.resource_ids and lease.may_have_orphans:
            _end_old_association(world, old, location)
        return True
    if work.keeps_lease and lease.phase is Phase.ACQUIRED:
        return None
    # Written before the address leaves that cluster, so that no newer attempt hands it over meanwhile (rule 2).
    releasing = StartRelease(lease.token, to_be_terminated=_ends_clusters(work, lease))
    if lease.phase is not Phase.RELEASING and change(world, snapshot, releasing, limits) is None:
        return False
    if location.association_id is not None:
        world.disassociate(location.association_id)
    return True


def _end_old_association(world: World, resource_id: str, location: AddressLocation) -> None:
    """
    Undo the association with a failover's old cluster, because an older attempt may be about to do it.

    What that attempt still sends cannot undo the association that follows. While a step runs on the cluster, no attempt
    has come so far, unless ``steps_timeout`` was over.
    """
    if location.association_id is not None and not world.active_steps(resource_id, guarded=True):
        world.disassociate(location.association_id)


def _take_off_again(world: World, resource_id: str, association_id: str) -> None:
    """Undo an association with a failover's old cluster, unless a failover of that cluster still has the lease."""
    lease = world.read_record().record.lease
    if lease is None or lease.phase is Phase.RELEASING or resource_id not in {lease.resource_id, lease.moved_from}:
        world.disassociate(association_id)


def _undo_waiter(world: World, snapshot: Snapshot, entry: Entry, work: Work, limits: Limits) -> bool:
    """
    Undo while this owner is in the queue: leave the queue and terminate a cluster that was started early.

    :return: ``False`` to read again.
    """
    if work.attempt.is_superseded_by(entry.attempt):
        _undo_older(world, work, snapshot.record.lease, current=entry.token)
        return True
    if work.keeps_lease:
        return True
    if change(world, snapshot, Leave(work.attempt), limits) is None:
        return False
    if entry.prewarmed_at is not None:
        _terminate_live(world, clusters_of(world, entry))
    if entry.resource_id is not None:
        world.terminate(entry.resource_id)
    return True


def _undo_lease(world: World, token: int, resource_id: str | None, work: Work, limits: Limits) -> None:
    """End a releasing lease as far as possible now; any other owner can finish this later."""
    while True:
        snapshot = world.read_record()
        lease = snapshot.record.lease
        if lease is None or lease.token != token:
            # Another owner may have ended the releasing lease without knowing the cluster that this try launched.
            _undo_unrecorded(world, work, lease)
            return
        # EMR may show the cluster later; then a sweep finds it by its lease tags.
        unknown = resource_id is None or (work.terminate and not world.terminate(resource_id))
        if _ends_clusters(work, lease) and (lease.may_have_orphans or unknown):
            _terminate_live(world, clusters_of(world, lease))
        if resource_id is not None:
            # A cluster that is not terminated may run other steps.
            if world.active_steps(resource_id, guarded=not work.terminate):
                return
            _free_address(world, resource_id, work)
        _sweep(world, snapshot.record)
        ended = Release(token, None if unknown else resource_id, UNDONE, may_have_orphans=unknown)
        if change(world, snapshot, ended, limits) is not None:
            return


def _undo_older(world: World, work: Work, lease: Lease | None, *, current: int) -> None:
    """
    Undo what was done under an earlier lease; a newer try keeps clusters of its own lease only.

    :param current: the token of the newer try.
    """
    if work.token is not None and work.token != current:
        _undo_unrecorded(world, work, lease)


def _undo_unrecorded(world: World, work: Work, lease: Lease | None) -> None:
    """
    Undo what was done under a lease that no longer exists; no record names the cluster, so no other try finds it.

    :param lease: the current lease; it may name a cluster that this try did not launch, such as a standby.
    """
    if work.launched is None:
        return
    if not work.terminate and lease is not None and lease.resource_id == work.launched:
        return  # the current lease gives it the address
    if work.terminate:
        world.terminate(work.launched)
    _free_address(world, work.launched, work)


def _free_address(world: World, resource_id: str, work: Work) -> None:
    if work.association_id is not None:
        world.disassociate(work.association_id)
    else:
        _disassociate(world, resource_id, may_lag=work.may_lag)


def _disassociate(world: World, resource_id: str, *, may_lag: bool = False) -> None:
    """Disassociate the address if this resource has it; never undo another owner's association (I2)."""
    location = world.settled_location(resource_id) if may_lag else world.read_location()
    if location.association_id is not None and resource_id in location.resource_ids:
        world.disassociate(location.association_id)


def change(world: World, snapshot: Snapshot, event: Event, limits: Limits) -> Snapshot | None:
    """
    Write one transition.

    :return: ``None`` when it was refused, had taken effect already, or was perhaps not written: read again.
    """
    after = step(snapshot.record, event, snapshot.now, limits)
    if isinstance(after, Refused) or after == snapshot.record:
        return None
    outcome = world.write_record(after, snapshot.version, joins=isinstance(event, Queue))
    if isinstance(outcome, Snapshot):
        return outcome
    # After a conflict or a lost answer only the next read shows the record.
    world.pause()
    return None


def apply(world: World, event: Event, limits: Limits) -> Snapshot | Refused:
    """Apply an event to the current record; repeat after a conflict or a lost answer until it is written or refused."""
    while True:
        snapshot = world.read_record()
        after = step(snapshot.record, event, snapshot.now, limits)
        if isinstance(after, Refused):
            return after
        if after == snapshot.record:
            return snapshot  # an earlier write took effect, and its answer was lost
        outcome = world.write_record(after, snapshot.version, joins=isinstance(event, Queue))
        if isinstance(outcome, Snapshot):
            return outcome
        world.pause()


def _terminate_live(world: World, resources: tuple[Resource, ...]) -> None:
    for resource in resources:
        if resource.is_live:
            world.terminate(resource.resource_id)


def _terminate_others(world: World, lease: Lease, *, keep: str) -> None:
    """Terminate the clusters of the lease that earlier tries launched and that were not kept."""
    _terminate_live(world, tuple(other for other in clusters_of(world, lease) if other.resource_id != keep))


def _sweep(world: World, record: Record) -> None:
    """Terminate the clusters that ended leases and removed queue entries left behind."""
    for orphan in record.possible_orphans:
        # Found by the orphan's token, so a cluster of the lease or of an entry is never terminated here.
        clusters = clusters_of(world, orphan)
        _terminate_live(world, tuple(cluster for cluster in clusters if cluster.resource_id != orphan.keep))


def _sweep_and_wait(world: World, observation: Observation) -> Queued:
    """Terminate an orphan that has the address; until then no owner can acquire the lease."""
    _sweep(world, observation.snapshot.record)
    return Queued(observation)  # its instance keeps the address for a while


def _start_overdue_release(world: World, observation: Observation, limits: Limits) -> None:
    lease = observation.snapshot.record.lease
    if lease is None:
        return
    # Write the record first: if the owner resumes now, its hand-over is refused, and it undoes what it did.
    start = StartRelease(lease.token, to_be_terminated=True)
    if change(world, observation.snapshot, start, limits) is not None:
        _terminate_live(world, observation.resources)


def _evict(world: World, observation: Observation, limits: Limits) -> None:
    lease = observation.snapshot.record.lease
    if lease is None:
        return
    # There is nothing to terminate: the clusters of the lease have ended, can never appear, or are kept by an early
    # release.
    _sweep(world, observation.snapshot.record)
    resources = ", ".join(resource.resource_id for resource in observation.resources)
    if any(resource.state != "ended" for resource in observation.resources):
        why = f"the release from {resources} was not finished"
    elif resources:
        why = f"{resources} has ended"
    else:
        why = "no cluster was launched" if lease.cluster_name else "it was never handed over"
    change(world, observation.snapshot, Release(lease.token, lease.resource_id, f"{TAKEN_OVER}: {why}"), limits)


def _prewarm(world: World, observation: Observation, lease_request: LeaseRequest, limits: Limits) -> None:
    """Start the cluster while another owner has the address; announce it first, so that it happens once (rule 9)."""
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
    # Meanwhile another try of this owner may have acquired the lease, or the entry may have been removed.
    while True:
        after = step(announced.record, Prewarmed(attempt, launched), announced.now, limits)
        if isinstance(after, Refused):
            lease = announced.record.lease
            if not after.superseded and (lease is None or lease.token != token):
                world.terminate(launched)  # no record names it
            return
        if after == announced.record or change(world, announced, Prewarmed(attempt, launched), limits) is not None:
            return
        announced = world.read_record()
