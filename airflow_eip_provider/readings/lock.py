"""The lock's look at the world: its read requests as readings of AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from airflow_eip_provider.calls import perform
from airflow_eip_provider.lock.requests import (
    Carrier,
    FindCarriers,
    Mark,
    Place,
    ReadCarrier,
    ReadPlace,
    ReadRecord,
    ReadSteps,
)
from airflow_eip_provider.readings.addresses import read_address, read_holder, read_instance
from airflow_eip_provider.readings.clusters import GUARD_MARK, read_active_steps, read_cluster, read_tagged_clusters
from airflow_eip_provider.readings.tags import ALLOCATION_TAG, CLUSTER_TAG, OWNER_DIGEST_TAG, TOKEN_TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.lock.requests import Program
    from airflow_eip_provider.lock.store import LockStore
    from airflow_eip_provider.readings.addresses import Address
    from airflow_eip_provider.readings.clusters import Cluster

T = TypeVar("T")

# The store's clock, which says when a launch was announced, and EMR's, which says when it took place.
_CLOCKS_DIFFER_SECONDS = 600.0
_GONE_INSTANCE = {"shutting-down": "ending", "terminated": "ended"}


def is_cluster(carrier: str) -> bool:
    """Whether a carrier's id is a cluster's; else it is an instance's."""
    return carrier.startswith("j-")


def mark_tags(mark: Mark, *, allocation_id: str) -> dict[str, str]:
    """Return the tags that a mark is made of."""
    return {ALLOCATION_TAG: allocation_id, TOKEN_TAG: str(mark.token), OWNER_DIGEST_TAG: mark.owner}


def performed(program: Program[T], *, store: LockStore, allocation_id: str, clients: Mapping[str, Any]) -> T:
    """Perform a program that only reads."""
    try:
        request = next(program)
        while True:
            request = program.send(answer_to(request, store=store, allocation_id=allocation_id, clients=clients))
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


def answer_to(request: Any, *, store: LockStore, allocation_id: str, clients: Mapping[str, Any]) -> Any:
    """
    Answer one of the lock's read requests.

    :raises TypeError: for a request that changes something.
    """
    if isinstance(request, ReadRecord):
        return perform(store.reading(allocation_id), clients)
    if isinstance(request, ReadPlace):
        return _place(clients, allocation_id)
    if isinstance(request, ReadCarrier):
        return _carrier(clients, request.carrier, allocation_id)
    if isinstance(request, FindCarriers):
        return _carriers(clients, request, allocation_id)
    if isinstance(request, ReadSteps):
        return _steps(clients, request.carrier, mark=GUARD_MARK if request.guarded else "")
    raise TypeError(f"{type(request).__name__} is no read")


def _place(clients: Mapping[str, Any], allocation_id: str) -> Place:
    address = read_address(clients["ec2"], allocation_id)
    if address is None or address.is_free:
        return Place()
    association_id = address.association_id or "unknown"
    if not address.instance_id:
        return _place_on_interface(clients, address)
    instance = read_instance(clients["ec2"], address.instance_id)
    cluster = instance.tags.get(CLUSTER_TAG) if instance else None
    carriers = (address.instance_id, cluster) if cluster else (address.instance_id,)
    live = instance is not None and instance.state not in _GONE_INSTANCE
    return Place(association_id, carriers, live, mark_of_tags(instance.tags if instance else {}, allocation_id))


def _place_on_interface(clients: Mapping[str, Any], address: Address) -> Place:
    """
    Look at an address that is on no instance.

    A tenancy's NAT gateway keeps its address until it is deleted, so its own id names the association. One that is no
    tenancy's has the address for good: whose turn it is to use it is then all that the lock decides.
    """
    holder = read_holder(clients["ec2"], address)
    gateway, job_flow_id = holder.gateway, holder.job_flow_id
    if gateway is None:
        return Place(address.association_id or "unknown", (str(address.network_interface_id),), live=True)
    if job_flow_id is None:
        return Place()
    cluster = read_cluster(clients["emr"], job_flow_id)
    left = gateway.is_ending or (cluster is not None and cluster.has_ended)
    mark = mark_of_tags(gateway.tags, address.allocation_id)
    return Place(gateway.gateway_id, (job_flow_id,), live=not left, mark=mark, left=left)


def _carrier(clients: Mapping[str, Any], carrier: str, allocation_id: str) -> Carrier:
    if is_cluster(carrier):
        cluster = read_cluster(clients["emr"], carrier)
        return _as_carrier(cluster, allocation_id) if cluster else Carrier(carrier, "ended")
    instance = read_instance(clients["ec2"], carrier)
    return Carrier(carrier, _GONE_INSTANCE.get(instance.state, "live") if instance else "ended")


def _carriers(clients: Mapping[str, Any], request: FindCarriers, allocation_id: str) -> tuple[Carrier, ...]:
    tags = mark_tags(request.mark, allocation_id=allocation_id)
    after = max(0.0, request.since - _CLOCKS_DIFFER_SECONDS)
    found = read_tagged_clusters(clients["emr"], tags=tags, created_after=after, ending=True)
    return tuple(_as_carrier(cluster, allocation_id) for cluster in found)


def _as_carrier(cluster: Cluster, allocation_id: str) -> Carrier:
    state = "ended" if cluster.has_ended else "ending" if cluster.is_ending else "live"
    return Carrier(cluster.job_flow_id, state, mark_of_tags(cluster.tags, allocation_id))


def mark_of_tags(tags: Mapping[str, str], allocation_id: str) -> Mark | None:
    """Read the mark from a cluster's tags, which EMR gives to its instances, too."""
    token = tags.get(TOKEN_TAG, "") if tags.get(ALLOCATION_TAG) == allocation_id else ""
    return Mark(int(token), tags.get(OWNER_DIGEST_TAG, "")) if token.isdigit() else None


def _steps(clients: Mapping[str, Any], carrier: str, *, mark: str) -> tuple[str, ...]:
    if not is_cluster(carrier):
        return ()
    steps = read_active_steps(clients["emr"], carrier)
    return tuple(step.step_id for step in steps if mark in step.name)
