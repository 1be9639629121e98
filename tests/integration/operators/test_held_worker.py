"""A task that waits for the address in a worker warns once that it uses a slot that the holder may need."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.exceptions import AddressBusyError
from harness.life import Task

SAYS = "waits in a worker for Elastic IP"
SOON = timedelta(minutes=5)


@pytest.fixture
def held(ec2: Any, clocked: Any, allocation_id: str, subnet_id: str) -> Any:
    """An instance without the address, which another instance has."""
    given = {"ImageId": "ami-0123456789abcdef0", "MinCount": 2, "MaxCount": 2, "SubnetId": subnet_id}
    instances = ec2.run_instances(**given)["Instances"]
    clocked.clock.advance(60)
    interface = instances[0]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface, AllowReassociation=False)
    return instances[1]["InstanceId"]


@pytest.mark.parametrize("task", ["create", "associate"])
def test_waiting_for_an_address_that_something_carries(
    clocked, held, create_operator, associate, deferrable, logged, task
):
    given = {"deferrable": deferrable, "lock_timeout": SOON}
    with pytest.raises(AddressBusyError):
        Task(create_operator(**given) if task == "create" else associate(instance_id=held, **given)).run()
    assert logged().count(SAYS) == (0 if deferrable else 1)


def test_waiting_in_the_queue(clocked, leased, lock_store, create_operator, deferrable, logged):
    Task(create_operator(lock_store=lock_store), dag_id="first").run()
    assert SAYS not in logged()
    second = Task(create_operator(lock_store=lock_store, deferrable=deferrable, lock_timeout=SOON), dag_id="second")
    with pytest.raises(AddressBusyError):
        second.run()
    said = logged()
    assert said.count(SAYS) == (0 if deferrable else 1)
    assert ("needs a triggerer" in said) is not deferrable
