"""The event log: every API call and every change of state, in order, for tests to prove things from."""

from __future__ import annotations

import json
import threading
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_emr.clock import Clock

Event = dict[str, Any]


class EventLog:
    """An append-only list of events, numbered without gaps from 1.

    Every event is a flat JSON object with ``seq``, ``time`` (simulated, ISO 8601, UTC) and ``kind``.

    :param path: Also write each event there, one JSON object a line.
    """

    def __init__(self, clock: Clock, *, path: Path | None = None) -> None:
        self._clock = clock
        self._events: list[Event] = []
        self._lock = threading.Lock()
        self.listeners: list[Callable[[Event], None]] = []
        self._file: IO[str] | None = path.open("w", encoding="utf-8") if path else None

    def append(self, kind: str, **fields: Any) -> Event:
        """Add one event, tell the listeners, and return it."""
        with self._lock:
            event: Event = {
                "seq": len(self._events) + 1,
                "time": self._clock.now().isoformat(),
                "kind": kind,
                **fields,
            }
            self._events.append(event)
            if self._file:
                self._file.write(json.dumps(event, default=str) + "\n")
                self._file.flush()
        for listener in self.listeners:
            listener(event)
        return event

    def read(self, *, after: int = 0, kind: str | None = None) -> list[Event]:
        """Return the events with a number above ``after``, of one kind or of all."""
        with self._lock:
            events = self._events[after:]
        return [event for event in events if kind is None or event["kind"] == kind]

    def calls(self, operation: str | None = None) -> list[Event]:
        """Return the API calls, of one operation or of all."""
        return [event for event in self.read(kind="call") if operation in (None, event["operation"])]

    def clear(self) -> None:
        """Forget everything; numbers start again at 1."""
        with self._lock:
            self._events.clear()
            if self._file:
                self._file.seek(0)
                self._file.truncate()

    def close(self) -> None:
        """Close the file; the events stay readable."""
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None
