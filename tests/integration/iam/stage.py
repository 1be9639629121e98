"""A local EMR that enforces the policy which this package asks for, on the credentials that its tasks have."""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from airflow_eip_provider.iam_policy import Configuration, policy_document
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator,
    EmrCreateWithStaticIpOperator,
    EmrTerminateWithStaticIpOperator,
)
from airflow_eip_provider.stores.uri import open_store
from harness.leases import Queue
from harness.life import Task, on_clock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.lease.record import Record
    from local_emr import LocalAws

ACCOUNT = "123456789012"
SERVICE_ROLE, INSTANCE_ROLE, AUTOSCALING_ROLE, EXECUTION_ROLE = (
    f"arn:aws:iam::{ACCOUNT}:role/{name}"
    for name in ("EMR_DefaultRole", "EMR_EC2_DefaultRole", "EMR_AutoScaling_DefaultRole", "reader")
)
DYNAMODB, S3 = "dynamodb://leases?create=true", "s3://leases/eip"
DENIED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "403"}
AIRFLOW = "airflow"  # the access key of the tasks; the tests' own may do everything
_REGION = "eu-west-1"


def configuration(allocation_id: str, **given: Any) -> Configuration:
    """Return a configuration that uses everything."""
    return Configuration(
        **{
            "allocation_ids": [allocation_id],
            "region": _REGION,
            "account": ACCOUNT,
            "service_roles": [SERVICE_ROLE],
            "instance_roles": [INSTANCE_ROLE],
            "autoscaling_roles": [AUTOSCALING_ROLE],
            "execution_roles": [EXECUTION_ROLE],
            "lock_store": DYNAMODB,
            "log_uri": "s3://logs/emr/",
            **given,
        }
    )


BEHIND_GATEWAYS: dict[str, Any] = {
    "binding": "nat-gateway",
    "public_subnets": ["subnet-0123456789abcdef0"],
    "route_tables": ["rtb-0123456789abcdef0"],
}

LONG_RUNNING: dict[str, Any] = {
    "health": True,
    "drill": True,
    "target_groups": [f"arn:aws:elasticloadbalancing:{_REGION}:{ACCOUNT}:targetgroup/livy/0123456789abcdef"],
}

# A pool: all addresses with a tag.
TAGGED: dict[str, Any] = {"allocation_ids": [], "address_tags": {"purpose": ["azure-sql"]}}
BEHIND_TAGGED = {**BEHIND_GATEWAYS, **TAGGED}


def without(document: dict[str, Any], sid: str, action: str) -> dict[str, Any]:
    """Return the document without one action of one statement."""
    statements = [
        {**statement, "Action": [a for a in statement["Action"] if (statement["Sid"], a) != (sid, action)]}
        for statement in document["Statement"]
    ]
    return {**document, "Statement": [statement for statement in statements if statement["Action"]]}


class _Noted(Task):
    """A task of which is noted what it needed."""

    def __init__(self, stage: Stage, operator: Any, **ti: Any) -> None:
        super().__init__(operator, **ti)
        self._stage, self._class = stage, type(operator)

    def run(self) -> Any:
        before = len(self._stage.aws.events.calls())
        try:
            return super().run()
        finally:
            calls = self._stage.aws.events.calls()[before:]
            actions = {action for event in calls for _, action in event.get("granted", ())}
            self._stage.needed.setdefault(self._class, set()).update(actions)


class Stage:
    """An address, a public subnet, a log bucket; tasks that may do what the policy allows."""

    def __init__(self, aws: LocalAws, patch: pytest.MonkeyPatch, clients: contextlib.ExitStack) -> None:
        self.aws, self.patch = aws, patch
        self._clients = clients
        self._session = boto3.Session()
        self.client = functools.cache(self._new_client)
        self.allocation_id = str(self.client("ec2").allocate_address(Domain="vpc")["AllocationId"])
        for bucket in ("logs", "leases"):
            self.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": _REGION})
        self.subnet_id = str(self.client("ec2").describe_subnets()["Subnets"][0]["SubnetId"])
        self.taken_away: tuple[str, str] | None = None
        self.needed: dict[type, set[str]] = {}

    def pool(self) -> list[str]:
        """Make a second address, and tag both; return them sorted, as the product takes them."""
        ec2 = self.client("ec2")
        pool = sorted([self.allocation_id, str(ec2.allocate_address(Domain="vpc")["AllocationId"])])
        ec2.create_tags(Resources=pool, Tags=[{"Key": "purpose", "Value": "azure-sql"}])
        return pool

    def subnet_in(self, zone: str) -> str:
        """Return the default VPC's subnet of an Availability Zone."""
        subnets = self.client("ec2").describe_subnets()["Subnets"]
        return next(str(found["SubnetId"]) for found in subnets if found["AvailabilityZone"] == zone)

    def _new_client(self, service: str, caller: str = "testing", region: str = _REGION) -> Any:
        who = {"aws_access_key_id": caller, "aws_secret_access_key": "testing"}
        client = self._session.client(service, region_name=region, **who)
        self._clients.callback(client.close)
        return client

    def enforce(self, lock_store: str | None, **given: Any) -> None:
        """Put the policy of a configuration in force, less what is taken away."""
        document = policy_document(configuration(self.allocation_id, lock_store=lock_store, **given))
        if self.taken_away:
            document = without(document, *self.taken_away)
        self.aws.enforce(document, access_key_id=AIRFLOW)

    def grants(self) -> frozenset[tuple[str, str]]:
        """Return the Sid and action of every permission that was used."""
        return frozenset(grant for event in self.aws.events.calls() for grant in event.get("granted", ()))

    def refusals(self) -> list[str]:
        """Return the operations that were refused for want of a permission."""
        return [e["operation"] for e in self.aws.events.calls() if e["error_code"] in DENIED]

    def overrides(self, **given: Any) -> dict[str, Any]:
        """Return a single-node cluster, as RunJobFlow wants it."""
        instances = {
            "InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}],
            "KeepJobFlowAliveWhenNoSteps": True,
            "Ec2SubnetId": self.subnet_id,
        }
        return {
            "Name": "daily",
            "ReleaseLabel": "emr-7.5.0",
            "JobFlowRole": "EMR_EC2_DefaultRole",
            "ServiceRole": "EMR_DefaultRole",
            "LogUri": "s3://logs/emr/",
            **given,
            "Instances": {**instances, **given.get("Instances", {})},
        }

    def create(self, *, dag_id: str = "daily", try_number: int = 1, **given: Any) -> Task:
        """Make a creating task; no lock store unless one is given."""
        parameters = {
            **self._common,
            "task_id": "create",
            "job_flow_overrides": self.overrides(),
            "emr_conn_id": None,
            **given,
        }
        return _Noted(self, EmrCreateWithStaticIpOperator(**parameters), dag_id=dag_id, try_number=try_number)

    def steps(self, job_flow_id: str, *args: str, try_number: int = 1, **given: Any) -> Task:
        """Make a task that submits one step."""
        jar = {"Jar": "command-runner.jar", "Args": list(args) or ["true"]}
        steps = [{"Name": "read", "ActionOnFailure": "CONTINUE", "HadoopJarStep": jar}]
        parameters = {**self._common, "task_id": "steps", "job_flow_id": job_flow_id, "steps": steps, **given}
        return _Noted(self, EmrAddStepsWithStaticIpOperator(**parameters), try_number=try_number)

    def terminate(self, job_flow_id: str, **given: Any) -> Task:
        """Make a teardown."""
        parameters = {**self._common, "task_id": "terminate", "job_flow_id": job_flow_id, **given}
        return _Noted(self, EmrTerminateWithStaticIpOperator(**parameters))

    def task(self, operator: type, **given: Any) -> Task:
        """Make a task of another operator or sensor."""
        return _Noted(self, operator(**{**self._common, "task_id": "task", **given}))

    def noted(self, operator: Any) -> Task:
        """Make a task of an operator that takes no address."""
        return _Noted(self, operator)

    @property
    def _common(self) -> dict[str, Any]:
        return {"allocation_id": self.allocation_id, "lock_store": None, "aws_conn_id": None}

    def queue(self) -> Queue:
        """Return the tasks that wait, on the credentials of the tasks."""
        return Queue(self.aws, lambda service: self.client(service, AIRFLOW))

    def record(self, lock_store: str) -> Record:
        """Read the lock's record."""
        kind = lock_store.split(":", maxsplit=1)[0]
        client = self.client(kind)
        store = open_store(lock_store, lambda *_: client)
        return store.read(self.allocation_id).record

    def cluster_state(self, job_flow_id: str) -> str:
        """Return a cluster's state."""
        return str(self.aws.cluster(job_flow_id).state)

    def is_free(self) -> bool:
        """Whether nothing carries the address."""
        return "AssociationId" not in self.client("ec2").describe_addresses()["Addresses"][0]


@contextlib.contextmanager
def staged(aws: LocalAws, *, taken_away: tuple[str, str] | None = None) -> Iterator[Stage]:
    """
    Set a stage up in an AWS that is as good as new, and clear it.

    :param taken_away: Sid and action that the policies lack.
    """
    environment = {
        "AWS_ENDPOINT_URL": aws.endpoint_url,
        "AWS_DEFAULT_REGION": aws.region,
        "AWS_ACCESS_KEY_ID": AIRFLOW,
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AIRFLOW__EIP__ENVIRONMENT": "testing",
    }
    with on_clock(aws), pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as clients:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        aws.reset()  # a local EMR of another test may have taken moto's state over
        stage = Stage(aws, patch, clients)
        stage.taken_away = taken_away
        try:
            yield stage
        finally:
            aws.reset()
