"""EmrPrimaryHealthSensor on a local EMR, with HTTP checks of a real server."""

from __future__ import annotations

import base64
import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_eip_provider.health import http
from airflow_eip_provider.health.http import HttpChecker
from airflow_eip_provider.health.judgement import Result
from airflow_eip_provider.sensors.emr import EmrPrimaryHealthSensor, HttpCheck
from airflow_eip_provider.triggers.health import EmrPrimaryHealthTrigger
from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Iterator

INSTANCES = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
READS = {"DescribeCluster", "DescribeInstances", "DescribeInstanceStatus", "ListInstances", "ListClusters"}


class Livy:
    """
    What the server on the primary node says.

    :ivar statuses: of the answers to come; the last one stays.
    """

    def __init__(self) -> None:
        self.port = 0
        self.statuses = [200]
        self.authorizations: list[str | None] = []


@pytest.fixture
def livy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Livy]:
    monkeypatch.setattr(http, "PAUSE_SECONDS", 0.0)
    said = Livy()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.authorizations.append(self.headers.get("Authorization"))
            status = said.statuses.pop(0) if len(said.statuses) > 1 else said.statuses[0]
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    said.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield said
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def starting(emr: Any, clocked: Any) -> str:
    return str(emr.run_job_flow(Name="x", Instances=INSTANCES)["JobFlowId"])


@pytest.fixture
def cluster(starting: str, clocked: Any) -> str:
    clocked.clock.advance(1200)
    return starting


def sensor(job_flow_id: str, livy: Livy, **parameters: Any) -> EmrPrimaryHealthSensor:
    checks = [HttpCheck(name="livy", port=livy.port, path="/batches")]
    shared = {"host": "127.0.0.1", "checks": checks, "aws_conn_id": None, "task_id": "watch"}
    return EmrPrimaryHealthSensor(job_flow_id=job_flow_id, **{**shared, **parameters})


def test_a_service_that_fails_is_found_with_the_same_result_in_both_modes(clocked, cluster, livy, deferrable):
    livy.statuses = [*[200] * 4, 500]
    start = clocked.clock.now()
    task = Task(sensor(cluster, livy, deferrable=deferrable))
    found = task.run()
    assert (found["status"], found["check"], found["ended"]) == ("unhealthy", "livy", False)
    assert "HTTP status 500 (expected 200)" in found["problem"]
    assert found["job_flow_id"] == cluster
    assert found["instance_id"].startswith("i-")
    assert (clocked.clock.now() - start).total_seconds() <= 4 * 20 + 60 + 20
    assert task.ti.xcoms["health"] == found
    assert json.loads(json.dumps(found)) == found
    assert bool(task.deferrals) is deferrable


def test_a_wait_in_a_worker_creates_one_client_for_each_service(clocked, cluster, livy, monkeypatch):
    created: list[str] = []
    create = AwsGenericHook.get_client_type

    def counted(hook: AwsGenericHook[Any], *args: Any, **kwargs: Any) -> Any:
        created.append(str(hook.client_type))
        return create(hook, *args, **kwargs)

    monkeypatch.setattr(AwsGenericHook, "get_client_type", counted)
    livy.statuses = [*[200] * 6, 500]
    Task(sensor(cluster, livy, deferrable=False)).run()
    assert sorted(created) == ["ec2", "emr"]


def test_one_miss_is_not_enough(clocked, cluster, livy, deferrable):
    livy.statuses = [*[200, 500, 500, 200] * 30, 200]
    with pytest.raises(AirflowSensorTimeout):
        Task(sensor(cluster, livy, deferrable=deferrable, timeout=900)).run()


def test_a_cluster_that_ends_is_found(clocked, cluster, livy, deferrable, emr):
    clocked.clock.call_later(100, lambda: emr.terminate_job_flows(JobFlowIds=[cluster]), name="somebody ends it")
    start = clocked.clock.now()
    found = Task(sensor(cluster, livy, deferrable=deferrable)).run()
    assert (found["check"], found["ended"]) == ("emr_state", True)
    assert (clocked.clock.now() - start).total_seconds() <= 100 + 90


def test_a_starting_cluster_becomes_healthy_in_both_modes(clocked, starting, livy, deferrable):
    livy.statuses = [*[500] * 6, 200]
    found = Task(sensor(starting, livy, until="healthy", deferrable=deferrable)).run()
    assert (found["status"], found["check"], found["failures"]) == ("healthy", None, [])
    assert clocked.emr.life.clusters[0].state in {"RUNNING", "WAITING"}


def test_a_healthy_node_is_seen_at_once(clocked, cluster, livy, deferrable):
    task = Task(sensor(cluster, livy, until="healthy", deferrable=deferrable))
    assert task.run()["status"] == "healthy"
    assert task.deferrals == []


def test_until_healthy_fails_with_emrs_reason_when_the_cluster_has_ended(clocked, starting, livy, deferrable, emr):
    emr.terminate_job_flows(JobFlowIds=[starting])
    clocked.clock.advance(600)
    with pytest.raises(AirflowFailException, match="TERMINATED"):
        Task(sensor(starting, livy, until="healthy", deferrable=deferrable)).run()


def test_refused_credentials_fail_the_task_and_report_no_unhealthy_node(clocked, cluster, livy, deferrable):
    livy.statuses = [401]
    with pytest.raises(AirflowFailException, match=r"'livy' was refused.*401.*auth_conn_id"):
        Task(sensor(cluster, livy, deferrable=deferrable, soft_fail=True)).run()


def test_a_password_is_sent_and_is_in_no_log_deferral_or_xcom(
    clocked, cluster, livy, monkeypatch, caplog, capfd, deferrable
):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("AIRFLOW_CONN_LIVY_LOGIN", "http://reader:s3cret-word@nowhere")
    livy.statuses = [200, 200, 500]
    checks = [{"name": "livy", "port": livy.port, "auth_conn_id": "livy_login"}]
    stored: list[Any] = []
    serialize = EmrPrimaryHealthTrigger.serialize

    def noted(trigger: EmrPrimaryHealthTrigger) -> Any:
        stored.append(serialize(trigger))
        return stored[-1]

    monkeypatch.setattr(EmrPrimaryHealthTrigger, "serialize", noted)
    task = Task(sensor(cluster, livy, checks=checks, deferrable=deferrable))
    task.run()
    sent = "Basic " + base64.b64encode(b"reader:s3cret-word").decode()
    assert set(livy.authorizations) == {sent}
    assert bool(stored) is deferrable
    seen = f"{stored} {task.ti.xcoms} {caplog.text} {capfd.readouterr()}"
    assert "livy_login" in seen or not deferrable
    assert "s3cret-word" not in seen
    assert sent.removeprefix("Basic ") not in seen


def test_an_unknown_cluster_fails_the_task(clocked, livy, deferrable):
    with pytest.raises(AirflowFailException, match="check the cluster ID and the region"):
        Task(sensor("j-UNKNOWN", livy, deferrable=deferrable)).run()
    with pytest.raises(AirflowSkipException):
        Task(sensor("j-UNKNOWN", livy, deferrable=deferrable, soft_fail=True)).run()


def test_aws_is_called_three_times_a_minute_at_most(clocked, cluster, livy, deferrable):
    before = len(clocked.events.calls())
    with pytest.raises(AirflowSensorTimeout):
        Task(sensor(cluster, livy, deferrable=deferrable, timeout=3600)).run()
    calls = [event for event in clocked.events.calls()[before:] if event["operation"] in READS]
    assert 60 <= len(calls) <= 3 * 61
    assert {event["operation"] for event in calls} == {"DescribeCluster", "DescribeInstances", "DescribeInstanceStatus"}


def test_a_sensor_that_is_rescheduled_confirms_within_one_poke(clocked, cluster, livy):
    livy.statuses = [500]
    watch = sensor(cluster, livy, mode="reschedule", deferrable=False)
    assert watch.poke_interval == 60
    assert watch.poke({}) is True
    assert watch._data["check"] == "livy"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"until": "sick"}, "'unhealthy' or 'healthy'"),
        ({"unhealthy_after": "5/3"}, "unhealthy_after '5/3'"),
        ({"healthy_after": "0/3"}, "healthy_after '0/3'"),
        ({"host": "http://x"}, "host"),
        ({"checks": [{"name": "livy", "port": 0}]}, "not a port"),
        ({"start_timeout": 3}, "start_timeout"),
        ({"start_timeout": timedelta(seconds=-1)}, "start_timeout"),
        ({"checks": [{"name": "livy", "scheme": "https", "verify": "/no/such/ca.pem"}]}, "ca.pem"),
        ({"checks": [{"name": "livy", "auth_conn_id": "no_such_login"}]}, "no_such_login"),
    ],
)
def test_wrong_parameters_fail_the_task(clocked, cluster, livy, wrong, why, deferrable):
    with pytest.raises(AirflowFailException, match=why):
        Task(sensor(cluster, livy, deferrable=deferrable, **wrong)).run()


@pytest.mark.parametrize("nothing", [None, "", "None"], ids=repr)
def test_a_cluster_that_rendered_to_nothing_fails_the_task(clocked, livy, nothing):
    watch = sensor("{{ of_a_task }}", livy)
    watch.job_flow_id = nothing  # as rendering does
    with pytest.raises(AirflowFailException, match=r"job_flow_id is .*rendered to nothing"):
        Task(watch).run()


def test_templates_are_rendered_within_the_checks(livy):
    check = HttpCheck(name="livy", port=1, path="/batches?of={{ team }}")
    watch = sensor("j-1", livy, checks=[check], host="{{ team }}.{instance_id}.example.com")
    watch.render_template_fields({"team": "red"})
    assert watch.checks[0]["path"] == "/batches?of=red"
    assert watch.host == "red.{instance_id}.example.com"


def in_private_subnet(emr: Any, ec2: Any) -> str:
    """Launch a cluster whose primary node has no public address."""
    vpc = ec2.describe_subnets()["Subnets"][0]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc, CidrBlock="172.31.200.0/24")["Subnet"]["SubnetId"]
    return str(emr.run_job_flow(Name="x", Instances={**INSTANCES, "Ec2SubnetId": subnet_id})["JobFlowId"])


def test_a_host_that_the_node_does_not_have_is_an_error(clocked, emr, ec2, livy, deferrable):
    """Before, the HTTP checks were never made, so a service that was down was not found."""
    job_flow_id = in_private_subnet(emr, ec2)
    clocked.clock.advance(1200)
    with pytest.raises(AirflowFailException, match=r"'livy' .* has no address for host 'public_ip'; correct .* host"):
        Task(sensor(job_flow_id, livy, host="public_ip", deferrable=deferrable, timeout=3600)).run()


@pytest.mark.parametrize(("unhealthy_after", "interval"), [("1/1", 60), ("1/2", 30), ("3/5", 10)])
def test_an_old_read_of_the_primary_node_is_no_missing_address(
    clocked, emr, ec2, livy, monkeypatch, unhealthy_after, interval
):
    async def check_all(*_: Any) -> list[Result]:
        return [Result("livy", clock.time(), ok=True)]

    monkeypatch.setattr(HttpChecker, "check_all", check_all)
    job_flow_id = in_private_subnet(emr, ec2)
    clocked.remember()
    clocked.clock.advance(1200)
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=allocation_id, InstanceId=clocked.cluster(job_flow_id).primary.id)
    clocked.clock.advance(5)
    clocked.faults.add(operation="DescribeInstances", kind="stale", seconds=30, times=1)
    watched = {"host": "public_ip", "until": "healthy", "unhealthy_after": unhealthy_after}
    task = Task(sensor(job_flow_id, livy, **watched, poke_interval=interval, deferrable=False, timeout=900))
    assert task.run()["status"] == "healthy"
