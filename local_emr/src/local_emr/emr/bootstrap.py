"""Bootstrap actions, which run on every node before its cluster is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from local_emr.emr import views
from local_emr.emr.cluster import OPEN, Reason
from local_emr.emr.steps import CANCELLED, SCRIPT_NOT_FOUND, TIMED_OUT, BootstrapActionSpec

if TYPE_CHECKING:
    from local_emr.emr.cluster import Cluster, Node, Pool
    from local_emr.emr.steps import StepResult, StepRunner
    from local_emr.events import EventLog

CODE = "BOOTSTRAP_FAILURE"
_SHOWN = 2  # when several workers failed


class Life(Protocol):
    """Callbacks to the cluster."""

    def bootstrapped(self, cluster: Cluster) -> None:
        """Process that a node's bootstrap actions have all succeeded."""

    def terminate(self, cluster: Cluster, reason: Reason, *, fails: bool = False) -> None:
        """Terminate the cluster."""


class Bootstrap:
    """Runs a cluster's actions in order on each node, with all nodes in parallel, and processes their results.

    A failure on the primary node ends the cluster at once; a failure on a worker does when no other worker is still
    running, so that the reason lists every failed one. (EMR would first retry some workers on new instances.)

    :param time_limit_seconds: How long one action may take.
    """

    def __init__(
        self, *, region: str, events: EventLog, runner: StepRunner, lock: Any, life: Life, time_limit_seconds: float
    ) -> None:
        self._region = region
        self._events = events
        self._runner = runner
        self._lock = lock
        self._life = life
        self._time_limit_seconds = time_limit_seconds
        self._closed = False

    def begin(self, cluster: Cluster) -> None:
        """Start the first action on every node."""
        for pool, node in cluster.members():
            self._next(cluster, pool, node)

    def begin_again(self, cluster: Cluster, node: Node) -> None:
        """Start the first action on a node whose instance was replaced."""
        if cluster.state in OPEN:
            pool = next(pool for pool, member in cluster.members() if member is node)
            self._next(cluster, pool, node)

    def forget(self, node: Node) -> None:
        """Cancel what runs on a node whose instance is replaced; the new one starts from the first action."""
        action, node.action = node.action, None
        node.actions_done, node.failure = 0, None
        if action is not None:
            self._runner.cancel(action.id)

    def is_done(self, cluster: Cluster) -> bool:
        """Return whether every action has succeeded on every node."""
        return all(node.actions_done == len(cluster.bootstrap_actions) for node in cluster.nodes())

    def cancel_all(self, cluster: Cluster) -> None:
        """Cancel what runs on all nodes."""
        for node in cluster.nodes():
            if node.action is not None:
                self._runner.cancel(node.action.id)

    def close(self, clusters: list[Cluster]) -> None:
        """Cancel everything and ignore the results."""
        self._closed = True
        for cluster in clusters:
            self.cancel_all(cluster)

    def _next(self, cluster: Cluster, pool: Pool, node: Node) -> None:
        if node.actions_done == len(cluster.bootstrap_actions):
            self._life.bootstrapped(cluster)
            return
        request = cluster.bootstrap_actions[node.actions_done]
        script = request["ScriptBootstrapAction"]
        action = BootstrapActionSpec(
            job_flow_id=cluster.id,
            number=node.actions_done + 1,
            name=request["Name"],
            args=(script["Path"], *script.get("Args", ())),
            instance_id=node.instance.id,
            region=self._region,
            log_uri=cluster.request.get("LogUri"),
            node_info=views.node_info(cluster, pool),
            time_limit_seconds=self._time_limit_seconds,
        )
        node.action = action
        self._record(action, "RUNNING")
        self._runner.start(action, lambda result: self._ended(cluster, pool, node, action, result))

    def _ended(self, cluster: Cluster, pool: Pool, node: Node, action: BootstrapActionSpec, result: StepResult) -> None:
        with self._lock:
            if self._closed:
                return
            state = "COMPLETED" if result.succeeded else "CANCELLED" if result == CANCELLED else "FAILED"
            self._record(action, state, exit_code=result.exit_code, reason=result.reason)
            if node.action is not action:
                return  # its instance was replaced
            node.action = None
            if cluster.state not in OPEN:
                return
            if result.succeeded:
                node.actions_done += 1
                self._next(cluster, pool, node)
            else:
                node.failure = result
            self._judge(cluster)

    def _judge(self, cluster: Cluster) -> None:
        """End the cluster if its nodes' failures require it."""
        failed = [(pool, node) for pool, node in cluster.members() if node.failure is not None]
        primaries = [node for pool, node in failed if pool.role == "MASTER"]
        workers = [node for pool, node in failed if pool.role != "MASTER"]
        if primaries:
            self._fail(cluster, f"the master instance ({primaries[0].instance.id})", primaries[0])
        elif workers and not any(node.action for pool, node in cluster.members() if pool.role != "MASTER"):
            first = workers[0]
            alike = [node.instance.id for node in workers if _kind(node) == _kind(first)]
            plural = "s" if len(alike) > 1 else ""
            including = " and ".join(alike[:_SHOWN])
            self._fail(cluster, f"{len(alike)} slave instance{plural} (including {including})", first)

    def _fail(self, cluster: Cluster, nodes: str, node: Node) -> None:
        """End the cluster with EMR's message."""
        number, reason = _kind(node)
        if reason == SCRIPT_NOT_FOUND:
            subject = nodes.removeprefix("the ").replace("master", "Master")
            message = f"{subject} failed attempting to download bootstrap action {number} file from S3"
        elif reason == TIMED_OUT:
            message = f"On {nodes}, bootstrap action {number} timed out executing"
        else:
            message = f"On {nodes}, bootstrap action {number} returned a non-zero return code"
        self._life.terminate(cluster, Reason(CODE, message), fails=True)

    def _record(self, action: BootstrapActionSpec, state: str, **fields: Any) -> None:
        self._events.append(
            "bootstrap_action",
            job_flow_id=action.job_flow_id,
            instance_id=action.instance_id,
            number=action.number,
            name=action.name,
            state=state,
            **fields,
        )


def _kind(node: Node) -> tuple[int, str | None]:
    """Return the action that failed on a node, and its failure."""
    return node.actions_done + 1, node.failure.reason if node.failure else None
