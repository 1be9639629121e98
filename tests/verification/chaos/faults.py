"""What befalls one call of a lease period: the processes that make it, the network, AWS's answers, or its cluster."""

from __future__ import annotations

import functools
import os
import signal
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local_emr.faults import Fault, Faults

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from local_emr import LocalAws

# More often in a row than botocore tries by itself (5 times in its legacy mode); what is sent once meets it twice.
_LASTING = 6
_SENT_ONCE = {"RunJobFlow": 2, "AddJobFlowSteps": 2}
# How often an id is unknown that was just made.
_UNKNOWN_TIMES = 2

KINDS = {
    "killed before": "SIGKILL before the call has an effect",
    "killed after": "SIGKILL after it, before the answer is read",
    "answer lost": "the connection is cut after the effect",
    "never answered": "the call has its effect, and no answer comes",
    "resets": f"{_LASTING} connections in a row are cut before any effect",
    "throttled": f"{_LASTING} answers in a row: too many requests",
    "5xx": f"{_LASTING} answers in a row: internal error",
    "expired": "the process's credentials expire, with this call",
    "unknown id": f"AWS does not know the new id yet, {_UNKNOWN_TIMES} times",
    "cluster dies": "the cluster ends with errors at this moment",
    "primary replaced": "EMR replaces the primary instance at this moment",
    "stale": "this read, and the same ones after it, show what was a minute ago",
    "answer lost, seen late": "the connection is cut after the effect, which reads show a minute later",
    "killed after, seen late": "SIGKILL after the effect, which reads show a minute later",
    "held": "the call is in flight for 80 seconds before it has an effect",
    "throttled by rate": "one call of the operation in 20 seconds, from here on",
}
# After these a step starts once, and nothing but time is lost: no cluster and no address was taken away.
LAGS = frozenset({"stale", "answer lost, seen late", "killed after, seen late", "held", "throttled by rate"})
_LAG_SECONDS, _HELD_SECONDS = 60, 80
_LAGGING = frozenset({"DescribeAddresses", "DescribeInstances", "ListClusters", "DescribeCluster", "ListSteps"})
# Which reads show what a change has done.
_SHOWN_BY = {
    "RunJobFlow": ("ListClusters", "DescribeCluster"),
    "AddJobFlowSteps": ("ListSteps",),
    "AssociateAddress": ("DescribeAddresses",),
}
_HELD = frozenset({"RunJobFlow", "ListSteps", "AddJobFlowSteps", "AssociateAddress"})
# Those kinds that happen at some operations only; what lasts begins at the first call of a task.
_AT = {
    "stale": _LAGGING,
    "answer lost, seen late": frozenset(_SHOWN_BY),
    "killed after, seen late": frozenset(_SHOWN_BY),
    "held": _HELD,
    "throttled by rate": frozenset({"DescribeCluster"}),
}
_LASTING_KINDS = frozenset({"stale", "throttled by rate"})
# After a read these are the same as before it: it has had no effect.
_OF_CHANGES = frozenset({"killed after", "answer lost"})
_EXPIRED = {"ec2": ("RequestExpired", 400), "s3": ("ExpiredToken", 400)}
_EC2 = (
    *("Address", "Addresses", "Instances", "Interfaces", "Subnets"),
    *("NatGateway", "NatGateways", "Route", "RouteTables"),
)
_NEW_CLUSTER = {"DescribeCluster", "ListInstances", "ListSteps", "AddJobFlowSteps", "AddTags"}
_NEW_INSTANCE = {"DescribeInstances", "DescribeNetworkInterfaces", "AssociateAddress"}
_DEATHS = {
    "STARTING": ("VALIDATION_ERROR", "The requested instance type m5.xlarge is not available: insufficient capacity"),
    "BOOTSTRAPPING": (
        "BOOTSTRAP_FAILURE",
        "On the master instance, bootstrap action 1 returned a non-zero return code",
    ),
}
_SPOT = ("INSTANCE_FAILURE", "The master node was terminated: spot interruption")


@dataclass(frozen=True, slots=True)
class Boundary:
    """
    One call of a clean run.

    :param process: whose call it is, e.g. ``create try 1`` or ``create's trigger``.
    """

    number: int
    process: str
    operation: str

    @property
    def is_read(self) -> bool:
        """Whether the call changes nothing."""
        return self.operation.startswith(("Describe", "List", "Get", "Head"))

    @property
    def task(self) -> str:
        """The task that it belongs to."""
        return self.process.split()[0].removesuffix("'s")


@dataclass(frozen=True, slots=True)
class Point:
    """One fault at one call."""

    kind: str
    boundary: Boundary

    def __str__(self) -> str:
        return f"{self.kind} at call {self.boundary.number}, {self.boundary.operation} of {self.boundary.process}"


def points(boundaries: Sequence[Boundary], kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Point]:
    """Yield every fault at every call where it can happen."""
    operations = [boundary.operation for boundary in boundaries]
    launched = operations.index("RunJobFlow") if "RunJobFlow" in operations else len(operations)
    ended = operations.index("TerminateJobFlows") if "TerminateJobFlows" in operations else len(operations)
    met: set[tuple[str, str]] = set()
    for index, boundary in enumerate(boundaries):
        lives = launched < index <= ended
        first = (boundary.task, boundary.operation) not in met
        met.add((boundary.task, boundary.operation))
        for kind in kinds:
            if boundary.operation not in _AT.get(kind, {boundary.operation}) or (kind in _LASTING_KINDS and not first):
                continue
            if kind in {"cluster dies", "primary replaced"} and not lives:
                continue
            if kind in _OF_CHANGES and boundary.is_read:
                continue
            new = boundary.task == "create" and lives and boundary.operation in _NEW_CLUSTER | _NEW_INSTANCE
            if kind == "unknown id" and not new:
                continue
            yield Point(kind, boundary)


def sample(found: Sequence[Point], every: int, *, begin: int = 0) -> list[Point]:
    """
    Return every n-th point of each kind, and at least one of each.

    :param begin: where to begin to count, so that several plans take other points.
    """
    kinds: dict[str, list[Point]] = {}
    for point in found:
        kinds.setdefault(point.kind, []).append(point)
    return [
        point
        for number, its in enumerate(kinds.values())
        for point in its[(begin + number) % min(every, len(its)) :: every]
    ]


@dataclass(slots=True)
class _Process:
    pid: int = 0
    name: str = ""


@dataclass(slots=True)
class Chaos(Faults):
    """
    The faults of a local EMR: it counts the calls, and lets the point's fault happen at its call.

    :param kill: sends a signal to a process.
    """

    kill: Callable[[int, int], None] = os.kill
    seen: list[Boundary] = field(default_factory=list)
    problem: str | None = None
    _aws: Any = None
    _point: Point | None = None
    _process: _Process = field(default_factory=_Process)
    _victim: int | None = None
    _expired: int | None = None

    def __post_init__(self) -> None:
        Faults.__init__(self)

    def watch(self, aws: LocalAws) -> None:
        """Take the place of a local EMR's faults."""
        self._aws = aws
        self.on_stale = aws.faults.on_stale
        aws.faults = self
        aws.events.listeners.append(self._after)

    def begin(self, point: Point | None) -> None:
        """Count from 1 again; let this happen."""
        self.clear()
        self.seen, self.problem = [], None
        self._point, self._victim, self._expired = point, None, None
        if point is not None and point.kind in LAGS:
            self._aws.remember()

    def on_process(self, pid: int, name: str) -> None:
        """Learn which process makes the calls from now on."""
        self._process = _Process(pid, name)

    def take(self, operation: str) -> Fault | None:
        """Return what happens to a call."""
        self.seen.append(Boundary(len(self.seen) + 1, self._process.name, operation))
        if self._expired is not None and self._expired == self._process.pid:
            return self._expiry(operation)
        point = self._point
        if point is None or point.boundary.number != len(self.seen):
            return Faults.take(self, operation)
        if point.boundary.operation != operation:
            self.problem = f"call {len(self.seen)} is {operation}, it was {point.boundary.operation}"
        return self._happen(point.kind, operation)

    def _happen(self, kind: str, operation: str) -> Fault | None:  # noqa: C901, PLR0911, PLR0912 - one case a kind
        times = _SENT_ONCE.get(operation, _LASTING)
        if kind in LAGS:
            return self._fall_behind(kind, operation)
        match kind:
            case "killed before":
                self.kill(self._process.pid, signal.SIGKILL)
                return Fault(operation=operation, kind="reset")
            case "killed after":
                self._victim = self._process.pid
                return Fault(operation=operation, kind="lost_response")
            case "answer lost":
                return Fault(operation=operation, kind="lost_response")
            case "never answered":
                return Fault(operation=operation, kind="silence")
            case "resets":
                self.add(operation=operation, kind="reset", times=times)
            case "throttled":
                self.add(operation=operation, kind="throttle", times=times)
            case "5xx":
                self.add(operation=operation, kind="error", code="InternalServerError", times=times)
            case "expired":
                self._expired = self._process.pid
                return self._expiry(operation)
            case "unknown id":
                self.add(operation=operation, kind="error", times=_UNKNOWN_TIMES, **_unknown(operation))
            case "cluster dies":
                self._end_clusters()
            case "primary replaced":
                for cluster in self._aws.emr.life.clusters:
                    self._aws.replace_primary(cluster.id)
        return Faults.take(self, operation)

    def _fall_behind(self, kind: str, operation: str) -> Fault | None:
        match kind:
            case "stale":
                self._lag(operation)
            case "throttled by rate":
                self.add(operation=operation, kind="rate", per_second=0.05, burst=1)
            case "held":
                turn = functools.partial(self._aws.clock.advance, _HELD_SECONDS)
                return Fault(operation=operation, kind="hold", seconds=_HELD_SECONDS, during=turn)
            case _:
                for read in _SHOWN_BY[operation]:
                    self._lag(read)
                return self._happen(kind.removesuffix(", seen late"), operation)
        return Faults.take(self, operation)

    def _lag(self, operation: str) -> None:
        # A new cluster is there to be described, and its tags are not yet.
        tags_alone = operation == "DescribeCluster" and self._process.name.startswith("create")
        field = "Tags" if tags_alone else None
        self.add(operation=operation, kind="stale", seconds=_LAG_SECONDS, times=None, field=field)

    def _after(self, event: dict[str, Any]) -> None:
        """Kill once a call has had its effect."""
        if event["kind"] == "call" and self._victim is not None:
            self.kill(self._victim, signal.SIGKILL)
            self._victim = None

    def _expiry(self, operation: str) -> Fault:
        service = "ec2" if operation.endswith(_EC2) else ""
        service = "s3" if operation.endswith(("Object", "Bucket")) else service
        code, status = _EXPIRED.get(service, ("ExpiredTokenException", 400))
        message = "The security token included in the request is expired"
        return Fault(operation=operation, kind="error", code=code, status=status, message=message)

    def _end_clusters(self) -> None:
        for cluster in self._aws.emr.life.clusters:
            code, message = _DEATHS.get(cluster.state, _SPOT)
            self._aws.end_cluster(cluster.id, state="TERMINATED_WITH_ERRORS", code=code, message=message)


def _unknown(operation: str) -> dict[str, Any]:
    if operation in _NEW_CLUSTER:
        return {"code": "InvalidRequestException", "message": "Cluster id is not valid.", "status": 400}
    kind = "NetworkInterface" if operation == "DescribeNetworkInterfaces" else "Instance"
    return {"code": f"Invalid{kind}ID.NotFound", "message": "The ID does not exist", "status": 400}
