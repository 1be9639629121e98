"""The owners that have the addresses of a pool when a lease period begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.lease.observation import LeaseRequest
from airflow_eip_provider.lease.protocol import Acquired, enter, hand_over
from airflow_eip_provider.lease.record import Attempt
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from harness.judge import ALLOCATION_TAG, OWNER_TAG, TOKEN_TAG
from tests.verification.chaos import plans

if TYPE_CHECKING:
    from local_emr import LocalAws
    from tests.verification.chaos.plans import Plan, Stage

# Seconds until the holder of the second address ends: when the task waits, or when its prewarmed cluster is ready.
_ENDS_AFTER = {"waits": 200, "prewarms": 600}
_READY_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Holders:
    """
    The holder of the first address, which outlasts the lease period.

    :param first: its cluster.
    :param owner: of its lease; ``None`` without a lock store.
    """

    first: str
    owner: str | None


def hold(plan: Plan, stage: Stage, session: Any, aws: LocalAws) -> Holders:
    """Start a cluster with each address, and a lease if there is a lock store; the second one ends after some time."""
    clusters, owners = [], []
    for number, allocation_id in enumerate(stage.allocation_ids):
        attempt = Attempt(f"chaos/holder{number}/daily/create/-1", f"chaos/holder{number}/daily/create/-1", 1, "h")
        client = None
        token = 1
        if plan.lock_store is not None:
            client = StoreLeaseClient(
                plan.lock_store, allocation_id=allocation_id, client_for=lambda service, _: session.client(service)
            )
            client.check()  # creates the table
            entered = enter(client.world(), LeaseRequest(attempt, "holder", 3600.0))
            assert isinstance(entered, Acquired), entered
            owners.append(attempt.name)
        tags = {OWNER_TAG: attempt.name, ALLOCATION_TAG: allocation_id, TOKEN_TAG: str(token)}
        cluster = _launch(stage, session, aws, tags)
        _associate(cluster, allocation_id, session)
        if client is not None:
            hand_over(client.world(), attempt, token=token, resource_id=cluster)
        clusters.append(cluster)
    aws.clock.call_later(
        _ENDS_AFTER[plan.pool],
        lambda: aws.end_cluster(clusters[1], state="TERMINATED", message="The work is done"),
        name="the second address becomes free",
    )
    return Holders(clusters[0], owners[0] if owners else None)


def _launch(stage: Stage, session: Any, aws: LocalAws, tags: dict[str, str]) -> str:
    job_flow = plans.cluster(stage.subnet_id)
    job_flow["Tags"] = [{"Key": key, "Value": value} for key, value in tags.items()]
    job_flow_id = str(session.client("emr").run_job_flow(**job_flow)["JobFlowId"])
    aws.clock.advance(_READY_SECONDS)
    return job_flow_id


def _associate(cluster: str, allocation_id: str, session: Any) -> None:
    listed = session.client("emr").list_instances(ClusterId=cluster, InstanceGroupTypes=["MASTER"])
    instance_id = listed["Instances"][0]["Ec2InstanceId"]
    ec2 = session.client("ec2")
    described = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    interface = described["NetworkInterfaces"][0]["NetworkInterfaceId"]
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface, AllowReassociation=False)
