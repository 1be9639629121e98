"""The pauses between polls."""

from __future__ import annotations

from botocore.config import Config

from airflow_eip_provider.triggers.backoff import Backoff
from airflow_eip_provider.triggers.emr import EmrClusterTrigger
from harness.life import events_of


def test_answered_polls_have_equal_pauses():
    pause = Backoff(15)
    assert {pause.seconds() for _ in range(10)} == {15}


def test_the_pause_grows_randomly_within_bounds_while_there_is_no_answer():
    pause = Backoff(15)
    widest = []
    for _ in range(8):
        pause.missed()
        drawn = [pause.seconds() for _ in range(200)]
        assert len(set(drawn)) > 100, "tasks must not look at the same moment"
        assert min(drawn) >= 15
        widest.append(max(drawn))
    assert widest[0] <= 30
    assert 120 < max(widest) <= 240
    pause.answered()
    assert pause.seconds() == 15


def test_a_wait_polls_a_throttled_account_less_often(clocked, boto, deferrable):
    clocked.faults.add(operation="DescribeCluster", kind="throttle", times=10_000)
    begin = clocked.clock.now()
    watch = EmrClusterTrigger(
        job_flow_id="j-1",
        target="cluster_ready",
        waiter_delay=15,
        deadline=begin.timestamp() + 3600,
        aws_conn_id=None,
        botocore_config={"retries": {"total_max_attempts": 1}},
    )

    once = Config(retries={"total_max_attempts": 1})
    event = events_of(watch)[0] if deferrable else watch.block(lambda service, _: boto(service, config=once))
    assert event["status"] == "timeout"
    assert "ThrottlingException" in event["message"]
    looks = len(clocked.events.calls("DescribeCluster"))
    assert 10 < looks < 3600 / 15 / 2, "an hour of looks every 15 seconds would be 240"
