"""A service on a cluster with an address and a load balancer, and its failovers."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.client import BaseClient

from airflow_eip_provider.health.checks import LIVY
from airflow_eip_provider.operators.failover import EmrFailoverOperator
from harness.leases import Vanished
from harness.life import Task
from tests.load_balancer import ZONES, allow_ports, create_load_balancer

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

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
    A service.

    :param old: the cluster that has the service; ``standby`` is the other one, if it exists.
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
        """Put a load balancer in front of the old cluster, whose nodes allow its port."""
        elb, subnets = self.boto("elbv2"), [self.subnet(zone) for zone in ZONES]
        _, groups = create_load_balancer(elb, subnets, {"livy": 8998})
        self.group = groups["livy"]
        primary = self.aws.cluster(self.old).primary
        allow_ports(self.boto("ec2"), primary.id, subnets, [8998])
        target = {"Id": primary.private_ip_address, "Port": 8998}
        elb.register_targets(TargetGroupArn=self.group, Targets=[target])
        self.aws.clock.advance(30)

    def break_livy(self) -> None:
        """Let Livy refuse connections on the old cluster, whose node keeps running."""
        self.aws.trouble_service(self.old, "livy", "refuses")

    def cold(self) -> dict[str, Any]:
        """Return the parameters of a failover that launches a cluster."""
        return {"standby_job_flow_id": None, "job_flow_overrides": self.in_zone(ZONES[1])}

    def failover(
        self, *, dag_id: str = "watch", try_number: int = 1, remembered: dict[str, Any] | None = None, **given: Any
    ) -> Task:
        """Return a failover that has not started."""
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
        """Return the operations that changed AWS, in order."""
        return [
            event["operation"]
            for event in self.aws.events.read(after=after, kind="call")
            if event["operation"] in CHANGES
            and not event.get("error_code")
            and str(event["request"].get("DryRun")).lower() != "true"
        ]

    def targets(self) -> list[tuple[str, str]]:
        """Return the registered targets that are not draining, and their states."""
        targets = self.boto("elbv2").describe_target_health(TargetGroupArn=self.group)["TargetHealthDescriptions"]
        states = [(target["Target"]["Id"], target["TargetHealth"]["State"]) for target in targets]
        return [(target_id, state) for target_id, state in states if state != "draining"]

    def live(self) -> set[str]:
        states = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING"]
        return {cluster["Id"] for cluster in self.boto("emr").list_clusters(ClusterStates=states)["Clusters"]}

    def holder(self) -> str | None:
        """Return the instance that has the address."""
        (address,) = self.boto("ec2").describe_addresses(AllocationIds=[self.allocation_id])["Addresses"]
        return address.get("InstanceId") or None

    def check_moved_to(self, job_flow_id: str) -> None:
        """Check that one cluster has everything, and that no other cluster is left."""
        primary = self.aws.cluster(job_flow_id).primary
        assert self.live() == {job_flow_id}
        if self.allocation_id:
            assert self.holder() == primary.id
        if self.group:
            assert self.targets() == [(primary.private_ip_address, "healthy")]


def vanish_after(monkeypatch: pytest.MonkeyPatch, task: Task, operation: str, nth: int = 1) -> None:
    """Run a task until its process vanishes right after a successful request of this operation."""

    def vanish() -> None:
        raise Vanished

    task._pristine.undo = lambda *_: None
    with monkeypatch.context() as patch:
        after_call(patch, operation, vanish, nth=nth)
        try:
            task.run()
        except Vanished:
            return
    raise AssertionError(f"there was no {operation} number {nth}")


def run_to_end(task: Task) -> None:
    """Run a task through its deferrals, whether it succeeds or fails."""
    task.start()
    while not task.ended:
        task.go_on()


def before_call(monkeypatch: pytest.MonkeyPatch, operation: str, act: Callable[[], Any]) -> None:
    """Call a function once, right before the first request of this operation is sent."""
    real, count = BaseClient._make_api_call, itertools.count(1)

    def called(self: Any, name: str, parameters: Any) -> Any:
        if name == operation and not parameters.get("DryRun") and next(count) == 1:
            act()
        return real(self, name, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", called)


def after_call(monkeypatch: pytest.MonkeyPatch, operation: str, act: Callable[[], Any], *, nth: int = 1) -> None:
    """Call a function once, right after the nth request of this operation, before its caller continues."""
    real, count = BaseClient._make_api_call, itertools.count(1)

    def called(self: Any, name: str, parameters: Any) -> Any:
        answer = real(self, name, parameters)
        if name == operation and not parameters.get("DryRun") and next(count) == nth:
            act()
        return answer

    monkeypatch.setattr(BaseClient, "_make_api_call", called)
