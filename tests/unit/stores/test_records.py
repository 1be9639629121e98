"""A record as text: readable while it is small, packed when it is not, and read in either form."""

from __future__ import annotations

import json
import zlib
from base64 import b64encode

import pytest

from airflow_eip_provider.exceptions import CorruptRecordError, QueueFullError
from airflow_eip_provider.lease.codec import encode
from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.protocol import enter, hand_over, release, start_release
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease_client import client
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.stores import records
from airflow_eip_provider.stores.memory import MemoryStore
from airflow_eip_provider.stores.records import PACKED_FROM_BYTES, from_text, to_text
from tests.verification.stress.queue_size import attempt_of, record_of

ITEM_BYTES = 400 * 1024  # of DynamoDB
SMALL, LONG = record_of(40), record_of(1000)


def test_a_small_record_is_readable():
    text = to_text(SMALL, nonce="n")
    assert json.loads(text) == {**json.loads(json.dumps(encode(SMALL))), "nonce": "n"}


def test_a_long_record_is_packed_to_a_fifth_and_read_again():
    text = to_text(LONG, nonce="n")
    plain = json.dumps(encode(LONG))
    assert len(plain) > 9 * PACKED_FROM_BYTES
    assert len(text) < len(plain) / 5
    assert from_text(text, where="here", beside=("nonce",)) == LONG


def test_a_long_record_that_is_not_packed_is_read():
    assert from_text(json.dumps(encode(LONG)), where="here") == LONG


def test_the_previous_version_refuses_a_packed_record_as_a_newer_one():
    """It reads the schema before anything else."""
    assert json.loads(to_text(LONG))["schema"] == 2


@pytest.mark.parametrize(
    "packed",
    [
        7,
        "***",
        "AAAA",
        b64encode(zlib.compress(json.dumps(encode(SMALL)).encode())[:-20]).decode(),
        b64encode(zlib.compress(b"[]")).decode(),
        b64encode(zlib.compress(b'{"schema": 2}')).decode(),
    ],
    ids=["no text", "no base64", "no zlib", "cut off", "no object", "no record"],
)
def test_what_cannot_be_unpacked_is_corrupt(packed):
    with pytest.raises(CorruptRecordError, match="here"):
        from_text(json.dumps({"schema": 2, "packed": packed}), where="here")


def test_what_unpacks_to_more_than_any_record_is_corrupt(monkeypatch):
    monkeypatch.setattr(records, "_LONGEST_UNPACKED", 1000)
    with pytest.raises(CorruptRecordError, match="too long"):
        from_text(to_text(LONG), where="here")


class FullStore(MemoryStore):
    """A store that refuses what DynamoDB would."""

    def write(self, key, record, *, expected_version):
        assert len(to_text(record)) < ITEM_BYTES
        return super().write(key, record, expected_version=expected_version)


class Calm:
    """EC2 and EMR: one running instance, an address that nothing carries."""

    def describe_addresses(self, **_):
        return {"Addresses": [{"AllocationId": "eipalloc-1", "PublicIp": "203.0.113.1"}]}

    def describe_instances(self, **_):
        running = {"InstanceId": "i-1", "State": {"Name": "running"}, "NetworkInterfaces": [], "Tags": []}
        return {"Reservations": [{"Instances": [running]}]}


def test_a_queue_that_is_too_long_refuses_who_comes_and_never_the_holder(monkeypatch):
    most = 30_000  # as with ten times as many, in less time
    monkeypatch.setattr(client, "MOST_BYTES_TO_JOIN", most)
    store = FullStore(lambda: 1_800_000_000.0)
    lease_client = StoreLeaseClient("dynamodb://leases", allocation_id="eipalloc-1", client_for=lambda *_: Calm())
    lease_client.store = store
    holder, late = attempt_of(0), attempt_of(9999)
    enter(lease_client.world(), LeaseRequest(holder, "daily", 3600.0))
    lease = lease_client.read().record.lease
    many = 400
    while len(to_text(record_of(many))) <= most:
        many += 50
    crowded = Record(issued=many + 1, lease=lease, queue=record_of(many).queue, grace=120.0)
    store.write("eipalloc-1", crowded, expected_version=lease_client.read().version)
    with pytest.raises(QueueFullError, match=f"{many:,} owners are waiting for this address"):
        enter(lease_client.world(), LeaseRequest(late, "daily", 3600.0))
    assert lease_client.read().record == crowded, "nothing was changed"
    hand_over(lease_client.world(), holder, token=1, resource_id="i-1")
    assert start_release(lease_client.world(), "i-1")
    assert release(lease_client.world(), "i-1", why="released")
    first = crowded.queue[0].attempt
    enter(lease_client.world(), LeaseRequest(first, "azure-sql-daily", 5400.0))
    assert lease_client.read().record.lease.attempt == first, "who waits has its turn"
