"""Watching where an Elastic IP is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_eip_provider import clock
from airflow_eip_provider.aws.tags import CLUSTER_TAG
from airflow_eip_provider.triggers.second_look import SecondLook
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.addresses import Address, Holder, Instance
    from airflow_eip_provider.aws.clusters import ClusterStatus
    from airflow_eip_provider.triggers.observed import Observed, Wants


def judge_association(
    observed: Observed,
    allocation_id: str,
    *,
    job_flow_id: str | None = None,
    instance_id: str | None = None,
    like: Mapping[str, str] | None = None,
    expect: Literal["associated", "free"],
    or_left: bool = False,
    was_bound: bool = False,
) -> Verdict:
    """
    Judge where the address is.

    It fails, with EMR's own reason, when the cluster that it is about can never carry the address any more. A cluster
    carries it when it leaves from it, see :func:`~airflow_eip_provider.aws.egress.read_unbound`; an instance does
    on any of its interfaces. A cluster that waits for the address to be free is done, too, when any of its instances
    has the address, or another cluster that is ``like`` it does: who waits looks closer then.

    A failure that may be a stale answer is marked for a :class:`~airflow_eip_provider.triggers.second_look.SecondLook`.

    :param or_left: with "free", it is enough that a NAT gateway has it whose cluster has ended.
    :param was_bound: with "associated", the address was bound to the cluster before: it fails when it is elsewhere.
    """
    address = observed.address(allocation_id)
    if address is None:
        return Verdict("failed", f"Elastic IP '{allocation_id}' does not exist any more", {"gone": "address"})
    if job_flow_id:
        status = observed.status(job_flow_id)
        if status is None or status.is_ending:
            return _cluster_gone(job_flow_id, status)
    lost: dict[str, Any] = {}
    if address.is_free:
        if was_bound:
            lost = {"gone": "binding", "place": "not associated", "unconfirmed": "not associated"}
        return Verdict(
            "failed" if was_bound else "done" if expect == "free" else "pending",
            f"Elastic IP {allocation_id} ({address.public_ip}) is free",
            {**address.facts(job_flow_id=None), **lost},
        )
    holder = observed.holder(address)
    place, unbound = f"on {holder.description}", None
    if job_flow_id and expect == "associated":
        unbound = _unbound(observed, address, holder, job_flow_id)
        place = unbound or place
    message = f"Elastic IP {allocation_id} ({address.public_ip}) is {place}"
    facts = {**address.facts(job_flow_id=holder.job_flow_id), "holder": holder.description}
    if expect == "associated":
        there = unbound is None and (instance_id is None or address.instance_id == instance_id)
        if was_bound and not there:
            lost = {"gone": "binding", "place": place, "unconfirmed": place}
            return Verdict("failed", message, {**facts, **lost})
        return Verdict("done" if there else "pending", message, facts)
    same = job_flow_id is not None and (
        holder.job_flow_id == job_flow_id or (like is not None and like.items() <= holder.tags.items())
    )
    if or_left and not same and holder.gateway is not None and holder.job_flow_id is not None:
        carrying = observed.status(holder.job_flow_id)
        same = carrying is not None and carrying.has_ended and not holder.gateway.is_ending
    return Verdict("done" if same else "pending", message, facts)


def _unbound(observed: Observed, address: Address, holder: Holder, job_flow_id: str) -> str | None:
    """Return where the address is, if not on this cluster."""
    elsewhere = holder.gateway is None and holder.job_flow_id != job_flow_id
    cluster = None if elsewhere else observed.cluster(job_flow_id)
    return f"on {holder.description}" if cluster is None else observed.unbound(address, holder, cluster)


def _cluster_gone(job_flow_id: str, cluster: ClusterStatus | None) -> Verdict:
    state, reason = (cluster.state, cluster.reason) if cluster else ("unknown", "EMR does not know it")
    found = {"gone": "cluster", "job_flow_id": job_flow_id, "state": state, "reason": reason}
    if cluster is None:
        found["unconfirmed"] = reason  # EMR may not know a new cluster everywhere
    return Verdict("failed", f"Cluster '{job_flow_id}' is {state}: {reason}", found)


@dataclass(kw_only=True, eq=False, repr=False)
class EipAssociationTrigger(WatchTrigger):
    """
    Wait until an Elastic IP is on a cluster or an instance, or is free.

    :param expect: "associated" or "free". With "free" and a ``job_flow_id``, the cluster is the one that waits for the
        address: the watch fails when it ends.
    :param like: tags of this cluster; another that has them will do.
    :param or_left: with "free", it is enough that a NAT gateway has it whose cluster has ended.
    :param was_bound: with "associated", the address was bound to the cluster before: the watch fails when it is not.
    :param since: when the wait began, in seconds since the epoch; EC2 may not show yet what was bound just before.
    """

    allocation_id: str
    job_flow_id: str | None = None
    instance_id: str | None = None
    like: dict[str, str] | None = None
    expect: Literal["associated", "free"] = "associated"
    or_left: bool = False
    was_bound: bool = False
    since: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._second_look = SecondLook(self.since)

    def announce(self, wants: Wants) -> None:
        """Say that the address and the cluster will be asked for."""
        wants.addresses.add(self.allocation_id)
        if self.job_flow_id:
            wants.clusters.add(self.job_flow_id)

    def judge(self, observed: Observed) -> Verdict:
        """Judge where the address is."""
        found = judge_association(
            observed,
            self.allocation_id,
            job_flow_id=self.job_flow_id,
            instance_id=self.instance_id,
            like=self.like,
            expect=self.expect,
            or_left=self.or_left,
            was_bound=self.was_bound,
        )
        return self._second_look.judge(found, now=clock.time())


@dataclass(kw_only=True, eq=False, repr=False)
class InstanceRunningTrigger(WatchTrigger):
    """
    Wait until an EC2 instance runs and shows its primary network interface.

    :param instance_id: the instance.
    """

    instance_id: str

    def announce(self, wants: Wants) -> None:
        """Say that the instance will be asked for."""
        wants.instances.add(self.instance_id)

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the instance can carry an address."""
        return judge_instance(self.instance_id, observed.instance(self.instance_id))


def judge_instance(instance_id: str, instance: Instance | None) -> Verdict:
    """
    Judge whether an instance can carry an address: AssociateAddress refuses a pending one.

    :param instance: ``None`` while EC2 does not show it.
    """
    state = instance.state if instance else "not visible yet"
    data = {"instance_id": instance_id, "state": state}
    if instance and instance.state == "running" and instance.network_interface_id:
        found = {
            **data,
            "network_interface_id": instance.network_interface_id,
            "job_flow_id": instance.tags.get(CLUSTER_TAG),
        }
        return Verdict("done", f"Instance {instance_id} is running", found)
    if state in {"shutting-down", "terminated", "stopping", "stopped"}:
        return Verdict("failed", f"Instance '{instance_id}' is {state}", data)
    return Verdict("pending", f"Instance {instance_id} is {state}", data)
