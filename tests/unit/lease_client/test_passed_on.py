"""What a phase has read is passed on within it: for how long, and what of it still counts later."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.aws.addresses import Address
from airflow_eip_provider.hooks.aws import AwsHooks
from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.protocol import Acquired
from airflow_eip_provider.lease.record import Attempt
from airflow_eip_provider.lease.transitions import Queue, step
from airflow_eip_provider.lease_client import interface
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.stores.memory import MemoryStore
from harness.simulated_clock import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Iterator

FREE = Address("eipalloc-1", "203.0.113.1", "vpc")
OWN, OTHER = (Attempt(name, f"test/{name}/run/create/-1", 1, "nonce") for name in ("own", "other"))


class Ec2:
    """EC2 with a free address, which counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def describe_addresses(self, **_: Any) -> dict[str, Any]:
        self.asked += 1
        return {"Addresses": [{"AllocationId": "eipalloc-1", "PublicIp": "203.0.113.1", "Domain": "vpc"}]}


class CountedStore(MemoryStore):
    """A store that counts its reads."""

    reads = 0

    def read(self, key: str) -> Any:
        self.reads += 1
        return super().read(key)


@pytest.fixture
def now() -> Iterator[SimpleNamespace]:
    """The worker's clock; a sleep turns it."""
    made = SimpleNamespace(seconds=0.0)

    def sleep(seconds: float) -> None:
        made.seconds += seconds

    with clock.used(SimulatedClock(lambda: made.seconds, sleep)):
        yield made


@pytest.fixture
def ec2() -> Ec2:
    return Ec2()


@pytest.fixture
def checked(ec2: Ec2, now: SimpleNamespace) -> StoreLeaseClient:
    """A lease whose store was checked, and whose address was read after that."""
    made = StoreLeaseClient("dynamodb://leases", allocation_id="eipalloc-1", client_for=lambda *_: ec2)
    made.store = CountedStore(lambda: 1_800_000_000.0 + now.seconds)
    made.check()
    made.note_address(FREE)
    return made


def enter(lease_client: StoreLeaseClient) -> Any:
    return lease_client.enter(LeaseRequest(OWN, "daily", 3600.0))


def test_the_lease_is_acquired_with_what_was_read_for_the_checks(checked, ec2):
    assert isinstance(enter(checked), Acquired)
    assert (checked.store.reads, ec2.asked) == (1, 0)


def test_what_was_read_ten_seconds_ago_is_read_again(checked, ec2, now):
    now.seconds = interface.FRESH_SECONDS
    assert isinstance(enter(checked), Acquired)
    assert (checked.store.reads, ec2.asked) == (2, 1)


def test_it_is_passed_on_once(checked, ec2):
    enter(checked)
    enter(checked)
    assert checked.store.reads == 2


def test_a_record_that_was_changed_meanwhile_is_not_overwritten_and_the_address_is_read_after_it(checked, ec2):
    snapshot = checked.store.read("eipalloc-1")
    joined = step(snapshot.record, Queue(OTHER, "daily", 3600.0), snapshot.now)
    checked.store.write("eipalloc-1", joined, expected_version=snapshot.version)
    enter(checked)
    record = checked.read().record
    assert record.queue[0].attempt == OTHER, "who came first is still there, and first"
    assert ec2.asked, "the address that was read before the record decides nothing (rule 11)"


def test_the_address_alone_is_not_passed_on_with_a_record_that_is_read_later(checked, ec2):
    world = checked.world()
    world.known_location = pytest.fail
    world.read_record()
    assert world.read_location().is_free
    assert ec2.asked == 1


def test_a_lease_asks_for_its_clients_anew_when_the_credentials_were_dropped():
    class Hooks(AwsHooks):
        eip_class = emr_class = lambda *_, **__: SimpleNamespace(conn=object())  # type: ignore[assignment]

    hooks = Hooks(aws_conn_id=None)
    clients = hooks.lease_client(None, "eipalloc-1").clients
    before = {name: clients[name] for name in clients}
    assert {name: clients[name] for name in clients} == before, "each is made once"
    hooks.renew()
    assert all(clients[name] is not before[name] for name in clients)
