"""
The state of AWS at one moment, read for one wait or for many at once.

A wait reads everything from :class:`Observed`, which reads each thing from AWS at most once. Waits that are judged
together announce first what they will read (:class:`Wants`), so that one call answers for all of them. A worker that
blocks judges a single wait, with the same code.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_eip_provider import clock
from airflow_eip_provider.aws import addresses, clusters, egress, instance_status, nat_gateways, step_logs
from airflow_eip_provider.aws.errors import is_denied
from airflow_eip_provider.lease.observation import observe
from airflow_eip_provider.lease_client.reads import LeaseReads
from airflow_eip_provider.metrics import send_queue_length
from airflow_eip_provider.stores.uri import open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable
    from typing import TypeAlias

    from airflow_eip_provider.aws.addresses import Address, Holder, Instance
    from airflow_eip_provider.aws.clusters import Cluster, ClusterStatus, Step
    from airflow_eip_provider.aws.egress import Egress
    from airflow_eip_provider.aws.instance_status import InstanceStatus
    from airflow_eip_provider.aws.nat_gateways import Gateway
    from airflow_eip_provider.aws.step_logs import StepLogs
    from airflow_eip_provider.lease.observation import Observation
    from airflow_eip_provider.lease.store import Snapshot

    # Service and region to client; the region is the connection's own when it is None.
    ClientFor: TypeAlias = Callable[[str, "str | None"], Any]

T = TypeVar("T")

# For how long the known number of pages of ListClusters is used; clusters end, so it shrinks.
_PAGES_KNOWN_SECONDS = 300.0


class Clients:
    """
    Clients that are created once, when they are first used; thread-safe.

    :param make: creates the client of a service in a region.
    """

    def __init__(self, make: ClientFor) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str | None], Any] = {}

    def __call__(self, service: str, region_name: str | None = None) -> Any:
        """Return the client of a service, in the connection's region by default."""
        with self._lock:
            if (service, region_name) not in self._made:
                self._made[service, region_name] = self._make(service, region_name)
            return self._made[service, region_name]

    def close(self) -> None:
        """Close their connections."""
        with self._lock:
            made, self._made = self._made, {}
        for client in made.values():
            client.close()


@dataclass(frozen=True, slots=True)
class Wants:
    """
    What all waits that are judged together will read.

    :param clusters: clusters whose state is read.
    :param primaries: clusters whose primary instance is read.
    :param steps: step IDs by cluster.
    :param instance_statuses: instances whose EC2 status checks are read.
    """

    clusters: set[str] = field(default_factory=set)
    primaries: set[str] = field(default_factory=set)
    addresses: set[str] = field(default_factory=set)
    instances: set[str] = field(default_factory=set)
    steps: dict[str, set[str]] = field(default_factory=dict)
    instance_statuses: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Listing:
    """
    What is known about ListClusters from earlier polls.

    :param pages: its number of pages, at least.
    :param known_at: when ``pages`` was set, by the monotonic clock.
    :param is_denied: the credentials have no permission for it.
    """

    pages: int = 1
    known_at: float = 0.0
    is_denied: bool = False

    def is_worth_it(self, asked: int) -> bool:
        """Return whether listing takes fewer calls than to describe this number of clusters one by one."""
        pages = self.pages if clock.monotonic() - self.known_at < _PAGES_KNOWN_SECONDS else 1
        return asked > pages and not self.is_denied


class Observed:
    """
    The state of AWS at one moment. Each part is read at its first use; an error of a read is raised to all its users.

    :param client_for: returns clients; see :class:`Clients`.
    :param wants: what will be read; anything else is read with a separate call.
    :param listing: kept from one poll to the next.
    :param patient: pause while EMR throttles DescribeCluster; only in a task, where this delays no other wait.
    """

    def __init__(
        self,
        client_for: ClientFor,
        *,
        wants: Wants | None = None,
        listing: Listing | None = None,
        patient: bool = False,
    ) -> None:
        self._client_for = client_for
        self._read_cluster = clusters.read_cluster_patiently if patient else clusters.read_cluster
        self._wants = wants or Wants()
        self._listing = listing or Listing()
        self._lock = threading.Lock()
        self._known: dict[Hashable, Future[Any]] = {}

    def client(self, service: str) -> Any:
        """Return a client, for reads of a single kind of wait."""
        return self._client_for(service, None)

    def status(self, job_flow_id: str) -> ClusterStatus | None:
        """Return a cluster's state and its reason; ``None`` when EMR does not know it."""
        if ("cluster", job_flow_id) not in self._known and job_flow_id in self._wants.clusters:
            listed = self._once("listed", self._read_listed).get(job_flow_id)
            if listed is not None:
                return listed
        return self.cluster(job_flow_id)

    def cluster(self, job_flow_id: str) -> Cluster | None:
        """Return a cluster with its tags; ``None`` when EMR does not know it."""
        return self._once(("cluster", job_flow_id), lambda: self._read_cluster(self.client("emr"), job_flow_id))

    def _read_listed(self) -> dict[str, ClusterStatus]:
        wanted, listing = self._wants.clusters, self._listing
        if not listing.is_worth_it(len(wanted)):
            return {}
        try:
            found, pages = clusters.read_listed_statuses(self.client("emr"), wanted, most_pages=len(wanted))
        except Exception as error:
            if not is_denied(error):
                raise
            listing.is_denied = True
            return {}
        listing.pages, listing.known_at = pages, clock.monotonic()
        return found

    def primary(self, job_flow_id: str) -> tuple[str, Instance | None] | None:
        """Return the ID of a cluster's primary instance, and the instance if EC2 shows it; ``None`` for none."""
        tagged = self.tagged_primary(job_flow_id)
        if tagged is not None:
            return tagged.instance_id, tagged
        status = self.status(job_flow_id)
        if status is None or status.state == "STARTING":
            return None  # no instances yet
        cluster = self.cluster(job_flow_id)
        if cluster is None:
            return None
        instance_id = self._once(
            ("primary", job_flow_id), lambda: clusters.read_primary_instance_id(self.client("emr"), cluster)
        )
        return (instance_id, self.instance(instance_id)) if instance_id else None

    def tagged_primary(self, job_flow_id: str) -> Instance | None:
        """Return a cluster's primary instance; ``None`` when EC2 does not show EMR's tags on it (yet)."""
        wanted = self._wants.primaries | {job_flow_id}
        key = ("primaries", frozenset(wanted))
        found = self._once(key, lambda: addresses.read_primaries(self.client("ec2"), wanted))
        return found.get(job_flow_id)

    def steps(self, job_flow_id: str, step_ids: Collection[str]) -> list[Step]:
        """Return the requested steps that EMR shows, in the given order."""
        wanted = [*step_ids, *sorted(self._wants.steps.get(job_flow_id, set()) - set(step_ids))]
        key = ("steps", job_flow_id, frozenset(wanted))
        found = self._once(key, lambda: clusters.read_steps(self.client("emr"), job_flow_id, step_ids=wanted))
        known = {step.step_id: step for step in found}
        return [known[step_id] for step_id in step_ids if step_id in known]

    def active_steps(self, job_flow_id: str) -> list[Step]:
        """Return the steps that are pending or running, newest first; none when EMR does not know the cluster."""
        return self._once(
            ("active steps", job_flow_id), lambda: clusters.read_active_steps(self.client("emr"), job_flow_id)
        )

    def address(self, allocation_id: str) -> Address | None:
        """Return where an address is; ``None`` when it does not exist."""
        wanted = self._wants.addresses
        if len(wanted) > 1 and allocation_id in wanted:
            found = self._once("addresses", lambda: addresses.read_addresses(self.client("ec2"), wanted))
            return found.get(allocation_id)
        return self._once(("address", allocation_id), lambda: addresses.read_address(self.client("ec2"), allocation_id))

    def instance(self, instance_id: str) -> Instance | None:
        """Return an instance; ``None`` when EC2 does not know it."""
        wanted = self._wants.instances | self._resources()
        if len(wanted) > 1 and instance_id in wanted:
            key = ("instances", frozenset(wanted))
            found = self._once(key, lambda: addresses.read_instances(self.client("ec2"), wanted))
            return found.get(instance_id)
        return self._once(("instance", instance_id), lambda: addresses.read_instance(self.client("ec2"), instance_id))

    def instance_status(self, instance_id: str) -> InstanceStatus | None:
        """Return EC2's status checks of an instance; ``None`` when EC2 does not know it."""
        wanted = self._wants.instance_statuses | {instance_id}
        key = ("statuses", frozenset(wanted))
        found = self._once(key, lambda: instance_status.read_instance_statuses(self.client("ec2"), wanted))
        return found.get(instance_id)

    def _resources(self) -> set[str]:
        """Return the instances with one of the wanted addresses: a wait that reads one reads most of them."""
        known = self._known.get("addresses")
        if known is None or not known.done() or known.exception() is not None:
            return set()
        return {address.instance_id for address in known.result().values() if address.instance_id}

    def holder(self, address: Address) -> Holder:
        """Return what an address is associated with; the address must not be free."""
        if address.instance_id:
            return addresses.holder_on_instance(address, self.instance(address.instance_id))
        return self._once(("holder", address), lambda: addresses.read_holder(self.client("ec2"), address))

    def unbound(self, address: Address, holder: Holder, cluster: Cluster) -> str | None:
        """Return why an address is not bound to a cluster; see :func:`~.aws.egress.read_unbound`."""
        key = ("unbound", address, cluster.job_flow_id)
        return self._once(key, lambda: egress.read_unbound(self.client("emr"), address, holder, cluster))

    def astray(self, route: Egress) -> str | None:
        """Return where the route leads, if not to its NAT gateway; see :func:`~.aws.egress.read_astray`."""
        return self._once(("astray", route), lambda: egress.read_astray(self.client("ec2"), route))

    def gateway(self, gateway_id: str) -> Gateway | None:
        """Return a NAT gateway; ``None`` when EC2 does not know it."""
        return self._once(("gateway", gateway_id), lambda: nat_gateways.read_gateway(self.client("ec2"), gateway_id))

    def logs_written(self, logs: StepLogs) -> bool:
        """Return whether EMR has written the logs of a step."""
        return self._once(("logs", logs), lambda: step_logs.read_logs_written(self.client("s3"), logs))

    def record(self, lock_store: str, allocation_id: str) -> Snapshot:
        """Return the record of an address in a lock store."""
        key = ("record", lock_store, allocation_id)
        return self._once(key, lambda: open_store(lock_store, self._client_for).read(allocation_id))

    def lease(self, lock_store: str, allocation_id: str) -> Observation:
        """Return the observed state of the lease of an address."""
        return self._once(
            ("lease", lock_store, allocation_id), lambda: self._read_observation(lock_store, allocation_id)
        )

    def _read_observation(self, lock_store: str, allocation_id: str) -> Observation:
        store = open_store(lock_store, self._client_for)
        used = {"ec2": self.client("ec2"), "emr": self.client("emr")}
        observation = observe(LeaseReads(store, allocation_id=allocation_id, clients=used))
        send_queue_length(allocation_id, observation.snapshot.record)
        return observation

    def _once(self, key: Hashable, read: Callable[[], T]) -> T:
        with self._lock:
            known = self._known.get(key)
            is_first = known is None
            if known is None:
                known = self._known[key] = Future()
        if is_first:
            try:
                known.set_result(read())
            except BaseException as error:
                known.set_exception(error)
        result: T = known.result()
        return result
