"""Reads of route tables and their default routes."""

from __future__ import annotations

import pytest

from airflow_eip_provider.aws.routes import ANYWHERE, NO_ROUTE, read_table, read_table_of_subnet

LOCAL = {"DestinationCidrBlock": "10.0.0.0/16", "GatewayId": "local"}
S3 = {"DestinationPrefixListId": "pl-1", "GatewayId": "vpce-1"}


def tables(*routes: dict) -> dict:
    return {"RouteTables": [{"RouteTableId": "rtb-1", "VpcId": "vpc-1", "Routes": list(routes)}]}


@pytest.mark.parametrize(
    ("routes", "target", "to_internet", "leads_out", "endpoint"),
    [
        ([LOCAL], NO_ROUTE, False, False, False),
        ([LOCAL, {"DestinationCidrBlock": ANYWHERE, "GatewayId": "igw-1"}], "igw-1", True, True, False),
        ([{"DestinationCidrBlock": ANYWHERE, "GatewayId": "igw-1", "State": "blackhole"}], "igw-1", False, True, False),
        ([{"DestinationCidrBlock": ANYWHERE, "NatGatewayId": "nat-1"}], "nat-1", False, True, False),
        ([{"DestinationCidrBlock": ANYWHERE, "InstanceId": "i-1", "NetworkInterfaceId": "eni-1"}],
         "eni-1", False, True, False),
        ([LOCAL, S3], NO_ROUTE, False, True, True),
        ([LOCAL, {**S3, "State": "blackhole"}], NO_ROUTE, False, True, False),
    ],
)  # fmt: skip
def test_a_default_route_is_known_by_what_it_leads_to(stubbed, routes, target, to_internet, leads_out, endpoint):
    table = read_table(stubbed("ec2", ("describe_route_tables", tables(*routes))), "rtb-1")
    assert table is not None
    found = (table.default_route, table.leads_to_internet_gateway, table.leads_out, table.has_gateway_endpoint)
    assert found == (target, to_internet, leads_out, endpoint)


@pytest.mark.parametrize("code", ["InvalidRouteTableID.NotFound", "InvalidRouteTableId.Malformed"])
def test_a_table_that_does_not_exist_is_none(stubbed, code):
    assert read_table(stubbed("ec2", ("describe_route_tables", code)), "rtb-1") is None


def test_a_subnet_without_a_table_of_its_own_has_its_vpcs_main_one(stubbed):
    own = {"Filters": [{"Name": "association.subnet-id", "Values": ["subnet-1"]}]}
    main = [{"Name": "association.main", "Values": ["true"]}, {"Name": "vpc-id", "Values": ["vpc-1"]}]
    ec2 = stubbed(
        "ec2",
        ("describe_route_tables", {"RouteTables": []}, own),
        ("describe_subnets", {"Subnets": [{"VpcId": "vpc-1"}]}),
        ("describe_route_tables", tables(LOCAL), {"Filters": main}),
    )
    found = read_table_of_subnet(ec2, "subnet-1")
    assert found is not None
    assert found.table_id == "rtb-1"
