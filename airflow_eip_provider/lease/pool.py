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
- **One cluster for an owner.** It is started early under one queue entry at most. If another address is free first,
  the lease there names that cluster from its first write on. Then the owner leaves the queue under which it was
  started, by a write that says that the cluster is kept, and after that the cluster gets the lease tags of its address.
  Whoever is cut off in between finds it in one of the two records.
- **A cluster that others may terminate is not kept.** Others may have removed that queue entry, as its owner had had
  all its turns, or may have ended an older attempt's lease that names the cluster. Whoever wrote that terminates the
  cluster, perhaps only now. So the attempt terminates it too, and launches another under its lease.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.observation import Action, LeaseRequest, Observation, decide, observe
from airflow_eip_provider.lease.protocol import Acquired, Queued, Superseded, change, enter, undo
from airflow_eip_provider.lease.record import LIMITS, Entry, Lease, Phase
from airflow_eip_provider.lease.transitions import Leave, Reenter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lease.record import Attempt, Limits, Record
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


@dataclass(slots=True)
class _Own:
    """
    What an owner has in the records of a pool.

    :param leased: the address of its lease.
    :param started: its queue entry under which it has started its cluster early, and that address.
    """

    leased: str | None = None
    started: tuple[str, Entry] | None = None
    leases: dict[str, Lease] = field(default_factory=dict)


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
        entry = _entry_of(entered.observation.seen.record, attempt.owner)
        if entry is not None and entry.prewarmed_at is not None:
            brought = entry
    return QueuedForAll(observations)


def _has(world: World, resource_id: str) -> bool:
    return bool(resource_id) and resource_id in world.read_location().resource_ids


def undo_all(worlds: Mapping[str, World], attempt: Attempt, limits: Limits = LIMITS) -> None:
    """Leave all queues, and end the lease that the attempt may have acquired and launched nothing under."""
    for world in worlds.values():
        undo(world, attempt, limits=limits)


def _take_over(worlds: Mapping[str, World], attempt: Attempt, limits: Limits) -> _Own | Superseded:
    """Make what earlier attempts of the owner have this attempt's own, in every record, before it acquires anything."""
    own = _Own()
    for allocation_id, world in worlds.items():
        while True:
            seen = world.read_record()
            part = _part_of(seen.record, attempt.owner)
            is_over = isinstance(part, Lease) and part.phase is Phase.RELEASING  # any owner may end it
            if part is None or part.attempt == attempt or is_over:
                break
            if attempt.is_superseded_by(part.attempt):
                return _withdrawn(worlds, attempt, limits)
            if (written := change(world, seen, Reenter(attempt), limits)) is not None:
                part = _part_of(written.record, attempt.owner)
                break
        if isinstance(part, Lease) and not is_over:
            own.leases[allocation_id] = part
        elif isinstance(part, Entry) and part.prewarmed_at is not None:
            own.started = (allocation_id, part)
    # Two, after two attempts had acquired two addresses at once and one of them died: the one that has come further.
    own.leased = next(iter(sorted(own.leases, key=lambda name: _is_behind(own.leases[name]))), None)
    return own


def _is_behind(lease: Lease) -> tuple[bool, bool]:
    return lease.phase is not Phase.ACTIVE, lease.resource_id is None


def _settled(
    worlds: Mapping[str, World], allocation_id: str, entered: Acquired | Superseded, attempt: Attempt, limits: Limits
) -> AcquiredOne | Superseded:
    """Leave the queues of the other addresses, and end what an older attempt has acquired meanwhile."""
    if isinstance(entered, Superseded):
        return _withdrawn(worlds, attempt, limits)
    lease, others = entered.seen.record.lease, [world for name, world in worlds.items() if name != allocation_id]
    early = None
    if lease is not None and lease.phase is Phase.ACQUIRED and not lease.is_given_up(lease.resource_id):
        early = lease.resource_id
    for world in others:
        if not _has_ended(world, attempt, limits, keep=early):
            return _withdrawn(worlds, attempt, limits)
    if lease is not None and early is not None:
        for world in others:
            _bring(early, lease.token, start=world, end=worlds[allocation_id])
    return AcquiredOne(allocation_id, entered)


def _withdrawn(worlds: Mapping[str, World], attempt: Attempt, limits: Limits) -> Superseded:
    """End what this attempt has: a newer one is at work, and may have read some of the records before it was there."""
    for world in worlds.values():
        part = _part_of(world.read_record().record, attempt.owner)
        if part is not None and part.attempt == attempt:
            undo(world, attempt, terminate=bool(part.cluster_name), limits=limits)
    return Superseded()


def _has_ended(world: World, attempt: Attempt, limits: Limits, *, keep: str | None) -> bool:
    """
    End the owner's part in the record of an address that it does not need any more.

    :param keep: the cluster that was started early, and with which the owner goes on at another address.
    :return: ``False`` when a newer attempt is at work there: nothing was changed.
    """
    while True:
        seen = world.read_record()
        part = _part_of(seen.record, attempt.owner)
        if part is None:
            return True
        if attempt.is_superseded_by(part.attempt):
            return False
        is_kept = keep is not None and part.resource_id == keep
        if isinstance(part, Entry):
            if not is_kept:
                undo(world, attempt, limits=limits)
                return True
            if change(world, seen, Leave(attempt, keep=keep), limits) is not None:
                return True
        elif part.phase is Phase.RELEASING:
            if is_kept and part.to_be_terminated:
                world.terminate(str(keep))  # by anyone who observes that lease, so it is lost
            return True
        elif part.attempt == attempt or change(world, seen, Reenter(attempt), limits) is not None:
            undo(world, attempt, terminate=bool(part.cluster_name) and not is_kept, limits=limits)
            return True


def _bring(resource_id: str, token: int, *, start: World, end: World) -> None:
    """
    Give a cluster that was started early for one address the lease tags of another one.

    Only if the record of the first one says that it is kept: otherwise another owner may be about to terminate it.
    """
    lease_tags = start.read_resource(resource_id).lease_tags
    if lease_tags is None:
        return  # it was not started for that address, or has the other tags already
    left = start.read_record().record.possible_orphans
    if any(orphan.token == lease_tags.token and orphan.keep == resource_id for orphan in left):
        end.give_lease_tags(resource_id, token)
    else:
        start.terminate(resource_id)


def _part_of(record: Record, owner: str) -> Lease | Entry | None:
    """Return the lease or the queue entry of an owner."""
    if record.lease is not None and record.lease.attempt.owner == owner:
        return record.lease
    return _entry_of(record, owner)


def _entry_of(record: Record, owner: str) -> Entry | None:
    place = record.place(owner)
    return None if place is None else record.queue[place]
