"""
The contract of a lock store: one record for each key, replaced as a whole, never by two at once.

This is all that the lease needs of a database: a read that is not from the past, a write that is refused when the
record has changed since it was read, and a clock. There are no sessions, no watches and no expiry of keys, so any
store with conditional writes will do, and a store that is down delays its users and loses nothing.
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
    A record as the store had it.

    The clock that counts is the store's, because the workers' clocks differ, and all of them ask the store.

    :param version: the store's name for exactly this write; ``None`` when there is no record yet.
    :param now: the store's time of the answer, in seconds since the epoch.
    """

    record: Record
    version: str | None
    now: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """
    Nothing was written: the record is no longer the expected one.

    :param snapshot: what it is now, when the store's answer says so free of charge.
    """

    snapshot: Snapshot | None


@dataclass(frozen=True, slots=True)
class Unknown:
    """
    The answer was lost: it may or may not have been written.

    :param problem: for people.
    """

    problem: str


# A write is answered by what was written, as it would be read now.
Outcome: TypeAlias = Union[Snapshot, Conflict, Unknown]


class LockStore(ABC):
    """
    Keeps one :class:`Record` for each key (an allocation ID).

    What every store guarantees:

    - A key that was never written reads as an empty record of version ``None``.
    - A write takes effect only if the record still has the expected version; of several writers that expect the same
      version, at most one succeeds. Writing the same record twice gives two versions.
    - A read that starts after a write was answered shows that write or a later one.
    - A write whose answer was lost is :class:`Unknown`, never an error and never reported as a conflict with itself
      in a way that hides it: whoever reads next sees whether it took effect.
    - Every answer carries the store's own time.
    - Whatever cannot be read as a record is an error, and is left as it is.
    """

    uri: str

    @abstractmethod
    def check(self) -> None:
        """
        Check, before anything depends on it, that the store exists, is what it should be, and may be used.

        :raises LockStoreError: naming what is wrong and what to do.
        """

    def would_create(self) -> bool:
        """Whether :meth:`check` would create the store, as its URI asks for."""
        return False

    @abstractmethod
    def read(self, key: str) -> Snapshot:
        """
        Return a record; a key that was never written has an empty one.

        :raises CorruptRecordError: for what is no record.
        :raises NewerRecordError: for a record that a newer version of this package wrote.
        """

    @abstractmethod
    def write(self, key: str, record: Record, *, expected_version: str | None) -> Outcome:
        """
        Replace a record.

        :param expected_version: of the record that this one was made from; ``None`` for the first.
        """
