"""Checks for violations in the model, made where they would take effect; each names the invariant or rule."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import Phase
from tests.verification.model.world import LIMITS, ViolationError

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Attempt, Entry, Lease, Record
    from airflow_eip_provider.lease.store import Snapshot
    from tests.verification.model.world import Actor, Cluster, World


def check_state(world: World, *, known: frozenset[str], prewarm: int, at_rest: frozenset[str] = frozenset()) -> None:
    """
    Check what must hold in every state.

    :param known: the clusters that a creating process knows.
    :param at_rest: the owners with a pool of addresses of whose creating task no attempt is running.
    """
    views = world.seen_from_all()
    for view in views:
        running = [c for c in world.clusters if c.step == "running" and c.address == view.address]
        if len(running) > 1:
            raise ViolationError(f"I1: guarded steps run on {running[0].resource_id} and {running[1].resource_id}")
    if not world.store_keeps_its_word:
        return
    for view in views:
        early = sum(c.state == "live" and _is_early(view, c) for c in world.clusters)
        if early > prewarm:
            raise ViolationError(f"rule 9: {early} clusters were started early, {prewarm} may be")
    for cluster in world.clusters:
        if cluster.state != "live" or cluster.handed_over or cluster.resource_id in known:
            continue
        if not (any(_leads_to(view, cluster) for view in views) or _is_kept(views, cluster, at_rest)):
            raise ViolationError(f"I6: nothing in the record leads to {cluster.resource_id}")
    if len(views) > 1:
        _check_early_of_owner(views)


def _is_early(world: World, cluster: Cluster) -> bool:
    entries = {entry.token for entry in world.record.queue}
    return cluster.address == world.address and cluster.token in entries


def _leads_to(world: World, cluster: Cluster) -> bool:
    """Whether the record of this address names a cluster, or says by which tags it is found and terminated."""
    record, name = world.record, cluster.resource_id
    parts = [*record.queue, *([record.lease] if record.lease else [])]
    if any(part.resource_id == name for part in parts):
        return True
    tokens = [
        *(part.token for part in parts),
        *(left.token for left in record.possible_orphans if left.keep != name),
    ]
    return cluster.address == world.address and cluster.token in tokens


def _is_kept(views: tuple[World, ...], cluster: Cluster, at_rest: frozenset[str]) -> bool:
    """
    Whether a cluster is kept for a lease of another address that does not name it yet.

    A running attempt that can no longer name it is about to terminate it. If its owner's attempt crashed and no retry
    followed, the cluster ends by its idle timeout.
    """
    kept = [left for view in views for left in view.record.possible_orphans if left.keep == cluster.resource_id]
    leases = [view.record.lease for view in views if view.record.lease is not None]
    waits = [lease.since for lease in leases if lease.attempt.owner == cluster.owner and lease.resource_id is None]
    is_excused = cluster.owner not in at_rest or cluster.owner in views[0].abandoned
    return any(is_excused or left.since in waits for left in kept)


def _check_early_of_owner(views: tuple[World, ...]) -> None:
    """Check that no owner has announced an early start under two queue entries."""
    started = [e.attempt.owner for view in views for e in view.record.queue if e.prewarmed_at is not None]
    if len(started) > len(set(started)):
        raise ViolationError("one early start: an owner starts its cluster early for two addresses")


def check_at_rest(world: World, owner: str) -> None:
    """Check that an owner of whose creating task no attempt is running has at most one lease and is in no queue."""
    leased = []
    for view in world.seen_from_all():
        lease = view.record.lease
        if lease is not None and lease.attempt.owner == owner and lease.phase is not Phase.RELEASING:
            leased.append(view.address)
        if view.record.place(owner) is not None:
            raise ViolationError(f"nothing is left: {owner} has ended, and is in the queue of {view.address}")
    if len(leased) > 1:
        raise ViolationError(f"one lease: {owner} has those of {' and '.join(leased)}")


def check_write(world: World, actor: Actor, after: Record) -> None:
    """Check how a write changes the lease."""
    before, lease = world.record.lease, after.lease
    if before is None:
        if lease is not None:
            _check_acquire(world, lease, after)
    elif lease is None:
        if before.attempt.owner != actor.owner:
            _check_takeover(world, before)
    else:
        _check_change(world, actor, before, lease)
    if before is not None and before.attempt.owner == actor.owner and lease != before:
        _check_try(actor, before)


def _check_acquire(world: World, lease: Lease, after: Record) -> None:
    record, owner = world.record, lease.attempt.owner
    last = record.queue[0].token - 1 if record.queue else record.issued
    if lease.token <= last:
        raise ViolationError("I4: a token is used again")
    place = record.place(owner)
    if place is None and record.queue:
        raise ViolationError(f"order: {owner} takes the lease past the queue")
    if place is None:
        return
    before = record.queue[:place]
    if world.now < record.free_since + _windows(record, len(before)):
        raise ViolationError(f"order: {owner} takes the lease before its turn")
    _check_passed(before, after)


def _windows(record: Record, place: int) -> float:
    """Return for how long a free address is kept for the first entries of the queue."""
    graces = [2**entry.passed for entry in record.queue if entry.passed]
    factor = min(1, 8 / sum(graces)) if graces else 1
    windows = (2**entry.passed * factor if entry.passed else 1 for entry in record.queue[:place])
    return record.grace * sum(windows)


def _check_passed(before: tuple[Entry, ...], after: Record) -> None:
    """Check that an entry that is passed over keeps its place and its cluster, is counted, and is removed at last."""
    for entry in before:
        still = next((e for e in after.queue if e.token == entry.token), None)
        if still is None and entry.passed < LIMITS.turns:
            raise ViolationError(f"fairness: {entry.attempt.owner} was passed over and lost its place")
        if still is None:
            continue
        if still.passed != entry.passed + 1 or still.passed > LIMITS.turns:
            raise ViolationError(f"fairness: passing over {entry.attempt.owner} is not counted, or has no end")
        if (still.prewarmed_at, still.resource_id) != (entry.prewarmed_at, entry.resource_id):
            raise ViolationError(f"fairness: {entry.attempt.owner} was passed over and lost its cluster")
    kept = [e.token for e in after.queue]
    if kept != sorted(kept):
        raise ViolationError("fairness: the queue is no longer in the order of arrival")


def _check_takeover(world: World, lease: Lease) -> None:
    owner = lease.attempt.owner
    searched = lease.phase is Phase.ACQUIRED or lease.to_be_terminated
    for cluster in world.clusters:
        # Further clusters of earlier tries stay possible orphans of the record, which the next owner sweeps.
        tagged = cluster.token == lease.token and cluster.address == world.address
        is_of_lease = cluster.resource_id == lease.resource_id or (searched and tagged)
        on = world.at == cluster.resource_id
        if not is_of_lease or (lease.phase is Phase.RELEASING and not on):
            continue
        if cluster.state != "ended":
            raise ViolationError(f"I7: the lease of {owner} was taken over while its cluster lives")
        if on:
            raise ViolationError(f"I7: the lease of {owner} was taken over while a live instance has the address")


def _check_change(world: World, actor: Actor, before: Lease, lease: Lease) -> None:
    if lease.token != before.token:
        if world.service and lease.resource_id == world.service:
            _check_move_back(world, actor, before, lease)
            return
        has_moved = lease.moved_from == before.resource_id == world.service and before.phase is Phase.ACTIVE
        if not has_moved or lease.phase is not Phase.ACQUIRED or lease.token != world.record.issued + 1:
            raise ViolationError("I1: a lease replaced another without its end")
        return
    if lease.phase is not Phase.RELEASING or before.phase is Phase.RELEASING or before.attempt.owner == actor.owner:
        return
    if before.phase is Phase.ACTIVE:
        raise ViolationError(
            f"I7: {actor} starts the release of a lease of {before.attempt.owner} that was handed over"
        )
    busy = [c.resource_id for c in world.with_token(before.token) if c.step == "early"]
    if busy:
        raise ViolationError(
            f"I7: {actor} starts the release of a lease of {before.attempt.owner} while {busy[0]} runs a step"
        )


def _check_move_back(world: World, actor: Actor, before: Lease, lease: Lease) -> None:
    """Check that only the failover that has the lease gives it back, with the address, and before its hand-over."""
    if before.phase is Phase.ACTIVE or before.attempt.owner != actor.owner or before.moved_from != world.service:
        raise ViolationError(f"I1: {actor} takes the lease of {before.attempt.owner} back")
    if lease.token != world.record.issued + 1 or lease.phase is not Phase.ACTIVE:
        raise ViolationError("I1: a lease replaced another without its end")
    cluster = world.cluster(world.service)
    if world.at != world.service and cluster is not None and cluster.state == "live":
        raise ViolationError(f"moved back: {world.service} has the lease again, and not the address")


def _check_try(actor: Actor, before: Lease) -> None:
    if actor.task == "create" and before.attempt.try_number > actor.try_number:
        raise ViolationError(f"rule 1: {actor} writes the lease of try {before.attempt.try_number}")


def changed_attempts(before: Record, after: Record) -> frozenset[int]:
    """Return the tokens whose attempt changes."""
    old = _attempts(before)
    return frozenset(token for token, attempt in _attempts(after).items() if old.get(token, attempt) != attempt)


def _attempts(record: Record) -> dict[int, Attempt]:
    attempts = {entry.token: entry.attempt for entry in record.queue}
    return attempts if record.lease is None else {**attempts, record.lease.token: record.lease.attempt}


def is_given_up(record: Record, cluster: Cluster) -> bool:
    """Whether the record says that a cluster did not start."""
    lease = record.lease
    if lease is None or lease.phase is not Phase.ACQUIRED or not lease.to_be_terminated:
        return False
    return lease.resource_id == cluster.resource_id


def check_launch(world: World, actor: Actor, token: int) -> None:
    """Check that a retry launches no cluster if it could have adopted one when it began."""
    lease = world.record.lease
    if lease is None or lease.token != token or lease.phase is not Phase.ACQUIRED:
        return
    if lease.attempt.try_number != actor.try_number:
        return
    for cluster in world.with_token(token):
        if cluster.state == "live" and cluster.adoptable and not cluster.given_up:
            raise ViolationError(f"I6: {actor} launches another cluster beside {cluster.resource_id}")
        known = cluster.by == actor.try_number or cluster.given_up
        if cluster.state != "ended" and known:
            raise ViolationError(f"one cluster: {actor} launches the next before {cluster.resource_id} has ended")
        if known and world.at == cluster.resource_id:
            raise ViolationError(f"one cluster: {actor} launches the next while {cluster.resource_id} has the address")


def check_terminate(world: World, actor: Actor, resource_id: str) -> None:
    """Check that no task terminates a cluster that another task, or a newer try, has handed over."""
    if not world.store_keeps_its_word:
        return
    for view in world.seen_from_all():
        lease = view.record.lease
        if lease is None or lease.resource_id != resource_id or lease.phase is not Phase.ACTIVE:
            continue
        if lease.attempt.owner != actor.owner or lease.attempt.try_number > actor.try_number:
            raise ViolationError(f"I6: {actor} terminates {resource_id}, which {lease.attempt.nonce} has")


def check_disassociate(world: World, actor: Actor, cluster: Cluster) -> None:
    """Check that the address leaves only its own cluster, or one whose lease was moved, and no step that needs it."""
    lease = world.record.lease
    has_moved = cluster.resource_id == world.service and (lease is None or lease.resource_id != world.service)
    if cluster.owner != actor.owner and not has_moved:
        raise ViolationError(f"I2: {actor} takes the address off {cluster.owner}'s cluster")
    if cluster.step == "running":
        raise ViolationError(f"I5: the address leaves {cluster.resource_id} while its step runs")


def check_step(world: World, cluster: Cluster) -> None:
    """Check that a step runs only with the address, under a lease that is its cluster's and lets steps start."""
    lease = world.record.lease
    if lease is None or lease.resource_id != cluster.resource_id or lease.phase is not Phase.ACTIVE:
        raise ViolationError(f"I5: a step runs on {cluster.resource_id}, whose lease has ended or is ending")
    if world.at != cluster.resource_id and not world.has_gateway:
        raise ViolationError(f"I5: a step runs on {cluster.resource_id} without the address")


def check_returned(world: World, snapshot: Snapshot | None, owner: str, resource_id: str) -> None:
    """
    Check what must hold when a creating task returns.

    :param snapshot: the record of its last write or read.
    """
    cluster = world.cluster(resource_id)
    if world.store_keeps_its_word and cluster is not None and cluster.given_up:
        raise ViolationError(f"one cluster: {owner} returns {resource_id}, which was given up")
    if cluster is not None and cluster.swept:
        raise ViolationError(f"I6: {owner} returns {resource_id}, which another owner has terminated")
    if cluster is not None and world.tags_of(cluster) is None:
        raise ViolationError(f"tags: {owner} returns {resource_id}, which is not found by the tags of its lease")
    served = [c for c in world.clusters if c.handed_over and c.state == "live"]
    others = [c for c in served if c.resource_id not in {world.service, resource_id}]
    if world.service and others:
        raise ViolationError(f"one failover: {owner} returns {resource_id} beside {others[0].resource_id}")
    lease = snapshot.record.lease if snapshot else None
    handed = lease is not None and lease.phase is Phase.ACTIVE and lease.resource_id == resource_id
    if world.store_keeps_its_word and (lease is None or not handed or lease.attempt.owner != owner):
        raise ViolationError(f"I4: {owner} returns {resource_id} without the lease")


def check_gave_up(world: World, attempt: Attempt, token: int) -> None:
    """Check that a task which finds that it has lost its lease has lost it: a lease does not come back."""
    lease = world.record.lease
    if lease is None or lease.token != token or lease.attempt != attempt or lease.phase is Phase.RELEASING:
        return
    if world.store_keeps_its_word:
        raise ViolationError(f"rule 7: {attempt.nonce} gives up the lease that it has")


def check_stored(answers: tuple[object, ...], snapshot: Snapshot) -> None:
    """Check that the record with which a function returns is one that the store returned to it."""
    if snapshot not in answers:
        raise ViolationError("rule 7: a function returns a record that the store did not return")


def check_guarded(last: object, resource_id: str) -> None:
    """
    Check that a step is allowed only after a read that shows an active lease of its own cluster.

    :param last: the last answer to the guard.
    """
    record: Record | None = getattr(last, "record", None)
    lease = record.lease if record else None
    if lease is None or lease.phase is not Phase.ACTIVE or lease.resource_id != resource_id:
        why = "without a read" if record is None else "that has no active lease"
        raise ViolationError(f"I5: a step is allowed on {resource_id} {why}")
