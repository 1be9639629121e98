"""Availability Zones without capacity, and such as are down."""

from __future__ import annotations

from typing import Any

import pytest
import requests

ZONE = "eu-west-1a"
GROUPS = [
    {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
    {"InstanceRole": "CORE", "InstanceType": "r5.xlarge", "InstanceCount": 2},
]


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let clients not try again what EC2 answers with status 500, as it does for capacity."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")


@pytest.fixture
def subnets(ec2: Any) -> dict[str, str]:
    """Subnets of the default VPC, by zone."""
    return {subnet["AvailabilityZone"]: subnet["SubnetId"] for subnet in ec2.describe_subnets()["Subnets"]}


@pytest.fixture
def subnet_id(subnets: dict[str, str]) -> str:
    return subnets[ZONE]


@pytest.fixture
def status_of(emr: Any) -> Any:
    return lambda job_flow_id: emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]


def instances_of(emr: Any, job_flow_id: str) -> dict[str, str]:
    found = emr.list_instances(ClusterId=job_flow_id)["Instances"]
    return {instance.get("Ec2InstanceId", instance["Id"]): instance["Status"]["State"] for instance in found}


@pytest.mark.parametrize(
    ("market", "code"),
    [
        ("ON_DEMAND", "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"),
        ("SPOT", "INTERNAL_ERROR_SPOT_NO_CAPACITY_PRIMARY"),
    ],
)
def test_without_capacity_for_the_primary_the_cluster_ends_and_errordetails_has_type_and_zone(
    emr, start_cluster, status_of, local_emr, market, code
):
    local_emr.limit_capacity(ZONE)
    job_flow_id = start_cluster(instances={"InstanceGroups": [{**GROUPS[0], "Market": market}, GROUPS[1]]})
    local_emr.clock.advance(120)
    status = status_of(job_flow_id)
    assert (status["State"], status["StateChangeReason"]["Code"]) == ("TERMINATED_WITH_ERRORS", "INTERNAL_ERROR")
    (details,) = status["ErrorDetails"]
    assert details["ErrorCode"] == code
    assert {"instance-type": "m5.xlarge"} in details["ErrorData"]
    assert {"availability-zone": ZONE} in details["ErrorData"]
    (listed,) = emr.list_clusters()["Clusters"]
    assert listed["Status"]["ErrorDetails"] == status["ErrorDetails"]


def test_other_types_and_other_zones_start(emr, start_cluster, subnets, local_emr, state_of):
    local_emr.limit_capacity(ZONE, instance_type="m5.2xlarge")
    elsewhere = start_cluster(instances={"Ec2SubnetId": subnets["eu-west-1b"]})
    local_emr.limit_capacity(ZONE, instance_type="m5.large")
    here = start_cluster()
    local_emr.clock.advance(300)
    assert (state_of(elsewhere), state_of(here)) == ("WAITING", "WAITING")


def test_core_nodes_that_a_zone_has_not_got_keep_the_cluster_starting_until_it_has(
    emr, start_cluster, status_of, local_emr
):
    local_emr.limit_capacity(ZONE, instance_type="r5.xlarge", left=1)
    job_flow_id = start_cluster(instances={"InstanceGroups": GROUPS})
    local_emr.clock.advance(86400)
    assert status_of(job_flow_id)["State"] == "STARTING"
    core = emr.list_instance_groups(ClusterId=job_flow_id)["InstanceGroups"][1]
    assert (core["Status"]["State"], core["RequestedInstanceCount"], core["RunningInstanceCount"]) == (
        "PROVISIONING",
        2,
        1,
    )
    assert list(instances_of(emr, job_flow_id).values()) == ["PROVISIONING"] * 3

    local_emr.restore_zone(ZONE)
    local_emr.clock.advance(300)
    assert status_of(job_flow_id)["State"] == "WAITING"
    assert set(instances_of(emr, job_flow_id).values()) == {"RUNNING"}


def test_a_cluster_that_cannot_start_can_be_terminated_and_asks_for_nothing_any_more(
    emr, ec2, start_cluster, state_of, local_emr
):
    local_emr.limit_capacity(ZONE, instance_type="r5.xlarge")
    job_flow_id = start_cluster(instances={"InstanceGroups": GROUPS})
    local_emr.clock.advance(600)
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    local_emr.restore_zone(ZONE)
    local_emr.clock.advance(600)
    assert state_of(job_flow_id) == "TERMINATED"
    found = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"]]
    assert [instance["State"]["Name"] for instance in found] == ["terminated"]


def test_of_several_subnets_one_whose_zone_has_capacity_is_taken(emr, start_cluster, subnets, local_emr):
    local_emr.limit_capacity(ZONE)
    fleet = {
        "InstanceFleetType": "MASTER",
        "TargetOnDemandCapacity": 1,
        "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
    }
    wanted = [subnets[ZONE], subnets["eu-west-1b"]]
    given = {"InstanceGroups": None, "InstanceFleets": [fleet], "Ec2SubnetId": None, "Ec2SubnetIds": wanted}
    job_flow_id = start_cluster(instances=given)
    attributes = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Ec2InstanceAttributes"]
    assert attributes["Ec2AvailabilityZone"] == "eu-west-1b"
    assert attributes["RequestedEc2SubnetIds"] == wanted


def test_run_instances_takes_of_what_is_left_and_is_refused_as_ec2_does(launch, subnets, local_emr, refused):
    local_emr.limit_capacity(ZONE, instance_type="t3.micro", left=2)
    launch(InstanceType="t3.micro")
    with refused("InsufficientInstanceCapacity") as caught:
        launch(InstanceType="t3.micro", MinCount=2, MaxCount=2)
    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert "t3.micro capacity in the Availability Zone you requested (eu-west-1a)" in response["Error"]["Message"]
    launch(InstanceType="t3.micro")
    with refused("InsufficientInstanceCapacity"):
        launch(InstanceType="t3.micro")
    launch(InstanceType="t3.small")
    launch(InstanceType="t3.micro", SubnetId=subnets["eu-west-1b"])


def test_a_zone_that_is_down_loses_its_instances_their_clusters_and_their_address(
    ec2, emr, start_cluster, subnets, primary_of, allocation_id, status_of, state_of, launch, local_emr, refused
):
    lost, kept = start_cluster(), start_cluster(instances={"Ec2SubnetId": subnets["eu-west-1b"]})
    local_emr.clock.advance(300)
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary_of(lost).nics[0].id)

    local_emr.take_zone_down(ZONE)
    local_emr.clock.advance(120)
    status = status_of(lost)
    assert (status["State"], status["StateChangeReason"]["Code"]) == ("TERMINATED_WITH_ERRORS", "INSTANCE_FAILURE")
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
    assert state_of(kept) == "WAITING"
    with refused("InsufficientInstanceCapacity"):
        launch()

    local_emr.restore_zone(ZONE)
    launch()


def test_a_spot_primary_can_be_taken_back_and_no_other(start_cluster, status_of, primary_of, local_emr):
    spot = start_cluster(instances={"InstanceGroups": [{**GROUPS[0], "Market": "SPOT"}]})
    on_demand = start_cluster()
    local_emr.clock.advance(300)
    with pytest.raises(ValueError, match=f"cluster '{on_demand}' has no Spot Instance as its primary node"):
        local_emr.interrupt_spot(on_demand)
    local_emr.interrupt_spot(spot)
    assert primary_of(spot).state == "terminated"
    local_emr.clock.advance(120)
    status = status_of(spot)
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["ErrorDetails"][0]["ErrorCode"] == "INTERNAL_ERROR_SPOT_PRICE_INCREASE_PRIMARY"
    assert {"primary-instance-id": primary_of(spot).id} in status["ErrorDetails"][0]["ErrorData"]
    with pytest.raises(ValueError, match="has no Spot Instance"):
        local_emr.interrupt_spot(spot)


@pytest.mark.parametrize("state", ["STARTING", "BOOTSTRAPPING"])
def test_a_cluster_can_be_made_to_hang_until_it_is_terminated(emr, start_cluster, state_of, local_emr, state):
    local_emr.fail_next_cluster(state=state, hangs=True)
    hangs, other = start_cluster(), start_cluster()
    local_emr.clock.advance(86400)
    assert (state_of(hangs), state_of(other)) == (state, "WAITING")
    emr.terminate_job_flows(JobFlowIds=[hangs])
    local_emr.clock.advance(60)
    assert state_of(hangs) == "TERMINATED"


def test_over_http(start_cluster, state_of, local_emr):
    def post(path: str, **fields: Any) -> requests.Response:
        return requests.post(f"{local_emr.endpoint_url}/_local/{path}", json=fields, timeout=10)

    assert post("zones/limit", zone=ZONE, instance_type="m5.xlarge").status_code == 200
    first = start_cluster()
    local_emr.clock.advance(120)
    assert state_of(first) == "TERMINATED_WITH_ERRORS"
    assert post("zones/restore", zone=ZONE).status_code == 200
    second = start_cluster()
    local_emr.clock.advance(300)
    assert post("zones/down", zone=ZONE).status_code == 200
    local_emr.clock.advance(120)
    assert state_of(second) == "TERMINATED_WITH_ERRORS"

    for path, fields, what in [
        ("zones/limit", {"zone": "eu-west-1z"}, "there is no Availability Zone 'eu-west-1z'"),
        ("zones/limit", {"zone": ZONE, "left": -1}, "must not be negative"),
        ("zones/down", {}, "zone"),
        ("clusters/interrupt-spot", {"job_flow_id": second}, "has no Spot Instance"),
        ("clusters/interrupt-spot", {"job_flow_id": "j-none"}, "there is no cluster"),
        ("clusters/fail-next", {"state": "WAITING", "hangs": True}, "STARTING or BOOTSTRAPPING"),
        ("clusters/fail-next", {"state": "WAITING"}, "code is missing"),
    ]:
        refused = post(path, **fields)
        assert (refused.status_code, what in refused.json()["error"]) == (400, True), refused.text


def test_a_reset_restores_every_zone(start_cluster, state_of, local_emr):
    local_emr.take_zone_down(ZONE)
    local_emr.reset()
    job_flow_id = start_cluster(instances={"Ec2SubnetId": None})  # in the first zone
    local_emr.clock.advance(300)
    assert state_of(job_flow_id) == "WAITING"


def test_a_zone_that_is_down_is_described_as_unavailable_until_it_is_restored(ec2: Any, local_emr: Any):
    def states(**asked: Any) -> dict[str, str]:
        found = ec2.describe_availability_zones(**asked)["AvailabilityZones"]
        return {zone["ZoneName"]: zone["State"] for zone in found}

    local_emr.take_zone_down(ZONE)
    assert states()[ZONE] == "unavailable"
    assert set(states().values()) == {"available", "unavailable"}
    only = {"Filters": [{"Name": "zone-name", "Values": [ZONE]}]}
    assert states(**only) == states(ZoneNames=[ZONE]) == {ZONE: "unavailable"}
    local_emr.restore_zone(ZONE)
    assert states(**only) == {ZONE: "available"}
    with pytest.raises(ec2.exceptions.ClientError, match="InvalidParameterValue"):
        states(ZoneNames=["eu-west-1z"])


def test_a_zone_that_has_run_out_of_a_type_still_offers_it(ec2: Any, local_emr: Any):
    local_emr.limit_capacity(ZONE)
    filters = [{"Name": "location", "Values": [ZONE]}, {"Name": "instance-type", "Values": ["m5.xlarge", "m6i.xlarge"]}]
    found = ec2.describe_instance_type_offerings(LocationType="availability-zone", Filters=filters)
    assert {offer["InstanceType"] for offer in found["InstanceTypeOfferings"]} == {"m5.xlarge", "m6i.xlarge"}
