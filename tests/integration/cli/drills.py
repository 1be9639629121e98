"""A pair of long-running clusters behind a load balancer, for the tests of ``airflow-eip drill``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.health import http
from airflow_eip_provider.operators.elbv2 import NlbTargetsOperator
from harness.life import Task
from tests.integration.cli.conftest import Said
from tests.integration.deploy.template import create_from_template
from tests.integration.iam.stage import DYNAMODB, staged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_emr import LocalAws
    from tests.integration.iam.stage import Stage

TEMPLATE = Path(__file__).parents[3] / "deploy" / "cloudformation" / "load-balancer.yaml"
ZONES = ("eu-west-1a", "eu-west-1b")
GROUPS = ("emr-yarn", "emr-hdfs", "emr-livy")
APPLICATIONS = [{"Name": "Spark"}, {"Name": "Livy"}]


class Pair:
    """
    A primary that has the address and is healthy behind the load balancer, and a standby in the other zone.

    :param lock_store: of the lease; ``None`` for none.
    """

    def __init__(self, stage: Stage, *, lock_store: str | None = DYNAMODB) -> None:
        self.stage, self.lock_store = stage, lock_store
        ec2 = stage.client("ec2")
        subnets = [stage.subnet_in(zone) for zone in ZONES]
        vpc_id = ec2.describe_subnets(SubnetIds=subnets)["Subnets"][0]["VpcId"]
        airflow = ec2.create_security_group(GroupName="airflow", Description="x", VpcId=vpc_id)["GroupId"]
        given = {"VpcId": vpc_id, "SubnetIds": subnets, "AirflowSecurityGroupId": airflow}
        given["AllocationId"] = stage.allocation_id
        self.load_balancer = create_from_template(TEMPLATE, stage.client, **given)
        self.enforce()
        overrides = self.overrides(ZONES[0])
        self.primary = str(stage.create(job_flow_overrides=overrides, lock_store=lock_store).run())
        stage.aws.clock.advance(600)
        targets = {"job_flow_id": self.primary, "target_groups": list(GROUPS), "aws_conn_id": None}
        Task(NlbTargetsOperator(task_id="register", **targets)).run()

    def enforce(self) -> None:
        """Let Airflow do what the policy for such a pair allows, and no more."""
        arns = [self.load_balancer[f"{name}TargetGroupArn"] for name in ("Yarn", "Hdfs", "Livy")]
        self.stage.enforce(self.lock_store, health=True, drill=True, target_groups=arns)

    def overrides(self, zone: str, **given: Any) -> dict[str, Any]:
        """Return a cluster with Livy in a zone, as RunJobFlow wants it."""
        group = self.load_balancer["PrimarySecurityGroupId"]
        instances = {"Ec2SubnetId": self.stage.subnet_in(zone), "AdditionalMasterSecurityGroups": [group]}
        return self.stage.overrides(Name="livy", Applications=APPLICATIONS, Instances=instances, **given)

    def launch_standby(self, zone: str = ZONES[1], *, wait_seconds: float = 600) -> str:
        """Launch a standby with the address's tag, wait until its services run, and return its id."""
        tags = [{"Key": ALLOCATION_TAG, "Value": self.stage.allocation_id}]
        launched = self.stage.client("emr").run_job_flow(**self.overrides(zone, Tags=tags))
        self.stage.aws.clock.advance(wait_seconds)
        return str(launched["JobFlowId"])

    def disassociate(self) -> None:
        """Free the address, if it is associated."""
        ec2 = self.stage.client("ec2")
        (address,) = ec2.describe_addresses()["Addresses"]
        if "AssociationId" in address:
            ec2.disassociate_address(AssociationId=address["AssociationId"])

    def move_address(self, job_flow_id: str) -> None:
        """Associate the address with another cluster."""
        self.disassociate()
        self.stage.client("ec2").associate_address(
            AllocationId=self.stage.allocation_id,
            NetworkInterfaceId=self.stage.aws.cluster(job_flow_id).primary.nics[0].id,
            AllowReassociation=False,
        )

    def stops(self) -> list[dict[str, Any]]:
        """Return the accepted requests that stop a primary."""
        calls = self.stage.aws.events.calls
        events = [*calls("TerminateInstances"), *calls("TerminateJobFlows")]
        return [event for event in events if not event["error_code"]]

    def file(self, folder: Path, content: Any, name: str = "cluster.json") -> str:
        """Write a JSON file and return its path."""
        path = folder / name
        path.write_text(json.dumps(content))
        return str(path)

    def drill(
        self, capsys: pytest.CaptureFixture[str], *arguments: str, as_json: bool = True, with_address: bool = True
    ) -> Said:
        """Run the command for the primary, its address and its target groups."""
        capsys.readouterr()
        groups = [word for name in GROUPS for word in ("--target-group", name)]
        address = ["--allocation-id", self.stage.allocation_id] if with_address else []
        common = ["--job-flow-id", self.primary, *address, *groups]
        store = ["--lock-store", self.lock_store or "none"]
        status: Any
        try:
            status = main(["drill", *common, *store, *arguments, *(["--json"] if as_json else [])])
        except SystemExit as ended:
            status = ended.code
        return Said(status, *capsys.readouterr())


@pytest.fixture
def pair(served_aws: LocalAws) -> Iterator[Pair]:
    with staged(served_aws) as stage:
        stage.patch.setattr(http, "PAUSE_SECONDS", 0.0)
        yield Pair(stage)
