"""The past state of EC2 and EMR, for stale reads, which AWS may return."""

from __future__ import annotations

import contextlib
import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from local_emr.clock import Clock

_Attributes = dict[str, Any]
# Objects that exist when recording starts are treated as if they had always existed.
_EVER = datetime.min.replace(tzinfo=UTC)


class Past:
    """
    Records the attributes of objects, from :meth:`remember` on.

    A stale read swaps in the old attributes, under the lock of the local EMR, and the service answers as usual. So it
    returns exactly what the same read would have returned then, including filters and errors.

    :param clock: the time of changes.
    :param parts: yields every object whose attributes are state; records are kept by object identity.
    """

    def __init__(self, clock: Clock, parts: Callable[[], Iterable[Any]]) -> None:
        self._clock = clock
        self._parts = parts
        self._remembers = False
        self._records: dict[int, tuple[Any, list[tuple[datetime, _Attributes]]]] = {}

    def remember(self) -> None:
        """Start recording; no effect if it is recording."""
        if not self._remembers:
            self._remembers = True
            self._record(_EVER)

    def record(self) -> None:
        """Record what has changed."""
        if self._remembers:
            self._record(self._clock.now())

    def _record(self, now: datetime) -> None:
        for part in self._parts():
            # The record holds the object, so that its id is not reused.
            _, records = self._records.setdefault(id(part), (part, []))
            attributes = _copied(vars(part))
            if not records or records[-1][1] != attributes:
                records.append((now, attributes))

    @contextlib.contextmanager
    def as_of(self, moment: datetime) -> Iterator[None]:
        """Set every object to its state at a moment, or to the first recorded state."""
        self.record()
        present: list[tuple[Any, _Attributes]] = []
        try:
            for part, records in self._records.values():
                then = [attributes for when, attributes in records if when <= moment]
                if then:  # otherwise it was created later, and nothing refers to it
                    present.append((part, dict(vars(part))))
                    _put(part, then[-1])
            yield
        finally:
            for part, attributes in present:
                _put(part, attributes)


def _copied(attributes: _Attributes) -> _Attributes:
    """Copy containers two levels deep; other values are immutable or recorded separately."""
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
