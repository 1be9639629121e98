"""The targets of a target group, and how health checks change their state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from local_emr.clock import Timer

INITIAL, HEALTHY, UNHEALTHY, DRAINING = "initial", "healthy", "unhealthy", "draining"
DESCRIPTIONS = {
    "Elb.RegistrationInProgress": "Target registration is in progress",
    "Elb.InitialHealthChecking": "Initial health checks in progress",
    "Target.FailedHealthChecks": "Health checks failed",
    "Target.DeregistrationInProgress": "Target deregistration is in progress",
    "Target.NotRegistered": "Target is not registered to the target group",
    "Target.NotInUse": "Target group is not configured to receive traffic from the load balancer",
    "Target.InvalidState": "Target is in the terminated state",
}


@dataclass(kw_only=True)
class Target:
    """
    A registered target.

    :param id: an instance or a private address.
    :param passed: number of consecutive successful checks.
    :param failed: number of consecutive failed checks.
    :param timer: the next check, or the end of the deregistration delay.
    """

    id: str
    port: int
    state: str = INITIAL
    reason: str | None = "Elb.RegistrationInProgress"
    passed: int = 0
    failed: int = 0
    timer: Timer | None = None

    @property
    def key(self) -> tuple[str, int]:
        """Its key in the group."""
        return self.id, self.port

    def enter(self, state: str, reason: str | None = None) -> None:
        """Enter a state, and reset the check counters."""
        self.state, self.reason = state, reason
        self.passed = self.failed = 0

    def count(self, *, good: bool, healthy_after: int, unhealthy_after: int) -> bool:
        """
        Count the result of a check; return whether the state changed.

        :param healthy_after: consecutive successes that make it healthy.
        :param unhealthy_after: consecutive failures that make it unhealthy.
        """
        self.passed, self.failed = (self.passed + 1, 0) if good else (0, self.failed + 1)
        if self.state == INITIAL:
            self.reason = "Elb.InitialHealthChecking"
        if self.state != HEALTHY and self.passed >= healthy_after:
            self.enter(HEALTHY)
            return True
        if self.state != UNHEALTHY and self.failed >= unhealthy_after:
            self.enter(UNHEALTHY, "Target.FailedHealthChecks")
            return True
        return False


@dataclass(kw_only=True)
class TargetGroup:
    """
    A target group of moto's, and its targets.

    :param settings: moto's object with the current settings.
    """

    settings: Any
    targets: dict[tuple[str, int], Target] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.settings.arn)

    @property
    def interval(self) -> float:
        """Seconds between two checks."""
        return float(self.settings.health_check_interval_seconds)

    @property
    def timeout(self) -> float:
        """Seconds after which a check without an answer has failed."""
        return float(self.settings.health_check_timeout_seconds)

    @property
    def thresholds(self) -> dict[str, int]:
        """The healthy and the unhealthy threshold."""
        return {
            "healthy_after": int(self.settings.healthy_threshold_count),
            "unhealthy_after": int(self.settings.unhealthy_threshold_count),
        }

    @property
    def deregistration_delay(self) -> float:
        """Seconds for which a target is draining."""
        return float(self.settings.attributes["deregistration_delay.timeout_seconds"])

    @property
    def terminates_connections(self) -> bool:
        """Whether connections are closed at the end of the deregistration delay."""
        setting = self.settings.attributes.get("deregistration_delay.connection_termination.enabled")
        return str(setting) == "true"

    @property
    def expected_codes(self) -> str:
        """The healthy status codes: 200-399 for Network Load Balancers."""
        return str((getattr(self.settings, "matcher", None) or {}).get("HttpCode", "200-399"))

    def check_port(self, target: Target) -> int:
        """Return the port of a target's health check."""
        port = str(self.settings.health_check_port)
        return target.port if port == "traffic-port" else int(port)
