"""
How an attempt acquires any one address of several: a pool.

Every address keeps its own record with its own queue. So one conditional write to one record still decides who has an
address, whichever pools name it, and a task that asks for this address alone works as it does without pools. With one
record for each pool, two pools that share an address would need a write to two records at once, which none of the
stores supports.

- **Order.** Each address goes to the first owner in its queue. An attempt that finds no free address joins the queues
  of all addresses, always in the same order, takes the first address whose turn comes, and leaves the other queues. So
  no owner overtakes another in any queue, and none waits longer than it would in the slowest of these queues alone.
- **No deadlock.** An attempt has the lease of at most one address, and waits for none while it has it.
- **One lease for each owner.** Before an attempt acquires anything, it takes over what earlier attempts of its owner
  have in any record, so those can no longer acquire anything there. After it has acquired a lease, it reads the other
  records again, so of two attempts that acquire two addresses at the same moment at least one sees the other. The older
  one undoes its lease and leaves its queues. The newer one takes over the older one's lease and ends it.
- **One cluster for each owner.** It is started early under at most one queue entry and belongs to that entry. If
  another address is free first, the lease there records that such a cluster may follow (``since``). Then the owner
  leaves the queue of the entry by a write that keeps the cluster. Before that write the cluster belongs to the entry,
  after it to the lease. Then the lease names the cluster, and the cluster gets the lease tags of its address. A retry
  sees in the two records how far this got. If no retry follows and the process died right after that write, the cluster
  runs until its idle timeout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.observation import Action, LeaseRequest, Observation, decide, observe
from airflow_eip_provider.lease.protocol import Acquired, Queued, Superseded, Work, apply, change, enter, undo
from airflow_eip_provider.lease.record import LIMITS, Entry, Lease, Phase
from airflow_eip_provider.lease.transitions import Bring, Leave, Reenter, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lease.record import Attempt, Limits, Record
    from airflow_eip_provider.lease.store import Snapshot
    from airflow_eip_provider.lease.world import World


@dataclass(frozen=True, slots=True)
class AcquiredOne:
    """The attempt has the lease of one address, and is in no other queue."""

    allocation_id: str
    acquired: Acquired


@dataclass(frozen=True, slots=True)
class QueuedForAll:
    """It is another owner's turn at every address, according to the last observations, by allocation ID."""

    observations: Mapping[str, Observation]


@dataclass(frozen=True, slots=True)
class _Own:
    """
    What an owner has in the records of a pool.

    :param leased: the address of its lease.
    :param started: the address and the queue entry for which it has started its cluster early.
    """

    leased: str | None
    started: tuple[str, Entry] | None


def enter_any(
    worlds: Mapping[str, World],
    lease_request: LeaseRequest,
    *,
    due_seconds: Mapping[str, float] | None = None,
    limits: Limits = LIMITS,
) -> AcquiredOne | QueuedForAll | Superseded:
    """
    Acquire the lease of any one address, or join the queues of all.

    :param worlds: by allocation ID, in the same order for all attempts that share addresses.
    :param due_seconds: by allocation ID: for how long this owner has observed that the lease has to be ended.
    """
    attempt, wants, due = lease_request.attempt, lease_request.wants, due_seconds or {}
    own = _take_over(worlds, attempt, limits)
    if isinstance(own, Superseded):
        return own
    if own.leased is not None:
        request, seconds = replace(lease_request, prewarm=0), due.get(own.leased, 0.0)
        entered = enter(worlds[own.leased], request, due_seconds=seconds, limits=limits)
        if not isinstance(entered, Queued):
            return _leave_others(worlds, own.leased, entered, attempt, limits)
    started_for, brought = own.started or ("", None)
    # Take a free address before joining any queue: first the one for which its cluster was started, or the one that its
    # resource already has.
    for allocation_id in sorted(worlds, key=lambda name: name != started_for and not _has(worlds[name], wants)):
        if decide(observe(worlds[allocation_id], limits), lease_request, limits=limits) is Action.ACQUIRE:
            entered = enter(worlds[allocation_id], replace(lease_request, prewarm=0), brought=brought, limits=limits)
            if not isinstance(entered, Queued):
                return _leave_others(worlds, allocation_id, entered, attempt, limits)
    observations: dict[str, Observation] = {}
    for allocation_id, world in worlds.items():
        request = lease_request if brought is None else replace(lease_request, prewarm=0)
        seconds = due.get(allocation_id, 0.0)
        entered = enter(world, request, due_seconds=seconds, brought=brought, limits=limits)
        if not isinstance(entered, Queued):
            return _leave_others(worlds, allocation_id, entered, attempt, limits)
        observations[allocation_id] = entered.observation
        entry = _entry_of(entered.observation.snapshot.record, attempt.owner)
        if entry is not None and entry.prewarmed_at is not None:
            brought = entry
    return QueuedForAll(observations)


def _has(world: World, resource_id: str) -> bool:
    return bool(resource_id) and resource_id in world.read_location().resource_ids


def name_kept(worlds: Mapping[str, World], attempt: Attempt, limits: Limits = LIMITS) -> None:
    """
    Name the cluster that was kept for a lease of the attempt, or of an earlier one, in that lease, so that both end.

    Call it before that lease is undone, unless :func:`enter_any` has returned: the process may have died in it.
    """
    for allocation_id, world in worlds.items():
        lease = world.read_record().record.lease
        if lease is None or lease.attempt.owner != attempt.owner or attempt.is_superseded_by(lease.attempt):
            continue
        if lease.phase is Phase.ACQUIRED:
            _name_cluster(world, lease, _kept_for(lease, _others(worlds, allocation_id)), limits)


def _take_over(worlds: Mapping[str, World], attempt: Attempt, limits: Limits) -> _Own | Superseded:
    """Take over what earlier attempts of the owner have in any record, before this one acquires anything."""
    leases: dict[str, Lease] = {}
    started: tuple[str, Entry] | None = None
    for allocation_id, world in worlds.items():
        while True:
            snapshot = world.read_record()
            part = _part_of(snapshot.record, attempt.owner)
            is_releasing = isinstance(part, Lease) and part.phase is Phase.RELEASING  # any owner may end it
            if part is None or part.attempt == attempt or is_releasing:
                break
            if attempt.is_superseded_by(part.attempt):
                return _withdraw(worlds, attempt, limits)
            if (written := change(world, snapshot, Reenter(attempt), limits)) is not None:
                part = _part_of(written.record, attempt.owner)
                break
        if isinstance(part, Lease) and not is_releasing:
            leases[allocation_id] = part
        elif isinstance(part, Entry) and part.prewarmed_at is not None:
            started = (allocation_id, part)
    # There are two leases if two attempts acquired two addresses at once and one of them died: keep the more advanced
    # one.
    return _Own(min(leases, key=lambda name: _progress(leases[name]), default=None), started)


def _progress(lease: Lease) -> tuple[bool, bool]:
    """Return a sort key: the most advanced lease comes first."""
    return lease.phase is not Phase.ACTIVE, lease.resource_id is None


def _leave_others(
    worlds: Mapping[str, World], allocation_id: str, entered: Acquired | Superseded, attempt: Attempt, limits: Limits
) -> AcquiredOne | Superseded:
    """Leave the queues of the other addresses, and end a lease that an older attempt acquired meanwhile."""
    if isinstance(entered, Superseded):
        return _withdraw(worlds, attempt, limits)
    lease, others = entered.snapshot.record.lease, _others(worlds, allocation_id)
    for world in others:
        if not _end_part(world, attempt, limits, lease=lease):
            return _withdraw(worlds, attempt, limits)
    if lease is not None and lease.phase is Phase.ACQUIRED:
        named = _name_and_tag(worlds[allocation_id], lease, _kept_for(lease, others), limits)
        entered = entered if named is None else Acquired(named)
    return AcquiredOne(allocation_id, entered)


def _withdraw(worlds: Mapping[str, World], attempt: Attempt, limits: Limits) -> Superseded:
    """End everything that this attempt has, as a newer one may have read a record before this one wrote it."""
    name_kept(worlds, attempt, limits)
    for world in worlds.values():
        part = _part_of(world.read_record().record, attempt.owner)
        if part is not None and part.attempt == attempt:
            undo(world, Work(attempt, terminate=bool(part.cluster_name)), limits)
    return Superseded()


def _end_part(world: World, attempt: Attempt, limits: Limits, *, lease: Lease | None) -> bool:
    """
    End the owner's lease or queue entry at an address that it no longer needs.

    :param lease: its lease of another address.
    :return: ``False`` when that part is a newer attempt's; then nothing was changed.
    """
    while True:
        snapshot = world.read_record()
        part = _part_of(snapshot.record, attempt.owner)
        if part is None:
            return True
        if attempt.is_superseded_by(part.attempt):
            return False
        if isinstance(part, Entry):
            if not _brings_cluster(part, lease):
                undo(world, Work(attempt), limits)
                return True
            if change(world, snapshot, Leave(attempt, keep=part.resource_id), limits) is not None:
                return True
        elif part.phase is Phase.RELEASING:
            return True  # any owner may end it
        elif part.attempt == attempt or change(world, snapshot, Reenter(attempt), limits) is not None:
            # The older attempt changes nothing there from now on. A resource that it did not launch is kept.
            undo(world, Work(attempt, terminate=bool(part.cluster_name)), limits)
            return True


def _brings_cluster(entry: Entry, lease: Lease | None) -> bool:
    """Whether the cluster that was started early under an entry is for a lease of another address."""
    if lease is None or lease.phase is not Phase.ACQUIRED or lease.resource_id is not None:
        return False
    return entry.resource_id is not None and entry.prewarmed_at == lease.since


def _kept_for(lease: Lease, others: list[World]) -> str | None:
    """Return the cluster that was kept for a lease when its owner left the queue of another address."""
    if lease.resource_id is not None or lease.since is None:
        return lease.resource_id
    orphans = [orphan for world in others for orphan in world.read_record().record.possible_orphans]
    of_lease = (orphan for orphan in orphans if orphan.owner == lease.attempt.owner and orphan.since == lease.since)
    return next((orphan.keep for orphan in of_lease if orphan.keep is not None), None)


def _others(worlds: Mapping[str, World], allocation_id: str) -> list[World]:
    return [world for name, world in worlds.items() if name != allocation_id]


def _name_and_tag(world: World, lease: Lease, resource_id: str | None, limits: Limits) -> Snapshot | None:
    """Name a cluster in the lease, and give it the lease's tags if it was started for another address."""
    named = _name_cluster(world, lease, resource_id, limits)
    if named is not None and world.read_resource(str(resource_id)).lease_tags is None:
        world.give_lease_tags(str(resource_id), lease.token)
    return named


def _name_cluster(world: World, lease: Lease, resource_id: str | None, limits: Limits) -> Snapshot | None:
    """Name a cluster in the lease if that is still the attempt's; terminate it if others have ended the lease."""
    if resource_id is None or lease.is_given_up(resource_id):
        return None
    written = apply(world, Bring(lease.attempt, lease.token, resource_id), limits)
    if not isinstance(written, Refused):
        return written
    if not written.superseded:
        world.terminate(resource_id)  # no record names it
    return None


def _part_of(record: Record, owner: str) -> Lease | Entry | None:
    """Return the lease or the queue entry of an owner."""
    if record.lease is not None and record.lease.attempt.owner == owner:
        return record.lease
    return _entry_of(record, owner)


def _entry_of(record: Record, owner: str) -> Entry | None:
    place = record.place(owner)
    return None if place is None else record.queue[place]
