"""The same job with the operators of Airflow's Amazon provider, and a plain task that associates the address."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import boto3
import botocore.waiter
from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.utils import waiter_with_logging

from harness.life import Task

if TYPE_CHECKING:
    import pytest

    from bench.environment import Address
    from local_emr import LocalAws

_POLL: dict[str, Any] = {"waiter_delay": 15, "waiter_max_attempts": 200}


def put_on_clock(aws: LocalAws, patch: pytest.MonkeyPatch) -> None:
    """Make the stock waiters sleep on the local EMR's clock."""
    for module in (waiter_with_logging, botocore.waiter):
        patch.setattr(module, "time", SimpleNamespace(sleep=aws.clock.advance))


def run(address: Address, *, number: int, step: dict[str, Any]) -> None:
    """Create a cluster, wait until it is ready, associate, run the step, terminate and wait."""
    create = EmrCreateJobFlowOperator(
        task_id="create",
        job_flow_overrides=address.job_flow,
        emr_conn_id=None,
        aws_conn_id=None,
        wait_for_completion=True,
        **_POLL,
    )
    job_flow_id = _task(create, number).run()
    _associate(address, job_flow_id)
    steps = EmrAddStepsOperator(
        task_id="steps", job_flow_id=job_flow_id, steps=[step], aws_conn_id=None, wait_for_completion=True, **_POLL
    )
    _task(steps, number).run()
    _task(EmrTerminateJobFlowOperator(task_id="end", job_flow_id=job_flow_id, aws_conn_id=None, **_POLL), number).run()


def _associate(address: Address, job_flow_id: str) -> None:
    instances = boto3.client("emr").list_instances(ClusterId=job_flow_id, InstanceGroupTypes=["MASTER"])
    instance_id = instances["Instances"][0]["Ec2InstanceId"]
    boto3.client("ec2").associate_address(AllocationId=address.allocation_id, InstanceId=instance_id)


def _task(operator: Any, number: int) -> Task:
    return Task(operator, dag_id=f"run-{number}")
