"""A scenario: the primary node of a long-running cluster is lost, and the standby takes its batches over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.aws import ACTIVE_STATES
from demo.seed import BUCKET
from harness.judge import CLUSTER_ENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from demo.aws import AwsClient
    from demo.runs import Runs
    from harness.judge import Event

START, WATCH = "emr_standby_start", "emr_standby"
LOST, AFTER = "batch_of_lost_primary", "batch_after_failover"
LIVY = "emr_livy_batch"
DAGS = (START, WATCH, LOST, AFTER, LIVY)
JOB = Path(__file__).resolve().parent / "jobs" / "short_batch.py"
_SERVICES = {"yarn": 8088, "hdfs": 9870, "livy": 8998}


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    What is there before the first cluster: a load balancer, and what the DAG is told.

    :param host: where the load balancer listens.
    """

    host: str
    variable: dict[str, Any]


def prepare(aws: AwsClient, *, allocation_id: str, roles: dict[str, str]) -> Place:
    """Make a load balancer in two zones, with a target group and a listener for each service, and upload the job."""
    ec2, elb = aws.client("ec2"), aws.client("elbv2")
    found = ec2.describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])["Subnets"]
    subnets = sorted(found, key=lambda subnet: str(subnet["AvailabilityZone"]))[:2]
    places = {"Subnets": [subnet["SubnetId"] for subnet in subnets], "Type": "network", "Scheme": "internal"}
    (balancer,) = elb.create_load_balancer(Name="standby", **places)["LoadBalancers"]
    # Either address of the load balancer leads to the one target, in whichever zone that is.
    crossing = [{"Key": "load_balancing.cross_zone.enabled", "Value": "true"}]
    elb.modify_load_balancer_attributes(LoadBalancerArn=balancer["LoadBalancerArn"], Attributes=crossing)
    _admit(ec2, vpc_id=subnets[0]["VpcId"])
    groups = []
    for service, port in _SERVICES.items():
        checks = {"HealthCheckIntervalSeconds": 10, "HealthyThresholdCount": 2, "UnhealthyThresholdCount": 2}
        wanted = {"Protocol": "TCP", "Port": port, "TargetType": "ip", "VpcId": subnets[0]["VpcId"], **checks}
        (group,) = elb.create_target_group(Name=service, **wanted)["TargetGroups"]
        groups.append(group["TargetGroupArn"])
        forward = [{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}]
        listener = {"LoadBalancerArn": balancer["LoadBalancerArn"], "Protocol": "TCP", "Port": port}
        elb.create_listener(**listener, DefaultActions=forward)
    aws.client("s3").upload_file(str(JOB), BUCKET, f"jobs/{JOB.name}")
    variable = {
        "allocation_id": allocation_id,
        "subnet_ids": places["Subnets"],
        "target_groups": groups,
        "bucket": BUCKET,
        **roles,
    }
    return Place(host=str(balancer["DNSName"]), variable=variable)


def _admit(ec2: Any, *, vpc_id: str) -> None:
    """Let the VPC in on the services of the clusters' nodes, which have its default security group."""
    wanted = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "group-name", "Values": ["default"]}]
    (group,) = ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
    (vpc,) = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
    ranges = {"IpProtocol": "tcp", "IpRanges": [{"CidrIp": vpc["CidrBlock"]}]}
    rules = [{**ranges, "FromPort": port, "ToPort": port} for port in _SERVICES.values()]
    ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)


class Standby:
    """
    Launches a pair, loses the primary node while a batch runs on it, and ends the pair when the batches have succeeded.

    :param may_begin: whether it can be started; it does not disturb what began before.
    :param may_read: whether the batch with a cluster of its own can be started, which reads with Spark when that is up:
        not beside other scenarios that do.
    :ivar standby_state: of the cluster that took over, before it was ended here.
    """

    def __init__(
        self, *, aws: AwsClient, runs: Runs, may_begin: Callable[[], bool], may_read: Callable[[], bool]
    ) -> None:
        self._aws = aws
        self._emr = aws.client("emr")
        self._runs = runs
        self._may_begin = may_begin
        self._may_read = may_read
        self._started: set[str] = set()
        self._is_over = False
        self.lost_at: datetime | None = None
        self.standby_state = ""

    def advance(self, events: list[Event]) -> None:
        """Start, lose and end what is due."""
        if START in self._started and LIVY not in self._started and self._may_read():
            self._start(LIVY)
        if START not in self._started:
            if self._may_begin():
                self._start(START)
        elif self._has_failed() or self._runs.have_ended(LOST, AFTER):
            self._end(clusters(events))
        else:
            self._go_on(events)

    def _go_on(self, events: list[Event]) -> None:
        if WATCH not in self._started:
            if self._state_of(START, "create") == "success":
                self._runs.unpause(WATCH)
                self._start(WATCH)
        elif LOST not in self._started:
            if self._is_watched() and _are_ready(events):
                self._start(LOST)
        elif self.lost_at is None:
            if running := [event for event in batches(events, LOST) if event["state"] == "running"]:
                self.lost_at = self._aws.time()
                self._aws.lose_primary(running[0]["job_flow_id"])
        elif AFTER not in self._started and self._runs.have_ended(WATCH):
            self._start(AFTER)

    def _start(self, *dag_ids: str) -> None:
        for dag_id in dag_ids:
            self._started.add(dag_id)
            self._runs.start(dag_id)

    def _state_of(self, dag_id: str, task_id: str) -> str | None:
        return next((task.state for task in self._runs.tasks_of(dag_id) if task.task_id == task_id), None)

    def _is_watched(self) -> bool:
        return self._state_of(WATCH, "watch") == "deferred" and self._runs.have_ended(START)

    def _has_failed(self) -> bool:
        return any(self._runs.states.get(dag_id) == "failed" for dag_id in (START, WATCH, LOST, AFTER))

    def _end(self, pair: Sequence[str]) -> None:
        """Terminate what is left of the pair, and see whether it has ended."""
        pages = self._emr.get_paginator("list_clusters").paginate(ClusterStates=ACTIVE_STATES)
        left = {
            each["Id"]: each["Status"]["State"] for page in pages for each in page["Clusters"] if each["Id"] in pair
        }
        if not self.standby_state and len(pair) > 1:
            self.standby_state = str(left.get(pair[1], "gone"))
        if ending := [each for each, state in left.items() if state != "TERMINATING"]:
            self._emr.terminate_job_flows(JobFlowIds=ending)
        self._is_over = not left

    def is_over(self) -> bool:
        """Whether the batches have ended, and the pair."""
        return self._is_over and self._runs.have_ended(LIVY)

    def where(self) -> str:
        """Say what is being waited for beside tasks."""
        return "" if self.lost_at is None or self._is_over else "the service of the lost primary node"


def clusters(events: Sequence[Event]) -> list[str]:
    """Return the clusters of the pair, in the order of their launches."""
    return [
        str(event["response"]["JobFlowId"])
        for event in events
        if event["kind"] == "call" and event["operation"] == "RunJobFlow" and event["request"].get("Name") == WATCH
        if not event.get("error_code")
    ]


def _are_ready(events: Sequence[Event]) -> bool:
    """Whether both clusters of the pair are WAITING."""
    pair = clusters(events)
    states = {event["job_flow_id"]: event["to"] for event in events if event["kind"] == "cluster"}
    return len(pair) > 1 and all(states.get(each) == "WAITING" for each in pair)


def batches(events: Sequence[Event], dag_id: str) -> list[Event]:
    """Return what Livy servers say of the batches of a DAG, whose names begin with its id."""
    return [event for event in events if event["kind"] == "batch" and str(event["name"]).startswith(f"{dag_id}-")]


def has_ended(events: Sequence[Event], job_flow_id: str) -> bool:
    """Whether a cluster has ended, or is ending."""
    return any(
        event["to"] in {*CLUSTER_ENDED, "TERMINATING"}
        for event in events
        if event["kind"] == "cluster" and event["job_flow_id"] == job_flow_id
    )
