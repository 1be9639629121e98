"""What a viewer may see of a snapshot, in the words of the page; no I/O, no Airflow, no clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.record import MOST_PASSED_GRACES, Phase
from airflow_eip_provider.lease.waiting import waiting_owners
from airflow_eip_provider.ui.clusters import cluster_view
from airflow_eip_provider.ui.past import is_cut, past_leases, past_view, usage_of
from airflow_eip_provider.ui.period import DEFAULT_PERIOD, PERIODS, percentile
from airflow_eip_provider.ui.timeline import KINDS, Timeline, timeline_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.waiting import WaitingOwner
    from airflow_eip_provider.ui.clusters import ClusterView
    from airflow_eip_provider.ui.names import OwnerView, Viewer
    from airflow_eip_provider.ui.past import PastLease, PastView, Usage
    from airflow_eip_provider.ui.snapshot import Reading, Snapshot

_PHASES = {
    Phase.ACQUIRED: ("starting", "its cluster starts"),
    Phase.ACTIVE: ("in use", "in use"),
    Phase.RELEASING: ("ending", "being released"),
}


@dataclass(frozen=True, slots=True)
class HolderView:
    """The owner that has the lease."""

    owner: OwnerView
    cluster: ClusterView | None
    since: float
    seconds: float
    waited: float | None
    token: int


@dataclass(frozen=True, slots=True)
class WaiterView:
    """
    An owner in the queue.

    :param place: from 1.
    :param passed: how often a later entry took the address.
    :param cluster: the cluster that it has started early.
    :param addresses: the number of shown addresses in whose queues it waits; it takes the first free one.
    """

    place: int
    owner: OwnerView
    since: float
    seconds: float
    passed: int
    window: float
    cluster: ClusterView | None
    addresses: int = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """
    Statistics of the shown period.

    :param waits: median, 90th percentile and maximum of the known waits in seconds; ``None`` when none is known.
    """

    leases: int
    usage: Usage
    known_waits: int
    waits: tuple[float, float, float] | None


@dataclass(frozen=True, slots=True)
class AddressView:
    """
    One address.

    :param state: a short label; ``kind`` selects its colour.
    :param place: what the address is associated with, according to EC2.
    :param problems: what a person should check.
    """

    allocation_id: str
    public_ip: str | None
    state: str
    kind: str
    detail: str
    place: str
    problems: tuple[str, ...] = ()
    holder: HolderView | None = None
    queue: tuple[WaiterView, ...] = ()
    grace: float | None = None
    history: tuple[PastView, ...] = ()
    kept: int = 0
    cut: bool = False
    figures: Figures | None = None
    timeline: Timeline | None = None


@dataclass(frozen=True, slots=True)
class PageView:
    """
    The page.

    :param waiting: the number of waiting owners, each counted once.
    :param waiting_for_several: how many of them wait for more than one address.
    """

    addresses: tuple[AddressView, ...]
    problems: tuple[str, ...]
    lock_store: str | None
    read_at: float
    period: str
    refresh_seconds: float
    waiting: int = 0
    waiting_for_several: int = 0


def page_of(snapshot: Snapshot, viewer: Viewer, *, period: str = DEFAULT_PERIOD) -> PageView:
    """
    Return the page as a viewer may see it.

    :param period: one of ``PERIODS``; anything else means the default.
    """
    period = period if period in PERIODS else DEFAULT_PERIOD
    waiting = waiting_owners({r.allocation_id: r.record for r in snapshot.readings if r.record is not None})
    addresses = tuple(_address(reading, snapshot, viewer, PERIODS[period], waiting) for reading in snapshot.readings)
    return PageView(
        addresses=addresses,
        problems=snapshot.problems,
        lock_store=snapshot.lock_store,
        read_at=snapshot.read_at,
        period=period,
        refresh_seconds=snapshot.refresh_seconds,
        waiting=len(waiting),
        waiting_for_several=sum(len(owner.places) > 1 for owner in waiting.values()),
    )


def _address(
    reading: Reading, snapshot: Snapshot, viewer: Viewer, seconds: float, waiting: Mapping[str, WaitingOwner]
) -> AddressView:
    address, record, now = reading.address, reading.record, reading.now
    place = _place(reading)
    shown = {"allocation_id": reading.allocation_id, "public_ip": address.public_ip if address else None}
    if record is None or not reading.is_written:
        state, kind, detail = _without_record(reading, snapshot)
        problems = () if reading.problem is None else (reading.problem,)
        return AddressView(**shown, state=state, kind=kind, detail=detail, place=place, problems=problems)  # type: ignore[arg-type]
    since = now - seconds
    past = past_leases(record, since=since, waits=reading.waits)
    history = tuple(past_view(lease, viewer, snapshot.region) for lease in past)
    state, kind, detail = _state(record, now)
    return AddressView(
        **shown,  # type: ignore[arg-type]
        state=state,
        kind=kind,
        detail=detail,
        place=place,
        problems=_contradictions(record, address),
        holder=_holder(reading, record, viewer, snapshot.region),
        queue=_queue(record, viewer, now, snapshot.region, waiting),
        grace=record.grace,
        history=history,
        kept=len(record.history),
        cut=is_cut(record),
        figures=_figures(record, past, reading, since=since),
        timeline=timeline_of(record, history, viewer, waits=reading.waits, since=since, now=now),
    )


def _without_record(reading: Reading, snapshot: Snapshot) -> tuple[str, str, str]:
    if reading.problem is not None:
        return "not known", "bad", "The record could not be read."
    address = reading.address
    if snapshot.lock_store is None:
        if address is None:
            return "not known", "plain", ""
        return ("free", "free", "") if address.is_free else ("in use", "active", "")
    return "never leased", "plain", "The lock store has no record of this address: no task has asked for it yet."


def _state(record: Record, now: float) -> tuple[str, str, str]:
    if record.lease is not None:
        state, detail = _PHASES[record.lease.phase]
        return state, KINDS[record.lease.phase], detail
    detail = "no owner waits"
    if record.queue:
        remaining = record.free_since + record.window(record.queue[0]) - now
        detail = f"reserved for the first in the queue for {remaining:.0f} s more"
        if remaining <= 0:
            detail = "no owner in the queue took it yet"
    return "free", "free", detail


def _place(reading: Reading) -> str:
    address = reading.address
    if address is None:
        return reading.address_problem or "EC2 shows no such address in this account and region."
    if address.is_free:
        return "not associated"
    return "on " + ", ".join(filter(None, (address.instance_id, address.network_interface_id)))


def _contradictions(record: Record, address: Address | None) -> tuple[str, ...]:
    """Describe how EC2 and the record differ; EC2's answer may be a minute old, and an association takes time."""
    if address is None:
        return ()
    if record.lease is None and not address.is_free:
        return (
            "EC2 shows that the address is associated, but no owner has its lease. Did something else associate it?",
        )
    if record.lease is not None and record.lease.phase is Phase.ACTIVE and address.is_free:
        return ("The lease is in use, but EC2 shows that the address is not associated.",)
    return ()


def _holder(reading: Reading, record: Record, viewer: Viewer, region: str | None) -> HolderView | None:
    lease = record.lease
    if lease is None:
        return None
    return HolderView(
        owner=viewer.view_owner(lease.attempt.name),
        cluster=cluster_view(lease.resource_id, region),
        since=lease.acquired_at,
        seconds=max(0.0, reading.now - lease.acquired_at),
        waited=reading.waits.get(lease.token),
        token=lease.token,
    )


def _queue(
    record: Record, viewer: Viewer, now: float, region: str | None, waiting: Mapping[str, WaitingOwner]
) -> tuple[WaiterView, ...]:
    return tuple(
        WaiterView(
            place=place,
            owner=viewer.view_owner(entry.attempt.name),
            since=entry.arrived_at,
            seconds=max(0.0, now - entry.arrived_at),
            passed=entry.passed,
            window=min(record.window(entry), record.grace * MOST_PASSED_GRACES),
            cluster=cluster_view(entry.resource_id, region),
            addresses=len(waiting[entry.attempt.owner].places),
        )
        for place, entry in enumerate(record.queue, 1)
    )


def _figures(record: Record, past: tuple[PastLease, ...], reading: Reading, *, since: float) -> Figures:
    waits = [lease.waited for lease in past if lease.waited is not None]
    if record.lease is not None and record.lease.token in reading.waits:
        waits.append(reading.waits[record.lease.token])
    shown = (percentile(waits, 0.5), percentile(waits, 0.9), percentile(waits, 1))
    usage = usage_of(record, since=since, now=reading.now)
    return Figures(len(past), usage, len(waits), shown if waits else None)  # type: ignore[arg-type]
