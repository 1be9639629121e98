"""Guards taken out of the protocol, one at a time: the model must find what each of them prevents."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

from airflow_eip_provider.lock import programs, sight, transitions
from airflow_eip_provider.lock.model import Phase, Speaker
from airflow_eip_provider.lock.requests import Disassociate, ReadPlace, ReadRecord
from airflow_eip_provider.lock.sight import Standing
from tests.model import world
from tests.model.explore import Explorer, Report, Scenario
from tests.model.scenarios import scenario
from tests.model.world import LIMITS, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from airflow_eip_provider.lock.store import Seen

_MOST_STATES = 1_200_000
_WALKS = 4000


@dataclass(frozen=True, slots=True)
class Mutation:
    """
    :param removed: the guard that is gone.
    :param serves: the invariant or rule that it serves.
    :param walked: look for it on random ways, where the first ways are too long to try all of them.
    """

    removed: str
    serves: str
    scenario: Scenario
    patch: Callable[[], AbstractContextManager[Any]]
    walked: bool = False

    def caught(self) -> Report:
        """Explore the mutated protocol until something breaks."""
        with self.patch():
            if not self.walked:
                return Explorer(self.scenario).explore(most_states=_MOST_STATES)
            explorer, random = Explorer(self.scenario), Random(1)
            for number in range(_WALKS):
                report = explorer.walk(random)
                report.states = number + 1
                if report.violation is not None:
                    return report
            return report


def _law(event: type, apply: Callable[..., Any]) -> Callable[[], AbstractContextManager[Any]]:
    """Replace what an event does, whatever the table says of it."""

    @contextmanager
    def patched() -> Iterator[None]:
        row = transitions._ROWS[event]
        free = replace(row, apply=apply, sources=("free", "taken", "held", "closing"), target="any")
        step = transitions.step

        def lawless(record: Any, happened: Any, now: float, limits: Any = LIMITS) -> Any:
            return (
                apply(record, happened, now, limits)
                if isinstance(happened, event)
                else step(record, happened, now, limits)
            )

        with mock.patch.object(programs, "step", lawless), mock.patch.dict(transitions._ROWS, {event: free}):
            yield

    return patched


def _swap(owner: Any, name: str, value: Any) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: mock.patch.object(owner, name, value)


def _of_any_lease(record: Any, event: Any, now: float, limits: Any) -> Any:
    if record.lease is None:
        return transitions.Refused("no lease")
    return replace(record, lease=replace(record.lease, phase=Phase.HELD, carrier=event.carrier))


def _never_handed_over(seen: Seen, speaker: Any, *, token: int, carrier: str, limits: Any) -> Any:
    yield from ()
    return seen


def _undone_at_once(
    speaker: Any, *, launched: Any = None, token: Any = None, terminate: bool = True, limits: Any = LIMITS
) -> Any:
    seen = yield ReadRecord()
    lease = seen.record.lease
    if lease is None or lease.speaker.owner != speaker.owner or speaker.yields_to(lease.speaker):
        return
    yield from programs._undo_lease(lease.token, launched or lease.carrier, terminate=terminate, limits=limits)


def _dead_in_time(seen: Any, limits: Any = LIMITS) -> Standing:
    lease = seen.seen.record.lease
    late = lease.phase is Phase.HELD and seen.seen.now >= lease.handover_by
    return Standing.DEAD if late else _standing(seen, limits)


def _late_though_handed_over(seen: Any, limits: Any = LIMITS) -> Standing:
    lease = seen.seen.record.lease
    late = lease.phase is Phase.HELD and seen.seen.now >= lease.handover_by
    return Standing.LATE if late else _standing(seen, limits)


def _dead_when_closing(seen: Any, limits: Any = LIMITS) -> Standing:
    closing = seen.seen.record.lease.phase is Phase.CLOSING
    return Standing.DEAD if closing else _standing(seen, limits)


_standing = sight.standing


def _off_whatever(carrier: str) -> Any:
    place = yield ReadPlace()
    if place.association_id is not None:
        yield Disassociate(place.association_id)


def _no_sweep(record: Any) -> Any:
    yield from ()


def _written_in_any_case(seen: Seen, event: Any, limits: Any) -> Any:
    written = yield from _change(seen, event, limits)
    after = programs.step(seen.record, event, seen.now, limits)
    return written or (None if isinstance(after, transitions.Refused) else replace(seen, record=after))


_change = programs._change


def _released_without_trace(record: Any, event: Any, now: float, limits: Any) -> Any:
    after = transitions._release(record, event, now, limits)
    return after if isinstance(after, transitions.Refused) else replace(after, suspects=())


def _left_without_trace(record: Any, event: Any, now: float, limits: Any) -> Any:
    after = transitions._leave(record, event, now, limits)
    return after if isinstance(after, transitions.Refused) else replace(after, suspects=())


def _token_again(record: Any, event: Any, now: float, limits: Any) -> Any:
    after = transitions._take(record, event, now, limits)
    if isinstance(after, transitions.Refused) or after.lease == record.lease:
        return after
    return replace(after, lease=replace(after.lease, token=1))


def _only_the_first(record: Any, owner: str, limits: Any = LIMITS) -> float | None:
    place = record.place(owner)
    return (None if record.queue else record.free_since) if place is None else record.free_since + 1e6 * bool(place)


def _at_once(record: Any, event: Any, now: float, limits: Any) -> Any:
    return transitions._take(record, event, now + 1000, limits)


def _early_for_all(record: Any, event: Any, now: float, limits: Any) -> Any:
    place = record.place(event.speaker.owner)
    if place is None:
        return transitions.Refused("does not queue")
    return transitions._with_entry(record, place, replace(record.queue[place], prewarmed_at=now))


def _wants_early(seen: Any, entry: Any, place: int, depth: int) -> bool:
    return entry.prewarmed_at is None


def _not_closed(carrier: str, limits: Any = LIMITS) -> Any:
    yield from ()
    return True


@contextmanager
def _all(*patches: Callable[[], AbstractContextManager[Any]]) -> Iterator[None]:
    if not patches:
        yield
        return
    with patches[0](), _all(*patches[1:]):
        yield


MUTATIONS = (
    Mutation(
        "the store ignores the expected version",
        "I1, the store's contract",
        scenario(2),
        _swap(world, "_write", lambda *asked: _unconditional(*asked)),  # noqa: PLW0108 - defined below
    ),
    Mutation(
        "HandOver ignores token and speaker",
        "I4",
        scenario(2, "slow 2, crash 1"),
        _law(transitions.HandOver, _of_any_lease),
    ),
    Mutation(
        "create returns without its last write", "I4", scenario(1), _swap(programs, "hand_over", _never_handed_over)
    ),
    Mutation(
        "undo terminates before it closes the lease",
        "rules 1, 2",
        scenario(1, "kill 1, clear 1"),
        _swap(programs, "undo", _undone_at_once),
    ),
    Mutation(
        "undo ignores a newer try",
        "rules 1, 2",
        scenario(1, "kill 1, clear 1"),
        _swap(Speaker, "yields_to", lambda *_: False),
    ),
    Mutation(
        "a lease is dead when time is up",
        "I7",
        scenario(2, "slow 4"),
        _swap(sight, "standing", _dead_in_time),
        walked=True,
    ),
    Mutation(
        "a late lease is closed though handed over",
        "I6, I7",
        scenario(2, "slow 4"),
        _swap(sight, "standing", _late_though_handed_over),
        walked=True,
    ),
    Mutation(
        "no cluster to be seen means there is none",
        "I7, rule 5",
        scenario(2),
        _swap(sight, "_may_surface", lambda *_: False),
    ),
    Mutation(
        "RunJobFlow is sent however late",
        "rule 5",
        scenario(2, "slow 3"),
        _swap(world, "LIMITS", replace(LIMITS, send=99)),
    ),
    Mutation(
        "nobody sweeps", "rule 6", scenario(2, "lost 1, slow 3"), _swap(programs, "_sweep", _no_sweep), walked=True
    ),
    Mutation(
        "an unclear launch leaves no suspect",
        "rule 6",
        scenario(1, "lost 1"),
        _law(transitions.Release, _released_without_trace),
    ),
    Mutation(
        "a queue entry that started early leaves no suspect",
        "rule 6",
        scenario(2, "kill 1", prewarm=1),
        _law(transitions.Leave, _left_without_trace),
    ),
    Mutation(
        "everyone in the queue starts early",
        "rule 9",
        scenario(3, prewarm=1),
        lambda: _all(_swap(sight, "_may_prewarm", _wants_early), _law(transitions.Prewarm, _early_for_all)),
        walked=True,
    ),
    Mutation(
        "a closing lease counts as dead",
        "rule 3",
        scenario(2, early_release=True),
        _swap(sight, "standing", _dead_when_closing),
    ),
    Mutation(
        "early release does not close first",
        "rule 3, I5",
        scenario(1, early_release=True),
        _swap(programs, "close", _not_closed),
    ),
    Mutation(
        "early release does not wait for steps",
        "rule 3, I5",
        scenario(1, early_release=True),
        _swap(Explorer, "_is_idle", lambda *_: True),
    ),
    Mutation("any association is undone", "I2", scenario(2, "crash 1"), _swap(programs, "_take_off", _off_whatever)),
    Mutation(
        "EC2 re-associates (AllowReassociation=True)",
        "I2, I3",
        scenario(2, "slow 1", start=World(store_keeps_its_word=False, reassociates=True)),
        _all,
    ),
    Mutation(
        "a lost answer is taken for a success",
        "rule 7",
        scenario(2, "lost 1"),
        _swap(programs, "_change", _written_in_any_case),
    ),
    Mutation("tokens are used again", "I4", scenario(2), _law(transitions.Take, _token_again)),
    Mutation(
        "a place in the queue need not wait its grace",
        "order",
        scenario(3),
        lambda: _all(_law(transitions.Take, _at_once), _swap(sight, "turn_at", lambda record, *_: record.free_since)),
        walked=True,
    ),
    Mutation(
        "a dead waiter blocks those behind it",
        "no owner waits for ever",
        scenario(3, "crash 1", retries=0),
        lambda: _all(_swap(sight, "turn_at", _only_the_first)),
        walked=True,
    ),
    Mutation(
        "nobody takes over a dead lease",
        "no owner waits for ever",
        scenario(2, "crash 1"),
        _swap(sight, "_FOR_OTHERS", {}),
        walked=True,
    ),
)


def _unconditional(before: World, actor: Any, request: Any) -> tuple[World, Any]:
    """Write whatever the version is; the checks of what is written go on."""
    return world.written(before, actor, request.record)
