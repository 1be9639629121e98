"""What tests read from the local AWS and from a lock store."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.stores.uri import open_store
from harness import judge
from harness.life import first_event

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record
    from harness.leases import Queue
    from harness.life import Task

STORE = "dynamodb://leases?create=true"
# The provider has these states, too; a test must not depend on the list that it tests.
_ACTIVE_STATES = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
dynamodb_only = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)


def active_clusters(emr: Any) -> list[str]:
    return [cluster["Id"] for cluster in emr.list_clusters(ClusterStates=_ACTIVE_STATES)["Clusters"]]


def cluster_state(emr: Any, job_flow_id: str) -> str:
    return str(emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"])


def step_states(emr: Any, job_flow_id: str) -> list[str]:
    return [step["Status"]["State"] for step in emr.list_steps(ClusterId=job_flow_id)["Steps"]]


def launch_calls(aws: Any) -> int:
    """Return the number of RunJobFlow calls, successful or not."""
    return len(aws.events.calls("RunJobFlow"))


def launches(aws: Any) -> list[judge.Launch]:
    """Return the successful RunJobFlow calls."""
    return judge.launches(aws.events.read())


def launched(aws: Any) -> list[str]:
    """Return the clusters of the successful RunJobFlow calls."""
    return [launch.job_flow_id for launch in launches(aws)]


def outcomes(task: Task) -> list[tuple[int, str]]:
    """Return each candidate's number and outcome."""
    return [(attempt["candidate"], attempt["outcome"]) for attempt in task.ti.xcoms.get("attempts", ())]


def is_associated(ec2: Any) -> bool:
    """Whether the first address is associated."""
    return "AssociationId" in ec2.describe_addresses()["Addresses"][0]


def associated_instance(ec2: Any) -> str | None:
    """Return the instance of the first address."""
    instance: str | None = ec2.describe_addresses()["Addresses"][0].get("InstanceId")
    return instance


def free_address(ec2: Any) -> None:
    """Disassociate the first address."""
    ec2.disassociate_address(AssociationId=ec2.describe_addresses()["Addresses"][0]["AssociationId"])


def run_instance(ec2: Any, aws: Any) -> str:
    """Return a running instance."""
    launched = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)
    aws.clock.advance(120)
    return str(launched["Instances"][0]["InstanceId"])


def read_record(boto: Any, allocation_id: str, *, lock_store: str = STORE) -> Record:
    client = boto(lock_store.split(":", maxsplit=1)[0])
    return open_store(lock_store, lambda *_: client).read(allocation_id).record


def run_queued(queue: Queue, *tasks: Task) -> None:
    """Run tasks to their ends, one after the other."""
    for task in tasks:
        task.start()
        queue.until(lambda task=task: task.ended, task)


def step_on(task: Task) -> None:
    """Let the trigger of a task fire, and the task's next phase run."""
    task.resume(asyncio.run(first_event(task.trigger())))
