"""What the page reads: the record of each address, EC2's answer, and when the tasks of leases started."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider import clock
from airflow_eip_provider.aws.addresses import Address, read_addresses
from airflow_eip_provider.exceptions import ElasticIpError, LockStoreNotCreatedError, LockStoreUnavailableError
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.stores.listing import list_addresses
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.ui.waits import acquisitions, read_waits

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_eip_provider.ui.waits import ReadStarts

_LOG = logging.getLogger(__name__)
# The list of addresses rarely changes, and listing them costs more than reading one.
_LISTING_SECONDS = 60.0
# How many of the region's addresses are shown without a lock store and without named addresses.
_MAX_ADDRESSES = 50
NO_STORE = (
    "No lock store is configured ([eip] lock_store), so it is unknown which owners wait for an address or had it. "
    "This page shows only what EC2 knows."
)


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What was read about one address.

    :param record: ``None`` when there is no lock store, or the record could not be read.
    :param is_written: whether the lock store has a record.
    :param problem: why the record could not be read.
    :param now: the store's time, or this machine's time without a store.
    :param waits: the known waits: seconds from the start of the task to the lease, by token.
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
    """Everything that the page can show, for all viewers."""

    readings: tuple[Reading, ...]
    problems: tuple[str, ...]
    lock_store: str | None
    region: str | None
    read_at: float
    refresh_seconds: float


@dataclass(frozen=True, slots=True)
class Source:
    """
    What the page reads from.

    :param allocation_ids: the addresses to show; empty for all in the lock store.
    :param client_for: returns the boto3 client of a service in a region.
    :param read_starts: queries Airflow's database; ``None`` to skip that.
    """

    lock_store: str | None
    allocation_ids: tuple[str, ...]
    client_for: Callable[[str, str | None], Any]
    environment: str
    read_starts: ReadStarts | None = None


class SnapshotReader:
    """
    Reads snapshots, and caches what does not change between reads.

    :param source: called before each read; an error, e.g. for a wrong option, is shown as a problem on the page.
    """

    def __init__(self, source: Callable[[], Source], *, refresh_seconds: float) -> None:
        self._source = source
        self._refresh_seconds = refresh_seconds
        self._listed: tuple[float, list[str]] | None = None
        self._waits: dict[tuple[str, int], float | None] = {}

    def __call__(self) -> Snapshot:
        """Read everything once; report what cannot be read as a problem."""
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
            problems.append(_describe(error, "reading the page's options and connection"))
        return Snapshot(readings, tuple(problems), lock_store, region, clock.time(), self._refresh_seconds)

    def _readings(self, source: Source, problems: list[str]) -> tuple[Reading, ...]:
        names = list(source.allocation_ids) or self._list_names(source, problems)
        addresses, address_problem = _read_addresses(source, names)
        if not names and source.lock_store is None:
            names = sorted(addresses)
            if address_problem:
                problems.append(address_problem)
        readings = []
        down: str | None = None
        for name in names:
            reading, down = _read_record(source, name, down)
            reading = replace(reading, address=addresses.get(name), address_problem=address_problem)
            readings.append(replace(reading, waits=self._waits_of(source, reading)))
        return tuple(readings)

    def _list_names(self, source: Source, problems: list[str]) -> list[str]:
        if source.lock_store is None:
            return []
        if self._listed is None or clock.monotonic() - self._listed[0] >= _LISTING_SECONDS:
            try:
                self._listed = (clock.monotonic(), list_addresses(source.lock_store, source.client_for))
            except LockStoreNotCreatedError:
                self._listed = None
            except Exception as error:
                problem = _describe(error, "listing the records of the lock store")
                problems.append(f"{problem}. Alternatively, name the addresses in [eip] page_addresses.")
        names = self._listed[1] if self._listed else []
        if not names and not problems:
            problems.append("The lock store has no record yet. An address appears here after a task has asked for it.")
        return names

    def _waits_of(self, source: Source, reading: Reading) -> dict[int, float]:
        """Return the waits before leases; Airflow is queried once for each lease."""
        if reading.record is None or source.read_starts is None:
            return {}
        acquired, name = acquisitions(reading.record), reading.allocation_id
        new = {token: lease for token, lease in acquired.items() if (name, token) not in self._waits}
        try:
            waits = read_waits(new, environment=source.environment, read_starts=source.read_starts)
        except Exception:
            _LOG.warning("reading the start times of tasks from Airflow's database failed", exc_info=True)
            return {}
        self._waits.update({(name, token): wait for token, wait in waits.items()})
        cached = {token: self._waits.get((name, token)) for token in acquired}
        return {token: wait for token, wait in cached.items() if wait is not None}


def _read_addresses(source: Source, names: list[str]) -> tuple[dict[str, Address], str | None]:
    """Read all addresses from EC2 in one call; without names and without a lock store, those of the region."""
    try:
        ec2 = source.client_for("ec2", None)
        if names:
            return read_addresses(ec2, names), None
        if source.lock_store is not None:
            return {}, None
        all_names = [item["AllocationId"] for item in ec2.describe_addresses()["Addresses"] if item.get("AllocationId")]
        return read_addresses(ec2, all_names[:_MAX_ADDRESSES]) if all_names else {}, None
    except Exception as error:
        return {}, _describe(error, "reading the addresses from EC2 (ec2:DescribeAddresses)")


def _read_record(source: Source, name: str, down: str | None) -> tuple[Reading, str | None]:
    """
    Read one record.

    :param down: why the store did not answer for another address; then it is not called again.
    """
    if source.lock_store is None:
        return Reading(name, clock.time()), None
    if down is not None:
        return Reading(name, clock.time(), problem=down), down
    try:
        seen = open_store(source.lock_store, source.client_for).read(name)
    except LockStoreNotCreatedError:
        return Reading(name, clock.time(), record=Record()), None
    except LockStoreUnavailableError as error:
        return Reading(name, clock.time(), problem=str(error)), str(error)
    except Exception as error:
        return Reading(name, clock.time(), problem=_describe(error, "reading the record")), None
    return Reading(name, seen.now, record=seen.record, is_written=seen.version is not None), None


def _describe(error: Exception, doing: str) -> str:
    """Describe an error for the page; the details of an unexpected one go only to the web server's log."""
    if isinstance(error, ElasticIpError):
        return str(error)
    _LOG.warning("%s failed", doing, exc_info=error)
    code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
    return f"{doing}: {type(error).__name__} {code}".strip() + "; the log of Airflow's web server has more"
