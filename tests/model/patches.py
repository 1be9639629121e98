"""What mutations put in the place of the lock's own functions: the same, with one guard less."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest import mock

from airflow_eip_provider.lock import programs, sight, transitions
from airflow_eip_provider.lock.model import Phase, Speaker
from airflow_eip_provider.lock.requests import Disassociate, Launch, ReadCarrier, ReadPlace, ReadRecord, WriteRecord
from airflow_eip_provider.lock.sight import Action, Standing
from airflow_eip_provider.lock.store import Seen, Unknown
from tests.model import answers
from tests.model.world import LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Patch = Callable[[], AbstractContextManager[Any]]

_change, _standing, _judge, _undo = programs._change, sight.standing, sight.judge, programs.undo
_associate = answers._associate


def law(event: type, apply: Callable[..., Any]) -> Patch:
    """Replace what an event does, whatever the table says of it."""

    @contextmanager
    def patched() -> Iterator[None]:
        row = transitions._ROWS[event]
        free = replace(row, apply=apply, sources=("free", "taken", "held", "closing"), target="any")
        step = transitions.step

        def lawless(record: Any, happened: Any, now: float, limits: Any = LIMITS) -> Any:
            return (apply if isinstance(happened, event) else step)(record, happened, now, limits)

        with mock.patch.object(programs, "step", lawless), mock.patch.dict(transitions._ROWS, {event: free}):
            yield

    return patched


def swap(owner: Any, name: str, value: Any) -> Patch:
    """Replace one function or constant."""
    return lambda: mock.patch.object(owner, name, value)


def deed(action: Action, value: Any) -> Patch:
    """Replace what follows from a judgement."""
    return lambda: mock.patch.dict(programs._DEEDS, {action: value})


@contextmanager
def together(*patches: Patch) -> Iterator[None]:
    """Apply several patches."""
    if not patches:
        yield
        return
    with patches[0](), together(*patches[1:]):
        yield


def changed(name: str, **fields: Any) -> Callable[..., Any]:
    """Return a transition that goes on with these fields of the record."""
    apply = getattr(transitions, name)

    def transition(record: Any, event: Any, now: float, limits: Any) -> Any:
        after = apply(record, event, now, limits)
        return after if isinstance(after, transitions.Refused) else replace(after, **fields)

    return transition


def judged(standing: Standing, when: Callable[[Any, float], bool]) -> Patch:
    """Judge leases of which something is true by that alone."""

    def judgement(seen: Any, limits: Any = LIMITS) -> Standing:
        return standing if when(seen.seen.record.lease, seen.seen.now) else _standing(seen, limits)

    return swap(sight, "standing", judgement)


def unconditional(world: Any, actor: Any, request: Any) -> Any:
    """Write whatever the version is; the checks of what is written go on."""
    return answers.written(world, actor, request.record)


def reassociated(world: Any, actor: Any, request: Any) -> Any:
    """Bind the address as if it were free, wherever it is."""
    bound = world.at in {None, request.carrier}
    return _associate(world if bound else replace(world, at=None), actor, request)


def of_any_lease(record: Any, event: Any, now: float, limits: Any) -> Any:
    if record.lease is None:
        return transitions.Refused("no lease")
    return replace(record, lease=replace(record.lease, phase=Phase.HELD, carrier=event.carrier))


def never_handed_over(speaker: Any, *, token: int, carrier: str, limits: Any) -> Any:
    """Look, and write nothing."""
    return (yield ReadRecord())


def undone_at_once(
    speaker: Any, *, launched: Any = None, token: Any = None, terminate: bool = True, limits: Any = LIMITS
) -> Any:
    seen = yield ReadRecord()
    lease = seen.record.lease
    if lease is None or lease.speaker.owner != speaker.owner or speaker.yields_to(lease.speaker):
        return
    yield from programs._undo_lease(
        lease.token, launched or lease.carrier, programs._unbind, terminate=terminate, limits=limits
    )


class Stubborn(Speaker):
    """A try that does not stop for a newer one."""

    def yields_to(self, other: Speaker) -> bool:
        return False


def undone_by_anyone(speaker: Speaker, **options: Any) -> Any:
    """Undo as if no newer try could be at work."""
    mine = Stubborn(speaker.owner, speaker.name, speaker.try_number, speaker.nonce)
    return _undo(mine, **options)


def never_yields(seen: Any, arrival: Any, **options: Any) -> Action:
    """Judge as if every try might speak for its owner."""
    action = _judge(seen, arrival, **options)
    return Action.REENTER if action is Action.YIELD else action


def _gone(seen: Any) -> bool:
    return all(carrier.state == "ended" for carrier in seen.carriers)


def dead_with_its_cluster(seen: Any, limits: Any = LIMITS) -> Standing:
    """Judge without a look at where the address is, once every cluster has ended."""
    found = _standing(seen, limits)
    return Standing.DEAD if found is Standing.ENDING and _gone(seen) else found


def late_though_busy(seen: Any, limits: Any = LIMITS) -> Standing:
    """Judge a lease as if no step ran on its cluster."""
    taken = seen.seen.record.lease.phase is Phase.TAKEN
    return _standing(replace(seen, busy=False) if taken else seen, limits)


def launched_anew(held: Seen) -> Any:
    """Adopt what the record names, and look for nothing else."""
    lease = held.record.lease
    assert lease is not None
    if lease.carrier is None:
        return None
    known = yield ReadCarrier(lease.carrier)
    return lease.carrier if known.is_live else None


def off_whatever(carrier: str, **_: Any) -> Any:
    place = yield ReadPlace()
    if place.association_id is not None:
        yield Disassociate(place.association_id)


def nothing(*_: Any, **__: Any) -> Any:
    yield from ()


def waits(seen: Any, *_: Any) -> Any:
    """Do nothing, and wait on."""
    yield from ()
    return programs.Waiting(seen)


def let_through(carrier: str) -> Any:
    """Let a step through after a look that decides nothing."""
    yield ReadRecord()


def not_closed(carrier: str, limits: Any = LIMITS) -> Any:
    yield from ()
    return True


def written_in_any_case(seen: Seen, event: Any, limits: Any) -> Any:
    written = yield from _change(seen, event, limits)
    after = programs.step(seen.record, event, seen.now, limits)
    return written or (None if isinstance(after, transitions.Refused) else replace(seen, record=after))


def handed_over_or_lost(who_wrote_last: bool) -> Any:  # noqa: FBT001 - one of two
    """Hand over; a lost answer means that it was not written, or is resolved by whether the last write is ours."""

    def handed_over(event: Any, limits: Any) -> Any:
        seen = yield ReadRecord()
        while True:
            after = transitions.step(seen.record, event, seen.now, limits)
            if isinstance(after, transitions.Refused):
                return programs.Lost(after.why)
            outcome = yield WriteRecord(after, seen.version)
            if isinstance(outcome, Seen):
                return outcome
            if isinstance(outcome, Unknown):
                current: Seen = yield ReadRecord()
                ours = who_wrote_last and replace(current.record, history=()) == replace(after, history=())
                return current if ours else programs.Lost("the answer was lost")
            seen = outcome.seen

    return handed_over


def token_again(record: Any, event: Any, now: float, limits: Any) -> Any:
    after = transitions._take(record, event, now, limits)
    if isinstance(after, transitions.Refused) or after.lease == record.lease:
        return after
    return replace(after, lease=replace(after.lease, token=1))


def only_the_first(record: Any, owner: str) -> float | None:
    place = record.place(owner)
    return (None if record.queue else record.free_since) if place is None else record.free_since + 1e6 * bool(place)


def no_grace(record: Any, owner: str) -> float | None:
    return None if record.place(owner) is None and record.queue else record.free_since


def at_once(record: Any, event: Any, now: float, limits: Any) -> Any:
    return transitions._take(record, event, now + 1000, limits)


def skipped_without_trace(record: Any, event: Any, now: float, limits: Any) -> Any:
    after = transitions._take(record, event, now, limits)
    if isinstance(after, transitions.Refused) or after.lease == record.lease:
        return after
    return replace(after, suspects=transitions._open(record, now))


def passed_over(**changes: Any) -> Callable[..., Any]:
    """Return a transition that does to those that are passed over what is said; ``gone``: they lose their places."""

    def transition(record: Any, event: Any, now: float, limits: Any) -> Any:
        after = transitions._take(record, event, now, limits)
        place = record.place(event.speaker.owner)
        if isinstance(after, transitions.Refused) or after.lease == record.lease or not place:
            return after
        behind = record.queue[place + 1 :]
        if changes.get("gone"):
            return replace(after, queue=behind)
        kept = tuple(replace(e, **{"passed": e.passed + 1, **changes}) for e in record.queue[:place])
        return replace(after, queue=(*kept, *behind))

    return transition


def since_taken(of: Any) -> float:
    """Take the time at which a lease was taken for that of its launch."""
    return float(getattr(of, "taken_at", 0.0))


def early_for_all(record: Any, event: Any, now: float, limits: Any) -> Any:
    place = record.place(event.speaker.owner)
    if place is None:
        return transitions.Refused("does not queue")
    return transitions._with_entry(record, place, replace(record.queue[place], prewarmed_at=now))


def wants_early(seen: Any, entry: Any, place: int, depth: int) -> bool:
    return entry.prewarmed_at is None


def early_unannounced(seen: Any, arrival: Any, limits: Any) -> Any:
    """Start the cluster first, and name it in the queue entry then."""
    place = seen.seen.record.place(arrival.speaker.owner)
    entry = seen.seen.record.queue[place]
    launched = yield Launch(entry.token, seen.seen.now)
    if isinstance(launched, str):
        yield from _change(seen.seen, transitions.Prewarmed(arrival.speaker, launched), limits)


def named_unannounced(record: Any, event: Any, now: float, limits: Any) -> Any:
    place = record.place(event.speaker.owner)
    if place is None:
        return transitions.Refused("does not queue")
    entry = replace(record.queue[place], prewarmed_at=now, carrier=event.carrier)
    return transitions._with_entry(record, place, entry)


def kept_here(mark: Any, *, carrier: str) -> Any:
    """Go on with the same cluster, wherever the address is."""
    yield from ()
    return carrier
