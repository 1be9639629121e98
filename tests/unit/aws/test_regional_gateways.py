"""All reads accept a regional NAT gateway, which is in no subnet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.aws.addresses import Address, read_holder
from airflow_eip_provider.aws.nat_gateways import (
    read_all_cluster_gateways,
    read_carrying_gateway,
    read_cluster_gateways,
    read_gateway,
)
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, JOB_FLOW_TAG

if TYPE_CHECKING:
    from collections.abc import Callable

# As DescribeNatGateways shows one (EC2 API Reference, NatGateway: AvailabilityMode).
REGIONAL = {
    "NatGatewayId": "nat-regional",
    "State": "available",
    "VpcId": "vpc-1",
    "ConnectivityType": "public",
    "AvailabilityMode": "regional",
    "AutoProvisionZones": "enabled",
}
ZONAL_ADDRESS = {"AllocationId": "eipalloc-1", "AssociationId": "eipassoc-1", "NetworkInterfaceId": "eni-1"}
ZONAL = {"NatGatewayId": "nat-zonal", "State": "available", "VpcId": "vpc-1", "SubnetId": "subnet-1"}
OF_CLUSTER = {"Tags": [{"Key": JOB_FLOW_TAG, "Value": "j-1"}, {"Key": ALLOCATION_TAG, "Value": "eipalloc-1"}]}


class Ec2:
    """Answers DescribeNatGateways."""

    def __init__(self, *gateways: dict[str, Any]) -> None:
        self._gateways = gateways

    def describe_nat_gateways(self, **asked: Any) -> dict[str, Any]:
        ids = asked.get("NatGatewayIds")
        return {"NatGateways": [each for each in self._gateways if not ids or each["NatGatewayId"] in ids]}

    def describe_network_interfaces(self, **asked: Any) -> dict[str, Any]:
        assert None not in asked["NetworkInterfaceIds"]
        return {"NetworkInterfaces": [{"InterfaceType": "nat_gateway"}]}


@pytest.fixture(params=[[], None, [{"AvailabilityZone": "eu-west-1a", "PublicIp": "203.0.113.9"}]])
def elsewhere(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A regional gateway without, with some and with all of its addresses."""
    return {**REGIONAL, "NatGatewayAddresses": request.param}


@pytest.mark.parametrize(
    ("read", "found"),
    [
        (lambda ec2: read_carrying_gateway(ec2, "eipalloc-1"), "nat-zonal"),
        (lambda ec2: read_cluster_gateways(ec2, "j-1", allocation_id="eipalloc-1"), "nat-zonal"),
        (read_all_cluster_gateways, "nat-zonal"),
        (lambda ec2: read_gateway(ec2, "nat-regional"), "nat-regional"),
    ],
)
def test_requested_gateways_are_found_together_with_it(elsewhere: Any, read: Callable[[Any], Any], found: str) -> None:
    zonal = {**ZONAL, **OF_CLUSTER, "NatGatewayAddresses": [ZONAL_ADDRESS]}
    result = read(Ec2(elsewhere, zonal))
    gateways = result if isinstance(result, list) else [result]
    assert [gateway.gateway_id for gateway in gateways] == [found]


@pytest.mark.parametrize("interface", [None, "eni-1"])
def test_an_address_of_a_regional_gateway_is_reported_there(interface: str | None) -> None:
    """It is on no interface of the VPC."""
    carried = {key: value for key, value in ZONAL_ADDRESS.items() if key != "NetworkInterfaceId"}
    address = Address("eipalloc-1", "203.0.113.1", "vpc", association_id="eipassoc-1", network_interface_id=interface)
    holder = read_holder(Ec2({**REGIONAL, "NatGatewayAddresses": [carried]}), address)
    assert (holder.description, holder.permanent) == ("NAT gateway 'nat-regional'", True)


def test_an_association_that_shows_neither_instance_nor_interface_is_named() -> None:
    address = Address("eipalloc-1", "203.0.113.1", "vpc", association_id="eipassoc-1")
    assert read_holder(Ec2(), address).description == "association 'eipassoc-1'"
