"""The egress probe as a real step: which node leaves from which address, and what Azure SQL says to it."""

from __future__ import annotations

import gzip
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from airflow_eip_provider.egress_probe import egress_probe_step
from airflow_eip_provider.operators.azure import AzureSqlFirewallRuleOperator
from harness.life import Task
from local_emr.azure_sql.firewall import Rule
from local_emr.steps import ProcessStepRunner
from stage import LOGS, wait_until
from tests.azure_fixtures import SERVER_ID, azure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["azure"]

SECONDS_TO_WAITING = 400


class Ended(NamedTuple):
    state: str
    stdout: str
    stderr: str


class Cluster:
    """A single-node cluster that carries an Elastic IP, whose steps are real processes."""

    def __init__(self, aws: Any, *, emr: Any, ec2: Any, s3: Any, subnet_id: str) -> None:
        self.aws = aws
        self.emr, self.ec2, self.s3 = emr, ec2, s3
        instances = {"InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True, "Ec2SubnetId": subnet_id}
        self.id = emr.run_job_flow(Name="daily", LogUri=LOGS, Instances=instances)["JobFlowId"]
        aws.clock.advance(SECONDS_TO_WAITING)
        made = self.ec2.allocate_address(Domain="vpc")
        self.public_ip = made["PublicIp"]
        self.association = self.ec2.associate_address(
            AllocationId=made["AllocationId"],
            NetworkInterfaceId=aws.cluster(self.id).primary.nics[0].id,
            AllowReassociation=False,
        )["AssociationId"]

    def leave_the_internet(self) -> None:
        self.ec2.disassociate_address(AssociationId=self.association)

    def submit(self, server: Any = None, *, database: str = "master", echo: bool = True, **options: Any) -> str:
        servers = [f"127.0.0.1:{server.port}/{database}"] if server else []
        given = {
            "public_ip": self.public_ip,
            "servers": servers,
            "echo_url": f"{self.aws.endpoint_url}/my-ip" if echo else None,
            "wait_seconds": 0,
            "timeout_seconds": 5,
            **options,
        }
        step = egress_probe_step(**given)
        return str(self.emr.add_job_flow_steps(JobFlowId=self.id, Steps=[step])["StepIds"][0])

    def end_of(self, step_id: str) -> Ended:
        def state() -> str:
            step = self.emr.describe_step(ClusterId=self.id, StepId=step_id)["Step"]
            return str(step["Status"]["State"])

        wait_until(lambda: state() in {"COMPLETED", "FAILED", "CANCELLED"})

        def log(name: str) -> str:
            kept = self.s3.get_object(Bucket="logs", Key=f"emr/{self.id}/steps/{step_id}/{name}.gz")
            return gzip.decompress(kept["Body"].read()).decode()

        return Ended(state(), log("stdout"), log("stderr"))

    def probe(self, server: Any = None, **options: Any) -> Ended:
        return self.end_of(self.submit(server, **options))


@pytest.fixture
def cluster(clocked: Any, ec2: Any, emr: Any, s3: Any, tmp_path: Path) -> Iterator[Cluster]:
    s3.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": clocked.region})
    subnet_id = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=subnet_id, MapPublicIpOnLaunch={"Value": False})
    runner = ProcessStepRunner(endpoint_url=lambda: clocked.endpoint_url, state_dir=tmp_path, grace_seconds=1)
    # Undone before the AWS is made as good as new, which gives the next test the runner that it has then.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clocked, "step_runner", runner)
        patch.setattr(clocked.emr.life.queue, "_runner", runner)
        yield Cluster(clocked, emr=emr, ec2=ec2, s3=s3, subnet_id=subnet_id)
        runner.close()


def test_a_registered_address_passes_and_is_logged(cluster, azure):
    azure.firewall.put(Rule("emr", cluster.public_ip, cluster.public_ip))
    azure.execute("CREATE TABLE t (id int)", database="sales")
    ended = cluster.probe(azure, database="sales")
    assert (ended.state, ended.stderr) == ("COMPLETED", "")
    assert f"driver {socket.gethostname()} leaves from {cluster.public_ip}" in ended.stdout
    assert "passes the firewall of 127.0.0.1" in ended.stdout
    assert "18456: Login failed for user 'airflow-eip-probe'" in ended.stdout


def test_an_address_that_is_not_registered_fails_naming_it_and_what_to_do(cluster, azure):
    ended = cluster.probe(azure, echo=False)
    assert ended.state == "FAILED"
    assert f"register {cluster.public_ip} with the server's firewall: new rules take up to five minutes" in ended.stderr
    assert "answers 40615" in ended.stderr


def test_the_probe_waits_for_a_new_firewall_rule(cluster, azure, clocked):
    where = {"servers": [SERVER_ID], "public_ip": cluster.public_ip, "aws_conn_id": None}
    Task(AzureSqlFirewallRuleOperator(task_id="register", **where)).run()
    step_id = cluster.submit(azure, wait_seconds=40)
    wait_until(lambda: any(event["error_code"] == 40615 for event in clocked.events.read(kind="connection")))
    clocked.clock.advance(clocked.durations.firewall_rule)
    assert cluster.end_of(step_id).state == "COMPLETED"


def test_another_address_in_azures_answer_fails_at_once(cluster, azure):
    ended = cluster.probe(azure, echo=False, public_ip="203.0.113.250", wait_seconds=3600)
    assert ended.state == "FAILED"
    assert f"leaves from {cluster.public_ip}, not from 203.0.113.250 (127.0.0.1" in ended.stderr


def test_another_address_in_the_answer_of_the_page_fails(cluster):
    ended = cluster.probe(public_ip="203.0.113.250")
    assert ended.state == "FAILED"
    where = f"according to {cluster.aws.endpoint_url}"
    assert f"leaves from {cluster.public_ip}, not from 203.0.113.250 ({where}" in ended.stderr


def test_a_node_without_a_connection_to_the_internet_fails(cluster, azure):
    cluster.leave_the_internet()
    ended = cluster.probe(azure, timeout_seconds=2)
    assert ended.state == "FAILED"
    assert f"no connection to {cluster.aws.endpoint_url}/my-ip: timed out after 2 s" in ended.stderr
    assert f"no connection to 127.0.0.1:{azure.port}" in ended.stderr
    assert "needs a route to an internet gateway" in ended.stderr


def test_a_server_that_never_answers_is_a_missing_connection(cluster):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        ended = cluster.probe(servers=[place], timeout_seconds=1)
    assert ended.state == "FAILED"
    assert f"no connection to {place}: timed out after 1 s" in ended.stderr


def test_a_page_that_returns_no_address_fails(cluster, clocked):
    ended = cluster.probe(echo_url=f"{clocked.endpoint_url}/_local/health", echo=False)
    assert "it returns no address" in ended.stderr


def test_an_answer_of_another_protocol_fails(cluster, clocked):
    place = clocked.endpoint_url.removeprefix("http://")
    assert "no connection to" in cluster.probe(servers=[place]).stderr


@pytest.mark.spark
def test_every_executor_runs_the_probe(cluster, azure):
    azure.firewall.put(Rule("emr", cluster.public_ip, cluster.public_ip))
    ended = cluster.probe(azure, executors=2)
    assert ended.state == "COMPLETED", ended.stderr
    lines = [line for line in ended.stdout.splitlines() if "leaves from" in line]
    assert [line.split()[0] for line in lines] == ["driver", "executor", "executor"]
    assert ended.stdout.count("passes the firewall") == 3
