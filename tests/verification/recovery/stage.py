"""One real Airflow and one local EMR for all tests of this folder, with two zones, load balancers and a NAT gateway."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import httpx

from harness.airflow import FINAL_RUN_STATES, aws_connection
from harness.network import default_subnets
from harness.processes import ProcessError
from harness.wait import wait_for
from local_emr import LocalAws, ScaledClock
from local_emr.durations import Durations
from local_emr.steps import ProcessStepRunner
from tests.real_airflow import real_airflow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.airflow import TaskState
    from harness.network import LoadBalancer
    from harness.processes import Children

REGION = "eu-west-1"
BUCKET = "recovery"
# The clock runs in real time, as Airflow does. So the measured times apply to AWS, except for the start of a cluster,
# which takes minutes there.
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
_HERE = Path(__file__).resolve().parent
_WAIT_SECONDS = 600.0


class Stage:
    """
    The environment that the tests share.

    :param venv: of the Airflow.
    :param state: a directory that the user of PostgreSQL can read.
    """

    def __init__(self, children: Children, *, venv: Path, state: Path) -> None:
        self._dags = state / "dags"
        self._clients: dict[str, Any] = {}

        def runner(aws: LocalAws) -> ProcessStepRunner:
            return ProcessStepRunner(endpoint_url=lambda: aws.endpoint_url, state_dir=state / "aws", views=False)

        self.aws = LocalAws(
            clock=ScaledClock(1.0), region=REGION, durations=_DURATIONS, step_runner=runner, state_dir=state / "aws"
        )
        extra = {
            "AIRFLOW_CONN_AWS_DEFAULT": aws_connection(self.aws.endpoint_url, region=REGION),
            "AIRFLOW__EIP__ENVIRONMENT": "recovery",
            "AIRFLOW__EIP__LOCK_STORE": f"dynamodb://recovery?region={REGION}&create=true",
            "AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": "300",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "True",  # for DAGs that are @continuous
            "AIRFLOW__DAG_PROCESSOR__DAG_FILE_PROCESSOR_TIMEOUT": "600",
        }
        self.airflow = real_airflow(children, venv=venv, state=state, dags=self._dags, extra=extra)

    def client(self, service: str) -> Any:
        """Return a client of the local EMR."""
        if service not in self._clients:
            session = boto3.Session("testing", "testing", region_name=REGION)
            self._clients[service] = session.client(service, endpoint_url=self.aws.endpoint_url)
        return self._clients[service]

    def start_aws(self) -> None:
        """Start the local EMR, with the job of the batches in S3."""
        self.aws.start()
        s3 = self.client("s3")
        s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
        s3.upload_file(str(_HERE / "whence.py"), BUCKET, "whence.py")

    def start_airflow(self, settings: dict[str, str], *, files: Sequence[Path], dag_ids: set[str]) -> None:
        """Start Airflow with these DAG files, and wait until it has parsed them."""
        self._dags.mkdir(parents=True)
        for file in files:
            shutil.copy(file, self._dags)
        self.airflow.configure(settings)
        self.airflow.migrate()
        self.airflow.start()
        self.airflow.wait_for_dags(dag_ids)

    def stop(self) -> None:
        """Stop the local EMR, and close all clients; Airflow's processes are ended by ``Children``."""
        self.airflow.rest.close()
        self.aws.stop()
        for client in self._clients.values():
            client.close()

    def public_subnets(self) -> list[dict[str, Any]]:
        """Return the default VPC's public subnets, one in each zone, in the order of the zones."""
        return default_subnets(self.client("ec2"))

    def private_subnets(self, *, zones: Sequence[str], nat_gateway_id: str) -> list[str]:
        """Create a private subnet in each zone, with a route to the NAT gateway."""
        ec2 = self.client("ec2")
        public = self.public_subnets()
        vpc_id = public[0]["VpcId"]
        (vpc,) = ec2.describe_vpcs(VpcIds=[vpc_id])["Vpcs"]
        taken = [ip_network(subnet["CidrBlock"]) for subnet in public]
        blocks = ip_network(vpc["CidrBlock"]).subnets(new_prefix=24)
        free = [block for block in blocks if not any(block.overlaps(other) for other in taken)]
        table_id = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
        ec2.create_route(RouteTableId=table_id, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=nat_gateway_id)
        subnet_ids = []
        for zone, block in zip(zones, free, strict=False):
            subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock=str(block), AvailabilityZone=zone)["Subnet"]
            ec2.associate_route_table(RouteTableId=table_id, SubnetId=subnet["SubnetId"])
            subnet_ids.append(str(subnet["SubnetId"]))
        return subnet_ids

    def nat_gateway(self, *, subnet_id: str, allocation_id: str) -> str:
        """Create a NAT gateway with an Elastic IP."""
        ec2 = self.client("ec2")
        gateway_id = ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=allocation_id)["NatGateway"][
            "NatGatewayId"
        ]

        def is_available() -> bool:
            (gateway,) = ec2.describe_nat_gateways(NatGatewayIds=[gateway_id])["NatGateways"]
            return bool(gateway["State"] == "available")

        self.wait("NAT gateway", is_available)
        return str(gateway_id)

    def launch(self, *, name: str, subnet_id: str) -> str:
        """Launch a long-running cluster with Livy."""
        instances = {
            "MasterInstanceType": "m5.xlarge",
            "InstanceCount": 1,
            "Ec2SubnetId": subnet_id,
            "KeepJobFlowAliveWhenNoSteps": True,
        }
        job_flow = {"Name": name, "ReleaseLabel": "emr-7.5.0", "Instances": instances}
        applications = [{"Name": "Spark"}, {"Name": "Livy"}]
        return str(self.client("emr").run_job_flow(**job_flow, Applications=applications)["JobFlowId"])

    def wait_until_ready(self, *job_flow_ids: str) -> None:
        """Wait until clusters are WAITING."""
        states = lambda: {str(self.aws.cluster(each).state) for each in job_flow_ids}  # noqa: E731
        self.wait(f"ready {', '.join(job_flow_ids)}", lambda: states() == {"WAITING"})

    def instance_of(self, job_flow_id: str) -> str:
        """Return the instance of a cluster's primary node."""
        return str(self.aws.cluster(job_flow_id).primary.id)

    def zone_of(self, job_flow_id: str) -> str:
        cluster = self.client("emr").describe_cluster(ClusterId=job_flow_id)["Cluster"]
        return str(cluster["Ec2InstanceAttributes"]["Ec2AvailabilityZone"])

    def address_of(self, job_flow_id: str) -> str:
        """Return the private address of a cluster's primary node."""
        return str(self.aws.cluster(job_flow_id).primary.private_ip_address)

    def register(self, balancer: LoadBalancer, *job_flow_ids: str) -> None:
        """Register the primary nodes of clusters with every target group, and wait until all are healthy."""
        targets = [{"Id": self.address_of(each)} for each in job_flow_ids]
        for group in balancer.groups.values():
            self.client("elbv2").register_targets(TargetGroupArn=group, Targets=targets)
        ips = {target["Id"] for target in targets}
        self.wait("healthy targets", lambda: all(ips <= self.healthy(group) for group in balancer.groups.values()))

    def healthy(self, group: str) -> set[str]:
        """Return the addresses of a target group's healthy targets."""
        targets = self.client("elbv2").describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return {str(each["Target"]["Id"]) for each in targets if each["TargetHealth"]["State"] == "healthy"}

    def run(self, dag_id: str) -> Run:
        return Run(self, dag_id, self.airflow.rest.trigger(dag_id))

    def batches(self, *, state: str) -> list[dict[str, Any]]:
        """Return the events of batches that came into a state."""
        return [event for event in self.aws.events.read(kind="batch") if event["state"] == state]

    def wait(self, what: str, condition: Callable[[], Any], *, seconds: float = _WAIT_SECONDS) -> Any:
        """
        Wait until a condition holds, and return its value.

        :raises ProcessError: when it does not hold in time.
        """

        def answer() -> Any:
            try:
                return condition()
            except httpx.TransportError:  # Airflow is slow on a busy machine
                return None

        return wait_for(answer, seconds=seconds, error=lambda: ProcessError(f"no {what} after {seconds:.0f} s"))


@dataclass(frozen=True)
class Run:
    """A run of a DAG."""

    stage: Stage
    dag_id: str
    run_id: str

    def state(self) -> str:
        return self.stage.airflow.rest.run_state(self.dag_id, self.run_id)

    def tasks(self) -> dict[str, TaskState]:
        """Return its task instances by id."""
        return {task.task_id: task for task in self.stage.airflow.rest.tasks(self.dag_id, self.run_id)}

    def xcom(self, task_id: str, key: str = "return_value") -> Any:
        return self.stage.airflow.rest.xcom(self.dag_id, self.run_id, task_id, key)

    @property
    def batch_name(self) -> str:
        """The name of the last batch that its task submitted."""
        return str(self.xcom("batch", "batch_name"))

    def end(self) -> str:
        """Wait for its end, and return its state."""
        final = lambda: state if (state := self.state()) in FINAL_RUN_STATES else ""  # noqa: E731
        return str(self.stage.wait(f"end of {self.dag_id}, {json.dumps(self.run_id)}", final))
