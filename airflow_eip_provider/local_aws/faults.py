"""Faults on demand: what AWS and the network do to a client on a bad day."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

Kind = Literal["throttle", "error", "reset", "lost_response", "silence", "delay"]
DENIAL_CODES = {  # by protocol; AccessDeniedException of status 400 elsewhere
    "ec2": ("UnauthorizedOperation", 403),
    "rest": ("AccessDenied", 403),
}
THROTTLE_CODES = {
    "ec2": ("RequestLimitExceeded", 503),
    "s3": ("SlowDown", 503),
    "dynamodb": ("ProvisionedThroughputExceededException", 400),
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to the next ``times`` calls of one operation.

    :param operation: An API operation's name, e.g. ``AssociateAddress``, or ``*`` for every one.
    :param kind: ``throttle`` refuses the call as the service throttles; ``error`` refuses it with ``code``; ``reset``
        cuts the connection before it takes effect, ``lost_response`` after; ``silence`` lets it take effect and never
        answers; ``delay`` answers late.
    :param seconds: How long a delay lasts, in real seconds: it happens to the connection.
    """

    operation: str
    kind: Kind
    times: int = 1
    code: str = "InternalError"
    message: str = "A fault on demand."
    status: int = 500
    seconds: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"fault kind {self.kind!r}: choose one of {', '.join(get_args(Kind))}")
        if self.times < 1:
            raise ValueError(f"fault on {self.operation}: times={self.times} must be at least 1")


@dataclass(frozen=True, kw_only=True)
class ClusterFault:
    """The end of a cluster that reaches a state.

    :param state: The state in which it fails, e.g. STARTING (capacity) or BOOTSTRAPPING.
    :param code: EMR's ``StateChangeReason`` code, e.g. VALIDATION_ERROR or BOOTSTRAP_FAILURE.
    :param after_seconds: How long it stays in that state first, in simulated seconds.
    """

    state: str
    code: str
    message: str
    after_seconds: float = 0.0


class Faults:
    """The faults that wait for their call."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._clusters: deque[ClusterFault] = deque()
        self._denied: set[str] = set()

    def add(self, *, operation: str, kind: Kind, **details: Any) -> Fault:
        """Plan a fault; the details are the fields of :class:`Fault`.

        :raises ValueError: For a kind that does not exist, or less than one time.
        """
        fault = Fault(operation=operation, kind=kind, **details)
        self._faults.append(fault)
        return fault

    def take(self, operation: str) -> Fault | None:
        """Use up one time of the oldest fault planned for an operation."""
        for index, fault in enumerate(self._faults):
            if fault.operation in {operation, "*"}:
                if fault.times == 1:
                    del self._faults[index]
                else:
                    self._faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return None

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
        """Drop everything planned, and give back permissions."""
        self._faults.clear()
        self._clusters.clear()
        self._denied.clear()
