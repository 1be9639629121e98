"""Changes of default routes: what is restored, what is left alone, and what is read again."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.nat_gateway_changes import remove_gateway
from airflow_eip_provider.aws.nat_gateways import Gateway
from airflow_eip_provider.aws.route_changes import restore_default_route, set_default_route
from airflow_eip_provider.aws.routes import ANYWHERE
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, JOB_FLOW_TAG, ROUTE_TAG

ROUTE = {"RouteTableId": "rtb-1", "DestinationCidrBlock": ANYWHERE}


def shown(target: str | None, state: str = "active") -> tuple[str, dict[str, Any]]:
    """Answer DescribeRouteTables."""
    name = "NatGatewayId" if target and target.startswith("nat-") else "GatewayId"
    routes = [{"DestinationCidrBlock": ANYWHERE, name: target, "State": state}] if target else []
    return "describe_route_tables", {"RouteTables": [{"RouteTableId": "rtb-1", "VpcId": "vpc-1", "Routes": routes}]}


@pytest.mark.parametrize(
    ("present", "settled"),
    [
        (shown("igw-1"), False),  # as before: the read may be older than our change
        (shown("nat-9", "blackhole"), False),  # which our change may have replaced, too
        (shown("igw-2"), True),
        (shown("nat-9"), True),
    ],
)
def test_a_route_that_does_not_lead_to_the_gateway_is_left_alone(stubbed, present, settled):
    ec2 = stubbed("ec2", present)
    assert restore_default_route(ec2, "rtb-1", before="igw-1", instead_of="nat-1") is settled


def test_a_refused_target_is_replaced_by_none_with_a_warning(stubbed, caplog):
    ec2 = stubbed("ec2", shown("nat-1"), ("replace_route", "InvalidParameterValue"), ("delete_route", {}, ROUTE))
    with caplog.at_level(logging.WARNING):
        assert restore_default_route(ec2, "rtb-1", before="igw-1", instead_of="nat-1")
    assert "igw-1" in caplog.text
    assert "rtb-1" in caplog.text


@pytest.mark.parametrize("code", ["RequestLimitExceeded", "UnauthorizedOperation", "IncorrectState", "AuthFailure"])
def test_a_request_that_may_succeed_later_deletes_no_route(stubbed, code):
    ec2 = stubbed("ec2", shown("nat-1"), ("replace_route", code))
    with pytest.raises(ClientError, match=code):
        restore_default_route(ec2, "rtb-1", before="igw-1", instead_of="nat-1")


def test_a_route_that_a_read_does_not_show_is_checked_before_it_is_replaced(stubbed):
    created = {**ROUTE, "NatGatewayId": "nat-1"}
    ec2 = stubbed(
        "ec2",
        shown(None),
        ("create_route", "RouteAlreadyExists", created),
        shown("nat-9", "blackhole"),
        ("replace_route", {}, created),
    )
    checked, pauses = [], []
    set_default_route(
        ec2, "rtb-1", target="nat-1", check=lambda table: checked.append(table.default_route), pause=pauses.append
    )
    assert (checked, pauses) == (["none", "nat-9"], [10])


@pytest.mark.parametrize(("state", "hours"), [("available", 2), ("pending", 0), ("failed", 0)])
def test_a_gateway_that_cannot_have_new_routes_is_deleted_at_once(stubbed, state, hours):
    tags = {JOB_FLOW_TAG: "j-1", ALLOCATION_TAG: "eipalloc-1", f"{ROUTE_TAG}rtb-1": "igw-1"}
    gateway = Gateway("nat-1", state, tags=tags, created_at=clock.now() - timedelta(hours=hours))
    remove_gateway(stubbed("ec2", shown("igw-1"), ("delete_nat_gateway", {})), gateway)
