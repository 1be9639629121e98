"""Reads of addresses and their holders."""

from __future__ import annotations

from dataclasses import replace

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.aws.addresses import (
    Address,
    Holder,
    read_address,
    read_addresses,
    read_holder,
    read_instance,
    read_primaries,
)
from airflow_eip_provider.aws.tags import CLUSTER_TAG, OWNER_TAG

FREE = Address("eipalloc-1", "203.0.113.1", "vpc")
ON_INSTANCE = replace(FREE, association_id="eipassoc-1", network_interface_id="eni-1", instance_id="i-1")
ON_INTERFACE = replace(ON_INSTANCE, instance_id=None)


def instances(*found: dict) -> dict:
    return {"Reservations": [{"Instances": [one]} for one in found]}


def primary(instance_id: str, cluster: str, *, state: str = "running", **tags: str) -> dict:
    listed = [{"Key": key, "Value": value} for key, value in {CLUSTER_TAG: cluster, **tags}.items()]
    interface = {"NetworkInterfaceId": "eni-1", "PrivateIpAddress": "10.0.0.9", "Attachment": {"DeviceIndex": 0}}
    beside = {"NetworkInterfaceId": "eni-2", "Attachment": {"DeviceIndex": 1}}
    return {
        "InstanceId": instance_id,
        "State": {"Name": state},
        "NetworkInterfaces": [beside, interface],
        "Tags": listed,
    }


def test_empty_fields_are_absent(stubbed):
    item = {"AllocationId": "eipalloc-1", "PublicIp": "203.0.113.1", "Domain": "vpc", "InstanceId": ""}
    ec2 = stubbed("ec2", ("describe_addresses", {"Addresses": [item]}, {"AllocationIds": ["eipalloc-1"]}))
    assert read_address(ec2, "eipalloc-1") == FREE
    assert FREE.is_free
    assert not ON_INTERFACE.is_free


def test_an_address_and_an_instance_that_do_not_exist_are_none_and_other_errors_pass(stubbed):
    ec2 = stubbed(
        "ec2",
        ("describe_addresses", "InvalidAllocationID.NotFound"),
        ("describe_instances", "InvalidInstanceID.NotFound"),
        ("describe_addresses", "UnauthorizedOperation"),
    )
    assert read_address(ec2, "eipalloc-1") is None
    assert read_instance(ec2, "i-1") is None
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        read_address(ec2, "eipalloc-1")


def test_many_addresses_are_read_by_filters_of_at_most_200(stubbed):
    ids = [f"eipalloc-{n:03}" for n in range(201)]

    def asked(*some: str) -> dict:
        return {"Filters": [{"Name": "allocation-id", "Values": list(some)}]}

    item = {"AllocationId": ids[200], "PublicIp": "203.0.113.1"}
    ec2 = stubbed(
        "ec2",
        ("describe_addresses", {"Addresses": []}, asked(*ids[:200])),
        ("describe_addresses", {"Addresses": [item]}, asked(ids[200])),
    )
    assert list(read_addresses(ec2, ids)) == [ids[200]]


def test_of_two_primaries_the_one_that_stays_counts_and_all_pages_are_read(stubbed):
    first = instances(primary("i-old", "j-1", state="shutting-down")) | {"NextToken": "more"}
    ec2 = stubbed("ec2", ("describe_instances", first), ("describe_instances", instances(primary("i-new", "j-1"))))
    (found,) = read_primaries(ec2, ["j-1"]).values()
    assert (found.instance_id, found.network_interface_id, found.private_ip) == ("i-new", "eni-1", "10.0.0.9")


@pytest.mark.parametrize(
    ("tags", "described", "cluster"),
    [
        ({CLUSTER_TAG: "j-1", OWNER_TAG: "a/b"}, "cluster 'j-1' (instance 'i-1') of 'a/b'", "j-1"),
        ({CLUSTER_TAG: "j-1"}, "cluster 'j-1' (instance 'i-1')", "j-1"),
    ],
)
def test_an_instance_of_a_cluster_is_described_by_its_tags(stubbed, tags, described, cluster):
    ec2 = stubbed("ec2", ("describe_instances", instances(primary("i-1", tags.pop(CLUSTER_TAG), **tags))))
    holder = read_holder(ec2, ON_INSTANCE)
    assert (holder.description, holder.job_flow_id, holder.permanent) == (described, cluster, False)


@pytest.mark.parametrize(
    ("interface", "described", "permanent"),
    [
        ({"InterfaceType": "network_load_balancer"}, "network load balancer interface 'eni-1'", True),
        ({"InterfaceType": "interface", "Description": "ours"}, "interface 'eni-1' (ours)", False),
        ({}, "interface 'eni-1'", False),
    ],
)
def test_an_interface_of_no_instance_is_permanent_if_a_service_keeps_it(stubbed, interface, described, permanent):
    ec2 = stubbed("ec2", ("describe_network_interfaces", {"NetworkInterfaces": [interface] if interface else []}))
    assert read_holder(ec2, ON_INTERFACE) == Holder(described, permanent=permanent)


@pytest.mark.parametrize(("tags", "permanent"), [(None, False), ([], True)], ids=["not shown", "without our tags"])
def test_a_nat_gateway_is_permanent_only_if_ec2_shows_it_without_our_tags(stubbed, tags, permanent):
    gateway = {
        "NatGatewayId": "nat-1",
        "State": "available",
        "NatGatewayAddresses": [{"AllocationId": "eipalloc-1"}],
        "Tags": tags,
    }
    ec2 = stubbed(
        "ec2",
        ("describe_network_interfaces", {"NetworkInterfaces": [{"InterfaceType": "nat_gateway"}]}),
        ("describe_nat_gateways", {"NatGateways": [] if tags is None else [gateway]}),
    )
    holder = read_holder(ec2, ON_INTERFACE)
    assert holder.permanent is permanent
    assert holder.description == ("NAT gateway 'nat-1'" if permanent else "nat gateway interface 'eni-1'")


def test_nobody_carries_a_free_address_and_ec2_is_not_asked(stubbed):
    assert read_holder(stubbed("ec2"), FREE) == Holder("nobody")
