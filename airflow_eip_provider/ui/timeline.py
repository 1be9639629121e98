"""The timeline of an address: bars on a time axis, in percent of its width."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_eip_provider.lease.description import utc
from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.ui.period import DAY, HOUR, duration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.ui.names import Viewer
    from airflow_eip_provider.ui.past import PastView

_LANE, _THIN, _GAP, _TOP, _AXIS = 26, 9, 4, 8, 22
_MAX_QUEUE_ROWS = 10  # the table shows the rest of a longer queue
# The distance of ticks is the smallest of these that makes at most _MAX_TICKS of them.
_STEPS = (HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, DAY, 2 * DAY, 7 * DAY)
_MAX_TICKS = 8
KINDS = {Phase.ACQUIRED: "start", Phase.ACTIVE: "active", Phase.RELEASING: "ending"}


@dataclass(frozen=True, slots=True)
class Bar:
    """
    A time span.

    :param left: in percent of the axis, as is ``width``; ``top`` and ``height`` are in pixels.
    :param title: the tooltip, with the exact times.
    """

    left: float
    width: float
    top: int
    height: int
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Tick:
    """
    A time on the axis.

    :param minor: hidden on narrow screens.
    """

    left: float
    text: str
    minor: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """The picture; ``height`` and ``axis``, the position of the axis labels, are in pixels."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    height: int
    axis: int
    kinds: tuple[str, ...]
    begin: float
    end: float


class _Axis:
    def __init__(self, since: float, now: float) -> None:
        self._since, self._now = since, now

    def bar(self, start: float, end: float, *, top: int, height: int, kind: str, title: str) -> Bar | None:
        """Return a bar; ``None`` when it is outside of the period."""
        first, last = max(start, self._since), min(end, self._now)
        if last < first:
            return None
        scale = 100 / (self._now - self._since)
        times = f"{utc(start)} to {utc(end)}, {duration(end - start)}"
        left, width = (first - self._since) * scale, (last - first) * scale
        return Bar(round(left, 3), round(width, 3), top, height, kind, f"{title}\n{times}")

    def ticks(self) -> tuple[Tick, ...]:
        seconds = self._now - self._since
        step = next((step for step in _STEPS if seconds / step <= _MAX_TICKS), _STEPS[-1])
        first = -(-self._since // step)
        ticks: list[Tick] = []
        for number in range(int(first), int(self._now // step) + 1):
            left = (number * step - self._since) / seconds * 100
            moment = datetime.fromtimestamp(number * step, UTC)
            text = moment.strftime("%d %b" if step >= DAY or moment.hour == 0 else "%H:%M")
            if 2 <= left <= 97:  # noqa: PLR2004 - a label at the edge would be cut
                ticks.append(Tick(round(left, 3), text, minor=len(ticks) % 2 == 1))
        return tuple(ticks)


def timeline_of(
    record: Record, history: Sequence[PastView], viewer: Viewer, *, waits: Mapping[int, float], since: float, now: float
) -> Timeline:
    """
    Draw who had the address and who waits for it, according to the record.

    The record has no times of steps and launches, except for a cluster that was started early.
    """
    axis = _Axis(since, now)
    bars = _past_wait_bars(history, axis)
    for past in history:
        lease = past.lease
        title = f"{past.owner.text}\n{past.cluster.text if past.cluster else 'no cluster'}: {past.why}"
        kind = "past" if lease.as_planned else "broken"
        bars.append(axis.bar(lease.acquired_at, lease.ended_at, top=_TOP, height=_LANE, kind=kind, title=title))
    bars += _lease_bars(record, viewer, axis, waits=waits, now=now)
    top = _TOP + _LANE + _THIN + 2 * _GAP
    for entry in record.queue[:_MAX_QUEUE_ROWS]:
        name = viewer.view_owner(entry.attempt.name).text
        title = f"waits: {name}"
        bars.append(axis.bar(entry.arrived_at, now, top=top, height=_THIN, kind="queue", title=title))
        if entry.prewarmed_at is not None:
            title = f"{name}: its cluster starts early"
            bars.append(axis.bar(entry.prewarmed_at, now, top=top, height=_THIN, kind="start", title=title))
        top += _THIN + _GAP
    drawn = tuple(bar for bar in bars if bar is not None)
    kinds = tuple(dict.fromkeys(bar.kind for bar in drawn))
    return Timeline(drawn, axis.ticks(), top + _AXIS, top + _AXIS - 6, kinds, since, now)


def _past_wait_bars(history: Sequence[PastView], axis: _Axis) -> list[Bar | None]:
    """Return the bars for the waits of ended leases, below those of the leases."""
    return [
        axis.bar(
            past.lease.acquired_at - past.lease.waited,
            past.lease.acquired_at,
            top=_TOP + _LANE + _GAP,
            height=_THIN,
            kind="queue",
            title=f"waited: {past.owner.text}",
        )
        for past in history
        if past.lease.waited
    ]


def _lease_bars(
    record: Record, viewer: Viewer, axis: _Axis, *, waits: Mapping[int, float], now: float
) -> list[Bar | None]:
    lease = record.lease
    if lease is None:
        return []
    name = viewer.view_owner(lease.attempt.name).text
    on = lease.resource_id or "no cluster yet"
    start = lease.acquired_at
    bars = [axis.bar(start, now, top=_TOP, height=_LANE, kind=KINDS[lease.phase], title=f"{name}\n{on}: until now")]
    below = {"top": _TOP + _LANE + _GAP, "height": _THIN}
    if waited := waits.get(lease.token):
        bars.append(axis.bar(start - waited, start, kind="queue", title=f"waited: {name}", **below))
    if lease.since:
        title = f"{name}: its cluster started early"
        bars.append(axis.bar(lease.since, start, kind="start", title=title, **below))
    return bars
