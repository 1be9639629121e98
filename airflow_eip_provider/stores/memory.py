"""Records in memory, for tests and models."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Conflict, LockStore, Snapshot
from airflow_eip_provider.stores.records import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.store import Outcome


class MemoryStore(LockStore):
    """
    Keeps records in this process; thread-safe.

    :param clock: the store's time, in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.uri = "memory:"
        self.texts: dict[str, tuple[str, str]] = {}
        self._clock = clock
        self._lock = Lock()
        self._writes = 0

    def check(self) -> None:
        """Do nothing."""

    def read(self, key: str) -> Snapshot:
        """Return the record of a key."""
        with self._lock:
            return self._snapshot(key)

    def write(self, key: str, record: Record, *, expected_version: str | None) -> Outcome:
        """Replace a record."""
        with self._lock:
            version, _ = self.texts.get(key, (None, ""))
            if version != expected_version:
                return Conflict(self._snapshot(key))
            self._writes += 1
            self.texts[key] = str(self._writes), to_text(record)
            return Snapshot(record, str(self._writes), self._clock())

    def _snapshot(self, key: str) -> Snapshot:
        if key not in self.texts:
            return Snapshot(Record(), None, self._clock())
        version, text = self.texts[key]
        return Snapshot(from_text(text, where=f"{self.uri}{key}"), version, self._clock())
