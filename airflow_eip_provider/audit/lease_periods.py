"""Who had the address when, and which instances or interfaces were theirs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.audit.flow_logs import Flow, Period
from airflow_eip_provider.aws.nat_gateways import read_cluster_gateways, read_gateway
from airflow_eip_provider.aws.tags import BINDING_TAG, CLUSTER_GATEWAY
from airflow_eip_provider.lease_client.reads import is_cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook
    from airflow_eip_provider.lease.store import Snapshot


@dataclass(frozen=True, slots=True)
class LeasePeriod:
    """
    A time in which the address was somebody's.

    :param name: for people.
    :param resource_ids: instance ids, private addresses and interface ids that the address was on; none when that was a
        NAT gateway that EC2 no longer shows.
    :param others: instance ids and private addresses of the same cluster that it was not on.
    :param token: the lease's; ``None`` without a lock store.
    :param behind_gateway: the address was on a NAT gateway, through which all nodes of the cluster leave.
    """

    name: str
    period: Period
    resource_ids: frozenset[str]
    others: frozenset[str] = field(default=frozenset())
    token: int | None = None
    behind_gateway: bool = False

    def has(self, flow: Flow) -> bool:
        """Whether whoever had the address sent this flow."""
        return bool(_senders(flow) & self.resource_ids)

    def has_beside(self, flow: Flow) -> bool:
        """Whether another node of the same cluster did."""
        return bool(_senders(flow) & self.others)


def _senders(flow: Flow) -> set[str | None]:
    """
    Return by what a flow's sender is known.

    A private address is used again by later instances, so the instance's id decides where the logs have it.
    """
    return {flow.interface_id, flow.instance_id or flow.source}


def lease_periods_of(
    snapshot: Snapshot, *, allocation_id: str, emr: EmrClusterHook, eip: ElasticIpHook, period: Period | None
) -> list[LeasePeriod]:
    """
    Return the lease periods that a lock store remembers, oldest first: the newest 50, and the one that is not over.

    :param period: only those of that time; EMR is asked for the instances of each, and EC2 for its NAT gateway.
    """
    kept = [(t.token, t.owner, t.resource_id, Period(t.acquired_at, t.ended_at)) for t in snapshot.record.history]
    if lease := snapshot.record.lease:
        kept.append((lease.token, lease.attempt.name, lease.resource_id, Period(lease.acquired_at, snapshot.now)))
    found = []
    for token, owner, resource_id, when in kept:
        if period is None or when.overlaps(period):
            had: Mapping[str, Any] = {"resource_ids": frozenset({resource_id} if resource_id else ())}
            if resource_id is not None and is_cluster(resource_id):
                had = _of_cluster(resource_id, allocation_id=allocation_id, emr=emr, eip=eip)
            found.append(LeasePeriod(f"{owner} on {resource_id or 'no cluster'}", when, token=token, **had))
    return found


def _of_cluster(job_flow_id: str, *, allocation_id: str, emr: EmrClusterHook, eip: ElasticIpHook) -> Mapping[str, Any]:
    """
    Read by what the nodes of a lease's cluster are known, and what of them had the address.

    EMR remembers a cluster, with the tag that says where the address was put, for two months after its end. EC2 forgets
    its instances, and a NAT gateway that was made for it, within the hour.
    (elasticmapreduce:DescribeCluster, …:ListInstances; ec2:DescribeNatGateways)
    """
    cluster = emr.get_cluster(job_flow_id)
    if cluster is None:
        return {"resource_ids": frozenset()}
    nodes = _listed(emr, ClusterId=job_flow_id)
    if (binding := cluster.tags.get(BINDING_TAG)) is None:
        fleets = cluster.collection_type == "INSTANCE_FLEET"
        which: Mapping[str, Any] = {"InstanceFleetType": "MASTER"} if fleets else {"InstanceGroupTypes": ["MASTER"]}
        primaries = _listed(emr, ClusterId=job_flow_id, **which)
        return {"resource_ids": primaries, "others": nodes - primaries}
    if binding == CLUSTER_GATEWAY:
        gateways = read_cluster_gateways(eip.conn, job_flow_id, allocation_id=allocation_id)
    else:
        gateways = [gateway for gateway in [read_gateway(eip.conn, binding)] if gateway]
    interfaces = frozenset(gateway.network_interface_id for gateway in gateways if gateway.network_interface_id)
    return {"resource_ids": interfaces, "others": nodes, "behind_gateway": True}


def _listed(emr: EmrClusterHook, **which: Any) -> frozenset[str]:
    pages = emr.conn.get_paginator("list_instances").paginate(**which)
    nodes = [node for page in pages for node in page["Instances"]]
    return frozenset(node[name] for node in nodes for name in ("Ec2InstanceId", "PrivateIpAddress") if node.get(name))
