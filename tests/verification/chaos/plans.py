"""The DAGs: a lease period with this package's operators, and the same with the Amazon provider's stock operators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import boto3
from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator,
    EmrCreateJobFlowOperator,
    EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.utils.waiter import WaitPolicy
from airflow.providers.standard.operators.python import PythonOperator
from airflow.sdk import DAG

from airflow_eip_provider.operators.bindings import NatGateway
from airflow_eip_provider.operators.eip import EipReleaseOperator
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from harness.job_flow import one_node, sleeping_step

RETRIES = 3
TABLE, BUCKET, TARGETS = "leases", "leases", "service"
_STORES = {"none": None, "DynamoDB": f"dynamodb://{TABLE}?create=true", "S3": f"s3://{BUCKET}/eip"}
_WAIT_SECONDS = 90
_PREWARM = {"waits": False, "prewarms": True}
_READ_TIMEOUT_SECONDS = 2  # real seconds, after which a call that is never answered fails


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The variant of the DAG.

    :param operators: "ours" or "stock".
    :param store: of the lock: "none", "DynamoDB" or "S3".
    :param binding: where ours bind the address: "primary node" or "NAT gateway".
    :param failover: the service of the cluster moves to another one before the step: to a "warm" standby, or to a
        "cold" one that is launched; empty for no failover.
    :param fallback: the first cluster "has no capacity" in its zone, or "hangs" while it starts, and is replaced by a
        fallback in another zone; empty for no fallback.
    :param pool: any one of two addresses can be used, and both are held at the start. The task "waits", or it
        "prewarms" with its place in the queue of the first address; then the second address is free. Empty for one
        address.
    """

    operators: str
    store: str
    deferrable: bool
    binding: str = "primary node"
    fallback: str = ""
    failover: str = ""
    pool: str = ""

    def __str__(self) -> str:
        mode = "deferrable" if self.deferrable else "blocking"
        if self.operators == "stock":
            return f"stock, {mode}"
        parts = [self.store, mode, *([self.binding] if self.binding != "primary node" else [])]
        parts += [f"{name}: {value}" for name in ("fallback", "failover", "pool") if (value := getattr(self, name))]
        return ", ".join(parts)

    @property
    def lock_store(self) -> str | None:
        """The lock store's URI."""
        return _STORES[self.store]


OURS = (
    *(Plan("ours", store, deferrable) for store in _STORES for deferrable in (False, True)),
    Plan("ours", "DynamoDB", deferrable=False, binding="NAT gateway"),
    Plan("ours", "DynamoDB", deferrable=False, fallback="has no capacity"),
    Plan("ours", "DynamoDB", deferrable=True, fallback="hangs"),
    Plan("ours", "none", deferrable=True, fallback="hangs"),
    Plan("ours", "DynamoDB", deferrable=True, failover="warm"),
    Plan("ours", "none", deferrable=False, failover="warm"),
    Plan("ours", "DynamoDB", deferrable=False, failover="cold"),
    Plan("ours", "DynamoDB", deferrable=True, pool="waits"),
    Plan("ours", "DynamoDB", deferrable=False, pool="prewarms"),
    Plan("ours", "S3", deferrable=True, pool="prewarms"),
    Plan("ours", "none", deferrable=True, pool="waits"),
)
STOCK = tuple(Plan("stock", "none", deferrable) for deferrable in (False, True))


@dataclass(frozen=True, slots=True)
class Stage:
    """
    The resources of a lease period.

    :param subnet_id: a public subnet.
    :param private_id: a private subnet with its own route table, for a NAT gateway.
    :param elsewhere_id: a public subnet in another zone.
    :param standby_id: a cluster that runs there.
    :param second_id: the second address of a pool.
    """

    allocation_id: str
    subnet_id: str
    private_id: str
    route_table_id: str
    elsewhere_id: str = ""
    standby_id: str = ""
    second_id: str = ""

    @property
    def allocation_ids(self) -> list[str]:
        """The addresses, any one of which can be used."""
        return [self.allocation_id, self.second_id] if self.second_id else [self.allocation_id]


def build(plan: Plan, stage: Stage) -> DAG:
    """Return the DAG; its tasks run in the order in which they are created."""
    with DAG(dag_id="chaos", schedule=None) as dag:
        (_ours if plan.operators == "ours" else _stock)(plan, stage)
    return dag


def _ours(plan: Plan, stage: Stage) -> None:
    shared: dict[str, Any] = {
        **_shared(plan),
        "allocation_id": stage.allocation_ids if plan.pool else stage.allocation_id,
        "lock_store": plan.lock_store,
        "deferrable": plan.deferrable,
    }
    gateway = NatGateway(public_subnet_id=stage.subnet_id, route_table_ids=[stage.route_table_id])
    has_gateway = plan.binding == "NAT gateway"
    create = EmrCreateWithStaticIpOperator(
        task_id="create",
        emr_conn_id=None,
        job_flow_overrides=cluster(stage.private_id if has_gateway else stage.subnet_id),
        binding=gateway if has_gateway else None,
        prewarm=_PREWARM.get(plan.pool, "auto"),
        lock_timeout=timedelta(hours=4),
        start_timeout=timedelta(minutes=10 if plan.fallback else 45),
        fallbacks=[{"Instances": {"Ec2SubnetId": stage.elsewhere_id}}] if plan.fallback else (),
        **shared,
    )
    target = _moved(plan, stage, create, shared) if plan.failover else create.output
    EmrAddStepsWithStaticIpOperator(task_id="steps", job_flow_id=target, steps=[sleeping_step(60)], **shared)
    EipReleaseOperator(task_id="release", job_flow_id=target, **shared)
    EmrTerminateWithStaticIpOperator(task_id="terminate", job_flow_id=target, **shared)


def _moved(plan: Plan, stage: Stage, create: EmrCreateWithStaticIpOperator, shared: dict[str, Any]) -> str:
    """Add the failover; return the template of the cluster that has the service, even if the failover failed."""
    is_warm = plan.failover == "warm"
    EmrFailoverOperator(
        task_id="failover",
        emr_conn_id=None,
        job_flow_id=create.output,
        standby_job_flow_id=stage.standby_id if is_warm else None,
        job_flow_overrides=None if is_warm else cluster(stage.elsewhere_id),
        target_groups=[TARGETS],
        checks=[],
        force=True,
        idle_timeout=timedelta(hours=1),
        **{**shared, "waiter_delay": 30},
    )
    pull = "ti.xcom_pull(task_ids='{}', key='job_flow_id')".format
    return f"{{{{ {pull('failover')} or {pull('create')} }}}}"


def _stock(plan: Plan, stage: Stage) -> None:
    shared = {**_shared(plan), "deferrable": plan.deferrable}
    create = EmrCreateJobFlowOperator(
        task_id="create",
        emr_conn_id=None,
        job_flow_overrides=cluster(stage.subnet_id),
        wait_policy=WaitPolicy.WAIT_FOR_COMPLETION,
        **shared,
    )
    PythonOperator(
        task_id="associate",
        python_callable=associate,
        op_kwargs={"allocation_id": stage.allocation_id, "job_flow_id": create.output},
        retries=RETRIES,
    )
    steps = {"job_flow_id": create.output, "steps": [sleeping_step(60)], "wait_for_completion": True}
    EmrAddStepsOperator(task_id="steps", **steps, **shared)
    EmrTerminateJobFlowOperator(task_id="terminate", job_flow_id=create.output, **shared)


def associate(allocation_id: str, job_flow_id: str) -> None:
    """Associate the address with the primary node, as a simple task does it."""
    primary = boto3.client("emr").list_instances(ClusterId=job_flow_id, InstanceGroupTypes=["MASTER"])["Instances"][0]
    boto3.client("ec2").associate_address(AllocationId=allocation_id, InstanceId=primary["Ec2InstanceId"])


def _shared(plan: Plan) -> dict[str, Any]:
    return {
        "aws_conn_id": None,
        "region_name": "eu-west-1",
        "botocore_config": {"read_timeout": _READ_TIMEOUT_SECONDS, "connect_timeout": _READ_TIMEOUT_SECONDS},
        "waiter_delay": _WAIT_SECONDS,
        "waiter_max_attempts": 120,
        "retries": RETRIES,
    }


def cluster(subnet_id: str) -> dict[str, Any]:
    """Return the parameters of RunJobFlow for a cluster of one node."""
    return one_node("chaos", subnet_id=subnet_id)
