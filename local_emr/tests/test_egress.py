"""What a database outside sees of real Spark jobs: each node's own way out, by subnet, route and gateway."""

from __future__ import annotations

import gzip
import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import boto3
import httpx
import pytest

from local_emr.testing import ANYWHERE, private_subnet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

WAIT_SECONDS = 300
NAMES = ["ann", "bob", "cyd", "dan"]

JOB = """
import json, sys
import pytds
from pyspark.sql import SparkSession

PORT = int(sys.argv[1])

def read(where):
    login = {"database": "sales", "user": "reader", "password": "word", "login_timeout": 5, "autocommit": True}
    try:
        with pytds.connect("127.0.0.1", port=PORT, **login) as connection:
            cursor = connection.cursor()
            cursor.execute(f"SELECT name FROM sales.orders WHERE {where}")
            return [row[0] for row in cursor.fetchall()]
    except (pytds.Error, TimeoutError, OSError) as error:
        return [str(error.__cause__ or error)]

spark = SparkSession.builder.getOrCreate()
parts = spark.sparkContext.parallelize(range(4), 4).map(lambda part: read(f"id % 4 = {part}")).collect()
print(json.dumps({"driver": read("id = 0"), "executors": parts}))
"""

# Without Spark: a plain connection that wants an answer within a second.
CONNECT = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=1) as connection:
    connection.sendall(bytes.fromhex("1201000800000100"))
    connection.recv(1)
"""


@dataclass
class World:
    """A local EMR with its database, in a process of its own, where a second is ten minutes."""

    url: str
    ec2: Any
    emr: Any
    s3: Any

    def control(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = httpx.request(method, f"{self.url}/_local/{path}", json=body, trust_env=False, timeout=60)
        return answer.raise_for_status().json()

    @property
    def sql_port(self) -> str:
        return str(self.control("GET", "health")["azure_sql"]["port"])

    def cluster(self, subnet_id: str, *, cores: int) -> str:
        """Start a cluster and return its id when it waits for steps."""
        groups = [
            {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": count}
            for role, count in (("MASTER", 1), ("CORE", cores))
            if count
        ]
        instances = {"InstanceGroups": groups, "Ec2SubnetId": subnet_id, "KeepJobFlowAliveWhenNoSteps": True}
        made = self.emr.run_job_flow(Name="daily", LogUri="s3://data/logs/", Instances=instances)["JobFlowId"]
        wait_for(lambda: self.emr.describe_cluster(ClusterId=made)["Cluster"]["Status"]["State"] == "WAITING")
        return made

    def instances(self, job_flow_id: str, role: str) -> list[str]:
        found = self.emr.list_instances(ClusterId=job_flow_id, InstanceGroupTypes=[role])["Instances"]
        return [instance["Ec2InstanceId"] for instance in found]

    def run(self, job_flow_id: str, *args: str) -> tuple[str, str]:
        """Run a step to its end; return its state and what it printed."""
        config = {"Jar": "command-runner.jar", "Args": [*args, self.sql_port]}
        steps = [{"Name": "read", "ActionOnFailure": "CONTINUE", "HadoopJarStep": config}]
        step_id = self.emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=steps)["StepIds"][0]

        def state() -> str:
            return str(self.emr.describe_step(ClusterId=job_flow_id, StepId=step_id)["Step"]["Status"]["State"])

        wait_for(lambda: state() in {"COMPLETED", "FAILED"})
        key = f"logs/{job_flow_id}/steps/{step_id}/stdout.gz"
        return state(), gzip.decompress(self.s3.get_object(Bucket="data", Key=key)["Body"].read()).decode()

    def connections(self, job_flow_id: str) -> list[dict[str, Any]]:
        events = self.control("GET", "events?kind=connection")["events"]
        return [event for event in events if event["job_flow_id"] == job_flow_id]


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A database that admits one Elastic IP, the only one there is."""
    options = ["--port", "0", "--time-scale", "600", "--state", str(tmp_path)]
    arguments = [sys.executable, "-m", "local_emr", *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            found = re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())
            assert found
            access = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing", "region_name": "eu-west-1"}
            clients = [boto3.client(service, endpoint_url=found[0], **access) for service in ("ec2", "emr", "s3")]
            made = World(found[0], *clients)
            made.s3.create_bucket(Bucket="data", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
            made.s3.put_object(Bucket="data", Key="job.py", Body=JOB.encode())
            rows = ", ".join(f"({number}, '{name}')" for number, name in enumerate(NAMES))
            for sql in (
                "CREATE USER [reader] WITH PASSWORD = 'word'",
                "CREATE TABLE sales.orders (id int, name varchar(10))",
                f"INSERT INTO sales.orders VALUES {rows}",
            ):
                made.control("POST", "azure-sql/query", {"sql": sql, "database": "sales"})
            yield made
            for client in clients:
                client.close()
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


@pytest.fixture
def address(world: World) -> dict[str, str]:
    made = world.ec2.allocate_address(Domain="vpc")
    rule = {"start_ip_address": made["PublicIp"], "end_ip_address": made["PublicIp"]}
    world.control("PUT", "azure-sql/firewall-rules/ours", rule)
    return dict(made)


@pytest.fixture
def public_subnet_id(world: World) -> str:
    return str(world.ec2.describe_subnets()["Subnets"][0]["SubnetId"])


def printed(told: str) -> Any:
    """Return what a job printed last; python-tds may have printed that a login took long."""
    return json.loads(told.splitlines()[-1])


@pytest.mark.spark
def test_executors_on_core_nodes_are_refused_unless_they_are_behind_a_nat_gateway(
    world: World, address: dict[str, str], public_subnet_id: str
) -> None:
    """The driver gets through in both cases, which is why the first one goes unnoticed."""
    bare = world.cluster(public_subnet_id, cores=2)
    [primary], cores = world.instances(bare, "MASTER"), world.instances(bare, "CORE")
    nodes = world.ec2.describe_instances(InstanceIds=[primary, *cores])["Reservations"]
    described = {node["InstanceId"]: node for each in nodes for node in each["Instances"]}
    interface_id = described[primary]["NetworkInterfaces"][0]["NetworkInterfaceId"]
    bound = world.ec2.associate_address(AllocationId=address["AllocationId"], NetworkInterfaceId=interface_id)

    state, told = world.run(bare, "spark-submit", "--master", "yarn", "s3://data/job.py")

    assert state == "COMPLETED"
    read = printed(told)
    assert read["driver"] == [NAMES[0]]
    texts = [text for part in read["executors"] for text in part]
    assert len(texts) == len(NAMES)
    assert all("is not allowed to access the server" in text for text in texts)
    seen = world.connections(bare)
    from_primary = [event for event in seen if event["instance_id"] == primary]
    from_cores = [event for event in seen if event["instance_id"] in cores]
    assert len(from_primary) + len(from_cores) == len(seen)
    assert {(event["from_ip"], event["error_code"]) for event in from_primary} == {(address["PublicIp"], None)}
    assert {event["error_code"] for event in from_cores} == {40615}
    assert all(event["from_ip"] == described[event["instance_id"]]["PublicIpAddress"] for event in from_cores)

    world.ec2.disassociate_address(AssociationId=bound["AssociationId"])
    private = private_subnet(world.ec2)
    gateway = world.ec2.create_nat_gateway(SubnetId=public_subnet_id, AllocationId=address["AllocationId"])
    gateway_id = gateway["NatGateway"]["NatGatewayId"]
    world.ec2.get_waiter("nat_gateway_available").wait(
        NatGatewayIds=[gateway_id], WaiterConfig={"Delay": 0.2, "MaxAttempts": 300}
    )
    route = {"RouteTableId": private.route_table_id, "DestinationCidrBlock": ANYWHERE}
    world.ec2.create_route(**route, NatGatewayId=gateway_id)
    behind = world.cluster(private.subnet_id, cores=2)

    state, told = world.run(behind, "spark-submit", "--master", "yarn", "s3://data/job.py")

    assert state == "COMPLETED"
    assert printed(told) == {"driver": [NAMES[0]], "executors": [[name] for name in NAMES]}
    seen = world.connections(behind)
    assert {(event["from_ip"], event["admitted"]) for event in seen} == {(address["PublicIp"], True)}
    assert {event["instance_id"] for event in seen} > set(world.instances(behind, "MASTER"))


def test_a_node_without_a_way_out_waits_for_an_answer_that_never_comes(world: World, address: dict[str, str]) -> None:
    """As a security group or a missing route has it: no refusal, a timeout at the client."""
    cluster = world.cluster(private_subnet(world.ec2).subnet_id, cores=0)
    state, _ = world.run(cluster, sys.executable, "-c", CONNECT)
    assert state == "FAILED"
    [step] = world.emr.list_steps(ClusterId=cluster)["Steps"]
    assert "TimeoutError" in step["Status"]["FailureDetails"]["Message"]
    [event] = world.connections(cluster)
    assert (event["from_ip"], event["admitted"], event["error_code"]) == (None, False, None)
