"""The interface of step runners, and a runner for tests whose steps only take time."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import psutil

    from local_emr.clock import Clock, Timer


SCRIPT_NOT_FOUND = "Script not found."
TIMED_OUT = "Timed out."


@dataclass(frozen=True, kw_only=True)
class NodeWork:
    """Work of one node: a step or a bootstrap action.

    :param instance_id: The node's EC2 instance.
    :param log_uri: The cluster's ``LogUri`` (``s3://`` or ``s3n://``), or None for a cluster without logs.
    :param node_info: The JSON files in ``/mnt/var/lib/info`` on the node, by name.
    :param time_limit_seconds: Its time limit: in simulated seconds if it only takes time, in real seconds if it is a
        process.
    """

    log_names: ClassVar[tuple[str, ...]] = ("controller", "stdout", "stderr")

    job_flow_id: str
    name: str
    jar: str
    args: tuple[str, ...]
    instance_id: str
    region: str
    log_uri: str | None = None
    node_info: Mapping[str, Any] = field(default_factory=dict)
    time_limit_seconds: float | None = None

    @property
    def id(self) -> str:
        """Its id for a runner."""
        return self.place

    @property
    def place(self) -> str:
        """The directory of its logs, below the cluster's in ``LogUri``."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class StepSpec(NodeWork):
    """A step; it runs on the primary node."""

    log_names = (*NodeWork.log_names, "syslog")

    step_id: str

    @property
    def id(self) -> str:
        """The step's id."""
        return self.step_id

    @property
    def place(self) -> str:
        """``steps/STEP``."""
        return f"steps/{self.step_id}"


@dataclass(frozen=True, kw_only=True)
class BootstrapActionSpec(NodeWork):
    """A bootstrap action on one node: a script with arguments.

    :param args: The script's address and its arguments.
    :param number: The number of the action in the cluster, from 1.
    """

    jar: str = "script-runner.jar"
    number: int

    @property
    def place(self) -> str:
        """``node/INSTANCE/bootstrap-actions/NUMBER``."""
        return f"node/{self.instance_id}/bootstrap-actions/{self.number}"


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The result of a step or bootstrap action; reason, message and log file become EMR's ``FailureDetails``."""

    succeeded: bool
    exit_code: int | None
    reason: str | None = None
    message: str | None = None
    log_file: str | None = None


class StepRunner(Protocol):
    """Runs steps and bootstrap actions in parallel; their order is up to the caller."""

    def start(self, work: NodeWork, on_end: Callable[[StepResult], None]) -> None:
        """Start a step or a bootstrap action and return at once.

        :param on_end: Called exactly once when it has ended, also after a cancel, from any thread.
        """

    def cancel(self, work_id: str) -> None:
        """Cancel the work with this id and its child processes; no effect if it is unknown or has ended."""

    def close(self) -> None:
        """Cancel everything and wait until all processes have ended."""

    def work_of(self, process: psutil.Process) -> NodeWork | None:
        """Return the work that a process of this machine belongs to."""

    def read_log(self, work: NodeWork, name: str) -> str:
        """Return the current content of a log, also after the work has ended."""


CANCELLED = StepResult(succeeded=False, exit_code=None, reason="Cancelled by user")


class TimedStepRunner:
    """A runner whose steps and bootstrap actions take time on the clock and run nothing.

    A step takes ``seconds`` and succeeds. A bootstrap action succeeds at once, as ``Durations.bootstrapping`` includes
    it. Arguments change this: ``--sleep N`` for N simulated seconds and ``--exit N`` for the exit code.

    :param seconds: Duration of a step in simulated seconds.
    """

    def __init__(self, clock: Clock, *, seconds: float = 60.0) -> None:
        self.seconds = seconds
        self._clock = clock
        self._running: dict[str, tuple[Timer, Callable[[StepResult], None]]] = {}
        self._lock = threading.Lock()

    def start(self, work: NodeWork, on_end: Callable[[StepResult], None]) -> None:
        """Start the timer that ends it."""
        seconds = float(_option(work.args, "--sleep", str(self.seconds if isinstance(work, StepSpec) else 0.0)))
        limit = work.time_limit_seconds
        if limit is not None and seconds > limit:
            seconds, result = limit, _failed(work, exit_code=None, reason=TIMED_OUT, message=f"Ran for {limit:.0f} s")
        elif exit_code := int(_option(work.args, "--exit", "0")):
            message = f"Command exited with code {exit_code}"
            result = _failed(work, exit_code=exit_code, reason="Unknown Error.", message=message)
        else:
            result = StepResult(succeeded=True, exit_code=0)
        with self._lock:
            timer = self._clock.call_later(seconds, lambda: self._end(work.id, result), name=work.id)
            self._running[work.id] = (timer, on_end)

    def cancel(self, work_id: str) -> None:
        """End it now."""
        self._end(work_id, CANCELLED)

    def close(self) -> None:
        """End everything now."""
        for work_id in tuple(self._running):
            self.cancel(work_id)

    def work_of(self, process: psutil.Process) -> None:
        """Return None: there are no processes."""

    def read_log(self, work: NodeWork, name: str) -> str:
        """Return nothing: there are no logs."""
        return ""

    def _end(self, work_id: str, result: StepResult) -> None:
        with self._lock:
            timer, on_end = self._running.pop(work_id, (None, None))
        if timer is not None and on_end is not None:
            timer.cancel()
            on_end(result)


def _option(args: tuple[str, ...], name: str, default: str) -> str:
    """Return the argument that follows an option."""
    return args[args.index(name) + 1] if name in args[:-1] else default


def _failed(work: NodeWork, *, exit_code: int | None, reason: str, message: str) -> StepResult:
    log_file = f"{work.log_uri.rstrip('/')}/{work.job_flow_id}/{work.place}/stderr.gz" if work.log_uri else None
    return StepResult(succeeded=False, exit_code=exit_code, reason=reason, message=message, log_file=log_file)
