"""The step queue of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from local_emr.emr import views
from local_emr.emr.cluster import READY, Reason
from local_emr.emr.steps import StepSpec

if TYPE_CHECKING:
    from local_emr.clock import Clock
    from local_emr.emr.cluster import Cluster, Step
    from local_emr.emr.steps import StepResult, StepRunner
    from local_emr.events import EventLog


class Life(Protocol):
    """Callbacks to the cluster."""

    def settle(self, cluster: Cluster) -> None:
        """Process a change of the queue."""

    def step_failed(self, cluster: Cluster, action: str) -> None:
        """Act on a failed step."""


class StepQueue:
    """Starts steps in order, up to the step concurrency level, and processes their results."""

    def __init__(
        self, *, region: str, clock: Clock, events: EventLog, runner: StepRunner, lock: Any, life: Life
    ) -> None:
        self._region = region
        self._clock = clock
        self._events = events
        self._runner = runner
        self._lock = lock
        self._life = life
        self._closed = False

    def add(self, cluster: Cluster, steps: list[Step]) -> None:
        """Queue steps."""
        for step in steps:
            cluster.steps.append(step)
            self._record(cluster, step)
        self.pump(cluster)

    def pump(self, cluster: Cluster) -> None:
        """Start the steps that can start now."""
        if cluster.state not in READY:
            return
        pending = cluster.steps_in("PENDING")
        busy = len(cluster.steps_in("RUNNING", "CANCEL_PENDING"))
        for step in pending[: max(0, cluster.step_concurrency - busy)]:
            self._start(cluster, step)
        self._life.settle(cluster)

    def cancel(self, cluster: Cluster, step: Step) -> bool:
        """Cancel a step; return whether it could be cancelled."""
        if step.state == "PENDING":
            self._end(cluster, step, "CANCELLED", Reason(message="Cancelled by user"))
            self._life.settle(cluster)
            return True
        if step.state == "RUNNING":
            self._enter(cluster, step, "CANCEL_PENDING")
            self._runner.cancel(step.id)
            return True
        return False

    def cancel_pending(self, cluster: Cluster) -> None:
        """Cancel every step that has not started."""
        for step in cluster.steps_in("PENDING"):
            self._end(cluster, step, "CANCELLED", Reason(message="Job terminated"))

    def cancel_all(self, cluster: Cluster) -> None:
        """Cancel every unfinished step; a running one is CANCELLED when all its processes have ended."""
        self.cancel_pending(cluster)
        for step in cluster.steps_in("RUNNING"):
            self.cancel(cluster, step)

    def close(self, clusters: list[Cluster]) -> None:
        """Cancel every step and ignore the results."""
        self._closed = True
        for cluster in clusters:
            for step in cluster.steps_in("RUNNING"):
                self._runner.cancel(step.id)

    def _start(self, cluster: Cluster, step: Step) -> None:
        step.started = self._clock.now()
        self._enter(cluster, step, "RUNNING")
        jar = step.request["HadoopJarStep"]
        spec = StepSpec(
            job_flow_id=cluster.id,
            step_id=step.id,
            name=step.name,
            jar=jar["Jar"],
            args=tuple(jar.get("Args", ())),
            log_uri=cluster.request.get("LogUri"),
            instance_id=cluster.primary.id if cluster.primary else "",
            region=self._region,
            node_info=views.node_info(cluster, cluster.primary_pool),
        )
        self._runner.start(spec, lambda result: self._ended(cluster, step, result))

    def _ended(self, cluster: Cluster, step: Step, result: StepResult) -> None:
        with self._lock:
            if self._closed:
                return
            step.result = result
            if step.state == "CANCEL_PENDING":
                self._end(cluster, step, "CANCELLED", Reason(message="Cancelled by user"))
            elif result.succeeded:
                self._end(cluster, step, "COMPLETED", Reason())
            else:
                self._end(cluster, step, "FAILED", Reason(message=result.message))
                self._life.step_failed(cluster, step.action_on_failure)
            self.pump(cluster)

    def _end(self, cluster: Cluster, step: Step, state: str, reason: Reason) -> None:
        step.ended, step.reason = self._clock.now(), reason
        self._enter(cluster, step, state)

    def _enter(self, cluster: Cluster, step: Step, state: str) -> None:
        step.state = state
        self._record(cluster, step)

    def _record(self, cluster: Cluster, step: Step) -> None:
        self._events.append("step", job_flow_id=cluster.id, step_id=step.id, name=step.name, state=step.state)
