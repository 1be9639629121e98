"""Whether the default route of a table may be changed to a cluster's new gateway."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airflow_eip_provider.aws.nat_gateways import check_replaceable, gateway_of
from airflow_eip_provider.aws.routes import RouteTable
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, JOB_FLOW_TAG, ROUTE_TAG
from airflow_eip_provider.exceptions import InvalidInputError, TransientError

CREATED = datetime(2026, 11, 20, tzinfo=UTC)


def described(name: str, allocation_id: str, *, state: str = "available", minutes: float = 0.0) -> dict[str, Any]:
    """Describe a gateway of a cluster for the table, created some minutes after the new one."""
    tags = {JOB_FLOW_TAG: "j-1", ALLOCATION_TAG: allocation_id, f"{ROUTE_TAG}rtb-1": "igw-1"}
    return {
        "NatGatewayId": name,
        "State": state,
        "CreateTime": CREATED + timedelta(minutes=minutes),
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


MINE = described("nat-1", "eipalloc-1")


class Ec2:
    """Answers DescribeNatGateways."""

    def __init__(self, *gateways: dict[str, Any]) -> None:
        self._gateways = gateways

    def describe_nat_gateways(self, **asked: Any) -> dict[str, Any]:
        ids = asked.get("NatGatewayIds")
        states = [value for each in asked.get("Filter", ()) if each["Name"] == "state" for value in each["Values"]]
        found = [each for each in self._gateways if not ids or each["NatGatewayId"] in ids]
        return {"NatGateways": [each for each in found if not states or each["State"] in states]}


class Emr:
    """Answers DescribeCluster."""

    def __init__(self, state: str) -> None:
        self._state = state

    def describe_cluster(self, ClusterId: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        return {"Cluster": {"Id": ClusterId, "Name": "x", "Status": {"State": self._state}}}


def check(target: str, *others: dict[str, Any], is_blackhole: bool = False, cluster: str = "WAITING") -> None:
    table = RouteTable(
        "rtb-1",
        vpc_id="vpc-1",
        default_route=target,
        is_blackhole=is_blackhole,
        subnet_ids=(),
        is_main=False,
        leads_out=True,
        has_gateway_endpoint=False,
    )
    check_replaceable(Ec2(MINE, *others), Emr(cluster), table, gateway=gateway_of(MINE))


@pytest.mark.parametrize("state", ["deleting", "deleted"])
def test_the_former_target_and_a_gateway_that_is_ending_may_be_replaced(state):
    check("igw-1")
    check("nat-2", described("nat-2", "eipalloc-2", state=state))
    check("nat-2", is_blackhole=True)  # EC2 has forgotten it


def test_the_route_of_a_cluster_with_another_address_may_not():
    with pytest.raises(InvalidInputError, match=r"rtb-1.*it leads to NAT gateway 'nat-2'.*separate route tables"):
        check("nat-2", described("nat-2", "eipalloc-2", minutes=1))


@pytest.mark.parametrize("target", ["igw-2", "none", "nat-3"])
def test_a_route_that_others_have_changed_may_not_as_it_could_not_be_restored(target):
    with pytest.raises(TransientError, match=f"rtb-1.*'igw-1'.*nat-1.*is now '{target}'"):
        check(target)


def test_the_gateway_of_a_cluster_that_has_ended_is_no_hindrance():
    left = described("nat-2", "eipalloc-2", minutes=-1)
    check("nat-2", left, cluster="TERMINATED")
    check("igw-1", left, cluster="TERMINATED")


def test_of_two_gateways_for_one_table_the_older_one_gets_the_route():
    check("igw-1", described("nat-2", "eipalloc-2", state="pending", minutes=1))
    with pytest.raises(InvalidInputError, match=r"rtb-1.*also used by NAT gateway 'nat-2'.*separate route tables"):
        check("igw-1", described("nat-2", "eipalloc-2", state="pending", minutes=-1))
