"""AWS's rules for Elastic IPs, where moto has others. Each test says what AWS does, and where AWS says so."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from botocore.exceptions import ClientError

UNKNOWN = "0123456789abcdef0"


def address(ec2, allocation_id):
    return ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]


def public_ip(ec2, instance_id):
    return ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0].get("PublicIpAddress")


def test_an_address_is_moved_silently_unless_reassociation_is_refused(ec2, allocation_id, launch):
    """AllowReassociation defaults to true in a VPC [botocore: AssociateAddress]; moto's default is false."""
    (_, first), (_, second) = launch(), launch()
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=first)
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=second)
    assert address(ec2, allocation_id)["NetworkInterfaceId"] == second


@pytest.mark.parametrize("way", ["interface", "instance"])
def test_with_reassociation_refused_an_address_in_use_stays(ec2, allocation_id, launch, refused, way):
    """[botocore: AssociateAddress, AllowReassociation]; in moto an instance id takes it even so."""
    (_, holder), (instance_id, interface_id) = launch(), launch()
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=holder)
    target = {"NetworkInterfaceId": interface_id} if way == "interface" else {"InstanceId": instance_id}
    with refused("Resource.AlreadyAssociated"):
        ec2.associate_address(AllocationId=allocation_id, AllowReassociation=False, **target)
    assert address(ec2, allocation_id)["NetworkInterfaceId"] == holder


def test_associating_again_to_the_same_place_is_no_error_and_gives_the_same_association(ec2, allocation_id, launch):
    """ "This is an idempotent operation" [botocore: AssociateAddress]."""
    instance_id, interface_id = launch()
    first = ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)["AssociationId"]
    again = ec2.associate_address(AllocationId=allocation_id, InstanceId=instance_id, AllowReassociation=False)
    assert again["AssociationId"] == first


def test_a_second_address_on_an_interface_replaces_the_first_or_is_refused(ec2, allocation_id, launch, refused):
    """An address that the interface has is disassociated and stays allocated [docs: EC2, Associate an Elastic IP]."""
    _, interface_id = launch()
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)
    with refused("Resource.AlreadyAssociated"):
        ec2.associate_address(AllocationId=other, NetworkInterfaceId=interface_id, AllowReassociation=False)
    ec2.associate_address(AllocationId=other, NetworkInterfaceId=interface_id)
    assert "AssociationId" not in address(ec2, allocation_id)


def test_an_instance_with_two_interfaces_must_be_named_by_interface(ec2, allocation_id, launch, subnet_id, refused):
    """ "You can specify either the instance ID or the network interface ID … exactly one attached" [botocore]."""
    instance_id, _ = launch()
    second = ec2.create_network_interface(SubnetId=subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=second, InstanceId=instance_id, DeviceIndex=1)
    with refused("InvalidInstanceID"):
        ec2.associate_address(AllocationId=allocation_id, InstanceId=instance_id)
    assert ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=second)["AssociationId"]


def test_a_pending_instance_is_refused(ec2, allocation_id, local_emr, start_cluster, primary_of, refused):
    """ "The pending instance … is not in a valid state for this operation" [docs: EC2 error codes]."""
    job_flow_id = start_cluster()
    local_emr.clock.advance(20)
    primary = primary_of(job_flow_id)
    with refused("InvalidInstanceID"):
        ec2.associate_address(AllocationId=allocation_id, InstanceId=primary.id)
    with refused("InvalidInstanceID"):
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary.nics[0].id)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"AllocationId": f"eipalloc-{UNKNOWN}"}, "InvalidAllocationID.NotFound"),
        ({"AllocationId": "eipalloc-nonsense"}, "InvalidAllocationID.Malformed"),
        ({"NetworkInterfaceId": f"eni-{UNKNOWN}"}, "InvalidNetworkInterfaceID.NotFound"),
        ({"NetworkInterfaceId": "eni-nonsense"}, "InvalidNetworkInterfaceId.Malformed"),
        ({"NetworkInterfaceId": None, "InstanceId": f"i-{UNKNOWN}"}, "InvalidInstanceID.NotFound"),
        ({"NetworkInterfaceId": None, "InstanceId": "nonsense"}, "InvalidInstanceID.Malformed"),
        ({"NetworkInterfaceId": None}, "MissingParameter"),
        ({"AllocationId": None}, "MissingParameter"),
    ],
)
def test_what_does_not_exist_is_refused_by_its_code(ec2, allocation_id, launch, refused, parameters, code):
    """[docs: EC2 API, Error codes]."""
    given = {"AllocationId": allocation_id, "NetworkInterfaceId": launch()[1], **parameters}
    with refused(code):
        ec2.associate_address(**{name: value for name, value in given.items() if value is not None})


def test_disassociating_what_is_no_more_is_refused(ec2, allocation_id, launch, refused):
    """``InvalidAssociationID.NotFound`` [docs: EC2 API, Error codes]."""
    _, interface_id = launch()
    association_id = ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)["AssociationId"]
    ec2.disassociate_address(AssociationId=association_id)
    with refused("InvalidAssociationID.NotFound"):
        ec2.disassociate_address(AssociationId=association_id)


def test_a_network_without_an_internet_gateway_takes_no_address(ec2, allocation_id, launch, refused):
    """``Gateway.NotAttached`` [docs: EC2 API, Error codes]; EC2 asks for the gateway, not for a route to it."""
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    private = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    with refused("Gateway.NotAttached"):
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=launch(SubnetId=private)[1])


def test_a_dry_run_returns_what_would_happen_and_changes_nothing(ec2, allocation_id, launch, local_emr, refused):
    """``DryRunOperation`` or ``UnauthorizedOperation`` [botocore: AssociateAddress, DryRun]."""
    _, interface_id = launch()
    with refused("DryRunOperation"):
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id, DryRun=True)
    local_emr.deny("AssociateAddress")
    with refused("UnauthorizedOperation"):
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id, DryRun=True)
    assert "AssociationId" not in address(ec2, allocation_id)


def test_a_described_address_has_its_whole_association(ec2, allocation_id, launch):
    """[botocore: Address]; moto leaves the instance out when it was associated by interface."""
    instance_id, interface_id = launch()
    association_id = ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)["AssociationId"]
    found = address(ec2, allocation_id)
    assert found["InstanceId"] == instance_id
    assert found["NetworkInterfaceId"] == interface_id
    assert found["AssociationId"] == association_id
    assert found["Domain"] == "vpc"
    assert found["NetworkBorderGroup"] == "eu-west-1"
    assert {"PrivateIpAddress", "NetworkInterfaceOwnerId"} <= found.keys()


def test_a_free_address_has_no_place_at_all(ec2, allocation_id):
    """AWS leaves out what is not there [botocore: Address]; moto gives empty ids."""
    assert not {"InstanceId", "NetworkInterfaceId", "AssociationId"} & address(ec2, allocation_id).keys()


def test_an_associated_address_is_not_released(ec2, allocation_id, launch, refused):
    """ "You must disassociate it" first [botocore: ReleaseAddress]; moto releases it."""
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=launch()[1])
    with refused("InvalidIPAddress.InUse"):
        ec2.release_address(AllocationId=allocation_id)


def test_a_released_address_is_unknown(ec2, allocation_id, refused):
    ec2.release_address(AllocationId=allocation_id)
    with refused("InvalidAllocationID.NotFound"):
        ec2.describe_addresses(AllocationIds=[allocation_id])


def test_an_address_of_another_region_is_unknown(ec2, ec2_elsewhere, refused):
    elsewhere = ec2_elsewhere.allocate_address(Domain="vpc")["AllocationId"]
    with refused("InvalidAllocationID.NotFound"):
        ec2.describe_addresses(AllocationIds=[elsewhere])


def test_an_instances_own_public_address_gives_way_and_another_comes_after(ec2, allocation_id, launch):
    """The auto-assigned address is released, and the instance "receives a new" one later [docs: EC2, IP addressing]."""
    instance_id, interface_id = launch()
    own = public_ip(ec2, instance_id)
    assert ip_address(own) in ip_network("198.51.100.0/24")
    association_id = ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)["AssociationId"]
    assert ip_address(public_ip(ec2, instance_id)) in ip_network("203.0.113.0/24")
    ec2.disassociate_address(AssociationId=association_id)
    assert ip_address(public_ip(ec2, instance_id)) in ip_network("198.51.100.0/24")


def test_a_terminated_instance_loses_its_address_some_time_after(ec2, allocation_id, launch, local_emr):
    """[docs: EC2, Terminate instances]; in moto the address stays on the dead instance."""
    instance_id, interface_id = launch()
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)
    ec2.terminate_instances(InstanceIds=[instance_id])
    assert "AssociationId" in address(ec2, allocation_id)
    local_emr.clock.advance(local_emr.durations.address_drop)
    assert "AssociationId" not in address(ec2, allocation_id)


def test_the_default_network_is_routed_to_an_internet_gateway(ec2):
    """[docs: VPC, Default VPC components]; moto's has no gateway."""
    vpc_id = ec2.describe_vpcs()["Vpcs"][0]["VpcId"]
    filters = [{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "association.main", "Values": ["true"]}]
    routes = ec2.describe_route_tables(Filters=filters)["RouteTables"][0]["Routes"]
    assert any(r["DestinationCidrBlock"] == "0.0.0.0/0" and r["GatewayId"].startswith("igw-") for r in routes)


def test_a_subnet_that_does_not_exist_is_refused(ec2, refused):
    with refused("InvalidSubnetID.NotFound"):
        ec2.describe_subnets(SubnetIds=[f"subnet-{UNKNOWN}"])


def test_every_change_of_an_address_is_an_event_with_its_cause(ec2, allocation_id, launch, local_emr):
    instance_id, interface_id = launch()
    association_id = ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)["AssociationId"]
    thief = local_emr.steal(allocation_id)
    ec2.disassociate_address(AssociationId=address(ec2, allocation_id)["AssociationId"])
    changes = local_emr.events.read(kind="address")
    assert [(e["change"], e["cause"], e["instance_id"]) for e in changes] == [
        ("associated", "AssociateAddress", instance_id),
        ("disassociated", "thief", instance_id),
        ("associated", "thief", thief),
        ("disassociated", "DisassociateAddress", thief),
    ]
    assert changes[1]["association_id"] == association_id


def test_a_classic_address_is_recognizable(ec2, local_emr):
    assert address(ec2, local_emr.add_classic_address())["Domain"] == "standard"


def test_tags_are_kept_and_found(ec2):
    tags = [{"ResourceType": "elastic-ip", "Tags": [{"Key": "used-by", "Value": "azure"}]}]
    allocated = ec2.allocate_address(Domain="vpc", TagSpecifications=tags)["AllocationId"]
    ec2.allocate_address(Domain="vpc")
    found = ec2.describe_addresses(Filters=[{"Name": "tag:used-by", "Values": ["azure"]}])["Addresses"]
    assert [entry["AllocationId"] for entry in found] == [allocated]


def test_a_refusal_changes_nothing_and_is_logged(ec2, launch, local_emr):
    with pytest.raises(ClientError):
        ec2.associate_address(AllocationId=f"eipalloc-{UNKNOWN}", NetworkInterfaceId=launch()[1])
    call = local_emr.events.calls("AssociateAddress")[0]
    assert (call["status"], call["error_code"]) == (400, "InvalidAllocationID.NotFound")
    assert local_emr.events.read(kind="address") == []
