"""The state of a lease in AWS: the read-only part of the lease protocol's world."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.addresses import read_address, read_holder, read_instance
from airflow_eip_provider.aws.clusters import GUARD_MARK, read_active_steps, read_cluster, read_tagged_clusters
from airflow_eip_provider.aws.lag import until_shown
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, CLUSTER_TAG, OWNER_DIGEST_TAG, TOKEN_TAG
from airflow_eip_provider.exceptions import AddressNotFoundError
from airflow_eip_provider.lease.world import AddressLocation, LeaseTags, Resource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.kill_flag import KillFlag
    from airflow_eip_provider.lease.store import LockStore, Snapshot

# The largest assumed difference between the store's clock (announced launches) and EMR's (actual launches).
_CLOCKS_DIFFER_SECONDS = 600.0
_GONE_INSTANCE = {"shutting-down": "ending", "terminated": "ended"}


def is_cluster(resource_id: str) -> bool:
    """Whether an ID is a cluster's; otherwise it is an instance's."""
    return resource_id.startswith("j-")


def as_aws_tags(lease_tags: LeaseTags, *, allocation_id: str) -> dict[str, str]:
    """Return lease tags as tags of EC2 and EMR."""
    return {ALLOCATION_TAG: allocation_id, TOKEN_TAG: str(lease_tags.token), OWNER_DIGEST_TAG: lease_tags.owner}


class LeaseReads:
    """
    The reads of one lease with boto3 clients, for triggers and commands that change nothing.

    It has no state between two calls and boto3 clients are thread-safe, so any thread may use it.

    :param clients: the clients of EC2 and EMR, by service.
    :ivar is_patient: pause when EMR throttles; not in a trigger's thread, because this would delay other waits.
    """

    is_patient = False

    def __init__(self, store: LockStore, *, allocation_id: str, clients: Mapping[str, Any]) -> None:
        self.store = store
        self.allocation_id = allocation_id
        self.clients = clients

    def read_record(self) -> Snapshot:
        """Return the current record."""
        return self.store.read(self.allocation_id)

    def read_location(self) -> AddressLocation:
        """Return where the address is."""
        return read_location(self.clients, self.allocation_id)

    def settled_location(self, expected: str) -> AddressLocation:
        """Return where the address is, after waiting until EC2 shows it as expected, for as long as reads may lag."""
        locations: list[AddressLocation] = []

        def is_shown() -> bool:
            locations.append(self.read_location())
            return expected in locations[-1].resource_ids

        until_shown(is_shown)
        return locations[-1]

    def read_resource(self, resource_id: str) -> Resource:
        """Return the state of a cluster or an instance."""
        if is_cluster(resource_id):
            cluster = read_cluster(self.clients["emr"], resource_id)
            if cluster is None:
                return Resource(resource_id, "ended", is_known=False)
            return _as_resource(cluster, self.allocation_id)
        instance = read_instance(self.clients["ec2"], resource_id)
        if instance is None:
            return Resource(resource_id, "ended", is_known=False)
        return Resource(resource_id, _GONE_INSTANCE.get(instance.state, "live"))

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        """Return the clusters that have these tags and have not ended; none is older than ``since``."""
        tags = as_aws_tags(lease_tags, allocation_id=self.allocation_id)
        after = max(0.0, since - _CLOCKS_DIFFER_SECONDS)
        found = read_tagged_clusters(
            self.clients["emr"], tags=tags, created_after=after, ending=True, patient=self.is_patient
        )
        return tuple(_as_resource(cluster, self.allocation_id) for cluster in found)

    def active_steps(self, resource_id: str, *, guarded: bool) -> tuple[str, ...]:
        """Return the IDs of the steps that are pending or running; if guarded, only those that need the address."""
        steps = read_active_steps(self.clients["emr"], resource_id) if is_cluster(resource_id) else ()
        return tuple(step.step_id for step in steps if not guarded or GUARD_MARK in step.name)


def read_location(clients: Mapping[str, Any], allocation_id: str, *, address: Address | None = None) -> AddressLocation:
    """
    Return where the address is.

    :param address: as it was read a moment ago; otherwise it is read now.
    """
    address = address or read_address(clients["ec2"], allocation_id)
    if address is None or address.is_free:
        return AddressLocation()
    association_id = address.association_id or "unknown"
    if not address.instance_id:
        return _location_on_interface(clients, address)
    instance = read_instance(clients["ec2"], address.instance_id)
    cluster = instance.tags.get(CLUSTER_TAG) if instance else None
    resource_ids = (address.instance_id, cluster) if cluster else (address.instance_id,)
    live = instance is not None and instance.state not in _GONE_INSTANCE
    return AddressLocation(
        association_id, resource_ids, live, parse_lease_tags(instance.tags if instance else {}, allocation_id)
    )


def read_existing(clients: Mapping[str, Any], allocation_id: str, *, kill: KillFlag | None = None) -> Address:
    """
    Return an address; if EC2 does not show it, look again for as long as reads may lag.

    :param kill: the kill flag of the task, which ends the pauses.
    :raises AddressNotFoundError: when it does not exist in this account and region.
    """
    ec2 = clients["ec2"]
    pause = None if kill is None else kill.pause
    address = until_shown(lambda: read_address(ec2, allocation_id), pause=pause)
    if address is None:
        raise AddressNotFoundError(allocation_id, region=ec2.meta.region_name)
    return address


def _location_on_interface(clients: Mapping[str, Any], address: Address) -> AddressLocation:
    """
    Return the location of an address that is not on an instance.

    A NAT gateway that was made for a cluster keeps its address until it is deleted, so its ID names the association.
    Any other NAT gateway keeps the address permanently; then the lease decides only whose turn it is to use it.
    """
    holder = read_holder(clients["ec2"], address)
    gateway, job_flow_id = holder.gateway, holder.job_flow_id
    if gateway is None:
        return AddressLocation(address.association_id or "unknown", (str(address.network_interface_id),), live=True)
    if job_flow_id is None:
        return AddressLocation()
    cluster = read_cluster(clients["emr"], job_flow_id)
    left = gateway.is_ending or (cluster is not None and cluster.has_ended)
    lease_tags = parse_lease_tags(gateway.tags, address.allocation_id)
    return AddressLocation(gateway.gateway_id, (job_flow_id,), live=not left, lease_tags=lease_tags, left=left)


def _as_resource(cluster: Cluster, allocation_id: str) -> Resource:
    state = "ended" if cluster.has_ended else "ending" if cluster.is_ending else "live"
    return Resource(cluster.job_flow_id, state, parse_lease_tags(cluster.tags, allocation_id))


def parse_lease_tags(tags: Mapping[str, str], allocation_id: str) -> LeaseTags | None:
    """Return the lease tags of a cluster, which EMR copies to its instances; ``None`` for those of another address."""
    token = tags.get(TOKEN_TAG, "") if tags.get(ALLOCATION_TAG) == allocation_id else ""
    return LeaseTags(int(token), tags.get(OWNER_DIGEST_TAG, "")) if token.isdigit() else None
