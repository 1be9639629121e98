"""EmrPrimaryHealthSensor with its own defaults, on the services of a primary node of the local EMR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.health import http
from airflow_eip_provider.health.checks import HDFS, LIVY, YARN
from airflow_eip_provider.sensors.emr import EmrPrimaryHealthSensor
from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable

ROUND_SECONDS = 20


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def cluster(emr: Any, clocked: Any) -> str:
    instances = {"MasterInstanceType": "m5.xlarge", "InstanceCount": 1, "KeepJobFlowAliveWhenNoSteps": True}
    applications = [{"Name": "Spark"}, {"Name": "Livy"}]
    made = emr.run_job_flow(Name="livy", Applications=applications, Instances=instances)
    clocked.clock.advance(1200)
    return str(made["JobFlowId"])


@pytest.fixture
def watch(cluster: str, clocked: Any) -> Callable[..., tuple[dict[str, Any], float]]:
    """Watch with the default checks; return what was found, and how long that took on AWS's clock."""

    def run(**given: Any) -> tuple[dict[str, Any], float]:
        quick = [{**check.as_mapping(), "timeout_seconds": 0.3} for check in (YARN, HDFS, LIVY)]  # real seconds
        sensor = EmrPrimaryHealthSensor(
            **{"task_id": "watch", "job_flow_id": cluster, "checks": quick, "aws_conn_id": None, **given}
        )
        start = clocked.clock.now()
        return Task(sensor).run(), (clocked.clock.now() - start).total_seconds()

    return run


def test_a_node_whose_services_work_is_healthy_at_the_private_address_that_ec2_tells(
    clocked, cluster, watch, deferrable
):
    found, seconds = watch(until="healthy", checks=None, deferrable=deferrable)
    assert (found["status"], found["host"]) == ("healthy", clocked.cluster(cluster).primary.private_ip_address)
    assert seconds == 0


@pytest.mark.parametrize(
    ("service", "trouble", "said"),
    [
        ("livy", "hangs", "no complete answer within 0.3 s"),
        ("livy", "errors", "HTTP status 500"),
        ("livy", "refuses", "connect"),
        ("yarn", "hangs", "within 0.3 s"),
        ("hdfs", "safe-mode", "beans.FSState is 'safeMode' (expected 'Operational')"),
    ],
)
def test_each_trouble_of_a_service_is_found_and_named(clocked, cluster, watch, service, trouble, said):
    clocked.clock.call_later(100, lambda: clocked.trouble_service(cluster, service, trouble), name="trouble")
    found, seconds = watch(deferrable=True)
    assert (found["check"], found["ended"]) == (service, False)
    assert said.lower() in found["problem"].lower()
    assert 100 < seconds <= 100 + 4 * ROUND_SECONDS


def test_a_lost_primary_node_is_found_long_before_emr_reports_it(clocked, cluster, watch, deferrable):
    clocked.clock.call_later(100, lambda: clocked.lose_primary(cluster, emr_notices_after=1800), name="loss")
    found, seconds = watch(deferrable=deferrable)
    assert found["failures"]
    assert seconds <= 100 + 4 * ROUND_SECONDS


def test_a_zone_that_is_cut_off_is_found_by_its_services_first(clocked, cluster, watch, ec2):
    (group,) = ec2.describe_instances(InstanceIds=[clocked.cluster(cluster).primary.id])["Reservations"]
    zone = group["Instances"][0]["Placement"]["AvailabilityZone"]
    clocked.clock.call_later(100, lambda: clocked.cut_zone(zone), name="cut")
    found, seconds = watch(deferrable=True)
    assert {failure["check"] for failure in found["failures"]} == {"yarn", "hdfs", "livy"}
    assert seconds <= 100 + 4 * ROUND_SECONDS


@pytest.mark.parametrize("check", ["system", "instance"])
def test_ec2s_status_checks_are_found_while_every_service_answers(clocked, cluster, watch, check, deferrable):
    failing = {"system": check == "system", "instance": check == "instance"}
    primary = clocked.cluster(cluster).primary
    clocked.clock.call_later(100, lambda: clocked.impair(primary.id, **failing), name="impaired")
    found, seconds = watch(deferrable=deferrable)
    assert found["check"] == f"ec2_{check}_status"
    assert found["problem"] == f"instance '{primary.id}' is impaired"
    assert seconds <= 100 + 3 * 2 * ROUND_SECONDS + ROUND_SECONDS


def test_a_service_that_recovers_in_time_is_no_trouble(clocked, cluster, watch, emr):
    def for_a_moment(at: float) -> None:
        clocked.clock.call_later(at, lambda: clocked.trouble_service(cluster, "livy", "errors"), name="trouble")
        clocked.clock.call_later(at + 25, lambda: clocked.mend_service(cluster, "livy"), name="no trouble")

    for at in range(100, 2000, 100):
        for_a_moment(at)
    clocked.clock.call_later(2100, lambda: emr.terminate_job_flows(JobFlowIds=[cluster]), name="the end")
    found, seconds = watch(deferrable=True)
    assert found["ended"]
    assert seconds > 2100
