"""Faults on demand: what AWS and the network do to a client on a bad day."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

Kind = Literal[
    "throttle", "error", "reset", "lost_response", "silence", "delay", "hold", "hold_answer", "stale", "rate"
]
_READS = ("*", "Describe", "Get", "List")
_OF_CONNECTIONS = frozenset({"reset", "lost_response", "silence", "delay", "hold", "hold_answer"})
DENIAL_CODES = {  # by protocol; AccessDeniedException of status 400 elsewhere
    "ec2": ("UnauthorizedOperation", 403),
    "query": ("AccessDenied", 403),
    "rest": ("AccessDenied", 403),
}
THROTTLE_CODES = {
    "elasticloadbalancing": ("Throttling", 400),
    "ec2": ("RequestLimitExceeded", 503),
    "s3": ("SlowDown", 503),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to the next ``times`` calls of one operation.

    At most one fault of the kinds that refuse, cut or hold a call happens to it: the oldest one planned. A stale answer
    and a rate are counted on their own, so that a call can be held and then answered from the past.

    :param operation: An API operation's name, e.g. ``AssociateAddress``, or ``*`` for every one.
    :param kind: One of

        ``throttle`` refuses the call as the service throttles;
        ``error`` refuses it with ``code``;
        ``reset`` cuts the connection before the call takes effect, ``lost_response`` after;
        ``silence`` lets it take effect and never answers;
        ``delay`` answers ``seconds`` late, in real time: it happens to the connection;
        ``hold`` keeps the call in flight for ``seconds`` of simulated time before it takes effect;
        ``hold_answer`` lets it take effect at once and answers ``seconds`` of simulated time later;
        ``stale`` answers a read of EC2 or EMR with the state as it was ``seconds`` of simulated time ago, but no
        older than the first moment that the local EMR remembers: when the fault was planned, or ``remember()``;
        ``rate`` throttles calls beyond ``per_second`` (simulated seconds) and ``burst``: a token bucket.
    :param times: How many calls it happens to; ``None`` is all of them, until the faults are cleared. A rate has no
        such end.
    :param field: A stale DescribeCluster with ``field="Tags"`` answers with the present state and old tags.
    :param during: Called while the call is held, in the server's thread; from Python only. A test with one thread can
        turn the clock there, or do what another process does meanwhile.
    """

    operation: str
    kind: Kind
    times: int | None = 1
    code: str = "InternalError"
    message: str = "A fault on demand."
    status: int = 500
    seconds: float = 0.0
    per_second: float = 0.0
    burst: int = 1
    field: str | None = None
    during: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(f"fault on {self.operation}: {problem}")

    def _problems(self) -> Iterator[str]:
        if self.kind not in get_args(Kind):
            yield f"kind {self.kind!r}: choose one of {', '.join(get_args(Kind))}"
        if self.times is not None and self.times < 1:
            yield f"times={self.times} must be at least 1"
        if self.seconds < 0:
            yield f"seconds={self.seconds} must not be negative"
        if self.kind == "stale" and not self.operation.startswith(_READS):
            yield "only reads (Describe…, Get…, List…) can be stale"
        if self.kind == "rate" and (self.per_second <= 0 or self.burst < 1):
            yield f"per_second={self.per_second} must be positive, and burst={self.burst} at least 1"
        if self.field not in {None, "Tags"} or (self.field and self.operation != "DescribeCluster"):
            yield f"field={self.field!r}: only the Tags of DescribeCluster can be stale alone"


class TokenBucket:
    """How many calls are admitted: ``burst`` at once, and then ``per_second``."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._tokens = float(fault.burst)
        self._filled: datetime | None = None

    def admits(self, now: datetime) -> bool:
        """Take a token if there is one."""
        passed = (now - self._filled).total_seconds() if self._filled else 0.0
        self._tokens = min(self.fault.burst, self._tokens + passed * self.fault.per_second)
        self._filled = now
        # A little less than one is one: 0.05 a second, twenty times, is not exactly 1.
        if self._tokens < 1 - 1e-9:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, kw_only=True)
class ClusterFault:
    """The end of a cluster that reaches a state, or that it gets no further.

    :param state: The state in which that happens, e.g. STARTING (capacity) or BOOTSTRAPPING.
    :param code: EMR's ``StateChangeReason`` code, e.g. VALIDATION_ERROR or BOOTSTRAP_FAILURE.
    :param after_seconds: How long it stays in that state first, in simulated seconds.
    :param hangs: It does not fail, but stays in that state until it is told to end; only STARTING and BOOTSTRAPPING
        can, and there is neither ``code`` nor ``message`` then.
    """

    state: str
    code: str = ""
    message: str = ""
    after_seconds: float = 0.0
    hangs: bool = False

    def __post_init__(self) -> None:
        if self.hangs and (self.state not in {"STARTING", "BOOTSTRAPPING"} or self.code or self.message):
            raise ValueError(f"hangs: in state STARTING or BOOTSTRAPPING, without code and message; not {self}")
        if not self.hangs and not self.code:
            raise ValueError("code is missing: EMR's StateChangeReason code, e.g. VALIDATION_ERROR")


class Faults:
    """The faults that wait for their call."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._stale: list[Fault] = []
        self._buckets: list[TokenBucket] = []
        self._clusters: deque[ClusterFault] = deque()
        self._denied: set[str] = set()
        self.on_stale: list[Callable[[], None]] = []

    def add(self, *, operation: str, kind: Kind, **details: Any) -> Fault:
        """Plan a fault; the details are the fields of :class:`Fault`.

        :raises ValueError: For a kind that does not exist, or numbers that make no sense.
        """
        fault = Fault(operation=operation, kind=kind, **details)
        if kind == "rate":
            self._buckets.append(TokenBucket(fault))
        elif kind == "stale":
            for callback in self.on_stale:
                callback()
            self._stale.append(fault)
        else:
            self._faults.append(fault)
        return fault

    @property
    def concern_connections(self) -> bool:
        """Whether one is planned that happens to the connection of a call, and not to its answer."""
        return any(fault.kind in _OF_CONNECTIONS for fault in self._faults)

    def take(self, operation: str) -> Fault | None:
        """Use up one time of the oldest fault planned for an operation."""
        return _take(self._faults, operation)

    def take_stale(self, operation: str) -> Fault | None:
        """Use up one time of the oldest stale answer planned for a read."""
        return _take(self._stale, operation) if operation.startswith(_READS) else None

    def is_throttled(self, operation: str, now: datetime) -> bool:
        """Whether a call is beyond a rate; one that is not counts towards it."""
        buckets = (bucket for bucket in self._buckets if bucket.fault.operation in {operation, "*"})
        return not all(bucket.admits(now) for bucket in buckets)

    def fail_next_cluster(self, fault: ClusterFault) -> None:
        """Plan the end of the next cluster that reaches the fault's state."""
        self._clusters.append(fault)

    def take_cluster_fault(self, state: str) -> ClusterFault | None:
        """Use up the oldest fault planned for a state."""
        for fault in self._clusters:
            if fault.state == state:
                self._clusters.remove(fault)
                return fault
        return None

    def deny(self, operation: str) -> None:
        """Take away the permission to call an operation, dry runs included."""
        self._denied.add(operation)

    def is_denied(self, operation: str) -> bool:
        """Whether the caller lacks the permission."""
        return operation in self._denied

    def clear(self) -> None:
        """Drop everything planned, and give back permissions; a call that is held already stays held."""
        self._faults.clear()
        self._stale.clear()
        self._buckets.clear()
        self._clusters.clear()
        self._denied.clear()


def _take(faults: list[Fault], operation: str) -> Fault | None:
    for index, fault in enumerate(faults):
        if fault.operation in {operation, "*"}:
            if fault.times == 1:
                del faults[index]
            elif fault.times is not None:
                faults[index] = replace(fault, times=fault.times - 1)
            return fault
    return None
