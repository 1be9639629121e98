"""The event log: every API call and every state change in order, for tests."""

from __future__ import annotations

import bisect
import json
import threading
import uuid
from operator import itemgetter
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_emr.clock import Clock

Event = dict[str, Any]
_SEQ = itemgetter("seq")


class EventLog:
    """An append-only list of events, numbered without gaps from 1.

    Every event is a flat JSON object with ``seq``, ``time`` (simulated, ISO 8601, UTC) and ``kind``.

    Reading is proportional to what is read, not to the length of the log.

    :param path: Also write each event to this file, one JSON object per line.
    """

    def __init__(self, clock: Clock, *, path: Path | None = None) -> None:
        self._clock = clock
        self._events: list[Event] = []
        self._by_kind: dict[str, list[Event]] = {}
        self._lock = threading.Lock()
        self.listeners: list[Callable[[Event], None]] = []
        self._file: IO[str] | None = path.open("w", encoding="utf-8") if path else None
        self.id = uuid.uuid4().hex
        """Another one after each :meth:`clear`, so that a reader knows when its numbers mean other events."""

    def append(self, kind: str, **fields: Any) -> Event:
        """Append an event, call the listeners, and return it."""
        with self._lock:
            event: Event = {
                "seq": len(self._events) + 1,
                "time": self._clock.now().isoformat(),
                "kind": kind,
                **fields,
            }
            self._events.append(event)
            self._by_kind.setdefault(kind, []).append(event)
            if self._file:
                self._file.write(json.dumps(event, default=str) + "\n")
                self._file.flush()
        for listener in self.listeners:
            listener(event)
        return event

    @property
    def last(self) -> int:
        """The number of the last event; 0 if there is none."""
        return len(self._events)

    def read(self, *, after: int = 0, kind: str | None = None, limit: int | None = None) -> list[Event]:
        """Return the events with a number above ``after``, of one kind or of all; at most ``limit``, oldest first."""
        with self._lock:
            if kind is None:
                begin, events = after, self._events
            else:
                events = self._by_kind.get(kind, [])
                begin = bisect.bisect_right(events, after, key=_SEQ)
            return events[begin:] if limit is None else events[begin : begin + limit]

    def calls(self, operation: str | None = None) -> list[Event]:
        """Return the API calls, of one operation or of all."""
        return [event for event in self.read(kind="call") if operation in (None, event["operation"])]

    def clear(self) -> None:
        """Remove all events; numbers start again at 1."""
        with self._lock:
            self._events.clear()
            self._by_kind.clear()
            self.id = uuid.uuid4().hex
            if self._file:
                self._file.seek(0)
                self._file.truncate()

    def close(self) -> None:
        """Close the file; the events stay readable."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None
