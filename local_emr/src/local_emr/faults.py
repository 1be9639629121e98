"""Faults on demand: throttling, errors, lost connections, delays and stale reads."""

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
DENIAL_CODES = {  # by protocol; elsewhere AccessDeniedException with status 400
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
    """A fault of the next ``times`` calls of one operation.

    Of the kinds that refuse, cut or hold a call, only the oldest one applies to a call. Stale answers and rates are
    counted separately, so a call can be held and then get a stale answer.

    :param operation: An API operation's name, e.g. ``AssociateAddress``, or ``*`` for every one.
    :param kind: One of

        ``throttle`` refuses the call with the service's throttling error;
        ``error`` refuses it with ``code``;
        ``reset`` cuts the connection before the call takes effect, ``lost_response`` after;
        ``silence`` executes the call and never answers;
        ``delay`` answers ``seconds`` late, in real time;
        ``hold`` delays the call by ``seconds`` of simulated time before it takes effect;
        ``hold_answer`` executes it at once and answers ``seconds`` of simulated time later;
        ``stale`` answers a read of EC2 or EMR with the state as it was ``seconds`` of simulated time ago, but no
        older than when the fault was planned or ``remember()`` was called;
        ``rate`` throttles calls beyond ``per_second`` (simulated seconds) and ``burst``: a token bucket.
    :param times: Number of calls; ``None`` for all, until the faults are cleared. Does not apply to a rate.
    :param field: A stale DescribeCluster with ``field="Tags"`` returns the current state with old tags.
    :param during: Called in the server's thread while the call is held (Python only), e.g. to advance the clock or
        to act as another process.
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
    """Admits ``burst`` calls at once, and then ``per_second``."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._tokens = float(fault.burst)
        self._filled: datetime | None = None

    def admits(self, now: datetime) -> bool:
        """Take a token; return whether there was one."""
        passed = (now - self._filled).total_seconds() if self._filled else 0.0
        self._tokens = min(self.fault.burst, self._tokens + passed * self.fault.per_second)
        self._filled = now
        # Floating-point tolerance: twenty times 0.05 is not exactly 1.
        if self._tokens < 1 - 1e-9:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, kw_only=True)
class ClusterFault:
    """A cluster that fails in a state, or stays in it.

    :param state: The state, e.g. STARTING (capacity) or BOOTSTRAPPING.
    :param code: EMR's ``StateChangeReason`` code, e.g. VALIDATION_ERROR or BOOTSTRAP_FAILURE.
    :param after_seconds: Simulated seconds in that state before it fails.
    :param hangs: It stays in that state until it is terminated, instead of failing; only STARTING and BOOTSTRAPPING,
        and without ``code`` and ``message``.
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
    """The planned faults."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._stale: list[Fault] = []
        self._buckets: list[TokenBucket] = []
        self._clusters: deque[ClusterFault] = deque()
        self._denied: set[str] = set()
        self.on_stale: list[Callable[[], None]] = []

    def add(self, *, operation: str, kind: Kind, **details: Any) -> Fault:
        """Plan a fault, given the fields of :class:`Fault`.

        :raises ValueError: For an unknown kind or invalid numbers.
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
        """Return whether a planned fault affects the connection of a call instead of its answer."""
        return any(fault.kind in _OF_CONNECTIONS for fault in self._faults)

    def take(self, operation: str) -> Fault | None:
        """Consume the oldest fault planned for an operation once."""
        return _take(self._faults, operation)

    def take_stale(self, operation: str) -> Fault | None:
        """Consume the oldest stale answer planned for a read once."""
        return _take(self._stale, operation) if operation.startswith(_READS) else None

    def is_throttled(self, operation: str, now: datetime) -> bool:
        """Return whether a call exceeds a rate; otherwise count it."""
        buckets = (bucket for bucket in self._buckets if bucket.fault.operation in {operation, "*"})
        return not all(bucket.admits(now) for bucket in buckets)

    def fail_next_cluster(self, fault: ClusterFault) -> None:
        """Plan the end of the next cluster that reaches the fault's state."""
        self._clusters.append(fault)

    def take_cluster_fault(self, state: str) -> ClusterFault | None:
        """Consume the oldest fault planned for a state."""
        for fault in self._clusters:
            if fault.state == state:
                self._clusters.remove(fault)
                return fault
        return None

    def deny(self, operation: str) -> None:
        """Deny an operation, including dry runs."""
        self._denied.add(operation)

    def is_denied(self, operation: str) -> bool:
        """Return whether an operation is denied."""
        return operation in self._denied

    def clear(self) -> None:
        """Remove all faults and denials; a call that is being held stays held."""
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
