"""One real Airflow and one local EMR for all tests of this folder, with two zones, load balancers and a NAT gateway."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import boto3
import httpx

from harness.processes import ProcessError
from local_emr import LocalAws, ScaledClock
from local_emr.durations import Durations
from local_emr.steps import ProcessStepRunner
from tests.real_airflow import real_airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.airflow import TaskState
    from harness.processes import Children

REGION = "eu-west-1"
BUCKET = "recovery"
JOB = f"s3://{BUCKET}/whence.py"
CLUSTER_START_SECONDS = 20.0
# The clock runs as fast as time does, as Airflow's waits are real: what is measured holds on AWS, but for the start of
# a cluster, which takes minutes there.
_DURATIONS = Durations(
    fulfilment=2,
    instance_boot=5,
    starting=12,
    bootstrapping=8,
    terminating=10,
    instance_shutdown=5,
    nat_gateway_association=1,
    nat_gateway_start=2,
    livy_starting=1,
)
_CREDENTIALS = {"aws_access_key_id": "recovery", "aws_secret_access_key": "local-recovery"}
_HERE = Path(__file__).resolve().parent
_POLL_SECONDS = 0.5
_PATIENCE_SECONDS = 600.0
_SERVICES = {"yarn": 8088, "hdfs": 9870, "livy": 8998}


@dataclass(frozen=True, kw_only=True)
class Balancer:
    """
    A load balancer, and its target groups by the name of their service.

    :param host: its DNS name.
    """

    host: str
    groups: dict[str, str]


class Stage:
    """
    What the tests share.

    :param venv: of the Airflow.
    :param state: a directory that PostgreSQL can reach into.
    """

    def __init__(self, children: Children, *, venv: Path, state: Path) -> None:
        self._dags = state / "dags"
        self._clients: dict[str, Any] = {}

        def runner(aws: LocalAws) -> ProcessStepRunner:
            return ProcessStepRunner(endpoint_url=lambda: aws.endpoint_url, state_dir=state / "aws", views=False)

        self.aws = LocalAws(
            clock=ScaledClock(1.0), region=REGION, durations=_DURATIONS, step_runner=runner, state_dir=state / "aws"
        )
        login = f"{_CREDENTIALS['aws_access_key_id']}:{_CREDENTIALS['aws_secret_access_key']}"
        where = urlencode({"endpoint_url": self.aws.endpoint_url, "region_name": REGION})
        extra = {
            "AIRFLOW_CONN_AWS_DEFAULT": f"aws://{login}@/?{where}",
            "AIRFLOW__EIP__ENVIRONMENT": "recovery",
            "AIRFLOW__EIP__LOCK_STORE": f"dynamodb://recovery?region={REGION}&create=true",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",  # for what is @continuous
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "600",
        }
        self.airflow = real_airflow(children, venv=venv, state=state, dags=self._dags, extra=extra)

    def client(self, service: str) -> Any:
        """Return a client of the local EMR that may do everything."""
        if service not in self._clients:
            where = {"endpoint_url": self.aws.endpoint_url, "region_name": REGION}
            self._clients[service] = boto3.client(service, **where, **_CREDENTIALS)
        return self._clients[service]

    def start_aws(self) -> None:
        """Start the local EMR, with the job of the batches in S3."""
        self.aws.start()
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.upload_file(str(_HERE / "whence.py"), BUCKET, "whence.py")

    def start_airflow(self, settings: dict[str, str], *, files: Sequence[Path], dag_ids: set[str]) -> None:
        """Start Airflow with these DAG files, and wait until it has read them."""
        self._dags.mkdir(parents=True)
        for file in files:
            shutil.copy(file, self._dags)
        self.airflow.configure(settings)
        self.airflow.migrate()
        self.airflow.start()
        self.airflow.wait_for_dags(dag_ids)

    def stop(self) -> None:
        """End the local EMR; Airflow's processes are its children's."""
        self.airflow.rest.close()
        self.aws.stop()
        for client in self._clients.values():
            client.close()

    def public_subnets(self) -> list[dict[str, Any]]:
        """Return the default VPC's public subnets, one in each zone, in the order of the zones."""
        found = self.client("ec2").describe_subnets(Filters=[{"Name": "default-for-az", "Values": ["true"]}])
        return sorted(found["Subnets"], key=lambda subnet: str(subnet["AvailabilityZone"]))

    def private_subnets(self, *, zones: Sequence[str], nat_gateway_id: str) -> list[str]:
        """Make a private subnet in each zone, all of which leave through one NAT gateway."""
        ec2 = self.client("ec2")
        public = self.public_subnets()
        vpc_id = public[0]["VpcId"]
        (vpc,) = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
        taken = [ip_network(subnet["CidrBlock"]) for subnet in public]
        blocks = ip_network(vpc["CidrBlock"]).subnets(new_prefix=24)
        free = [block for block in blocks if not any(block.overlaps(other) for other in taken)]
        table_id = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat_gateway_id)
        made = []
        for zone, block in zip(zones, free, strict=False):
            subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock=str(block), AvailabilityZone=zone)["Subnet"]
            ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet["SubnetId"])
            made.append(str(subnet["SubnetId"]))
        return made

    def nat_gateway(self, *, subnet_id: str, allocation_id: str) -> str:
        """Make a NAT gateway that has an Elastic IP for good."""
        ec2 = self.client("ec2")
        made = ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=allocation_id)["NatGateway"]["NatGatewayId"]

        def available() -> bool:
            (found,) = ec2.describe_nat_gateways(NatGatewayIds=[made])["NatGateways"]
            return bool(found["State"] == "available")

        self.wait("NAT gateway", available)
        return str(made)

    def launch(self, *, name: str, subnet_id: str) -> str:
        """Launch a long-running cluster with Livy."""
        instances = {
            "MasterInstanceType": "m5.xlarge",
            "InstanceCount": 1,
            "Ec2SubnetId": subnet_id,
            "KeepJobFlowAliveWhenNoSteps": True,
        }
        wanted = {"Name": name, "ReleaseLabel": "emr-7.5.0", "Instances": instances}
        applications = [{"Name": "Spark"}, {"Name": "Livy"}]
        return str(self.client("emr").run_job_flow(**wanted, Applications=applications)["JobFlowId"])

    def wait_until_ready(self, *job_flow_ids: str) -> None:
        """Wait until clusters are WAITING."""
        states = lambda: {str(self.aws.cluster(each).state) for each in job_flow_ids}  # noqa: E731
        self.wait(f"ready {', '.join(job_flow_ids)}", lambda: states() == {"WAITING"})

    def instance_of(self, job_flow_id: str) -> str:
        """Return the instance of a cluster's primary node."""
        return str(self.aws.cluster(job_flow_id).primary.id)

    def zone_of(self, job_flow_id: str) -> str:
        """Return the zone of a cluster."""
        found = self.client("emr").describe_cluster(ClusterId=job_flow_id)["Cluster"]
        return str(found["Ec2InstanceAttributes"]["Ec2AvailabilityZone"])

    def address_of(self, job_flow_id: str) -> str:
        """Return the private address of a cluster's primary node."""
        return str(self.aws.cluster(job_flow_id).primary.private_ip_address)

    def balancer(self, name: str, *services: str) -> Balancer:
        """Make a load balancer in every zone, with a target group and a TCP listener for each service."""
        elb, public = self.client("elbv2"), self.public_subnets()
        places = {"Subnets": [subnet["SubnetId"] for subnet in public], "Type": "network", "Scheme": "internal"}
        (made,) = elb.create_load_balancer(Name=name, **places)["LoadBalancers"]
        crossing = [{"Key": "load_balancing.cross_zone.enabled", "Value": "true"}]
        elb.modify_load_balancer_attributes(LoadBalancerArn=made["LoadBalancerArn"], Attributes=crossing)
        groups = {}
        for service in services:
            self._admit(_SERVICES[service], vpc_id=public[0]["VpcId"])
            wanted = {
                "Protocol": "TCP",
                "Port": _SERVICES[service],
                "TargetType": "ip",
                "VpcId": public[0]["VpcId"],
                "HealthCheckIntervalSeconds": 10,
                "HealthCheckTimeoutSeconds": 6,
                "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 2,
            }
            (group,) = elb.create_target_group(Name=f"{name}-{service}", **wanted)["TargetGroups"]
            groups[service] = str(group["TargetGroupArn"])
            forward = [{"Type": "forward", "TargetGroupArn": groups[service]}]
            listener = {"LoadBalancerArn": made["LoadBalancerArn"], "Protocol": "TCP", "Port": _SERVICES[service]}
            elb.create_listener(**listener, DefaultActions=forward)
        return Balancer(host=str(made["DNSName"]), groups=groups)

    def _admit(self, port: int, *, vpc_id: str) -> None:
        """Let the VPC in on a port of the clusters' nodes, which have its default security group."""
        ec2 = self.client("ec2")
        wanted = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "group-name", "Values": ["default"]}]
        (group,) = ec2.describe_security_groups(Filters=wanted)["SecurityGroups"]
        (vpc,) = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
        rule = {
            "IpProtocol": "tcp",
            "FromPort": port,
            "ToPort": port,
            "IpRanges": [{"CidrIp": vpc["CidrBlock"]}],
        }
        if not any(each.get("FromPort") == port for each in group["IpPermissions"]):
            ec2.authorize_security_group_ingress(GroupId=group["GroupId"], IpPermissions=[rule])

    def register(self, balancer: Balancer, *job_flow_ids: str) -> None:
        """Register the primary nodes of clusters with every target group, and wait until all are healthy."""
        targets = [{"Id": self.address_of(each)} for each in job_flow_ids]
        for group in balancer.groups.values():
            self.client("elbv2").register_targets(TargetGroupArn=group, Targets=targets)
        wanted = {target["Id"] for target in targets}
        self.wait(
            "healthy targets",
            lambda: all(wanted <= self.healthy(group) for group in balancer.groups.values()),
        )

    def healthy(self, group: str) -> set[str]:
        """Return the addresses that a target group has and finds healthy."""
        found = self.client("elbv2").describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {str(each["Target"]["Id"]) for each in found if each["TargetHealth"]["State"] == "healthy"}

    def run(self, dag_id: str) -> Run:
        """Start a run of a DAG."""
        return self.known_run(dag_id, self.airflow.rest.trigger(dag_id))

    def known_run(self, dag_id: str, run_id: str) -> Run:
        """Return a run that somebody else has started."""
        return Run(self, dag_id, run_id)

    def batches(self, *, state: str) -> list[dict[str, Any]]:
        """Return what the event log says of batches that came into a state."""
        return [event for event in self.aws.events.read(kind="batch") if event["state"] == state]

    def wait(self, what: str, happened: Callable[[], Any], *, seconds: float = _PATIENCE_SECONDS) -> Any:
        """
        Wait until something has happened.

        :raises ProcessError: when it has not in time.
        """
        deadline = time.monotonic() + seconds
        while True:
            try:
                if found := happened():
                    return found
            except httpx.TransportError:  # a busy machine
                pass
            if time.monotonic() > deadline:
                raise ProcessError(f"no {what} after {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class Run:
    """A run of a DAG."""

    stage: Stage
    dag_id: str
    run_id: str

    def state(self) -> str:
        """Return its state."""
        return self.stage.airflow.rest.run_state(self.dag_id, self.run_id)

    def tasks(self) -> dict[str, TaskState]:
        """Return its task instances by id."""
        return {task.task_id: task for task in self.stage.airflow.rest.tasks(self.dag_id, self.run_id)}

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        """Return what a task pushed."""
        return self.stage.airflow.rest.xcom(self.dag_id, self.run_id, task_id, key)

    @property
    def batch_name(self) -> str:
        """The name of the batch that its task submitted last."""
        return str(self.xcom("batch", "batch_name"))

    def end(self) -> str:
        """Wait for its end, and return its state."""
        final = lambda: state if (state := self.state()) in {"success", "failed"} else ""  # noqa: E731
        return str(self.stage.wait(f"end of {self.dag_id}, {json.dumps(self.run_id)}", final))
