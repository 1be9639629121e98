"""The faults of one call of a lease period: they hit its process, the network, AWS's answer, or its cluster."""

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

# More times than botocore tries (5 times in its legacy mode); calls that are sent once get the fault twice.
_LASTING = 6
_SENT_ONCE = {"RunJobFlow": 2, "AddJobFlowSteps": 2}
# For how many calls the id of a new resource is unknown.
_UNKNOWN_TIMES = 2

KINDS = {
    "killed before": "SIGKILL before the call has an effect",
    "killed after": "SIGKILL after it, before the answer is read",
    "answer lost": "the connection is cut after the effect",
    "never answered": "the call has its effect, and is not answered",
    "resets": f"{_LASTING} connections in a row are cut before any effect",
    "throttled": f"{_LASTING} answers in a row: too many requests",
    "5xx": f"{_LASTING} answers in a row: internal error",
    "expired": "the process's credentials expire, with this call",
    "unknown id": f"AWS does not know the new id yet, {_UNKNOWN_TIMES} times",
    "cluster dies": "the cluster ends with errors at this moment",
    "primary replaced": "EMR replaces the primary instance at this moment",
    "stale": "this read, and all further ones of the operation, show the state of a minute ago",
    "answer lost, seen late": "the connection is cut after the effect, which reads show a minute later",
    "killed after, seen late": "SIGKILL after the effect, which reads show a minute later",
    "held": "the call is in flight for 80 seconds before it has an effect",
    "throttled by rate": "from now on, one call of the operation in 20 seconds",
}
# These cost time only, because they take away no cluster and no address: the step must start exactly once.
LAGS = frozenset({"stale", "answer lost, seen late", "killed after, seen late", "held", "throttled by rate"})
_LAG_SECONDS, _HELD_SECONDS = 60, 80
_LAGGING = frozenset({"DescribeAddresses", "DescribeInstances", "ListClusters", "DescribeCluster", "ListSteps"})
# The reads that show the effect of a change.
_SHOWN_BY = {
    "RunJobFlow": ("ListClusters", "DescribeCluster"),
    "AddJobFlowSteps": ("ListSteps",),
    "AssociateAddress": ("DescribeAddresses",),
}
_HELD = frozenset({"RunJobFlow", "ListSteps", "AddJobFlowSteps", "AssociateAddress"})
# The kinds that apply to some operations only. Those that last begin at the first such call of a task.
_AT = {
    "stale": _LAGGING,
    "answer lost, seen late": frozenset(_SHOWN_BY),
    "killed after, seen late": frozenset(_SHOWN_BY),
    "held": _HELD,
    "throttled by rate": frozenset({"DescribeCluster"}),
}
_LASTING_KINDS = frozenset({"stale", "throttled by rate"})
# A read has no effect, so these apply to changes only.
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

    :param process: the process that makes it, e.g. ``create try 1`` or ``create's trigger``.
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
        return self.process.split()[0].removesuffix("'s")


@dataclass(frozen=True, slots=True)
class Point:
    """One fault at one call."""

    kind: str
    boundary: Boundary

    def __str__(self) -> str:
        return f"{self.kind} at call {self.boundary.number}, {self.boundary.operation} of {self.boundary.process}"


def points(boundaries: Sequence[Boundary], kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Point]:
    """Yield every fault at every call to which it applies."""
    operations = [boundary.operation for boundary in boundaries]
    launched = operations.index("RunJobFlow") if "RunJobFlow" in operations else len(operations)
    ended = operations.index("TerminateJobFlows") if "TerminateJobFlows" in operations else len(operations)
    earlier: set[tuple[str, str]] = set()
    for index, boundary in enumerate(boundaries):
        operation = boundary.operation
        has_cluster = launched < index <= ended
        is_first = (boundary.task, operation) not in earlier
        is_new = boundary.task == "create" and has_cluster and operation in _NEW_CLUSTER | _NEW_INSTANCE
        earlier.add((boundary.task, operation))
        for kind in kinds:
            applies = (
                operation in _AT.get(kind, {operation})
                and (is_first or kind not in _LASTING_KINDS)
                and (has_cluster or kind not in {"cluster dies", "primary replaced"})
                and not (kind in _OF_CHANGES and boundary.is_read)
                and (is_new or kind != "unknown id")
            )
            if applies:
                yield Point(kind, boundary)


def sample(found: Sequence[Point], every: int, *, begin: int = 0) -> list[Point]:
    """
    Return every n-th point of each kind, and at least one of each.

    :param begin: the number of the first point, so that different plans get different points.
    """
    by_kind: dict[str, list[Point]] = {}
    for point in found:
        by_kind.setdefault(point.kind, []).append(point)
    return [
        point
        for number, of_kind in enumerate(by_kind.values())
        for point in of_kind[(begin + number) % min(every, len(of_kind)) :: every]
    ]


@dataclass(slots=True)
class _Process:
    pid: int = 0
    name: str = ""


@dataclass(slots=True)
class Chaos(Faults):
    """
    The faults of a local EMR: counts the calls, and causes the fault of a point at its call.

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
        """Replace the faults of a local EMR."""
        self._aws = aws
        self.on_stale = aws.faults.on_stale
        aws.faults = self
        aws.events.listeners.append(self._after)

    def begin(self, point: Point | None) -> None:
        """Start to count at 1 again, and plan the fault of a point."""
        self.clear()
        self.seen, self.problem = [], None
        self._point, self._victim, self._expired = point, None, None
        if point is not None and point.kind in LAGS:
            self._aws.remember()

    def on_process(self, pid: int, name: str) -> None:
        """Note which process makes the calls from now on."""
        self._process = _Process(pid, name)

    def take(self, operation: str) -> Fault | None:
        """Return the fault of a call, if it gets one."""
        self.seen.append(Boundary(len(self.seen) + 1, self._process.name, operation))
        if self._expired is not None and self._expired == self._process.pid:
            return self._expiry(operation)
        point = self._point
        if point is None or point.boundary.number != len(self.seen):
            return Faults.take(self, operation)
        if point.boundary.operation != operation:
            self.problem = f"call {len(self.seen)} is {operation}, it was {point.boundary.operation}"
        return self._cause(point.kind, operation)

    def _cause(self, kind: str, operation: str) -> Fault | None:  # noqa: C901, PLR0911, PLR0912 - one case per kind
        times = _SENT_ONCE.get(operation, _LASTING)
        if kind in LAGS:
            return self._delay(kind, operation)
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

    def _delay(self, kind: str, operation: str) -> Fault | None:
        match kind:
            case "stale":
                self._lag(operation)
            case "throttled by rate":
                self.add(operation=operation, kind="rate", per_second=0.05, burst=1)
            case "held":
                advance = functools.partial(self._aws.clock.advance, _HELD_SECONDS)
                return Fault(operation=operation, kind="hold", seconds=_HELD_SECONDS, during=advance)
            case _:
                for read in _SHOWN_BY[operation]:
                    self._lag(read)
                return self._cause(kind.removesuffix(", seen late"), operation)
        return Faults.take(self, operation)

    def _lag(self, operation: str) -> None:
        # A new cluster can be described at once, but without its tags.
        tags_alone = operation == "DescribeCluster" and self._process.name.startswith("create")
        field = "Tags" if tags_alone else None
        self.add(operation=operation, kind="stale", seconds=_LAG_SECONDS, times=None, field=field)

    def _after(self, event: dict[str, Any]) -> None:
        """Kill the process after a call has had its effect."""
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
