"""What the page reads: one record for each address, EC2's answer, and when the tasks of leases began."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.aws.addresses import Address, read_addresses
from airflow_eip_provider.exceptions import ElasticIpError, LockStoreUnavailableError
from airflow_eip_provider.stores.listing import list_addresses
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.ui.waits import begun_leases, read_waits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.ui.waits import ReadStarts

_LOG = logging.getLogger(__name__)
# The names of addresses hardly change, and listing them costs more than reading one.
_LISTED_SECONDS = 60.0
# Without a lock store, and without names: so many of the region's addresses are shown.
_MOST_ADDRESSES = 50
NO_STORE = (
    "No lock store is configured ([eip] lock_store), so nobody knows who waits and who had an address. "
    "What EC2 says of them is shown."
)


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What was read of one address.

    :param record: ``None`` when there is no lock store, or it could not be read.
    :param is_written: whether there is a record at all.
    :param problem: why it could not be read.
    :param now: the store's time, or this machine's without one.
    :param waits: seconds from the start of its task to a lease, by token, as far as Airflow knows.
    """

    allocation_id: str
    now: float
    record: Record | None = None
    is_written: bool = False
    problem: str | None = None
    address: Address | None = None
    address_problem: str | None = None
    waits: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the page shows, to whomever."""

    readings: tuple[Reading, ...]
    problems: tuple[str, ...]
    lock_store: str | None
    region: str | None
    read_at: float
    refresh_seconds: float


@dataclass(frozen=True, slots=True)
class Source:
    """
    Where the page reads.

    :param allocation_ids: the addresses to show; empty for those that the lock store has.
    :param client_for: service and region to boto3's client.
    :param read_starts: asks Airflow's database; ``None`` when it is not to be asked.
    """

    lock_store: str | None
    allocation_ids: tuple[str, ...]
    client_for: Callable[[str, str | None], Any]
    environment: str
    read_starts: ReadStarts | None = None


class SnapshotReader:
    """
    Reads, and remembers between reads what does not change.

    :param source: is asked for before each read, as its options may be wrong: an error is a problem on the page.
    """

    def __init__(self, source: Callable[[], Source], *, refresh_seconds: float) -> None:
        self._source = source
        self._refresh_seconds = refresh_seconds
        self._listed: tuple[float, list[str]] | None = None
        self._waits: dict[tuple[str, int], float | None] = {}

    def __call__(self) -> Snapshot:
        """Read everything once; what cannot be read is a problem, not an error."""
        problems: list[str] = []
        lock_store: str | None = None
        region: str | None = None
        readings: tuple[Reading, ...] = ()
        try:
            source = self._source()
            lock_store = source.lock_store
            if lock_store is None:
                problems.append(NO_STORE)
            region = getattr(getattr(source.client_for("ec2", None), "meta", None), "region_name", None)
            readings = self._readings(source, problems)
        except Exception as error:
            problems.append(_in_words(error, "reading the page's options and connection"))
        return Snapshot(readings, tuple(problems), lock_store, region, clock.time(), self._refresh_seconds)

    def _readings(self, source: Source, problems: list[str]) -> tuple[Reading, ...]:
        names = list(source.allocation_ids) or self._list(source, problems)
        addresses, address_problem = _read_addresses(source, names)
        if not names and source.lock_store is None:
            names = sorted(addresses)
            if address_problem:
                problems.append(address_problem)
        readings = []
        down: str | None = None
        for name in names:
            reading, down = _read(source, name, down)
            waits = self._waits_of(source, reading)
            readings.append(_with(reading, addresses.get(name), address_problem, waits))
        return tuple(readings)

    def _list(self, source: Source, problems: list[str]) -> list[str]:
        if source.lock_store is None:
            return []
        if self._listed is None or clock.monotonic() - self._listed[0] >= _LISTED_SECONDS:
            try:
                self._listed = (clock.monotonic(), list_addresses(source.lock_store, source.client_for))
            except Exception as error:
                problem = _in_words(error, "listing the records of the lock store")
                problems.append(f"{problem}. Or name the addresses in [eip] page_addresses.")
        names = self._listed[1] if self._listed else []
        if not names and not problems:
            problems.append("The lock store has no record yet. An address appears here once a task has asked for it.")
        return names

    def _waits_of(self, source: Source, reading: Reading) -> dict[int, float]:
        """Return the waits before leases; Airflow is asked once for each."""
        if reading.record is None or source.read_starts is None:
            return {}
        begun = begun_leases(reading.record)
        asked = {token: lease for token, lease in begun.items() if (reading.allocation_id, token) not in self._waits}
        try:
            found = read_waits(asked, environment=source.environment, read_starts=source.read_starts)
        except Exception:
            _LOG.warning("Airflow's database did not say when tasks began", exc_info=True)
            return {}
        self._waits.update({(reading.allocation_id, token): wait for token, wait in found.items()})
        waits = {token: self._waits.get((reading.allocation_id, token)) for token in begun}
        return {token: wait for token, wait in waits.items() if wait is not None}


def _read_addresses(source: Source, names: list[str]) -> tuple[dict[str, Address], str | None]:
    """Ask EC2 once for all; without names for those of the region, which is what is left without a lock store."""
    try:
        ec2 = source.client_for("ec2", None)
        if names:
            return read_addresses(ec2, names), None
        if source.lock_store is not None:
            return {}, None
        found = [item["AllocationId"] for item in ec2.describe_addresses()["Addresses"] if item.get("AllocationId")]
        return read_addresses(ec2, found[:_MOST_ADDRESSES]) if found else {}, None
    except Exception as error:
        return {}, _in_words(error, "asking EC2 where the addresses are (ec2:DescribeAddresses)")


def _read(source: Source, name: str, down: str | None) -> tuple[Reading, str | None]:
    """
    Read one record.

    :param down: why the store gave no answer for another address; then it is not asked again.
    """
    if source.lock_store is None:
        return Reading(name, clock.time()), None
    if down is not None:
        return Reading(name, clock.time(), problem=down), down
    try:
        seen = open_store(source.lock_store, source.client_for).read(name)
    except LockStoreUnavailableError as error:
        return Reading(name, clock.time(), problem=str(error)), str(error)
    except Exception as error:
        return Reading(name, clock.time(), problem=_in_words(error, "reading the record")), None
    return Reading(name, seen.now, record=seen.record, is_written=seen.version is not None), None


def _with(reading: Reading, address: Address | None, problem: str | None, waits: Mapping[int, float]) -> Reading:
    return Reading(
        reading.allocation_id,
        reading.now,
        record=reading.record,
        is_written=reading.is_written,
        problem=reading.problem,
        address=address,
        address_problem=problem,
        waits=waits,
    )


def _in_words(error: Exception, doing: str) -> str:
    """Say what went wrong; what is not expected is in the log of the web server only."""
    if isinstance(error, ElasticIpError):
        return str(error)
    _LOG.warning("%s failed", doing, exc_info=error)
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return f"{doing}: {type(error).__name__} {code}".strip() + "; the log of Airflow's web server has more"
