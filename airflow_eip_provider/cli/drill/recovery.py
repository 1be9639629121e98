"""
Watching a recovery from outside: which cluster has the service now, and when each part of it was there.

Nothing here depends on who does the failover, a DAG, a person or this command: it is read from EMR, EC2, the load
balancer and the lock store. A time is when something was seen, so it is late by one look at most; when a cluster was
launched, and when it was ready, EMR says itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.addresses import read_primaries
from airflow_eip_provider.aws.clusters import read_tagged_clusters
from airflow_eip_provider.aws.load_balancers import HEALTHY, Target, read_target_health
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, SUCCESSOR_TAG
from airflow_eip_provider.lease.record import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eip_provider.aws.addresses import Instance
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.cli.drill.scene import Scene

DETECTED, LAUNCHED, STARTED, BOUND, TARGETS, SERVICES = (
    "detected",
    "launched",
    "started",
    "bound",
    "targets",
    "services",
)
_CLOCKS_DIFFER_SECONDS = 600.0
# What each milestone is, for people.
MEANING = {
    DETECTED: "the failover began",
    LAUNCHED: "the standby was launched",
    STARTED: "the standby was ready",
    BOUND: "the address was on the standby",
    TARGETS: "the standby was healthy in every target group",
    SERVICES: "the standby's services answered",
}


@dataclass(frozen=True, slots=True)
class Moment:
    """
    Something that was seen.

    :param at: in seconds since the epoch.
    """

    at: float
    what: str


@dataclass
class Recovery:
    """
    What has been seen since the primary was stopped.

    :param scene: how it was before.
    :param began: when the primary was stopped, in seconds since the epoch.
    :param asks_services: this machine reaches the nodes.
    :param say: tells a person when what was seen.
    :ivar reached: when each milestone was reached.
    :ivar successor: the cluster that takes over, as soon as it is known.
    """

    scene: Scene
    began: float
    asks_services: bool
    say: Callable[[float, str], None]
    reached: dict[str, float] = field(default_factory=dict)
    timeline: list[Moment] = field(default_factory=list)
    successor: str | None = None
    _states: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> tuple[str, ...]:
        """The milestones of a whole recovery, in the order in which they are shown."""
        plan = self.scene.plan
        cold = (LAUNCHED,) if plan.is_cold else ()
        bound = (BOUND,) if plan.allocation_id else ()
        targets = (TARGETS,) if plan.target_groups else ()
        services = (SERVICES,) if self.asks_services and plan.services else ()
        return (DETECTED, *cold, STARTED, *bound, *targets, *services)

    @property
    def missing(self) -> tuple[str, ...]:
        """The milestones that were not reached yet."""
        return tuple(name for name in self.wanted if name not in self.reached)

    @property
    def recovered_at(self) -> float | None:
        """When the last of them was reached; ``None`` when one is missing."""
        return None if self.missing else max(self.reached[name] for name in self.wanted)

    def look(self, now: float) -> None:
        """Look at everything that is not there yet."""
        self._look_at_cluster(self.scene.plan.job_flow_id, "primary", now)
        if DETECTED not in self.reached and self.scene.plan.lock_store:
            self._look_at_lease(now)
        if BOUND not in self.reached and self.scene.plan.allocation_id:
            self._look_at_address(now)
        self.successor = self.successor or self.scene.plan.standby_id or next(iter(self.launched(now)), None)
        if self.successor is None:
            return
        cluster = self._look_at_cluster(self.successor, "standby", now)
        if cluster is not None:
            self._note_start(cluster, now)
        node = read_primaries(self.scene.ec2, [self.successor]).get(self.successor)
        if node is None or node.state != "running":
            return
        if TARGETS in self.missing:
            self._look_at_targets(node, now)
        if SERVICES in self.missing and set(self.missing) == {SERVICES}:
            self._look_at_services(node, now)

    def note(self, at: float, what: str) -> None:
        """Write something down, and say it."""
        self.timeline.append(Moment(at, what))
        self.say(at, what)

    def reach(self, name: str, at: float, how: str) -> None:
        """Write down that a milestone was reached; the first time counts."""
        if name not in self.reached:
            self.reached[name] = max(at, self.began)
            self.note(self.reached[name], f"{name}: {how}")

    def launched(self, now: float) -> list[str]:
        """
        Find the clusters that were launched since, those first that say that they follow the primary.

        They have the address's tag or, without an address, the name of a cold standby. How old they are is AWS's word,
        because this machine's clock may be wrong.
        """
        plan = self.scene.plan
        tags = {ALLOCATION_TAG: plan.allocation_id} if plan.allocation_id else {}
        found = read_tagged_clusters(self.scene.emr, tags=tags, created_after=self.began - _CLOCKS_DIFFER_SECONDS)
        name, oldest = (plan.job_flow or {}).get("Name"), now - self.began + 1
        new = [c for c in found if c.age is not None and c.age.total_seconds() <= oldest]
        follows = {c.job_flow_id: c.tags.get(SUCCESSOR_TAG) == plan.job_flow_id for c in new}
        fitting = [c.job_flow_id for c in new if plan.allocation_id or follows[c.job_flow_id] or c.name == name]
        known = {plan.job_flow_id, plan.standby_id}
        return sorted((c for c in fitting if c not in known), key=lambda c: not follows[c])

    def facts(self) -> dict[str, Any]:
        """Return when each milestone was reached, in seconds since the primary was stopped."""
        return {name: round(self.reached[name] - self.began) if name in self.reached else None for name in self.wanted}

    def _look_at_cluster(self, job_flow_id: str, role: str, now: float) -> Cluster | None:
        cluster = self.scene.hooks.emr.get_cluster(job_flow_id)
        state = cluster.state if cluster else "unknown to EMR"
        if self._states.get(job_flow_id) != state:
            self._states[job_flow_id] = state
            self.note(now, f"{role} {job_flow_id} is {state}")
        return cluster

    def _look_at_lease(self, now: float) -> None:
        """See whether another owner has the lease: a failover takes it over first."""
        store, allocation_id = self.scene.plan.lock_store, str(self.scene.plan.allocation_id)
        lease = self.scene.hooks.lease_client(store, allocation_id).read().record.lease
        before = self.scene.lease.snapshot.record.lease if self.scene.lease is not None else None
        if lease is None or (before is not None and lease.token == before.token):
            return
        doing = "" if lease.phase is Phase.ACTIVE else f" ({lease.phase.value})"
        self.reach(DETECTED, now, f"'{lease.attempt.name}' has the lease{doing}")

    def _look_at_address(self, now: float) -> None:
        address = self.scene.hooks.eip.get_address(str(self.scene.plan.allocation_id))
        holder = None if address is None or address.is_free else self.scene.hooks.eip.get_holder(address)
        where = holder.description if holder else "free"
        if self._seen.get("address") not in {None, where}:
            self.note(now, f"the address is {f'on {where}' if holder else where}")
        self._seen["address"] = where
        if holder is None or holder.job_flow_id in {None, self.scene.plan.job_flow_id}:
            return
        self.reach(DETECTED, now, "the address has moved")
        if self.scene.plan.standby_id in {None, holder.job_flow_id}:
            self.successor = holder.job_flow_id
            self.reach(BOUND, now, f"the address is on {where}")

    def _note_start(self, cluster: Cluster, now: float) -> None:
        """Note what EMR says of the start, by its own clock, and that a failover has chosen the cluster."""
        standby = self.scene.standby
        if standby is not None and SUCCESSOR_TAG in cluster.tags and SUCCESSOR_TAG not in standby.tags:
            self.reach(DETECTED, now, f"a failover goes to cluster {cluster.job_flow_id}")
        if cluster.age is None or cluster.created_at is None:
            return
        created = now - cluster.age.total_seconds()
        if self.scene.plan.is_cold:
            self.reach(DETECTED, created, f"cluster {cluster.job_flow_id} was launched")
            self.reach(LAUNCHED, created, f"cluster {cluster.job_flow_id}")
        if cluster.ready_at is not None and not cluster.is_ending:
            ready = created + (cluster.ready_at - cluster.created_at).total_seconds()
            if STARTED not in self.reached and not self.scene.plan.is_cold:
                self.reached[STARTED] = self.began  # it ran before
            self.reach(STARTED, ready, f"cluster {cluster.job_flow_id} is {cluster.state}")

    def _look_at_targets(self, node: Instance, now: float) -> None:
        states = list(self._target_states(node))
        shown = ", ".join(f"{name} {state}" for name, state in states)
        if self._seen.get("targets") != shown:
            self.note(now, f"targets of the standby: {shown}")
        registered = {state for _, state in states} - {"unused"}
        if registered and self._seen.get("targets") is not None:
            self.reach(DETECTED, now, "the standby was registered")
        self._seen["targets"] = shown
        if states and {state for _, state in states} == {HEALTHY}:
            self.reach(TARGETS, now, "the standby is healthy in every target group")

    def _target_states(self, node: Instance) -> Iterator[tuple[str, str]]:
        for name, port in self.scene.plan.target_groups:
            group = self.scene.groups[name]
            if group is not None:
                target_id = node.instance_id if group.target_type == "instance" else str(node.private_ip)
                (health,) = read_target_health(self.scene.elbv2, group.arn, [Target(target_id, port or group.port)])
                yield group.name, health.state

    def _look_at_services(self, node: Instance, now: float) -> None:
        results = self.scene.ask(node)
        if results and not any(result.failed for result in results):
            self.reach(SERVICES, now, f"{', '.join(result.check for result in results)} answer")
