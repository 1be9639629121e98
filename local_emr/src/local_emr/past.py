"""What the state of EC2 and EMR was: for reads that lag behind, as AWS's may."""

from __future__ import annotations

import contextlib
import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from local_emr.clock import Clock

_Attributes = dict[str, Any]
# What is there when it begins to remember has been there for ever: of what was before, nothing is known.
_EVER = datetime.min.replace(tzinfo=UTC)


class Past:
    """
    Keeps the attributes that objects had, from the moment that it is told to remember.

    A stale read swaps the old attributes in, under the lock of the local EMR, and lets the service answer as always.
    So a read that lags shows exactly what the same read would have shown then, filters and errors included.

    :param clock: says when a change was.
    :param parts: yields every object whose attributes are state; their identity is what links one record to the next.
    """

    def __init__(self, clock: Clock, parts: Callable[[], Iterable[Any]]) -> None:
        self._clock = clock
        self._parts = parts
        self._remembers = False
        self._records: dict[int, tuple[Any, list[tuple[datetime, _Attributes]]]] = {}

    def remember(self) -> None:
        """Begin to remember, unless it does already."""
        if not self._remembers:
            self._remembers = True
            self._record(_EVER)

    def record(self) -> None:
        """Take down what has changed."""
        if self._remembers:
            self._record(self._clock.now())

    def _record(self, now: datetime) -> None:
        for part in self._parts():
            # The record holds the object, so that its id is not given to another one.
            _, records = self._records.setdefault(id(part), (part, []))
            attributes = _copied(vars(part))
            if not records or records[-1][1] != attributes:
                records.append((now, attributes))

    @contextlib.contextmanager
    def as_of(self, moment: datetime) -> Iterator[None]:
        """Let every object be as it was at a moment, or else at the first that is remembered."""
        self.record()
        present: list[tuple[Any, _Attributes]] = []
        try:
            for part, records in self._records.values():
                then = [attributes for when, attributes in records if when <= moment]
                if then:  # else it was made later, and nothing leads to it
                    present.append((part, dict(vars(part))))
                    _put(part, then[-1])
            yield
        finally:
            for part, attributes in present:
                _put(part, attributes)


def _copied(attributes: _Attributes) -> _Attributes:
    """Copy containers, and the containers in them; what else they hold is a part of its own or does not change."""
    return {name: _copy_container(value, depth=2) for name, value in attributes.items()}


def _copy_container(value: Any, *, depth: int) -> Any:
    if depth == 0 or not isinstance(value, (dict, list, set)):
        return value
    made = copy.copy(value)
    if isinstance(made, dict):
        for key, inner in made.items():
            made[key] = _copy_container(inner, depth=depth - 1)
    elif isinstance(made, list):
        made[:] = [_copy_container(inner, depth=depth - 1) for inner in made]
    return made


def _put(part: Any, attributes: _Attributes) -> None:
    vars(part).clear()
    vars(part).update(attributes)
