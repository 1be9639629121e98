"""Tenancies under a lock store: what a user sees of queue, lease and cost, the same with each store."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.calls import perform
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.tenancy import lock_store_uri
from airflow_eip_provider.stores.uri import open_store
from tests.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lock.model import Record

READS = ("GetItem", "GetObject")
WRITES = ("PutItem", "PutObject")


@pytest.fixture(params=["dynamodb", "s3"])
def lock_store(request: pytest.FixtureRequest, clocked: Any, boto: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lock store of each kind, and the name of the environment that it needs."""
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    if request.param == "dynamodb":
        return "dynamodb://leases?create=true"
    boto("s3").create_bucket(Bucket="leases", CreateBucketConfiguration={"LocationConstraint": clocked.region})
    return "s3://leases/eip"


@pytest.fixture
def record(lock_store: str, allocation_id: str, boto: Any) -> Callable[[], Record]:
    """Read the record as it is now."""

    def read() -> Record:
        client = boto(lock_store.split(":")[0])
        store = open_store(lock_store, lambda *_: client)
        return perform(store.reading(allocation_id), {lock_store.split(":")[0]: client}).record

    return read


def store_calls(aws: Any) -> Counter[str]:
    return Counter(event["operation"] for event in aws.events.calls() if event["operation"] in READS + WRITES)


def test_an_uncontended_tenancy_costs_three_writes_and_a_read_a_task(
    clocked: Any,
    create_operator: Any,
    steps_operator: Any,
    terminate_operator: Any,
    deferrable: bool,
    lock_store: str,
    record: Any,
) -> None:
    common = {"lock_store": lock_store, "deferrable": deferrable}
    create = Task(create_operator(**common))
    job_flow_id = create.run()
    assert create.ti.xcoms["static_ip"]["token"] == 1
    Task(steps_operator(job_flow_id, **common)).run()
    Task(terminate_operator(job_flow_id, **common)).run()
    calls = store_calls(clocked)
    assert sum(calls[name] for name in WRITES) == 3
    assert sum(calls[name] for name in READS) == 3
    after = record()
    assert after.lease is None
    assert after.queue == ()
    assert after.suspects == ()
    assert [(ended.token, ended.carrier) for ended in after.history] == [(1, job_flow_id)]
