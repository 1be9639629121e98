"""The replacements that mutations use: the protocol's functions without one guard."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any
from unittest import mock

from airflow_eip_provider.lease import observation, pool, protocol, transitions
from airflow_eip_provider.lease.observation import Action, LeaseCondition
from airflow_eip_provider.lease.record import Attempt, Lease, Phase
from airflow_eip_provider.lease.store import Snapshot, Unknown
from tests.verification.model import answers
from tests.verification.model.world import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Patch = Callable[[], AbstractContextManager[Any]]

_end_part = pool._end_part
change, _condition_of, _decide, _undo = protocol.change, observation.condition_of, observation.decide, protocol.undo
_associate, _move, _relocate = answers._associate, protocol.move, protocol.relocate


def law(event: type, apply: Callable[..., Any]) -> Patch:
    """Replace what an event does, without the check against the table."""

    @contextmanager
    def patched() -> Iterator[None]:
        row = transitions._ROWS[event]
        free = replace(row, apply=apply, sources=("free", "acquired", "active", "releasing"), target="any")
        step = transitions.step

        def unchecked_step(record: Any, happened: Any, now: float, limits: Any = LIMITS) -> Any:
            return (apply if isinstance(happened, event) else step)(record, happened, now, limits)

        with mock.patch.object(protocol, "step", unchecked_step), mock.patch.dict(transitions._ROWS, {event: free}):
            yield

    return patched


def swap(owner: Any, name: str, value: Any) -> Patch:
    """Replace one function or constant."""
    return lambda: mock.patch.object(owner, name, value)


@contextmanager
def together(*patches: Patch) -> Iterator[None]:
    """Apply several patches."""
    if not patches:
        yield
        return
    with patches[0](), together(*patches[1:]):
        yield


def changed(name: str, **fields: Any) -> Callable[..., Any]:
    """Return a transition that sets these fields of the record."""
    apply = getattr(transitions, name)

    def transition(record: Any, event: Any, now: float, limits: Any) -> Any:
        after = apply(record, event, now, limits)
        return after if isinstance(after, transitions.Refused) else replace(after, **fields)

    return transition


def judged(condition: LeaseCondition, when: Callable[[Any, float], bool]) -> Patch:
    """Return a patch by which leases for which ``when`` is true have a condition."""

    def condition_of(observed: Any, limits: Any = LIMITS) -> LeaseCondition:
        is_so = when(observed.snapshot.record.lease, observed.snapshot.now)
        return condition if is_so else _condition_of(observed, limits)

    return swap(observation, "condition_of", condition_of)


def unconditional(world: Any, actor: Any, record: Any, *_: Any) -> Any:
    """Write whatever the version is; the checks of the record still apply."""
    return answers.written(world, actor, record)


def reassociated(world: Any, actor: Any, resource_id: str) -> Any:
    """Associate the address as if it were free, wherever it is."""
    is_free = world.at in {None, resource_id}
    return _associate(world if is_free else replace(world, at=None), actor, resource_id)


def of_any_lease(record: Any, event: Any, now: float, limits: Any) -> Any:
    if record.lease is None:
        return transitions.Refused("no lease")
    return replace(record, lease=replace(record.lease, phase=Phase.ACTIVE, resource_id=event.resource_id))


def moved_off_any(record: Any, event: Any, now: float, limits: Any) -> Any:
    """Move a lease whichever cluster has it."""
    if record.lease is None or record.lease.phase is not Phase.ACTIVE:
        return transitions.Refused("no lease")
    return transitions._move(record, replace(event, resource_id=record.lease.resource_id), now, limits)


def freed_first(world: Any, lease_request: Any, *, moved_from: str, **options: Any) -> Any:
    protocol._disassociate(world, moved_from)
    return _move(world, lease_request, moved_from=moved_from, **options)


def never_handed_over(world: Any, attempt: Any, *, token: int, resource_id: str, limits: Any) -> Snapshot:
    """Read, and write nothing."""
    return world.read_record()


def undone_at_once(world: Any, work: Any, limits: Any) -> None:
    lease, attempt = world.read_record().record.lease, work.attempt
    if lease is None or lease.attempt.owner != attempt.owner or attempt.is_superseded_by(lease.attempt):
        return
    protocol._undo_lease(world, lease.token, work.launched or lease.resource_id, work, limits)


class Stubborn(Attempt):
    """An attempt that does not stop for a newer one."""

    def is_superseded_by(self, other: Attempt) -> bool:
        return False


def undone_by_anyone(world: Any, work: Any, limits: Any) -> None:
    """Undo as if no newer try could exist."""
    stubborn = Stubborn(*astuple(work.attempt))
    _undo(world, replace(work, attempt=stubborn), limits)


def never_stops(observed: Any, lease_request: Any, **options: Any) -> Action:
    """Decide as if no attempt could be superseded."""
    action = _decide(observed, lease_request, **options)
    return Action.REENTER if action is Action.STOP else action


def _gone(observed: Any) -> bool:
    return all(resource.state == "ended" for resource in observed.resources)


def finished_with_its_cluster(observed: Any, limits: Any = LIMITS) -> LeaseCondition:
    """Return the condition without reading where the address is, if every cluster has ended."""
    found = _condition_of(observed, limits)
    return LeaseCondition.FINISHED if found is LeaseCondition.ENDING and _gone(observed) else found


def overdue_though_busy(observed: Any, limits: Any = LIMITS) -> LeaseCondition:
    """Return the condition as if no step ran on the cluster."""
    taken = observed.snapshot.record.lease.phase is Phase.ACQUIRED
    return _condition_of(replace(observed, busy=False) if taken else observed, limits)


def launched_anew(world: Any, lease: Any, *_: Any) -> str | None:
    """Adopt the cluster that the record names, and search for no other."""
    if lease.resource_id is None:
        return None
    return lease.resource_id if world.read_resource(lease.resource_id).is_live else None


def disassociate_any(world: Any, resource_id: str, **_: Any) -> None:
    location = world.read_location()
    if location.association_id is not None:
        world.disassociate(location.association_id)


def do_nothing(*_: Any, **__: Any) -> None:
    pass


def wait(world: Any, observed: Any) -> protocol.Queued:
    """Wait without a sweep."""
    return protocol.Queued(observed)


def let_through(world: Any, resource_id: str) -> None:
    """Allow every step after a read."""
    world.read_record()


def release_not_started(world: Any, resource_id: str, limits: Any = LIMITS) -> bool:
    return True


def written_in_any_case(world: Any, snapshot: Snapshot, event: Any, limits: Any) -> Snapshot | None:
    written = change(world, snapshot, event, limits)
    after = protocol.step(snapshot.record, event, snapshot.now, limits)
    return written or (None if isinstance(after, transitions.Refused) else replace(snapshot, record=after))


def applied_if_unanswered(world: Any, event: Any, limits: Any) -> Any:
    """Apply an event; take a lost answer for a success."""
    while True:
        snapshot = world.read_record()
        after = protocol.step(snapshot.record, event, snapshot.now, limits)
        if isinstance(after, transitions.Refused):
            return after
        outcome = world.write_record(after, snapshot.version)
        if isinstance(outcome, Snapshot):
            return outcome
        if isinstance(outcome, Unknown):
            return replace(snapshot, record=after)


def handed_over_or_lost(who_wrote_last: bool) -> Any:  # noqa: FBT001 - one of two
    """Return a hand-over that takes a lost answer for a failure, or compares the last write."""

    def handed_over(world: Any, attempt: Any, *, token: int, resource_id: str, limits: Any) -> Any:
        event = transitions.Activate(attempt, token, resource_id)
        snapshot = world.read_record()
        while True:
            after = transitions.step(snapshot.record, event, snapshot.now, limits)
            if isinstance(after, transitions.Refused):
                return protocol.LeaseLost(after.why)
            outcome = world.write_record(after, snapshot.version)
            if isinstance(outcome, Snapshot):
                return outcome
            if isinstance(outcome, Unknown):
                current = world.read_record()
                ours = who_wrote_last and replace(current.record, history=()) == replace(after, history=())
                return current if ours else protocol.LeaseLost("the answer was lost")
            snapshot = outcome.snapshot

    return handed_over


def token_again(record: Any, event: Any, now: float, limits: Any) -> Any:
    after = transitions._acquire(record, event, now, limits)
    if isinstance(after, transitions.Refused) or after.lease == record.lease:
        return after
    return replace(after, lease=replace(after.lease, token=1))


def turn_of_first_only(record: Any, owner: str) -> float | None:
    place = record.place(owner)
    return (None if record.queue else record.free_since) if place is None else record.free_since + 1e6 * bool(place)


def no_grace(record: Any, owner: str) -> float | None:
    return None if record.place(owner) is None and record.queue else record.free_since


def acquired_at_once(record: Any, event: Any, now: float, limits: Any) -> Any:
    return transitions._acquire(record, event, now + 1000, limits)


def removed_without_orphan(record: Any, event: Any, now: float, limits: Any) -> Any:
    after = transitions._acquire(record, event, now, limits)
    if isinstance(after, transitions.Refused) or after.lease == record.lease:
        return after
    return replace(after, possible_orphans=transitions._open(record, now))


def passed_over(**changes: Any) -> Callable[..., Any]:
    """Return a transition that changes the entries that are passed over; with ``gone`` it removes them."""

    def transition(record: Any, event: Any, now: float, limits: Any) -> Any:
        after = transitions._acquire(record, event, now, limits)
        place = record.place(event.attempt.owner)
        if isinstance(after, transitions.Refused) or after.lease == record.lease or not place:
            return after
        behind = record.queue[place + 1 :]
        if changes.get("gone"):
            return replace(after, queue=behind)
        kept = tuple(replace(e, **{"passed": e.passed + 1, **changes}) for e in record.queue[:place])
        return replace(after, queue=(*kept, *behind))

    return transition


def since_acquired(of: Any) -> float:
    """Return when a lease was acquired instead of when its cluster was announced."""
    return float(getattr(of, "acquired_at", 0.0))


def prewarm_for_all(record: Any, event: Any, now: float, limits: Any) -> Any:
    place = record.place(event.attempt.owner)
    if place is None:
        return transitions.Refused("does not queue")
    return transitions._with_entry(record, place, replace(record.queue[place], prewarmed_at=now))


def may_always_prewarm(observed: Any, entry: Any, place: int, depth: int) -> bool:
    return entry.prewarmed_at is None


def prewarm_unannounced(world: Any, observed: Any, lease_request: Any, limits: Any) -> None:
    """Start the cluster first, then name it in the queue entry."""
    place = observed.snapshot.record.place(lease_request.attempt.owner)
    entry = observed.snapshot.record.queue[place]
    launched = world.launch(entry.token, observed.snapshot.now)
    if isinstance(launched, str):
        change(world, observed.snapshot, transitions.Prewarmed(lease_request.attempt, launched), limits)


def named_unannounced(record: Any, event: Any, now: float, limits: Any) -> Any:
    place = record.place(event.attempt.owner)
    if place is None:
        return transitions.Refused("does not queue")
    entry = replace(record.queue[place], prewarmed_at=now, resource_id=event.resource_id)
    return transitions._with_entry(record, place, entry)


def relocated_if_known(world: Any, lease_tags: Any, *, resource_id: str) -> str:
    """Continue with the cluster that has the address only if DescribeCluster knows it."""
    found = _relocate(world, lease_tags, resource_id=resource_id)
    return found if found == resource_id or world.read_resource(found).is_known else resource_id


def given_back_without_address(world: Any, snapshot: Any, lease: Any, work: Any, limits: Any) -> bool:
    protocol.apply(world, transitions.MoveBack(work.attempt, lease.token), limits)
    return True


def moved_back_by_anyone(record: Any, event: Any, now: float, limits: Any) -> Any:
    lease = record.lease
    is_own = lease is not None and lease.attempt.owner == event.attempt.owner
    return transitions._move_back(record, replace(event, attempt=lease.attempt) if is_own else event, now, limits)


def taken_off_unchecked(world: Any, attempt: Any, *, token: int, moved_from: str) -> None:
    protocol._disassociate(world, moved_from)


def freed_unwritten(world: Any, snapshot: Any, lease: Any, work: Any, limits: Any) -> bool:
    """Free the address wherever it is, without a write."""
    location = world.read_location()
    if work.launched in location.resource_ids:
        world.disassociate(location.association_id)
    elif lease.moved_from in location.resource_ids and lease.may_have_orphans:
        protocol._end_old_association(world, lease.moved_from, location)
    return True


def not_relocated(world: Any, lease_tags: Any, *, resource_id: str) -> str:
    """Continue with the same cluster, wherever the address is."""
    return resource_id


def replaced_without(*skipped: str) -> Callable[..., Any]:
    """Return a replacement that does not wait for the "end" of the failed cluster, or leaves the "address" on it."""

    def replaced(world: Any, attempt: Any, *, token: int, failed: str, other: Any, limits: Any) -> Any:
        lease = protocol.give_up(world, attempt, token=token, failed=failed, limits=limits)
        if isinstance(lease, protocol.LeaseLost):
            return lease
        there = world.read_resource(failed)
        if there.is_live:
            world.terminate(failed)
        if "address" not in skipped:
            protocol._disassociate(world, failed)
        if "end" not in skipped and there.state != "ended":
            return protocol.Ending(has_ended=False)
        return world.launch(lease.token, lease.written_at)

    return replaced


def given_up_unwritten(world: Any, attempt: Any, *, token: int, failed: str, limits: Any) -> Any:
    """Check that the lease is current, and write nothing."""
    lease = world.read_record().record.lease
    current = lease is not None and lease.token == token and lease.attempt == attempt
    return lease if current else protocol.LeaseLost("it is not current")


def successor_not_announced(record: Any, event: Any, now: float, limits: Any) -> Any:
    """Give up a cluster without recording that another may follow."""
    after = transitions._replace(record, event, now, limits)
    if isinstance(after, transitions.Refused) or after == record:
        return after
    return replace(after, lease=replace(after.lease, may_have_orphans=False))


# Rules of a pool (lease.pool).


def ended_unless(*, is_superseded: bool = True, leases: bool = True) -> Callable[..., bool]:
    """Return ``_end_part`` without one of its rules."""

    def end_part(world: Any, attempt: Any, limits: Any, *, lease: Any) -> bool:
        part = pool._part_of(world.read_record().record, attempt.owner)
        if part is not None and attempt.is_superseded_by(part.attempt) and not is_superseded:
            return True
        if isinstance(part, Lease) and not leases:
            return True
        return _end_part(world, attempt, limits, lease=lease)

    return end_part
