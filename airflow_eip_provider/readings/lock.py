"""What is seen of a lease in AWS: the read-only half of the lease protocol's world."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from airflow_eip_provider.calls import Call, perform
from airflow_eip_provider.lock.world import Carrier, Mark, Place
from airflow_eip_provider.readings.addresses import read_address, read_holder, read_instance
from airflow_eip_provider.readings.clusters import GUARD_MARK, read_active_steps, read_cluster, read_tagged_clusters
from airflow_eip_provider.readings.tags import ALLOCATION_TAG, CLUSTER_TAG, OWNER_DIGEST_TAG, TOKEN_TAG

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_eip_provider.calls import Reading
    from airflow_eip_provider.lock.store import LockStore, Seen
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


class LeaseReads:
    """
    The reads of one lease, with boto3 clients: all that a trigger, or a command that changes nothing, needs.

    It keeps nothing between two calls, and boto3's clients may be shared by threads, so any thread may use it.

    :param clients: service name → client; EC2's and EMR's.
    """

    def __init__(self, store: LockStore, *, allocation_id: str, clients: Mapping[str, Any]) -> None:
        self.store = store
        self.allocation_id = allocation_id
        self.clients = clients

    def read_record(self) -> Seen:
        """Return the record as the store has it now."""
        return self.store.read(self.allocation_id)

    def read_place(self) -> Place:
        """Return where the address is."""
        return perform(_place(self.allocation_id), self.clients)

    def read_carrier(self, carrier: str) -> Carrier:
        """Return the state of a cluster or an instance."""
        return perform(_carrier(carrier, self.allocation_id), self.clients)

    def find_clusters(self, mark: Mark, since: float) -> tuple[Carrier, ...]:
        """
        Return the clusters that carry this mark and have not ended.

        :param since: by the store's clock; no cluster with this mark is older. 0 when that is not known.
        """
        return perform(_carriers(mark, since, self.allocation_id), self.clients)

    def active_steps(self, carrier: str, *, guarded: bool) -> tuple[str, ...]:
        """
        Return the ids of the steps that run or still may.

        :param guarded: only those that need the address.
        """
        return perform(_steps(carrier, mark=GUARD_MARK if guarded else ""), self.clients)


def _place(allocation_id: str) -> Reading[Place]:
    address = yield from read_address(allocation_id)
    if address is None or address.is_free:
        return Place()
    association_id = address.association_id or "unknown"
    if not address.instance_id:
        return (yield from _place_on_interface(address))
    instance = yield from read_instance(address.instance_id)
    cluster = instance.tags.get(CLUSTER_TAG) if instance else None
    carriers = (address.instance_id, cluster) if cluster else (address.instance_id,)
    live = instance is not None and instance.state not in _GONE_INSTANCE
    return Place(association_id, carriers, live, mark_of_tags(instance.tags if instance else {}, allocation_id))


def _place_on_interface(address: Address) -> Reading[Place]:
    """
    Look at an address that is on no instance.

    A tenancy's NAT gateway keeps its address until it is deleted, so its own id names the association. One that is no
    tenancy's has the address for good: whose turn it is to use it is then all that the lock decides.
    """
    holder = yield from read_holder(address)
    gateway, job_flow_id = holder.gateway, holder.job_flow_id
    if gateway is None:
        return Place(address.association_id or "unknown", (str(address.network_interface_id),), live=True)
    if job_flow_id is None:
        return Place()
    cluster = yield from read_cluster(job_flow_id)
    left = gateway.is_ending or (cluster is not None and cluster.has_ended)
    mark = mark_of_tags(gateway.tags, address.allocation_id)
    return Place(gateway.gateway_id, (job_flow_id,), live=not left, mark=mark, left=left)


def _carrier(carrier: str, allocation_id: str) -> Reading[Carrier]:
    if is_cluster(carrier):
        cluster = yield from read_cluster(carrier)
        return _as_carrier(cluster, allocation_id) if cluster else Carrier(carrier, "ended")
    instance = yield from read_instance(carrier)
    return Carrier(carrier, _GONE_INSTANCE.get(instance.state, "live") if instance else "ended")


def _carriers(mark: Mark, since: float, allocation_id: str) -> Reading[tuple[Carrier, ...]]:
    tags = mark_tags(mark, allocation_id=allocation_id)
    after = max(0.0, since - _CLOCKS_DIFFER_SECONDS)
    found = yield from read_tagged_clusters(tags=tags, created_after=after, ending=True)
    return tuple(_as_carrier(cluster, allocation_id) for cluster in found)


def _as_carrier(cluster: Cluster, allocation_id: str) -> Carrier:
    state = "ended" if cluster.has_ended else "ending" if cluster.is_ending else "live"
    return Carrier(cluster.job_flow_id, state, mark_of_tags(cluster.tags, allocation_id))


def mark_of_tags(tags: Mapping[str, str], allocation_id: str) -> Mark | None:
    """Read the mark from a cluster's tags, which EMR gives to its instances, too."""
    token = tags.get(TOKEN_TAG, "") if tags.get(ALLOCATION_TAG) == allocation_id else ""
    return Mark(int(token), tags.get(OWNER_DIGEST_TAG, "")) if token.isdigit() else None


def _steps(carrier: str, *, mark: str) -> Reading[tuple[str, ...]]:
    if not is_cluster(carrier):
        return ()
    steps = yield from read_active_steps(carrier)
    return tuple(step.step_id for step in steps if mark in step.name)


def as_reading(function: Callable[[Mapping[str, Any]], T]) -> Reading[T]:
    """
    Turn a function that reads AWS with boto3 clients into a reading, for drivers that perform readings.

    The function is run from its beginning after each answer, which it is given again; it must do nothing but read.

    :param function: takes clients by service name.
    """
    told: list[Any] = []
    while True:
        answers = iter(told)
        try:
            return function(_ReplayingClients(answers))
        except _WantedError as wanted:
            call = wanted.call
        try:
            response = yield call
        except Exception as error:
            response = error
        told.append(response)


class _WantedError(BaseException):
    """A call to which there is no answer yet; no error, so that no handler of errors keeps it."""

    def __init__(self, call: Call) -> None:
        super().__init__(call)
        self.call = call


class _ReplayingClients(dict[str, Any]):
    def __init__(self, answers: Iterator[Any]) -> None:
        super().__init__()
        self._answers = answers

    def __missing__(self, service: str) -> _ReplayingClient:
        return _ReplayingClient(service, self._answers)


class _ReplayingClient:
    def __init__(self, service: str, answers: Iterator[Any]) -> None:
        self._service = service
        self._answers = answers

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**params: Any) -> Any:
            for answer in self._answers:
                return _replayed(answer)
            return _ask(Call(self._service, operation, params))

        return call


def _ask(call: Call) -> NoReturn:
    raise _WantedError(call)


def _replayed(answer: Any) -> Any:
    if isinstance(answer, Exception):
        raise answer
    if isinstance(answer, dict) and isinstance(answer.get("Body"), bytes):
        return {**answer, "Body": BytesIO(answer["Body"])}
    return answer
