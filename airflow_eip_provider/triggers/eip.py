"""Waiting for the association of an Elastic IP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from airflow_eip_provider import clock
from airflow_eip_provider.aws.instance_status import GONE_STATES
from airflow_eip_provider.aws.tags import CLUSTER_TAG
from airflow_eip_provider.triggers.second_look import SecondLook
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.addresses import Address, Holder, Instance
    from airflow_eip_provider.aws.clusters import ClusterStatus
    from airflow_eip_provider.triggers.observed import Observed, Wants


def judge_gone(job_flow_id: str, cluster: ClusterStatus | None) -> Verdict:
    """Return the failure of a wait for a cluster that is ending, has ended, or is unknown to EMR."""
    state, reason = (cluster.state, cluster.reason) if cluster else ("unknown", "EMR does not know it")
    data = {"gone": "cluster", "job_flow_id": job_flow_id, "state": state, "reason": reason}
    if cluster is None:
        data["unconfirmed"] = reason  # EMR's reads may not show a new cluster yet
    return Verdict("failed", f"Cluster '{job_flow_id}' is {state}: {reason}", data)


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

    With "associated", a cluster has the address if its traffic leaves from it (see
    :func:`~airflow_eip_provider.aws.egress.read_unbound`); an instance has it on any of its interfaces. With "free",
    the verdict is also "done" when an instance of the cluster, or of a cluster that is ``like`` it, has the address:
    the operator then checks this in detail. If the cluster has ended, the verdict is "failed", with EMR's reason.

    A failure that may be a stale answer is marked for a :class:`~airflow_eip_provider.triggers.second_look.SecondLook`.

    :param or_left: with "free", the address may also be on a NAT gateway whose cluster has ended.
    :param was_bound: with "associated", the address was bound to the cluster before; it fails when it is elsewhere.
    """
    address = observed.address(allocation_id)
    if address is None:
        return Verdict("failed", f"Elastic IP '{allocation_id}' does not exist any more", {"gone": "address"})
    if job_flow_id:
        status = observed.status(job_flow_id)
        if status is None or status.is_ending:
            return judge_gone(job_flow_id, status)
    if address.is_free:
        place, facts, is_done = "free", address.facts(job_flow_id=None), expect == "free"
    else:
        holder = observed.holder(address)
        place = f"on {holder.description}"
        facts = {**address.facts(job_flow_id=holder.job_flow_id), "holder": holder.description}
        if expect == "free":
            is_done = _may_be_used(observed, holder, job_flow_id=job_flow_id, like=like, or_left=or_left)
        else:
            unbound = _unbound(observed, address, holder, job_flow_id) if job_flow_id else None
            place = unbound or place
            is_done = unbound is None and (instance_id is None or address.instance_id == instance_id)
    message = f"Elastic IP {allocation_id} ({address.public_ip}) is {place}"
    if was_bound and not is_done:
        place = "not associated" if address.is_free else place
        return Verdict("failed", message, {**facts, "gone": "binding", "place": place, "unconfirmed": place})
    return Verdict("done" if is_done else "pending", message, facts)


def _may_be_used(
    observed: Observed, holder: Holder, *, job_flow_id: str | None, like: Mapping[str, str] | None, or_left: bool
) -> bool:
    """Return whether an address that is not free may be used by a cluster nevertheless."""
    is_like = like is not None and like.items() <= holder.tags.items()
    if job_flow_id is not None and (holder.job_flow_id == job_flow_id or is_like):
        return True
    if not or_left or holder.gateway is None or holder.job_flow_id is None:
        return False
    left_by = observed.status(holder.job_flow_id)
    return left_by is not None and left_by.has_ended and not holder.gateway.is_ending


def _unbound(observed: Observed, address: Address, holder: Holder, job_flow_id: str) -> str | None:
    """Return where the address is, if not on this cluster."""
    elsewhere = holder.gateway is None and holder.job_flow_id != job_flow_id
    cluster = None if elsewhere else observed.cluster(job_flow_id)
    return f"on {holder.description}" if cluster is None else observed.unbound(address, holder, cluster)


@dataclass(kw_only=True, eq=False, repr=False)
class EipAssociationTrigger(WatchTrigger):
    """
    Wait until an Elastic IP is on a cluster or an instance, or is free.

    :param expect: "associated" or "free". With "free", ``job_flow_id`` is the cluster that waits for the address; the
        wait fails when the cluster ends.
    :param like: tags of this cluster; any cluster that has them is accepted, too.
    :param or_left: as in :func:`judge_association`.
    :param was_bound: as in :func:`judge_association`.
    :param since: when the wait began, in seconds since the epoch; EC2 may not show an association from just before.
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
        """Add the address and the cluster."""
        wants.addresses.add(self.allocation_id)
        if self.job_flow_id:
            wants.clusters.add(self.job_flow_id)

    def judge(self, observed: Observed) -> Verdict:
        """Judge where the address is."""
        verdict = judge_association(
            observed,
            self.allocation_id,
            job_flow_id=self.job_flow_id,
            instance_id=self.instance_id,
            like=self.like,
            expect=self.expect,
            or_left=self.or_left,
            was_bound=self.was_bound,
        )
        return self._second_look.judge(verdict, now=clock.time())


@dataclass(kw_only=True, eq=False, repr=False)
class InstanceRunningTrigger(WatchTrigger):
    """Wait until an EC2 instance runs and EC2 shows its primary network interface."""

    instance_id: str

    def announce(self, wants: Wants) -> None:
        """Add the instance."""
        wants.instances.add(self.instance_id)

    def judge(self, observed: Observed) -> Verdict:
        """Judge whether the instance can be associated with an address."""
        return judge_instance(self.instance_id, observed.instance(self.instance_id))


def judge_instance(instance_id: str, instance: Instance | None) -> Verdict:
    """
    Judge whether an instance can be associated with an address; AssociateAddress refuses a pending instance.

    :param instance: ``None`` while EC2 does not show it.
    """
    state = instance.state if instance else "not visible yet"
    data = {"instance_id": instance_id, "state": state}
    if instance and instance.state == "running" and instance.network_interface_id:
        interface = {"network_interface_id": instance.network_interface_id}
        cluster = {"job_flow_id": instance.tags.get(CLUSTER_TAG)}
        return Verdict("done", f"Instance {instance_id} is running", {**data, **interface, **cluster})
    if state in GONE_STATES:
        return Verdict("failed", f"Instance '{instance_id}' is {state}", data)
    return Verdict("pending", f"Instance {instance_id} is {state}", data)
