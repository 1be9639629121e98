"""A service on a cluster with an address and a load balancer, and the failovers of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.client import BaseClient
from botocore.exceptions import ClientError

from airflow_eip_provider.health.checks import LIVY
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from harness.leases import Vanished
from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

ZONES = ("eu-west-1a", "eu-west-1b")
DRAIN_SECONDS = 60
STANDBY = {"role": "standby"}
QUICK = {**LIVY.as_mapping(), "timeout_seconds": 0.3}  # real seconds
CHANGES = frozenset(
    {
        "RunJobFlow",
        "TerminateJobFlows",
        "CancelSteps",
        "AssociateAddress",
        "DisassociateAddress",
        "RegisterTargets",
        "DeregisterTargets",
    }
)


@dataclass
class Stage:
    """
    One service.

    :param old: the cluster that has it; ``standby`` the other one, if there is one.
    """

    aws: Any
    boto: Callable[[str], Any]
    allocation_id: str | None
    lock_store: str | None
    overrides: dict[str, Any]
    old: str = ""
    standby: str = ""
    group: str = ""
    tasks: dict[str, Task] = field(default_factory=dict)

    def launch(self, zone: str, tags: dict[str, str] | None = None, *, seconds: float = 600) -> str:
        items = [{"Key": key, "Value": value} for key, value in (tags or {}).items()]
        made = self.boto("emr").run_job_flow(**self.in_zone(zone), Tags=items)
        self.aws.clock.advance(seconds)
        return str(made["JobFlowId"])

    def in_zone(self, zone: str) -> dict[str, Any]:
        instances = {**self.overrides["Instances"], "Ec2SubnetId": self.subnet(zone)["SubnetId"]}
        return {**self.overrides, "Name": "livy", "Applications": [{"Name": "Livy"}], "Instances": instances}

    def subnet(self, zone: str) -> dict[str, Any]:
        subnets = self.boto("ec2").describe_subnets()["Subnets"]
        return next(subnet for subnet in subnets if subnet["AvailabilityZone"] == zone)

    def balance(self) -> None:
        """Put a load balancer in front of the old cluster, whose port its nodes let in."""
        elb, zones = self.boto("elbv2"), [self.subnet(zone) for zone in ZONES]
        (balancer,) = elb.create_load_balancer(
            Name="emr", Type="network", Scheme="internal", Subnets=[zone["SubnetId"] for zone in zones]
        )["LoadBalancers"]
        (group,) = elb.create_target_group(
            Name="livy",
            Protocol="TCP",
            Port=8998,
            VpcId=zones[0]["VpcId"],
            TargetType="ip",
            HealthCheckIntervalSeconds=10,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )["TargetGroups"]
        self.group = str(group["TargetGroupArn"])
        delay = [{"Key": "deregistration_delay.timeout_seconds", "Value": str(DRAIN_SECONDS)}]
        elb.modify_target_group_attributes(TargetGroupArn=self.group, Attributes=delay)
        forward = [{"Type": "forward", "TargetGroupArn": self.group}]
        arn = balancer["LoadBalancerArn"]
        elb.create_listener(LoadBalancerArn=arn, Protocol="TCP", Port=8998, DefaultActions=forward)
        self.let_in(self.old)
        target = {"Id": self.aws.cluster(self.old).primary.private_ip_address, "Port": 8998}
        elb.register_targets(TargetGroupArn=self.group, Targets=[target])
        self.aws.clock.advance(30)

    def let_in(self, job_flow_id: str) -> None:
        ec2 = self.boto("ec2")
        instance_id = self.aws.cluster(job_flow_id).primary.id
        (reservation,) = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        ranges = [{"CidrIp": self.subnet(zone)["CidrBlock"]} for zone in ZONES]
        rule = {"IpProtocol": "tcp", "FromPort": 8998, "ToPort": 8998, "IpRanges": ranges}
        for security_group in reservation["Instances"][0]["NetworkInterfaces"][0]["Groups"]:
            try:
                ec2.authorize_security_group_ingress(GroupId=security_group["GroupId"], IpPermissions=[rule])
            except ClientError as error:
                assert error.response["Error"]["Code"] == "InvalidPermission.Duplicate"  # noqa: PT017

    def break_livy(self) -> None:
        """Let Livy refuse connections on the old cluster, whose node goes on otherwise."""
        self.aws.trouble_service(self.old, "livy", "refuses")

    def cold(self) -> dict[str, Any]:
        """Return what a failover is given that launches a cluster."""
        return {"standby_job_flow_id": None, "job_flow_overrides": self.in_zone(ZONES[1])}

    def failover(
        self, *, dag_id: str = "watch", try_number: int = 1, remembered: dict[str, Any] | None = None, **given: Any
    ) -> Task:
        """Return a failover that has not begun."""
        parameters = {
            "job_flow_id": self.old,
            "allocation_id": self.allocation_id,
            "standby_job_flow_id": self.standby or None,
            "target_groups": ["livy"] if self.group else [],
            "lock_store": self.lock_store,
            "checks": [QUICK],
            "aws_conn_id": None,
            "emr_conn_id": None,
            "deferrable": True,
            **given,
        }
        operator = EmrFailoverOperator(task_id="failover", **parameters)
        return Task(operator, dag_id=dag_id, try_number=try_number, max_tries=2, remembered=remembered)

    def changes(self, after: int = 0) -> list[str]:
        """Return what has been changed, in its order."""
        calls = self.aws.events.read(after=after, kind="call")
        made = [event for event in calls if event["operation"] in CHANGES and not event.get("error_code")]
        return [event["operation"] for event in made if str(event["request"].get("DryRun")).lower() != "true"]

    def targets(self) -> list[tuple[str, str]]:
        """Return the registered targets that are not leaving, and their states."""
        found = self.boto("elbv2").describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        states = [(each["Target"]["Id"], each["TargetHealth"]["State"]) for each in found]
        return [(target, state) for target, state in states if state != "draining"]

    def live(self) -> set[str]:
        states = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
        return {cluster["Id"] for cluster in self.boto("emr").list_clusters(ClusterStates=states)["Clusters"]}

    def holder(self) -> str | None:
        """Return the instance that has the address."""
        (address,) = self.boto("ec2").describe_addresses(AllocationIds=[self.allocation_id])["Addresses"]
        return address.get("InstanceId") or None

    def check_moved_to(self, job_flow_id: str) -> None:
        """Check that one cluster has everything, and that nothing is left of another one."""
        primary = self.aws.cluster(job_flow_id).primary
        assert self.live() == {job_flow_id}
        if self.allocation_id:
            assert self.holder() == primary.id
        if self.group:
            assert self.targets() == [(primary.private_ip_address, "healthy")]


def vanish_after(monkeypatch: pytest.MonkeyPatch, task: Task, operation: str, nth: int = 1) -> None:
    """Run a task until its process vanishes right after a request of this operation, which took effect."""
    real, seen = BaseClient._make_api_call, []

    def called(self: Any, name: str, parameters: Any) -> Any:
        answer = real(self, name, parameters)
        if name == operation and not parameters.get("DryRun"):
            seen.append(name)
            if len(seen) == nth:
                raise Vanished
        return answer

    task._pristine.undo = lambda *_: None
    with monkeypatch.context() as patch:
        patch.setattr(BaseClient, "_make_api_call", called)
        try:
            task.run()
        except Vanished:
            return
    raise AssertionError(f"there was no {operation} number {nth}")
