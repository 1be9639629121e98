"""
What an attempt does that may have any one address of several: a pool.

Every address keeps its own record, with its own queue, so exclusion is decided by one conditional write to one record,
whoever else has the address in a pool of theirs, and one who asks for that address alone does exactly what he did
before. A record for each pool was the alternative; two pools that share an address would then need a write to two
records at once to exclude each other, which no store here has.

- **Order.** Each address goes to the first in its own queue. An attempt that finds no free address joins all queues of
  its pool, always in the same order of addresses, takes the first address whose turn comes, and leaves the other
  queues. So no owner overtakes another one in any queue, and an owner waits no longer than it would for the slowest of
  its addresses alone.
- **No deadlock.** An attempt has the lease of one address at most and waits for none while it has it.
- **One lease for an owner.** Before an attempt acquires anything it takes over whatever earlier attempts of its owner
  have in any record, so those can acquire nothing there any more. After it has acquired a lease it reads the other
  records again: two attempts that acquire two addresses at the same moment cannot both miss each other. The older one
  undoes its lease and leaves the queues that it has joined. The newer one takes the older one's lease over, so that
  the older one changes nothing there any more, and ends it.
- **One cluster for an owner.** It is started early under one queue entry at most, and belongs to that entry: to whoever
  takes the entry over, and to nobody once others have removed it. If another address is free first, the lease there
  says that such a cluster may follow. Then the owner leaves the queue under which it was started, by a write that keeps
  the cluster: if that takes effect, the cluster is the lease's. The lease names it then, and at last it gets the lease
  tags of its address. Before that write no end of the lease terminates the cluster, after it no end of the entry does.
  A retry finds out from the two records how far that had come. If there is none, and the process died right after that
  write, the cluster runs until its idle timeout.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.observation import Action, LeaseRequest, Observation, decide, observe
from airflow_eip_provider.lease.protocol import Acquired, Queued, Superseded, change, enter, undo
from airflow_eip_provider.lease.record import LIMITS, Entry, Lease, Phase
from airflow_eip_provider.lease.transitions import Bring, Leave, Reenter, Refused, step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lease.record import Attempt, Limits, Record
    from airflow_eip_provider.lease.store import Snapshot
    from airflow_eip_provider.lease.world import World


@dataclass(frozen=True, slots=True)
class AcquiredOne:
    """The attempt has the lease of one address, and is in no queue of the others."""

    allocation_id: str
    acquired: Acquired


@dataclass(frozen=True, slots=True)
class QueuedForAll:
    """It is another owner's turn at every address; these are the last observations, by allocation ID."""

    observations: Mapping[str, Observation]


@dataclass(frozen=True, slots=True)
class _Own:
    """
    What an owner has in the records of a pool.

    :param leased: the address of its lease.
    :param started: its queue entry under which it has started its cluster early, and that address.
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

    :param worlds: by allocation ID, in an order that is the same for all attempts that share addresses.
    :param due_seconds: for how long this owner has observed that the lease of an address has to be ended.
    """
    attempt, due = lease_request.attempt, due_seconds or {}
    own = _take_over(worlds, attempt, limits)
    if isinstance(own, Superseded):
        return own
    if own.leased is not None:
        request, seconds = replace(lease_request, prewarm=0), due.get(own.leased, 0.0)
        entered = enter(worlds[own.leased], request, due_seconds=seconds, limits=limits)
        if not isinstance(entered, Queued):
            return _settled(worlds, own.leased, entered, attempt, limits)
    at, brought = own.started or ("", None)
    # Where its cluster belongs already comes first, and what its resource has.
    for allocation_id in sorted(worlds, key=lambda name: name != at and not _has(worlds[name], lease_request.wants)):
        # A free address, before it joins any queue.
        if decide(observe(worlds[allocation_id], limits), lease_request, limits=limits) is Action.ACQUIRE:
            entered = enter(worlds[allocation_id], replace(lease_request, prewarm=0), brought=brought, limits=limits)
            if not isinstance(entered, Queued):
                return _settled(worlds, allocation_id, entered, attempt, limits)
    observations: dict[str, Observation] = {}
    for allocation_id, world in worlds.items():
        request = lease_request if brought is None else replace(lease_request, prewarm=0)
        seconds = due.get(allocation_id, 0.0)
        entered = enter(world, request, due_seconds=seconds, brought=brought, limits=limits)
        if not isinstance(entered, Queued):
            return _settled(worlds, allocation_id, entered, attempt, limits)
        observations[allocation_id] = entered.observation
        entry = _entry_of(entered.observation.snapshot.record, attempt.owner)
        if entry is not None and entry.prewarmed_at is not None:
            brought = entry
    return QueuedForAll(observations)


def _has(world: World, resource_id: str) -> bool:
    return bool(resource_id) and resource_id in world.read_location().resource_ids


def name_kept(worlds: Mapping[str, World], attempt: Attempt, limits: Limits = LIMITS) -> None:
    """
    Name in a lease of the attempt, or of an earlier one, the cluster that was kept for it: it ends with the lease then.

    To be called before that lease is undone, unless :func:`enter_any` has returned: it may have been cut off halfway.
    """
    for allocation_id, world in worlds.items():
        lease = world.read_record().record.lease
        if lease is None or lease.attempt.owner != attempt.owner or attempt.is_superseded_by(lease.attempt):
            continue
        if lease.phase is Phase.ACQUIRED:
            _named(world, lease, _kept_for(lease, _others(worlds, allocation_id)), limits)


def _take_over(worlds: Mapping[str, World], attempt: Attempt, limits: Limits) -> _Own | Superseded:
    """Make what earlier attempts of the owner have this attempt's own, in every record, before it acquires anything."""
    leases: dict[str, Lease] = {}
    started: tuple[str, Entry] | None = None
    for allocation_id, world in worlds.items():
        while True:
            snapshot = world.read_record()
            part = _part_of(snapshot.record, attempt.owner)
            is_over = isinstance(part, Lease) and part.phase is Phase.RELEASING  # any owner may end it
            if part is None or part.attempt == attempt or is_over:
                break
            if attempt.is_superseded_by(part.attempt):
                return _withdrawn(worlds, attempt, limits)
            if (written := change(world, snapshot, Reenter(attempt), limits)) is not None:
                part = _part_of(written.record, attempt.owner)
                break
        if isinstance(part, Lease) and not is_over:
            leases[allocation_id] = part
        elif isinstance(part, Entry) and part.prewarmed_at is not None:
            started = (allocation_id, part)
    # Two, after two attempts had acquired two addresses at once and one of them died: the one that has come further.
    return _Own(min(leases, key=lambda name: _is_behind(leases[name]), default=None), started)


def _is_behind(lease: Lease) -> tuple[bool, bool]:
    return lease.phase is not Phase.ACTIVE, lease.resource_id is None


def _settled(
    worlds: Mapping[str, World], allocation_id: str, entered: Acquired | Superseded, attempt: Attempt, limits: Limits
) -> AcquiredOne | Superseded:
    """Leave the queues of the other addresses, and end what an older attempt has acquired meanwhile."""
    if isinstance(entered, Superseded):
        return _withdrawn(worlds, attempt, limits)
    lease, others = entered.snapshot.record.lease, _others(worlds, allocation_id)
    for world in others:
        if not _has_ended(world, attempt, limits, lease=lease):
            return _withdrawn(worlds, attempt, limits)
    if lease is not None and lease.phase is Phase.ACQUIRED:
        brought = _brought(worlds[allocation_id], lease, _kept_for(lease, others), limits)
        entered = entered if brought is None else Acquired(brought)
    return AcquiredOne(allocation_id, entered)


def _withdrawn(worlds: Mapping[str, World], attempt: Attempt, limits: Limits) -> Superseded:
    """End what this attempt has: a newer one is at work, and may have read some of the records before it was there."""
    name_kept(worlds, attempt, limits)
    for world in worlds.values():
        part = _part_of(world.read_record().record, attempt.owner)
        if part is not None and part.attempt == attempt:
            undo(world, attempt, terminate=bool(part.cluster_name), limits=limits)
    return Superseded()


def _has_ended(world: World, attempt: Attempt, limits: Limits, *, lease: Lease | None) -> bool:
    """
    End the owner's part in the record of an address that it does not need any more.

    :param lease: the one with which it goes on, at another address.
    :return: ``False`` when a newer attempt is at work there: nothing was changed.
    """
    while True:
        snapshot = world.read_record()
        part = _part_of(snapshot.record, attempt.owner)
        if part is None:
            return True
        if attempt.is_superseded_by(part.attempt):
            return False
        if isinstance(part, Entry):
            if not _goes_with(part, lease):
                undo(world, attempt, limits=limits)
                return True
            if change(world, snapshot, Leave(attempt, keep=part.resource_id), limits) is not None:
                return True
        elif part.phase is Phase.RELEASING:
            return True  # any owner may end it
        elif part.attempt == attempt or change(world, snapshot, Reenter(attempt), limits) is not None:
            # The older attempt changes nothing there from now on. What it did not launch is not terminated.
            undo(world, attempt, terminate=bool(part.cluster_name), limits=limits)
            return True


def _goes_with(entry: Entry, lease: Lease | None) -> bool:
    """Whether the cluster that was started early under an entry is for a lease of another address."""
    if lease is None or lease.phase is not Phase.ACQUIRED or lease.resource_id is not None:
        return False
    return entry.resource_id is not None and entry.prewarmed_at == lease.since


def _kept_for(lease: Lease, others: list[World]) -> str | None:
    """Return the cluster that was kept for a lease when its owner left the queue of another address."""
    if lease.resource_id is not None or lease.since is None:
        return lease.resource_id
    kept = [left for world in others for left in world.read_record().record.possible_orphans]
    mine = (left for left in kept if left.owner == lease.attempt.owner and left.since == lease.since)
    return next((left.keep for left in mine if left.keep is not None), None)


def _others(worlds: Mapping[str, World], allocation_id: str) -> list[World]:
    return [world for name, world in worlds.items() if name != allocation_id]


def _brought(world: World, lease: Lease, resource_id: str | None, limits: Limits) -> Snapshot | None:
    """Name a cluster in the lease, and give it the tags of the lease; it may have been started for another address."""
    named = _named(world, lease, resource_id, limits)
    if named is not None and world.read_resource(str(resource_id)).lease_tags is None:
        world.give_lease_tags(str(resource_id), lease.token)
    return named


def _named(world: World, lease: Lease, resource_id: str | None, limits: Limits) -> Snapshot | None:
    """Name a cluster in the lease, if the lease is the attempt's still; else others have ended it, and this ends."""
    if resource_id is None or lease.is_given_up(resource_id):
        return None
    event = Bring(lease.attempt, lease.token, resource_id)
    while True:
        snapshot = world.read_record()
        after = step(snapshot.record, event, snapshot.now, limits)
        if isinstance(after, Refused):
            if not after.superseded:
                world.terminate(resource_id)  # no record names it
            return None
        written = snapshot if after == snapshot.record else change(world, snapshot, event, limits)
        if written is not None:
            return written


def _part_of(record: Record, owner: str) -> Lease | Entry | None:
    """Return the lease or the queue entry of an owner."""
    if record.lease is not None and record.lease.attempt.owner == owner:
        return record.lease
    return _entry_of(record, owner)


def _entry_of(record: Record, owner: str) -> Entry | None:
    place = record.place(owner)
    return None if place is None else record.queue[place]
