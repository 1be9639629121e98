"""The lease periods of an address, from the local EMR's event log, and a chart of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from harness.judge import CLUSTER_ENDED, STEP_ENDED, Event, Launch, launches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_READY_STATES = frozenset({"RUNNING", "WAITING"})
_WIDTH = 84


@dataclass(frozen=True, kw_only=True)
class Moment:
    """
    An event of a lease period.

    :param seq: the event's number, which orders what happened at the same time.
    """

    seq: int
    time: datetime


@dataclass(frozen=True, kw_only=True)
class Session:
    """The lease period of one cluster; a moment is None if it never came."""

    owner: str
    job_flow_id: str
    launched: Moment
    primary_running: Moment | None = None
    bound: Moment | None = None
    ready: Moment | None = None
    step_running: Moment | None = None
    step_ended: Moment | None = None
    freed: Moment | None = None
    terminated: Moment | None = None

    def moments(self) -> list[tuple[str, Moment | None]]:
        """Return the lease period's moments with their names, in their usual order."""
        return [
            ("RunJobFlow", self.launched),
            ("primary node running", self.primary_running),
            ("Elastic IP bound", self.bound),
            ("cluster ready", self.ready),
            ("step running", self.step_running),
            ("step ended", self.step_ended),
            ("Elastic IP free", self.freed),
            ("cluster terminated", self.terminated),
        ]


def moment(event: Event) -> Moment:
    """Return the moment of an event."""
    return Moment(seq=event["seq"], time=datetime.fromisoformat(event["time"]))


def sessions(events: Sequence[Event]) -> list[Session]:
    """Return a lease period for every cluster that a DAG launched, in the order of their launches."""
    return [_session(launch.dag_id, launch, events) for launch in launches(events) if launch.dag_id is not None]


def _session(owner: str, launch: Launch, events: Sequence[Event]) -> Session:
    job_flow_id = launch.job_flow_id
    of_cluster = [event for event in events if event.get("job_flow_id") == job_flow_id]

    def moments(kind: str, field: str, values: Collection[str]) -> list[Moment]:
        return [moment(event) for event in of_cluster if event["kind"] == kind and event.get(field) in values]

    def first(kind: str, field: str, *values: str) -> Moment | None:
        return next(iter(moments(kind, field, values)), None)

    def last(kind: str, field: str, *values: str) -> Moment | None:
        return next(reversed(moments(kind, field, values)), None)

    return Session(
        owner=owner,
        job_flow_id=job_flow_id,
        launched=moment(launch.call),
        primary_running=first("instance", "state", "running"),
        bound=first("address", "change", "associated"),
        ready=first("cluster", "to", *_READY_STATES),
        step_running=first("step", "state", "RUNNING"),
        step_ended=last("step", "state", *STEP_ENDED),
        freed=last("address", "change", "disassociated"),
        terminated=first("cluster", "to", *CLUSTER_ENDED),
    )


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def moments_rows(found: Sequence[Session], *, start: datetime) -> list[tuple[str, ...]]:
    """Return a row for each moment, with the simulated time since the start for each lease period."""
    names = [name for name, _ in found[0].moments()] if found else []
    columns = [dict(session.moments()) for session in found]
    return [
        (name, *(clock((at.time - start).total_seconds()) if (at := column[name]) else "never" for column in columns))
        for name in names
    ]


def chart(found: Sequence[Session], *, start: datetime, waiting_since: dict[str, datetime]) -> list[str]:
    """
    Draw a lane for each lease period.

    :param start: the left edge.
    :param waiting_since: since when each DAG has wanted the address.
    """
    ends = [at.time for session in found for _, at in session.moments() if at]
    if not ends:
        return []
    span = max((max(ends) - start).total_seconds(), 1.0)
    label = max(len(session.owner) for session in found)

    def column(time: datetime) -> int:
        return max(0, min(_WIDTH, round((time - start).total_seconds() / span * _WIDTH)))

    lanes = [f"{session.owner:<{label}}  |{_lane(session, column, waiting_since)}|" for session in found]
    scale = f"0:00{clock(span):>{_WIDTH - 4}}"
    legend = ". waits for the address   - cluster starts   = has the address   # step runs with it   ~ cluster ends"
    return [f"{'':<{label}}   {scale}", *lanes, f"{'':<{label}}   {legend}"]


def _lane(session: Session, column: Callable[[datetime], int], waiting_since: dict[str, datetime]) -> str:
    """Draw the spans over each other, the widest first."""
    cells = [" "] * _WIDTH
    launched = session.launched.time
    wanted = waiting_since.get(session.owner)
    spans = [
        (".", wanted, launched),
        ("-", launched, _time(session.bound or session.terminated)),
        ("=", _time(session.bound), _time(session.freed)),
        ("#", _time(session.step_running), _time(session.step_ended)),
        ("~", _time(session.freed), _time(session.terminated)),
    ]
    for sign, begin, end in spans:
        if begin is not None and end is not None:
            for cell in range(column(begin), max(column(end), column(begin) + 1)):
                if cell < _WIDTH:
                    cells[cell] = sign
    return "".join(cells)


def _time(at: Moment | None) -> datetime | None:
    return at.time if at else None
