"""
Observing a recovery from outside: which cluster has the service now, and when each milestone was reached.

This does not depend on what does the failover (a DAG, a person or this command): it reads EMR, EC2, the load balancer
and the lock store. A time is when a poll showed the change, so it is late by one poll interval at most. EMR itself says
when a cluster was launched and when it was ready.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.addresses import read_primaries
from airflow_eip_provider.aws.clusters import read_tagged_clusters
from airflow_eip_provider.aws.load_balancers import HEALTHY, Target, read_target_health
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, SUCCESSOR_TAG
from airflow_eip_provider.lease.record import Phase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eip_provider.aws.addresses import Instance
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.cli.drill.resources import Resources

DETECTED, LAUNCHED, STARTED, BOUND, TARGETS, SERVICES = (
    "detected",
    "launched",
    "started",
    "bound",
    "targets",
    "services",
)
_CLOCKS_DIFFER_SECONDS = 600.0
# A description of each milestone.
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
    An entry of the timeline.

    :param at: in seconds since the epoch.
    """

    at: float
    what: str


@dataclass
class Recovery:
    """
    What was observed since the primary was stopped.

    :param resources: the state before the stop.
    :param began: when the primary was stopped, in seconds since the epoch.
    :param checks_services: this machine reaches the nodes.
    :param say: prints an entry of the timeline.
    :ivar reached: when each milestone was reached.
    :ivar successor: the cluster that takes over, as soon as it is known.
    """

    resources: Resources
    began: float
    checks_services: bool
    say: Callable[[float, str], None]
    reached: dict[str, float] = field(default_factory=dict)
    timeline: list[Moment] = field(default_factory=list)
    successor: str | None = None
    _states: dict[str, str] = field(default_factory=dict)
    _address_state: str | None = None
    _target_states: str | None = None

    @property
    def milestones(self) -> tuple[str, ...]:
        """The milestones of this recovery, in the order in which they are shown."""
        plan = self.resources.plan
        applies = {
            DETECTED: True,
            LAUNCHED: plan.is_cold,
            STARTED: True,
            BOUND: bool(plan.allocation_id),
            TARGETS: bool(plan.groups),
            SERVICES: self.checks_services,
        }
        return tuple(name for name, does_apply in applies.items() if does_apply)

    @property
    def missing(self) -> tuple[str, ...]:
        """The milestones that were not reached yet."""
        return tuple(name for name in self.milestones if name not in self.reached)

    @property
    def recovered_at(self) -> float | None:
        """When the last milestone was reached; ``None`` when one is missing."""
        return None if self.missing else max(self.reached[name] for name in self.milestones)

    def poll(self, now: float) -> None:
        """Read the state of everything that has not recovered yet."""
        plan = self.resources.plan
        self._poll_cluster(plan.job_flow_id, "primary", now)
        if DETECTED not in self.reached and plan.lock_store:
            self._poll_lease(now)
        if BOUND not in self.reached and plan.allocation_id:
            self._poll_address(now)
        self.successor = self.successor or plan.standby_job_flow_id or next(iter(self.new_clusters(now)), None)
        if self.successor is None:
            return
        cluster = self._poll_cluster(self.successor, "standby", now)
        if cluster is not None:
            self._note_start(cluster, now)
        node = read_primaries(self.resources.ec2, [self.successor]).get(self.successor)
        if node is None or node.state != "running":
            return
        if TARGETS in self.missing:
            self._poll_targets(node, now)
        if self.missing == (SERVICES,):
            self._poll_services(node, now)

    def note(self, at: float, what: str) -> None:
        """Add an entry to the timeline, and print it."""
        self.timeline.append(Moment(at, what))
        self.say(at, what)

    def reach(self, name: str, at: float, how: str) -> None:
        """Record that a milestone was reached; only the first time counts."""
        if name not in self.reached:
            self.reached[name] = max(at, self.began)
            self.note(self.reached[name], f"{name}: {how}")

    def new_clusters(self, now: float) -> list[str]:
        """
        Find the clusters that were launched since the stop; those whose tag names the primary come first.

        They have the address's tag or, without an address, the name of the cold standby. AWS says how old they are,
        because this machine's clock may be wrong.
        """
        plan = self.resources.plan
        tags = {ALLOCATION_TAG: plan.allocation_id} if plan.allocation_id else {}
        since = self.began - _CLOCKS_DIFFER_SECONDS
        clusters = read_tagged_clusters(self.resources.emr, tags=tags, created_after=since)
        name, oldest = (plan.job_flow_overrides or {}).get("Name"), now - self.began + 1
        new = [c for c in clusters if c.age is not None and c.age.total_seconds() <= oldest]
        follows = {c.job_flow_id: c.tags.get(SUCCESSOR_TAG) == plan.job_flow_id for c in new}
        matching = [c.job_flow_id for c in new if plan.allocation_id or follows[c.job_flow_id] or c.name == name]
        ids = [c for c in matching if c not in {plan.job_flow_id, plan.standby_job_flow_id}]
        return sorted(ids, key=lambda job_flow_id: not follows[job_flow_id])

    def facts(self) -> dict[str, int | None]:
        """Return when each milestone was reached, in seconds since the primary was stopped."""
        return {
            name: round(self.reached[name] - self.began) if name in self.reached else None for name in self.milestones
        }

    def _poll_cluster(self, job_flow_id: str, role: str, now: float) -> Cluster | None:
        cluster = self.resources.hooks.emr.get_cluster(job_flow_id)
        state = cluster.state if cluster else "unknown to EMR"
        if self._states.get(job_flow_id) != state:
            self._states[job_flow_id] = state
            self.note(now, f"{role} {job_flow_id} is {state}")
        return cluster

    def _poll_lease(self, now: float) -> None:
        """Check whether another owner has the lease: a failover first takes it over."""
        store, allocation_id = self.resources.plan.lock_store, str(self.resources.plan.allocation_id)
        lease = self.resources.hooks.lease_client(store, allocation_id).read().record.lease
        before = self.resources.lease.snapshot.record.lease if self.resources.lease is not None else None
        if lease is None or (before is not None and lease.token == before.token):
            return
        phase = "" if lease.phase is Phase.ACTIVE else f" ({lease.phase.value})"
        self.reach(DETECTED, now, f"'{lease.attempt.name}' has the lease{phase}")

    def _poll_address(self, now: float) -> None:
        plan, eip = self.resources.plan, self.resources.hooks.eip
        address = eip.get_address(str(plan.allocation_id))
        holder = None if address is None or address.is_free else eip.get_holder(address)
        state = f"on {holder.description}" if holder else "free"
        if self._address_state not in {None, state}:
            self.note(now, f"the address is {state}")
        self._address_state = state
        if holder is None or holder.job_flow_id in {None, plan.job_flow_id}:
            return
        self.reach(DETECTED, now, "the address has moved")
        if plan.standby_job_flow_id in {None, holder.job_flow_id}:
            self.successor = holder.job_flow_id
            self.reach(BOUND, now, f"the address is {state}")

    def _note_start(self, cluster: Cluster, now: float) -> None:
        """Record the times of the start by EMR's clock, and that a failover has chosen the cluster."""
        standby, is_cold = self.resources.standby, self.resources.plan.is_cold
        if standby is not None and cluster.tags.get(SUCCESSOR_TAG) and not standby.tags.get(SUCCESSOR_TAG):
            self.reach(DETECTED, now, f"a failover goes to cluster {cluster.job_flow_id}")
        if cluster.age is None or cluster.created_at is None:
            return
        created = now - cluster.age.total_seconds()
        if is_cold:
            self.reach(DETECTED, created, f"cluster {cluster.job_flow_id} was launched")
            self.reach(LAUNCHED, created, f"cluster {cluster.job_flow_id}")
        if cluster.ready_at is None or cluster.is_ending:
            return
        if is_cold:
            ready = created + (cluster.ready_at - cluster.created_at).total_seconds()
            self.reach(STARTED, ready, f"cluster {cluster.job_flow_id} is {cluster.state}")
        else:
            self.reached.setdefault(STARTED, self.began)  # it was running before

    def _poll_targets(self, node: Instance, now: float) -> None:
        states = list(self._read_target_states(node))
        shown = ", ".join(f"{name} {state}" for name, state in states)
        if self._target_states != shown:
            self.note(now, f"targets of the standby: {shown}")
        distinct = {state for _, state in states}
        if self._target_states is not None and distinct - {"unused"}:
            self.reach(DETECTED, now, "the standby was registered")
        self._target_states = shown
        if distinct == {HEALTHY}:
            self.reach(TARGETS, now, "the standby is healthy in every target group")

    def _read_target_states(self, node: Instance) -> Iterator[tuple[str, str]]:
        for name, port in self.resources.plan.groups:
            group = self.resources.groups[name]
            if group is not None:
                target_id = node.instance_id if group.target_type == "instance" else str(node.private_ip)
                target = Target(target_id, port or group.port)
                (health,) = read_target_health(self.resources.elbv2, group.arn, [target])
                yield group.name, health.state

    def _poll_services(self, node: Instance, now: float) -> None:
        results = self.resources.check_services(node)
        if results and not any(result.failed for result in results):
            self.reach(SERVICES, now, f"{', '.join(result.check for result in results)} answer")
