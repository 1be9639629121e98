"""The periods of leases, with the instances and interfaces that had the address."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from airflow_eip_provider.audit.flow_logs import Flow, Period
from airflow_eip_provider.aws.clusters import read_all_nodes, read_all_primaries
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
    The period of a lease.

    :param name: for messages.
    :param resource_ids: the instance IDs, private addresses and interface IDs with the address; none for a NAT gateway
        that EC2 no longer shows.
    :param others: the instance IDs and private addresses of other nodes of the cluster.
    :param token: of the lease; ``None`` without a lock store.
    :param behind_gateway: the address was on a NAT gateway, which all nodes of the cluster use.
    """

    name: str
    period: Period
    resource_ids: frozenset[str]
    others: frozenset[str] = field(default=frozenset())
    token: int | None = None
    behind_gateway: bool = False

    def has(self, flow: Flow) -> bool:
        """Whether a holder of the address sent this flow."""
        return bool(_senders(flow) & self.resource_ids)

    def has_beside(self, flow: Flow) -> bool:
        """Whether another node of the same cluster sent this flow."""
        return bool(_senders(flow) & self.others)


def _senders(flow: Flow) -> set[str | None]:
    """
    Return the IDs of the sender of a flow.

    Later instances may reuse a private address, so the instance ID is used if the logs have it.
    """
    return {flow.interface_id, flow.instance_id or flow.source}


def lease_periods_of(
    snapshot: Snapshot, *, allocation_id: str, emr: EmrClusterHook, eip: ElasticIpHook, period: Period | None
) -> list[LeasePeriod]:
    """
    Return the periods of the leases in a record, oldest first: the newest 50, and the present one.

    :param period: only leases that overlap this period. The nodes of their clusters are read from EMR, and their NAT
        gateways from EC2.
    """
    leases = [(t.token, t.owner, t.resource_id, Period(t.acquired_at, t.ended_at)) for t in snapshot.record.history]
    if lease := snapshot.record.lease:
        leases.append((lease.token, lease.attempt.name, lease.resource_id, Period(lease.acquired_at, snapshot.now)))
    lease_periods = []
    for token, owner, resource_id, leased in leases:
        if period is None or leased.overlaps(period):
            name = f"{owner} on {resource_id or 'no cluster'}"
            lease_period = LeasePeriod(name, leased, frozenset({resource_id} if resource_id else ()), token=token)
            if resource_id is not None and is_cluster(resource_id):
                lease_period = _with_nodes(lease_period, resource_id, allocation_id=allocation_id, emr=emr, eip=eip)
            lease_periods.append(lease_period)
    return lease_periods


def _with_nodes(
    lease_period: LeasePeriod, job_flow_id: str, *, allocation_id: str, emr: EmrClusterHook, eip: ElasticIpHook
) -> LeasePeriod:
    """
    Add the nodes of the cluster of a lease, and what had the address.

    EMR shows a cluster, with the tag that names its binding, for two months after its end. EC2 shows its instances, and
    a NAT gateway that was created for it, for about an hour.
    (elasticmapreduce:DescribeCluster, …:ListInstances; ec2:DescribeNatGateways)
    """
    cluster = emr.get_cluster(job_flow_id)
    if cluster is None:
        return replace(lease_period, resource_ids=frozenset())
    nodes = _ids(read_all_nodes(emr.conn, cluster))
    if (binding := cluster.tags.get(BINDING_TAG)) is None:
        primaries = _ids(read_all_primaries(emr.conn, cluster))
        return replace(lease_period, resource_ids=primaries, others=nodes - primaries)
    if binding == CLUSTER_GATEWAY:
        gateways = read_cluster_gateways(eip.conn, job_flow_id, allocation_id=allocation_id)
    else:
        gateways = [gateway for gateway in [read_gateway(eip.conn, binding)] if gateway]
    interfaces = frozenset(gateway.network_interface_id for gateway in gateways if gateway.network_interface_id)
    return replace(lease_period, resource_ids=interfaces, others=nodes, behind_gateway=True)


def _ids(nodes: Mapping[str, str | None]) -> frozenset[str]:
    """Return the instance IDs and private addresses of nodes."""
    return frozenset(filter(None, (*nodes, *nodes.values())))
