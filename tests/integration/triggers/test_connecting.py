"""A wait that assumes a role while STS does not answer."""

from __future__ import annotations

import gc
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.lease.record import Attempt, Record
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.triggers.connection import ServiceModels
from airflow_eip_provider.triggers.eip import EipAssociationTrigger
from airflow_eip_provider.triggers.lock import EipLeaseTrigger
from harness import service_models
from harness.life import events_of


@pytest.mark.parametrize("name", ["endpoints", "no-such-file", "emr/2009-03-31/service-2"])
def test_the_triggerer_loads_the_same_service_models_as_botocore(name, monkeypatch):
    monkeypatch.setattr(ServiceModels, "_loaded", {})  # botocore itself adds to what it has loaded
    path = str(Path(botocore.__file__).parent / "data" / name)
    collects = gc.isenabled()
    loaded = ServiceModels().load_file(path)
    assert loaded == service_models._parse.__wrapped__(path)
    assert gc.isenabled() == collects
    assert ServiceModels().load_file(path) is loaded


@pytest.fixture
def role(clocked: Any, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The parameters of a wait that assumes a role."""
    extra = {
        "role_arn": "arn:aws:iam::123456789012:role/airflow",
        "region_name": clocked.region,
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ROLE", json.dumps({"conn_type": "aws", "extra": extra}))
    return {"aws_conn_id": "aws_role", "waiter_delay": 15, "deadline": clocked.clock.now().timestamp() + 3600}


def test_a_wait_continues_when_sts_answers_again(clocked, role, ec2):
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    clocked.faults.add(operation="AssumeRole", kind="throttle", times=2)
    (event,) = events_of(EipAssociationTrigger(allocation_id=allocation_id, expect="free", **role))
    assert event["status"] == "done"
    refused, clients = 2, 1  # EC2 alone is asked about an address that is free
    assert len(clocked.events.calls("AssumeRole")) == refused + clients


def test_waits_in_a_queue_continue_when_sts_answers_again(clocked, role, ec2, boto):
    client = boto("dynamodb")
    store = open_store("dynamodb://leases?create=true", lambda *_: client)
    store.check()
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    store.write(allocation_id, Record(issued=1), expected_version=None)
    clocked.faults.add(operation="AssumeRole", kind="throttle", times=2)
    waits = [
        EipLeaseTrigger(
            allocation_id=allocation_id,
            lock_store="dynamodb://leases",
            speaker=asdict(Attempt(f"owner-{number}", f"test/dag-{number}/run/create/-1", 1, f"nonce-{number}")),
            cluster_name="daily",
            handover_seconds=3600,
            **role,
        )
        for number in range(3)
    ]
    assert {event["status"] for event in events_of(*waits)} == {"done"}
    assert len(clocked.events.calls("GetItem")) == 1, "one look for all"


def test_a_role_that_may_not_be_assumed_fails_the_wait(clocked, role, ec2):
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    clocked.faults.deny("AssumeRole")
    with pytest.raises(ClientError, match="AccessDenied"):
        events_of(EipAssociationTrigger(allocation_id=allocation_id, expect="free", **role))
