"""Elastic IPs on private addresses: which of them is the one that a node's own connections leave from."""

from __future__ import annotations

import pytest


def address(ec2, allocation_id):
    return ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]


def described(ec2, instance_id):
    return ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]


def public_addresses(interface):
    """The public address of each private one."""
    return {
        private["PrivateIpAddress"]: private.get("Association", {}).get("PublicIp")
        for private in interface["PrivateIpAddresses"]
    }


@pytest.fixture
def secondary(ec2):
    """Give an interface a secondary private address."""

    def assign(interface_id):
        ec2.assign_private_ip_addresses(NetworkInterfaceId=interface_id, SecondaryPrivateIpAddressCount=1)
        found = ec2.describe_network_interfaces(NetworkInterfaceIds=[interface_id])["NetworkInterfaces"][0]
        [private] = [a["PrivateIpAddress"] for a in found["PrivateIpAddresses"] if not a["Primary"]]
        return private

    return assign


def test_an_address_is_on_the_primary_private_address_by_default(ec2, local_emr, allocation_id, launch):
    """ "If no private IP address is specified, … the primary private IP address" [botocore: AssociateAddress]."""
    instance, interface = launch()
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface)
    seen, shown = address(ec2, allocation_id), described(ec2, instance)
    assert seen["PrivateIpAddress"] == shown["PrivateIpAddress"]
    assert shown["NetworkInterfaces"][0]["NetworkInterfaceId"] == interface == seen["NetworkInterfaceId"]
    assert public_addresses(shown["NetworkInterfaces"][0]) == {shown["PrivateIpAddress"]: seen["PublicIp"]}
    assert local_emr.ec2(local_emr.region).public_ip(instance) == seen["PublicIp"]


def test_an_address_on_a_secondary_private_address_is_not_the_instances_way_out(
    ec2, local_emr, allocation_id, launch, secondary
):
    """[docs: EC2, Secondary IP addresses: a connection leaves from the primary private address unless it is bound]."""
    instance, interface = launch()
    own = described(ec2, instance)["PublicIpAddress"]
    private = secondary(interface)
    association = ec2.associate_address(
        AllocationId=allocation_id, NetworkInterfaceId=interface, PrivateIpAddress=private, AllowReassociation=False
    )["AssociationId"]
    seen, shown = address(ec2, allocation_id), described(ec2, instance)
    assert (seen["PrivateIpAddress"], seen["InstanceId"]) == (private, instance)
    assert public_addresses(shown["NetworkInterfaces"][0]) == {
        shown["PrivateIpAddress"]: own,
        private: seen["PublicIp"],
    }
    assert shown["PublicIpAddress"] == own
    assert local_emr.ec2(local_emr.region).public_ip(instance) == own
    ec2.disassociate_address(AssociationId=association)
    assert "PrivateIpAddress" not in address(ec2, allocation_id)
    shown = described(ec2, instance)
    assert public_addresses(shown["NetworkInterfaces"][0]) == {shown["PrivateIpAddress"]: own, private: None}


def test_each_private_address_has_a_public_one_of_its_own(ec2, allocation_id, launch, secondary):
    instance, interface = launch()
    private = secondary(interface)
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface, AllowReassociation=False)
    ec2.associate_address(
        AllocationId=other, NetworkInterfaceId=interface, PrivateIpAddress=private, AllowReassociation=False
    )
    shown = public_addresses(described(ec2, instance)["NetworkInterfaces"][0])
    assert shown == {
        address(ec2, each)["PrivateIpAddress"]: address(ec2, each)["PublicIp"] for each in (allocation_id, other)
    }
    assert None not in shown.values()


def test_a_move_within_an_interface_is_a_reassociation(ec2, local_emr, allocation_id, launch, secondary, refused):
    instance, interface = launch()
    private = secondary(interface)
    where = {"AllocationId": allocation_id, "NetworkInterfaceId": interface}
    first = ec2.associate_address(**where)["AssociationId"]
    with refused("Resource.AlreadyAssociated"):
        ec2.associate_address(**where, PrivateIpAddress=private, AllowReassociation=False)
    second = ec2.associate_address(**where, PrivateIpAddress=private)["AssociationId"]
    assert second != first
    assert ec2.associate_address(**where, PrivateIpAddress=private)["AssociationId"] == second
    assert local_emr.ec2(local_emr.region).public_ip(instance) != address(ec2, allocation_id)["PublicIp"]


def test_a_private_address_of_another_interface_is_refused(ec2, allocation_id, launch, refused):
    (_, interface), (other, _) = launch(), launch()
    with refused("InvalidParameterValue"):
        ec2.associate_address(
            AllocationId=allocation_id,
            NetworkInterfaceId=interface,
            PrivateIpAddress=described(ec2, other)["PrivateIpAddress"],
        )


@pytest.mark.parametrize("place", ["core node", "second interface", "secondary private address"])
def test_a_step_does_not_leave_from_an_address_elsewhere_on_its_cluster(
    ec2, emr, local_emr, allocation_id, start_cluster, primary_of, subnet_id, add_steps, step, secondary, place
):
    groups = [{"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": 1} for role in ("MASTER", "CORE")]
    cluster = start_cluster(instances={"InstanceGroups": groups})
    local_emr.clock.advance(900)
    primary = primary_of(cluster)
    own = described(ec2, primary.id)["PublicIpAddress"]
    target = {"NetworkInterfaceId": primary.nics[0].id}
    if place == "core node":
        target["NetworkInterfaceId"] = local_emr.cluster(cluster).workers[0].nics[0].id
    elif place == "second interface":
        target["NetworkInterfaceId"] = ec2.create_network_interface(SubnetId=subnet_id)["NetworkInterface"][
            "NetworkInterfaceId"
        ]
        ec2.attach_network_interface(InstanceId=primary.id, DeviceIndex=1, **target)
    else:
        target["PrivateIpAddress"] = secondary(primary.nics[0].id)
    ec2.associate_address(AllocationId=allocation_id, AllowReassociation=False, **target)
    [step_id] = add_steps(cluster, step("--sleep", "60"))
    assert local_emr.public_ip_of_step(step_id) == own
    ec2.disassociate_address(AssociationId=address(ec2, allocation_id)["AssociationId"])
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary.nics[0].id)
    assert local_emr.public_ip_of_step(step_id) == address(ec2, allocation_id)["PublicIp"]
