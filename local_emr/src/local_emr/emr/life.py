"""The life of clusters, from STARTING to TERMINATED, on the simulated clock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_emr.ec2.addresses import JOB_FLOW_TAG
from local_emr.ec2.zones import NO_CAPACITY
from local_emr.emr.bootstrap import Bootstrap
from local_emr.emr.cluster import ENDED, OPEN, READY, UNFINISHED_STEP, Cluster, Pool, Reason
from local_emr.emr.queue import StepQueue
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.ec2.api import Ec2
    from local_emr.emr.steps import StepRunner
    from local_emr.events import EventLog
    from local_emr.faults import Faults

ROLE_TAG = "aws:elasticmapreduce:instance-group-role"
USER_REQUEST = Reason("USER_REQUEST", "Terminated by user request")
STEPS_COMPLETED = Reason("ALL_STEPS_COMPLETED", "Steps completed")
STEP_FAILED = Reason("STEP_FAILURE", "Shut down as step failed")
# EMR's code is not documented here; clients should use the state.
IDLE = Reason("USER_REQUEST", "Terminated by the auto-termination policy: idle for too long")
PRIMARY_GONE = Reason("INSTANCE_FAILURE", "The master instance was terminated")
_ERROR_DOCS = "https://docs.aws.amazon.com/emr/latest/ManagementGuide"


class ClusterLife:
    """Moves clusters, with their instances and steps, through their states."""

    def __init__(
        self,
        *,
        region: str,
        clock: Clock,
        events: EventLog,
        faults: Faults,
        durations: Durations,
        ec2: Ec2,
        runner: StepRunner,
        lock: Any,
    ) -> None:
        self.clock = clock
        self._events = events
        self._faults = faults
        self._durations = durations
        self._ec2 = ec2
        self._clusters: dict[str, Cluster] = {}
        self.queue = StepQueue(region=region, clock=clock, events=events, runner=runner, lock=lock, life=self)
        self._actions = Bootstrap(
            region=region,
            events=events,
            runner=runner,
            lock=lock,
            life=self,
            time_limit_seconds=durations.bootstrap_action_limit,
        )
        ec2.instances.on_terminated.append(self._user_ended)

    def parts(self) -> Iterator[Any]:
        """Yield every object whose attributes are EMR's state."""
        yield self
        for cluster in self.clusters:
            yield cluster
            yield from cluster.steps
            for pool in cluster.pools:
                yield pool
                yield from pool.nodes

    @property
    def clusters(self) -> list[Cluster]:
        """All clusters since the last reset, oldest first."""
        return list(self._clusters.values())

    def newest_first(self) -> Iterator[Cluster]:
        """Yield the clusters without copying the list; the caller holds the lock."""
        return reversed(self._clusters.values())

    def find(self, job_flow_id: str) -> Cluster | None:
        """Return a cluster."""
        return self._clusters.get(job_flow_id)

    def close(self) -> None:
        """Stop all steps and bootstrap actions; clusters keep their state."""
        self.queue.close(self.clusters)
        self._actions.close(self.clusters)

    def find_step(self, step_id: str) -> Cluster | None:
        """Return the cluster of a step."""
        return next((c for c in self.clusters if any(step.id == step_id for step in c.steps)), None)

    def begin(self, cluster: Cluster) -> None:
        """Add a new cluster and start it."""
        self._clusters[cluster.id] = cluster
        self._events.append("cluster", job_flow_id=cluster.id, **{"from": None, "to": "STARTING", "reason": None})
        self._later(cluster, "STARTING", self._durations.fulfilment, self._launch, "gets its instances")
        self._later(cluster, "STARTING", self._durations.starting, self._starting_time_is_over, "bootstraps")
        self._maybe_fail(cluster)

    def terminate(self, cluster: Cluster, reason: Reason, *, fails: bool = False) -> None:
        """Start to terminate a cluster: cancel steps, shut down instances. Repeated calls have no effect.

        :param fails: End as TERMINATED_WITH_ERRORS.
        """
        if cluster.state not in OPEN:
            return
        cluster.fails = fails
        self.enter(cluster, "TERMINATING", reason)
        self.queue.cancel_all(cluster)
        self._actions.cancel_all(cluster)
        self._ec2.instances.shut_down(node.instance for node in cluster.nodes() if node.instance is not None)
        self._later(cluster, "TERMINATING", self._durations.terminating, self._end, "ends")

    def end_now(self, cluster: Cluster, reason: Reason, *, fails: bool) -> None:
        """End a cluster without the TERMINATING state; its instances still take time to shut down."""
        self.terminate(cluster, reason, fails=fails)
        if cluster.state == "TERMINATING":
            cluster.fails, cluster.reason = fails, reason
            self._end(cluster)

    def interrupt_spot(self, cluster: Cluster) -> None:
        """Interrupt a primary node's Spot Instance, which ends the cluster.

        :raises ValueError: When the primary node is not a Spot Instance, or does not exist.
        """
        if cluster.primary_pool.market != "SPOT" or cluster.primary is None or cluster.state not in OPEN:
            raise ValueError(f"cluster {cluster.id!r} has no Spot Instance as its primary node now")
        code = "INTERNAL_ERROR_SPOT_PRICE_INCREASE_PRIMARY"
        data = (("primary-instance-id", str(cluster.primary.id)), ("public-doc", f"{_ERROR_DOCS}/{code}.html"))
        message = "The Spot Instance of the primary node was terminated, as its price exceeds the maximum price"
        self.terminate(cluster, Reason("INTERNAL_ERROR", message, code, data), fails=True)
        self._ec2.instances.lose([node.instance for node in cluster.primary_pool.nodes])

    def replace_primary(self, cluster: Cluster) -> None:
        """Replace a cluster's primary instance, as EMR does after a failure; the old one shuts down."""
        pool = cluster.primary_pool
        node = next((node for node in pool.nodes if node.instance is not None), None)
        if cluster.state not in OPEN or node is None:
            return
        self._ec2.instances.shut_down([node.instance])
        node.instance = self._instance(cluster, pool)
        if cluster.state != "STARTING" and cluster.bootstrap_actions:
            self._actions.forget(node)
            self.clock.call_later(
                self._durations.instance_boot,
                lambda: self._actions.begin_again(cluster, node),
                name=f"{node.instance.id} bootstraps",
            )

    def bootstrapped(self, cluster: Cluster) -> None:
        """Set a cluster to RUNNING when its time in BOOTSTRAPPING is over and every bootstrap action has succeeded."""
        is_over = cluster.bootstrap_time_is_over and not cluster.hangs
        if cluster.state == "BOOTSTRAPPING" and is_over and self._actions.is_done(cluster):
            self._become_ready(cluster)

    def settle(self, cluster: Cluster) -> None:
        """Update a ready cluster's state from its queue: RUNNING, WAITING or TERMINATING."""
        if cluster.state not in READY:
            return
        if cluster.steps_in(*UNFINISHED_STEP):
            self.enter(cluster, "RUNNING", Reason(message="Running step"))
        elif cluster.keep_alive:
            after = "after last step completed" if cluster.steps else "to run steps"
            self.enter(cluster, "WAITING", Reason(message=f"Cluster ready {after}."))
        else:
            self.terminate(cluster, STEPS_COMPLETED)
        self.watch_idleness(cluster)

    def watch_idleness(self, cluster: Cluster) -> None:
        """Reset the auto-termination timer when the cluster became idle or its policy changed."""
        if cluster.idle_timer is not None:
            cluster.idle_timer.cancel()
            cluster.idle_timer = None
        if cluster.state == "WAITING" and cluster.idle_timeout is not None:
            cluster.idle_timer = self.clock.call_later(
                cluster.idle_timeout, lambda: self._idle(cluster), name=f"{cluster.id} has been idle"
            )

    def enter(self, cluster: Cluster, state: str, reason: Reason) -> None:
        """Set a cluster's state; no effect if it is already in that state."""
        if cluster.state == state:
            return
        self._events.append(
            "cluster",
            job_flow_id=cluster.id,
            **{"from": cluster.state, "to": state, "reason": {"Code": reason.code, "Message": reason.message}},
        )
        cluster.state, cluster.reason = state, reason
        self._maybe_fail(cluster)

    def step_failed(self, cluster: Cluster, action: str) -> None:
        """Apply a failed step's ActionOnFailure to the cluster.

        Termination protection also applies to a step's failure (docs: EMR API, SetTerminationProtection: "cannot be
        terminated by user intervention, an API call, or in the event of a job flow error").
        """
        if action == "TERMINATE_CLUSTER" and not cluster.termination_protected:
            self.terminate(cluster, STEP_FAILED, fails=True)
        elif action != "CONTINUE":
            self.queue.cancel_pending(cluster)

    def _launch(self, cluster: Cluster) -> None:
        """Launch every node's instance; without capacity, a primary node ends the cluster and workers are retried."""
        for pool, node in sorted(cluster.members(), key=lambda member: member[0].role != "MASTER"):
            node.state = "PROVISIONING"
            if node.instance is not None:
                continue
            try:
                node.instance = self._instance(cluster, pool)
            except AwsError as error:
                if error.code != NO_CAPACITY:
                    raise
                if pool.role == "MASTER":
                    self.terminate(cluster, _no_capacity(cluster, pool, error.message), fails=True)
                    return
        if all(node.instance is not None for node in cluster.nodes()):
            if cluster.starting_time_is_over:  # the last instance is still booting
                self._later(cluster, "STARTING", self._durations.instance_boot, self._bootstrap, "bootstraps")
        else:
            self._later(cluster, "STARTING", self._durations.capacity_retry, self._launch, "gets its instances")

    def _starting_time_is_over(self, cluster: Cluster) -> None:
        cluster.starting_time_is_over = True
        if all(node.instance is not None for node in cluster.nodes()):
            self._bootstrap(cluster)

    def _instance(self, cluster: Cluster, pool: Pool) -> Any:
        kind, given = "Master" if pool.role == "MASTER" else "Slave", cluster.request["Instances"]
        managed = given.get(f"EmrManaged{kind}SecurityGroup")
        further = given.get(f"Additional{kind}SecurityGroups") or ()
        return self._ec2.instances.launch(
            subnet_id=cluster.subnet.id,
            instance_type=pool.instance_type,
            tags={**cluster.tags, JOB_FLOW_TAG: cluster.id, ROLE_TAG: pool.role},
            group_ids=[*([managed] if managed else []), *further],
        )

    def _bootstrap(self, cluster: Cluster) -> None:
        if cluster.hangs:
            return
        for node in cluster.nodes():
            node.state = "BOOTSTRAPPING"
        self._later(cluster, "BOOTSTRAPPING", self._durations.bootstrapping, self._bootstrap_time_is_over, "is ready")
        self.enter(cluster, "BOOTSTRAPPING", Reason())
        self._actions.begin(cluster)

    def _bootstrap_time_is_over(self, cluster: Cluster) -> None:
        cluster.bootstrap_time_is_over = True
        self.bootstrapped(cluster)

    def _become_ready(self, cluster: Cluster) -> None:
        cluster.ready = self.clock.now()
        for node in cluster.nodes():
            node.state, node.ready = "RUNNING", cluster.ready
        if cluster.steps_in("PENDING"):
            self.enter(cluster, "RUNNING", Reason(message="Running step"))
            self.queue.pump(cluster)
        else:
            self.enter(cluster, "RUNNING", Reason())
            self.settle(cluster)

    def _end(self, cluster: Cluster) -> None:
        cluster.ended = self.clock.now()
        for node in cluster.nodes():
            node.state, node.ended = "TERMINATED", cluster.ended
        self.enter(cluster, "TERMINATED_WITH_ERRORS" if cluster.fails else "TERMINATED", cluster.reason)

    def _idle(self, cluster: Cluster) -> None:
        if cluster.state == "WAITING" and not cluster.termination_protected:
            self.terminate(cluster, IDLE)

    def _user_ended(self, instance: Any) -> None:
        for cluster in self.clusters:
            if cluster.state not in ENDED and cluster.primary is instance:
                self.terminate(cluster, PRIMARY_GONE, fails=True)

    def _maybe_fail(self, cluster: Cluster) -> None:
        fault = self._faults.take_cluster_fault(cluster.state)
        if fault is None:
            return
        what = "hangs" if fault.hangs else "cluster"
        self._events.append("fault", job_flow_id=cluster.id, fault=what, state=fault.state, code=fault.code or None)
        if fault.hangs:
            cluster.hangs = True
            return
        reason = Reason(fault.code, fault.message)
        self._later(
            cluster,
            fault.state,
            fault.after_seconds,
            lambda failing: self.terminate(failing, reason, fails=True),
            "fails",
        )

    def _later(self, cluster: Cluster, state: str, seconds: float, then: Any, what: str) -> None:
        """Call a function later, if the cluster is in a given state then."""

        def act() -> None:
            if cluster.state == state:
                then(cluster)

        self.clock.call_later(seconds, act, name=f"{cluster.id} {what}")


def _no_capacity(cluster: Cluster, pool: Pool, message: str) -> Reason:
    """Return EMR's reason when a zone has no capacity for a primary node.

    (Docs: EMR management guide, "Internal error codes". The code in StateChangeReason is not documented for them; their
    names begin with it.)
    """
    spot = pool.market == "SPOT"
    code = "INTERNAL_ERROR_SPOT_NO_CAPACITY_PRIMARY" if spot else "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
    data = {
        "instance-type": pool.instance_type,
        "availability-zone": str(cluster.subnet.availability_zone),
        "public-doc": f"{_ERROR_DOCS}/{code}.html",
    }
    return Reason("INTERNAL_ERROR", message, code, tuple(data.items()))
