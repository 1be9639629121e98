"""The status checks of EC2 instances."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr import LocalAws

NOTHING = "i-0123456789abcdef0"


@pytest.fixture
def instance_id(local_emr: LocalAws, start_cluster: Callable[..., str]) -> str:
    """The primary node of a cluster that waits."""
    job_flow_id = start_cluster()
    local_emr.clock.advance(300)
    return str(local_emr.cluster(job_flow_id).primary.id)


@pytest.fixture
def checks(ec2: Any) -> Callable[..., list[tuple[str, str]]]:
    """The results of the system and the instance status check of each instance that is shown."""

    def read(**options: Any) -> list[tuple[str, str]]:
        found = ec2.describe_instance_status(**options)["InstanceStatuses"]
        return [(each["SystemStatus"]["Status"], each["InstanceStatus"]["Status"]) for each in found]

    return read


def test_checks_initialize_and_are_good_then(local_emr, start_cluster, checks):
    start_cluster()
    local_emr.clock.advance(20)
    assert checks() == [], "a pending instance is not shown"
    assert checks(IncludeAllInstances=True) == [("not-applicable", "not-applicable")]
    local_emr.clock.advance(30)
    assert checks() == [("initializing", "initializing")]
    local_emr.clock.advance(120)
    assert checks() == [("ok", "ok")]


@pytest.mark.parametrize(
    ("system", "instance", "expected"),
    [
        (True, True, ("impaired", "impaired")),
        (False, True, ("ok", "impaired")),
        (True, False, ("impaired", "ok")),
        (False, False, ("ok", "ok")),
    ],
)
def test_checks_can_be_made_to_fail(local_emr, instance_id, checks, system, instance, expected):
    local_emr.impair(instance_id, system=system, instance=instance)
    assert checks(InstanceIds=[instance_id]) == [expected]
    local_emr.impair(instance_id, system=False, instance=False)
    assert checks(InstanceIds=[instance_id]) == [("ok", "ok")]


def test_a_failed_check_has_the_time_of_its_failure(local_emr, instance_id, ec2):
    local_emr.impair(instance_id, system=False)
    began = local_emr.clock.now().replace(microsecond=0)
    local_emr.clock.advance(60)
    local_emr.impair(instance_id, system=False)
    (status,) = ec2.describe_instance_status(InstanceIds=[instance_id])["InstanceStatuses"]
    assert status["SystemStatus"]["Details"] == [{"Name": "reachability", "Status": "passed"}]
    (details,) = status["InstanceStatus"]["Details"]
    assert (details["Status"], details["ImpairedSince"]) == ("failed", began)


def test_the_checks_of_a_zone_that_is_cut_off_fail(local_emr, instance_id, checks):
    zone = local_emr.ec2(local_emr.region).instances.find([instance_id])[0].availability_zone
    local_emr.cut_zone(zone)
    assert checks() == [("impaired", "impaired")]
    local_emr.restore_zone(zone)
    assert checks() == [("ok", "ok")]


def test_filters_choose(local_emr, instance_id, checks):
    assert checks(Filters=[{"Name": "instance-status.status", "Values": ["impaired"]}]) == []
    local_emr.impair(instance_id)
    assert checks(Filters=[{"Name": "system-status.reachability", "Values": ["failed"]}]) == [("impaired", "impaired")]


def test_an_instance_that_is_gone_is_not_shown(local_emr, instance_id, checks, ec2, refused):
    ec2.terminate_instances(InstanceIds=[instance_id])
    assert checks(InstanceIds=[instance_id]) == []
    assert checks(InstanceIds=[instance_id], IncludeAllInstances=True) == [("not-applicable", "not-applicable")]
    with refused("InvalidInstanceID.NotFound"):
        checks(InstanceIds=[NOTHING])
    with pytest.raises(ValueError, match=NOTHING):
        local_emr.impair(NOTHING)


def test_a_stale_read_shows_the_checks_as_they_were(local_emr, instance_id, checks):
    local_emr.remember()
    local_emr.clock.advance(10)
    local_emr.impair(instance_id)
    local_emr.faults.add(operation="DescribeInstanceStatus", kind="stale", seconds=5)
    local_emr.clock.advance(1)
    assert checks() == [("ok", "ok")]
    assert checks() == [("impaired", "impaired")]


def test_an_instance_of_a_user_is_well(launch, checks):
    instance_id, _ = launch()
    assert checks(InstanceIds=[instance_id]) == [("ok", "ok")]
