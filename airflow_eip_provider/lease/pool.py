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
  undoes its lease, and the newer one ends what the older one has.
- **One cluster for an owner.** It is started early under one queue entry at most. If another address is free first,
  the lease there names that cluster from its first write on; then the cluster gets the lease tags of that address, and
  only then the owner leaves the queue under which it was started. Whoever is cut off in between finds it in one of the
  two records.
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
        entered = enter(worlds[own.leased], lease_request, due_seconds=due.get(own.leased, 0.0), limits=limits)
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
                return Superseded()
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
    worlds: Mapping[str, World],
    allocation_id: str,
    entered: Acquired | Queued | Superseded,
    attempt: Attempt,
    limits: Limits,
) -> AcquiredOne | QueuedForAll | Superseded:
    """Leave the queues of the other addresses, and end what an older attempt has acquired meanwhile."""
    if isinstance(entered, Superseded):
        return entered
    if isinstance(entered, Queued):
        return QueuedForAll({allocation_id: entered.observation})
    for other, world in worlds.items():
        if other != allocation_id and not _gave_up(world, worlds[allocation_id], entered, attempt, limits):
            undo(worlds[allocation_id], attempt, limits=limits)
            return Superseded()
    return AcquiredOne(allocation_id, entered)


def _gave_up(other: World, chosen: World, acquired: Acquired, attempt: Attempt, limits: Limits) -> bool:
    """
    End the owner's part in the record of an address that it does not need any more.

    :return: ``False`` when a newer attempt is at work there: nothing was changed.
    """
    lease = acquired.seen.record.lease
    keep = None if lease is None else lease.resource_id
    while True:
        seen = other.read_record()
        part = _part_of(seen.record, attempt.owner)
        if part is None:
            return True
        if attempt.is_superseded_by(part.attempt):
            return False
        if isinstance(part, Lease):
            if part.phase is not Phase.RELEASING:
                undo(other, attempt, limits=limits)
            return True
        goes_on = part.resource_id is not None and part.resource_id == keep
        if goes_on and lease is not None:
            chosen.give_lease_tags(str(keep), lease.token)
        if change(other, seen, Leave(attempt, keep=keep if goes_on else None), limits) is not None:
            if part.resource_id is not None and not goes_on:
                other.terminate(part.resource_id)
            return True


def _part_of(record: Record, owner: str) -> Lease | Entry | None:
    """Return the lease or the queue entry of an owner."""
    if record.lease is not None and record.lease.attempt.owner == owner:
        return record.lease
    return _entry_of(record, owner)


def _entry_of(record: Record, owner: str) -> Entry | None:
    place = record.place(owner)
    return None if place is None else record.queue[place]
