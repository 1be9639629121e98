from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.health import http
from airflow_eip_provider.operators.eip import EipAssociateOperator, EipReleaseOperator
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from harness.leases import Queue
from harness.life import Task
from harness.network import default_subnets
from tests.airflow_version import AIRFLOW
from tests.integration.operators.aws_state import STORE, read_record
from tests.integration.operators.failover_stage import STANDBY, Stage
from tests.integration.operators.nat import Network
from tests.load_balancer import ZONES

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lease.record import Lease, Record

CHANGING = (
    "RunJobFlow",
    "AddJobFlowSteps",
    "CancelSteps",
    "TerminateJobFlows",
    "SetTerminationProtection",
    "DisassociateAddress",
    "AddTags",
    "CreateNatGateway",
    "DeleteNatGateway",
    "CreateRoute",
    "ReplaceRoute",
    "DeleteRoute",
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the Airflow environment, as a lock store needs it."""
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")


@pytest.fixture
def allocation_id(ec2: Any) -> str:
    """A free Elastic IP."""
    return str(ec2.allocate_address(Domain="vpc")["AllocationId"])


@pytest.fixture
def subnet_id(ec2: Any) -> str:
    """A public subnet of the default VPC."""
    return str(ec2.describe_subnets()["Subnets"][0]["SubnetId"])


@pytest.fixture
def overrides(subnet_id: str) -> dict[str, Any]:
    """A single-node cluster, as RunJobFlow wants it."""
    return {
        "Name": "daily",
        "ReleaseLabel": "emr-7.5.0",
        "JobFlowRole": "EMR_EC2_DefaultRole",
        "ServiceRole": "EMR_DefaultRole",
        "LogUri": "s3://logs/emr/",
        "Instances": {
            "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
            "KeepJobFlowAliveWhenNoSteps": True,
            "Ec2SubnetId": subnet_id,
        },
    }


@pytest.fixture
def create_operator(allocation_id: str, overrides: dict[str, Any]) -> Callable[..., EmrCreateWithStaticIpOperator]:
    def make(task_id: str = "create", **parameters: Any) -> EmrCreateWithStaticIpOperator:
        given = {
            "allocation_id": allocation_id,
            "job_flow_overrides": overrides,
            "emr_conn_id": None,
            "aws_conn_id": None,
            "waiter_delay": 15,
            **parameters,
        }
        return EmrCreateWithStaticIpOperator(task_id=task_id, **given)

    return make


@pytest.fixture
def network(clocked: Any, ec2: Any) -> Network:
    return Network.make(ec2)


@pytest.fixture
def nat(network: Network, overrides: dict[str, Any], create_operator: Any) -> Any:
    """Make a creating operator of a three-node cluster behind a NAT gateway."""

    def make(**parameters: Any) -> Any:
        given = {"binding": network.binding, "job_flow_overrides": network.overrides(overrides), **parameters}
        return create_operator(**given)

    return make


@pytest.fixture
def steps_operator(allocation_id: str) -> Callable[..., EmrAddStepsWithStaticIpOperator]:
    def make(job_flow_id: str, task_id: str = "steps", **parameters: Any) -> EmrAddStepsWithStaticIpOperator:
        given = {
            "allocation_id": allocation_id,
            "job_flow_id": job_flow_id,
            "steps": [a_step()],
            "aws_conn_id": None,
            **parameters,
        }
        return EmrAddStepsWithStaticIpOperator(task_id=task_id, **given)

    return make


@pytest.fixture
def terminate_operator(allocation_id: str) -> Callable[..., EmrTerminateWithStaticIpOperator]:
    def make(job_flow_id: str | None, **parameters: Any) -> EmrTerminateWithStaticIpOperator:
        given = {"allocation_id": allocation_id, "job_flow_id": job_flow_id, "aws_conn_id": None, **parameters}
        return EmrTerminateWithStaticIpOperator(task_id="terminate", **given)

    return make


@pytest.fixture
def associate(allocation_id: str) -> Callable[..., EipAssociateOperator]:
    return functools.partial(EipAssociateOperator, task_id="associate", allocation_id=allocation_id, aws_conn_id=None)


@pytest.fixture
def release(allocation_id: str) -> Callable[..., EipReleaseOperator]:
    return functools.partial(EipReleaseOperator, task_id="release", allocation_id=allocation_id, aws_conn_id=None)


@pytest.fixture
def job_flow_id(clocked: Any, create_operator: Any) -> str:
    """A cluster that has the address and is ready for steps; no lock store."""
    created: str = Task(create_operator()).run()
    clocked.clock.advance(600)
    return created


@pytest.fixture
def two(ec2: Any, allocation_id: str) -> list[str]:
    """Two Elastic IPs, sorted."""
    return sorted([allocation_id, str(ec2.allocate_address(Domain="vpc")["AllocationId"])])


@pytest.fixture(params=["dynamodb", "s3"])
def lock_store(request: pytest.FixtureRequest, clocked: Any, boto: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """A lock store of each kind, and the name of the environment that it needs; other folders import this fixture."""
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    if request.param == "dynamodb":
        return STORE
    boto("s3").create_bucket(Bucket="leases", CreateBucketConfiguration={"LocationConstraint": clocked.region})
    return "s3://leases/eip"


@pytest.fixture(params=["no store", "dynamodb"])
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str | None:
    """Without a lock store and the settings that it needs, and with one."""
    if request.param == "no store":
        monkeypatch.delenv("AIRFLOW__EIP__ENVIRONMENT")
        return None
    return STORE


@pytest.fixture
def record(lock_store: str, allocation_id: str, boto: Any) -> Callable[[], Record]:
    """Read the record as it is now."""
    return lambda: read_record(boto, allocation_id, lock_store=lock_store)


@pytest.fixture
def stored_record(allocation_id: str, boto: Any) -> Callable[[], Record]:
    """Read the record of the store in DynamoDB as it is now."""
    return lambda: read_record(boto, allocation_id)


@pytest.fixture
def lease(stored_record: Callable[[], Record]) -> Callable[[], Lease | None]:
    """Read the lease in that record as it is now."""
    return lambda: stored_record().lease


@pytest.fixture
def subnets(ec2: Any) -> dict[str, str]:
    """The default VPC's public subnets, by zone."""
    return {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in default_subnets(ec2)}


@pytest.fixture
def to_b(subnets: dict[str, str]) -> dict[str, Any]:
    """A fallback in zone b."""
    return {"Instances": {"Ec2SubnetId": subnets[ZONES[1]]}}


@pytest.fixture
def queue(clocked: Any, boto: Any) -> Queue:
    """The tasks that wait, on the local EMR's clock."""
    return Queue(clocked, functools.cache(boto))


@pytest.fixture
def leased(lock_store: str, create_operator: Any) -> Callable[..., Task]:
    """Make a deferrable creating task in a separate DAG."""

    def make(dag_id: str, *, try_number: int = 1, **parameters: Any) -> Task:
        operator = create_operator(**{"deferrable": True, "lock_store": lock_store, **parameters})
        return Task(operator, dag_id=dag_id, try_number=try_number)

    return make


@pytest.fixture
def ended(lock_store: str, terminate_operator: Any) -> Callable[..., Any]:
    """Let a lease period end as its teardown does."""

    def end(job_flow_id: str) -> None:
        Task(terminate_operator(job_flow_id, lock_store=lock_store), dag_id="teardown").run()

    return end


def a_step(*args: str, name: str = "read") -> dict[str, Any]:
    return {
        "Name": name,
        "ActionOnFailure": "CONTINUE",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": list(args) or ["true"]},
    }


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what was logged: Airflow prints through structlog, before 3.1 it logs through the standard library."""

    def text() -> str:
        printed = capsys.readouterr()
        return caplog.text if AIRFLOW < (3, 1) else caplog.text + printed.out + printed.err

    return text


@pytest.fixture
def step() -> Callable[..., dict[str, Any]]:
    return a_step


@pytest.fixture
def assert_nothing_changed(clocked: Any) -> Callable[..., None]:
    """Check the wire: no call that changes AWS was made, the permission checks by DryRun apart."""

    def check(*, after: int = 0) -> None:
        calls = [event for event in clocked.events.read(after=after, kind="call") if not _is_dry_run(event)]
        changing = [event["operation"] for event in calls if event["operation"] in {*CHANGING, "AssociateAddress"}]
        assert changing == []

    return check


@pytest.fixture
def refused(clocked: Any, create_operator: Any, assert_nothing_changed: Any) -> Any:
    """Expect a task with these parameters to fail without a retry, with this in its error, and AWS unchanged."""

    def check(*in_message: str, **parameters: Any) -> None:
        before = clocked.events.last
        with pytest.raises(AirflowFailException) as error:
            Task(create_operator(**parameters)).run()
        for text in in_message:
            assert text in str(error.value)
        assert_nothing_changed(after=before)

    return check


@pytest.fixture
def occupied(clocked: Any, ec2: Any, allocation_id: str, subnet_id: str) -> Callable[[], None]:
    """Let something that is not a task have the address; return what disassociates it."""
    made = ec2.create_network_interface(SubnetId=subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    association = ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=made)["AssociationId"]
    return lambda: ec2.disassociate_address(AssociationId=association)


@pytest.fixture
def role_conn_id(monkeypatch: pytest.MonkeyPatch) -> str:
    """A connection that assumes a role."""
    extra = {
        "role_arn": "arn:aws:iam::123456789012:role/airflow",
        "config_kwargs": {"retries": {"total_max_attempts": 1}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AWS_ROLE", json.dumps({"conn_type": "aws", "extra": extra}))
    return "aws_role"


def _is_dry_run(event: Any) -> bool:
    return str(event["request"].get("DryRun", "false")).lower() == "true"


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a failed HTTP check again at once."""
    monkeypatch.setattr(http, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def staged(clocked: Any, boto: Any, allocation_id: str, overrides: dict[str, Any]) -> Callable[..., Stage]:
    """Make a service, with all that its failovers need."""

    def make(*, store: bool = True, address: bool = True, warm: bool = True, balanced: bool = False) -> Stage:
        lock_store = STORE if store else None
        stage = Stage(clocked, functools.cache(boto), allocation_id if address else None, lock_store, overrides)
        if address:
            operator = EmrCreateWithStaticIpOperator(
                task_id="create",
                allocation_id=allocation_id,
                job_flow_overrides=stage.in_zone(ZONES[0]),
                lock_store=lock_store,
                idle_timeout=None,
                aws_conn_id=None,
                emr_conn_id=None,
            )
            stage.old = Task(operator, dag_id="service").run()
            clocked.clock.advance(900)
        else:
            stage.old = stage.launch(ZONES[0], seconds=900)
        if balanced:
            stage.balance()
        if warm:
            stage.standby = stage.launch(ZONES[1], STANDBY)
        return stage

    return make
