"""What EMR asks of whatever runs its steps, and a runner for tests whose steps only take time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import psutil

    from airflow_eip_provider.local_aws.clock import Clock, Timer


@dataclass(frozen=True, kw_only=True)
class StepSpec:
    """What is needed to run one step.

    :param log_uri: The cluster's ``LogUri`` (``s3://`` or ``s3n://``), or None for a cluster that keeps no logs.
    :param instance_id: The EC2 instance of the primary node, where steps run.
    """

    job_flow_id: str
    step_id: str
    name: str
    jar: str
    args: tuple[str, ...]
    instance_id: str
    region: str
    main_class: str | None = None
    properties: Mapping[str, str] = field(default_factory=dict)
    log_uri: str | None = None


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """How a step ended; reason, message and log file become EMR's ``FailureDetails``."""

    succeeded: bool
    exit_code: int | None
    reason: str | None = None
    message: str | None = None
    log_file: str | None = None


class StepRunner(Protocol):
    """Runs steps side by side; EMR itself keeps the queue."""

    def start(self, step: StepSpec, on_end: Callable[[StepResult], None]) -> None:
        """Start a step and return at once.

        :param on_end: Called exactly once when the step has ended, from any thread, also after a cancel.
        """

    def cancel(self, step_id: str) -> None:
        """End a step and everything that it started; unknown or ended steps are left alone."""

    def close(self) -> None:
        """End every step and return when nothing of them is left."""

    def step_of(self, process: psutil.Process) -> StepSpec | None:
        """Return the running step of this runner that a process of this machine is of."""


CANCELLED = StepResult(succeeded=False, exit_code=None, reason="Cancelled by user")


class TimedStepRunner:
    """Steps that last a time on the clock and run nothing.

    A step lasts ``seconds`` and succeeds. Its arguments can say otherwise: ``--sleep N`` for a step of N simulated
    seconds and ``--exit N`` for its exit code, so that one test can have steps of several kinds.

    :param seconds: How long a step lasts, in simulated seconds.
    """

    def __init__(self, clock: Clock, *, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self._clock = clock
        self._running: dict[str, tuple[Timer, Callable[[StepResult], None]]] = {}
        self._lock = threading.Lock()

    def start(self, step: StepSpec, on_end: Callable[[StepResult], None]) -> None:
        """Set the timer that ends the step."""
        result = _result(step, exit_code=int(_option(step.args, "--exit", "0")))
        seconds = float(_option(step.args, "--sleep", str(self.seconds)))
        with self._lock:
            timer = self._clock.call_later(seconds, lambda: self._end(step.step_id, result), name=step.step_id)
            self._running[step.step_id] = (timer, on_end)

    def cancel(self, step_id: str) -> None:
        """End the step now."""
        self._end(step_id, CANCELLED)

    def close(self) -> None:
        """End every step now."""
        for step_id in tuple(self._running):
            self.cancel(step_id)

    def step_of(self, process: psutil.Process) -> None:
        """Return None: these steps have no processes."""

    def _end(self, step_id: str, result: StepResult) -> None:
        with self._lock:
            timer, on_end = self._running.pop(step_id, (None, None))
        if timer is not None and on_end is not None:
            timer.cancel()
            on_end(result)


def _option(args: tuple[str, ...], name: str, default: str) -> str:
    """Return the argument that follows the named one."""
    return args[args.index(name) + 1] if name in args[:-1] else default


def _result(step: StepSpec, *, exit_code: int) -> StepResult:
    if exit_code == 0:
        return StepResult(succeeded=True, exit_code=0)
    log_file = f"{step.log_uri.rstrip('/')}/{step.job_flow_id}/steps/{step.step_id}/stderr.gz" if step.log_uri else None
    return StepResult(
        succeeded=False,
        exit_code=exit_code,
        reason="Unknown Error.",
        message=f"Command exited with code {exit_code}",
        log_file=log_file,
    )
