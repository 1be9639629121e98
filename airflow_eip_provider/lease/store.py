"""
The contract of a lock store: one record for each key, replaced as a whole by conditional writes.

The lease needs only this of a database: a consistent read, a write that is refused when the record has changed since it
was read, and a clock. There are no sessions, watches or expiring keys, so any store with conditional writes can be
used. A store that is down delays its users and loses nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Union

if TYPE_CHECKING:
    from typing import TypeAlias

    from airflow_eip_provider.lease.record import Record


@dataclass(frozen=True, slots=True)
class Snapshot:
    """
    A record as the store returned it.

    :param version: identifies the write that made this record; ``None`` when the key was never written.
    :param now: the store's time of the answer, in seconds since the epoch. Times are the store's, because the clocks of
        workers differ.
    """

    record: Record
    version: str | None
    now: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """
    Nothing was written: the record is no longer the expected one.

    :param snapshot: the current record, if the store's answer contains it.
    """

    snapshot: Snapshot | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """
    The answer was lost: the record may or may not have been written.

    :param problem: for error messages.
    """

    problem: str


# A successful write returns the record as a read would return it now.
Outcome: TypeAlias = Union[Snapshot, Conflict, Unknown]


class LockStore(ABC):
    """
    Keeps one :class:`Record` for each key (an allocation ID).

    What every store guarantees:

    - A key that was never written is read as an empty record with the version ``None``.
    - A write takes effect only if the record still has the expected version. Of several writers that expect the same
      version, at most one succeeds. Writing the same record twice gives two versions.
    - A read that starts after a write was answered shows that write or a later one.
    - A write whose answer was lost returns :class:`Unknown`. It never raises an error, and never reports a conflict
      that only its own earlier request caused. The next read shows whether it took effect.
    - Every answer has the store's own time.
    - Data that is not a record is an error, and is not changed.
    """

    uri: str

    @abstractmethod
    def check(self) -> None:
        """
        Check that the store exists, is set up correctly, and may be used.

        :raises LockStoreError: with the problem and the remedy.
        """

    def would_create(self) -> bool:
        """Whether :meth:`check` would create the store, because its URI has ``create=true``."""
        return False

    @abstractmethod
    def read(self, key: str) -> Snapshot:
        """
        Return the record of a key.

        :raises CorruptRecordError: if the stored data is not a record.
        :raises NewerRecordError: if a newer version of this package wrote the record.
        :raises LockStoreUnavailableError: if the store does not answer.
        """

    @abstractmethod
    def write(self, key: str, record: Record, *, expected_version: str | None) -> Outcome:
        """
        Replace a record.

        :param expected_version: the version of the record that this one was made from; ``None`` for the first write.
        """
