"""Who had the address when, and which instances or interfaces were theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.audit.flow_logs import Flow, Period
from airflow_eip_provider.readings.lock import is_cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.hooks.emr import EmrClusterHook
    from airflow_eip_provider.lock.store import Seen


@dataclass(frozen=True, slots=True)
class Tenancy:
    """
    A time in which the address was somebody's.

    :param name: for people.
    :param carriers: instance ids, private addresses and interface ids that the address was on.
    :param others: instance ids and private addresses of the same cluster that it was not on.
    :param token: the lease's; ``None`` without a lock store.
    """

    name: str
    period: Period
    carriers: frozenset[str]
    others: frozenset[str] = field(default=frozenset())
    token: int | None = None

    def has(self, flow: Flow) -> bool:
        """Whether whoever had the address sent this flow."""
        return bool(_senders(flow) & self.carriers)

    def has_beside(self, flow: Flow) -> bool:
        """Whether another node of the same cluster did."""
        return bool(_senders(flow) & self.others)


def _senders(flow: Flow) -> set[str | None]:
    """
    Return by what a flow's sender is known.

    A private address is used again by later instances, so the instance's id decides where the logs have it.
    """
    return {flow.interface_id, flow.instance_id or flow.source}


def tenancies_of(seen: Seen, emr: EmrClusterHook, period: Period | None) -> list[Tenancy]:
    """
    Return the tenancies that a lock store remembers, oldest first: the newest 50, and the one that is not over.

    :param period: only those of that time; EMR is asked for the instances of each.
    """
    kept = [(t.token, t.owner, t.carrier, Period(t.taken_at, t.ended_at)) for t in seen.record.history]
    if lease := seen.record.lease:
        kept.append((lease.token, lease.speaker.name, lease.carrier, Period(lease.taken_at, seen.now)))
    return [
        _tenancy(token, owner, carrier, when, emr)
        for token, owner, carrier, when in kept
        if period is None or when.overlaps(period)
    ]


def _tenancy(token: int, owner: str, carrier: str | None, period: Period, emr: EmrClusterHook) -> Tenancy:
    name = f"{owner} on {carrier or 'no cluster'}"
    if carrier is None or not is_cluster(carrier):
        return Tenancy(name, period, frozenset({carrier} if carrier else ()), token=token)
    primaries, others = _nodes(carrier, emr)
    return Tenancy(name, period, primaries, others, token)


def _nodes(job_flow_id: str, emr: EmrClusterHook) -> tuple[frozenset[str], frozenset[str]]:
    """
    Read by what a cluster's nodes are known: the primary's, and those of the others.

    EMR remembers a cluster for two months after its end, EC2 forgets its instances within the hour.
    (elasticmapreduce:DescribeCluster, …:ListInstances)
    """
    cluster = emr.get_cluster(job_flow_id)
    if cluster is None:
        return frozenset(), frozenset()
    fleets = cluster.collection_type == "INSTANCE_FLEET"
    which: Mapping[str, Any] = {"InstanceFleetType": "MASTER"} if fleets else {"InstanceGroupTypes": ["MASTER"]}
    primaries = _listed(emr, ClusterId=job_flow_id, **which)
    return primaries, _listed(emr, ClusterId=job_flow_id) - primaries


def _listed(emr: EmrClusterHook, **which: Any) -> frozenset[str]:
    pages = emr.conn.get_paginator("list_instances").paginate(**which)
    nodes = [node for page in pages for node in page["Instances"]]
    return frozenset(node[name] for node in nodes for name in ("Ec2InstanceId", "PrivateIpAddress") if node.get(name))
