"""NAT gateways and routes as EC2's, and what they make of a node's address. Each test says where AWS says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from local_emr.testing import ANYWHERE, PrivateSubnet, default_route, private_subnet

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN = "nat-0123456789abcdef0"


@pytest.fixture
def private(ec2) -> PrivateSubnet:
    return private_subnet(ec2)


@pytest.fixture
def create(ec2, subnet_id, allocation_id) -> Callable[..., str]:
    """Create a NAT gateway in a public subnet; its id."""

    def make(**options: Any) -> str:
        given = {"SubnetId": subnet_id, "AllocationId": allocation_id, **options}
        return ec2.create_nat_gateway(**given)["NatGateway"]["NatGatewayId"]

    return make


@pytest.fixture
def available(create, local_emr) -> Callable[..., str]:
    """Create a NAT gateway and wait until it is available; its id."""

    def make(**options: Any) -> str:
        gateway = create(**options)
        local_emr.clock.advance(local_emr.durations.nat_gateway_start)
        return gateway

    return make


@pytest.fixture
def gateway_of(ec2) -> Callable[[str], dict[str, Any]]:
    return lambda gateway: ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"][0]


def address(ec2, allocation_id) -> dict[str, Any]:
    return ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]


def test_a_gateway_takes_its_address_while_pending_and_is_available_later(
    ec2, create, gateway_of, allocation_id, local_emr
):
    """[docs: EC2 API, NatGateway, ``state``; Address, ``NetworkInterfaceId``]."""
    gateway = create()
    seen = gateway_of(gateway)
    assert seen["State"] == "pending"
    assert "PublicIp" not in seen["NatGatewayAddresses"][0]
    assert "AssociationId" not in address(ec2, allocation_id)
    local_emr.clock.advance(local_emr.durations.nat_gateway_association)
    held = address(ec2, allocation_id)
    assert "InstanceId" not in held
    interfaces = ec2.describe_network_interfaces(NetworkInterfaceIds=[held["NetworkInterfaceId"]])["NetworkInterfaces"]
    assert (interfaces[0]["InterfaceType"], interfaces[0]["Description"]) == (
        "nat_gateway",
        f"Interface for NAT Gateway {gateway}",
    )
    assert gateway_of(gateway)["State"] == "pending"
    local_emr.clock.advance(local_emr.durations.nat_gateway_start)
    seen = gateway_of(gateway)
    assert seen["State"] == "available"
    assert {name: seen["NatGatewayAddresses"][0][name] for name in ("AllocationId", "AssociationId", "PublicIp")} == {
        name: held[name] for name in ("AllocationId", "AssociationId", "PublicIp")
    }


def test_the_address_is_the_gateways_until_it_is_deleted(ec2, available, gateway_of, allocation_id, launch, refused):
    """[docs: VPC, NAT gateways: "You cannot disassociate … from a NAT gateway"]."""
    gateway = available()
    held = address(ec2, allocation_id)
    with refused("AuthFailure"):
        ec2.disassociate_address(AssociationId=held["AssociationId"])
    with refused("AuthFailure"):
        ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=launch()[1])
    with refused("AuthFailure"):
        ec2.release_address(AllocationId=allocation_id)
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    with refused("AuthFailure"):
        ec2.associate_address(AllocationId=other, NetworkInterfaceId=held["NetworkInterfaceId"])
    assert gateway_of(gateway)["State"] == "available"


def test_a_deleted_gateway_frees_its_address_at_the_end_and_is_shown_for_an_hour(
    ec2, available, gateway_of, allocation_id, local_emr, refused
):
    """[docs: VPC, "Delete a NAT gateway": "remains visible in the console for a short while (usually an hour)"]."""
    gateway = available()
    assert ec2.delete_nat_gateway(NatGatewayId=gateway)["NatGatewayId"] == gateway
    assert ec2.delete_nat_gateway(NatGatewayId=gateway)["NatGatewayId"] == gateway
    assert gateway_of(gateway)["State"] == "deleting"
    assert "AssociationId" in address(ec2, allocation_id)
    local_emr.clock.advance(local_emr.durations.nat_gateway_deletion)
    seen = gateway_of(gateway)
    assert seen["State"] == "deleted"
    assert seen["DeleteTime"] >= seen["CreateTime"]
    assert "AssociationId" not in address(ec2, allocation_id)
    with refused("NatGatewayNotFound"):
        ec2.delete_nat_gateway(NatGatewayId=gateway)
    local_emr.clock.advance(local_emr.durations.nat_gateway_memory)
    with refused("NatGatewayNotFound"):
        gateway_of(gateway)


def test_an_address_in_use_makes_the_gateway_fail_after_a_call_that_succeeded(
    ec2, create, gateway_of, allocation_id, launch, local_emr
):
    """[docs: EC2 API, NatGateway, ``failureCode``: ``Resource.AlreadyAssociated``]; the holder keeps the address."""
    _, interface_id = launch()
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface_id)
    gateway = create()
    assert gateway_of(gateway)["State"] == "pending"
    local_emr.clock.advance(local_emr.durations.nat_gateway_start)
    seen = gateway_of(gateway)
    assert (seen["State"], seen["FailureCode"]) == ("failed", "Resource.AlreadyAssociated")
    assert seen["FailureMessage"] == f"Elastic IP address [{allocation_id}] is already associated"
    assert address(ec2, allocation_id)["NetworkInterfaceId"] == interface_id
    local_emr.clock.advance(local_emr.durations.nat_gateway_memory)
    assert ec2.describe_nat_gateways()["NatGateways"] == []


def test_of_two_gateways_with_one_address_the_first_gets_it(create, gateway_of, local_emr):
    first, second = create(), create()
    local_emr.clock.advance(local_emr.durations.nat_gateway_start)
    assert [gateway_of(gateway)["State"] for gateway in (first, second)] == ["available", "failed"]


def test_without_an_internet_gateway_in_the_vpc_a_gateway_fails(ec2, create, gateway_of, local_emr):
    """[docs: VPC, "Troubleshoot NAT gateways": "Network vpc-xxxxxxxx has no internet gateway attached"]."""
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    gateway = create(SubnetId=subnet_id)
    local_emr.clock.advance(local_emr.durations.nat_gateway_start)
    assert (gateway_of(gateway)["State"], gateway_of(gateway)["FailureCode"]) == ("failed", "Gateway.NotAttached")


def test_a_client_token_names_one_gateway(ec2, create, refused):
    """[docs: EC2 Developer Guide, "Ensuring idempotency"]."""
    assert create(ClientToken="one") == create(ClientToken="one")
    assert create(ClientToken="two") != create()
    with refused("IdempotentParameterMismatch"):
        create(ClientToken="one", AllocationId=ec2.allocate_address(Domain="vpc")["AllocationId"])


def test_gateways_are_found_by_id_state_subnet_and_tag(ec2, create, subnet_id):
    tags = [{"ResourceType": "natgateway", "Tags": [{"Key": "used-by", "Value": "azure & co"}]}]
    gateway, other = create(TagSpecifications=tags), create()
    ec2.delete_nat_gateway(NatGatewayId=other)

    def found(**filters: str) -> list[str]:
        wanted = [{"Name": name.replace("_", "-"), "Values": [value]} for name, value in filters.items()]
        return [each["NatGatewayId"] for each in ec2.describe_nat_gateways(Filters=wanted)["NatGateways"]]

    assert found(**{"tag:used-by": "azure*"}, state="pending", subnet_id=subnet_id) == [gateway]
    assert found(tag_key="used-by", nat_gateway_id=gateway) == [gateway]
    assert found(state="deleting") == [other]
    assert ec2.describe_nat_gateways(NatGatewayIds=[gateway])["NatGateways"][0]["Tags"] == tags[0]["Tags"]
    ec2.create_tags(Resources=[other], Tags=[{"Key": "later", "Value": "x"}])
    assert found(tag_key="later") == [other]


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (lambda ec2: ec2.describe_nat_gateways(NatGatewayIds=[UNKNOWN]), "NatGatewayNotFound"),
        (lambda ec2: ec2.delete_nat_gateway(NatGatewayId=UNKNOWN), "NatGatewayNotFound"),
        (lambda ec2: ec2.delete_nat_gateway(NatGatewayId="igw-1"), "NatGatewayMalformed"),
        (lambda ec2: ec2.describe_nat_gateways(Filters=[{"Name": "x", "Values": ["y"]}]), "InvalidParameterValue"),
    ],
)
def test_what_is_not_there_is_refused_with_ec2s_codes(ec2, create, refused, call, code):
    """[docs: EC2 API, Error codes]."""
    create()
    with refused(code):
        call(ec2)


def test_a_gateway_is_refused_in_a_subnet_or_with_an_address_that_is_not_there(create, refused):
    with refused("InvalidSubnetID.NotFound"):
        create(SubnetId="subnet-0123456789abcdef0")
    with refused("InvalidAllocationID.NotFound"):
        create(AllocationId="eipalloc-0123456789abcdef0")
    with refused("DryRunOperation"):
        create(DryRun=True)


def test_routes_are_refused_with_ec2s_codes(ec2, available, private, refused):
    """[docs: EC2 API, Error codes]."""
    route = {"RouteTableId": private.route_table_id, "DestinationCidrBlock": ANYWHERE}
    with refused("InvalidRoute.NotFound"):
        ec2.delete_route(**route)
    gateway = available()
    with refused("InvalidParameterValue"):
        ec2.replace_route(**route, NatGatewayId=gateway)
    with refused("InvalidNatGatewayID.NotFound"):
        ec2.create_route(**route, NatGatewayId=UNKNOWN)
    with refused("DryRunOperation"):
        ec2.create_route(**route, NatGatewayId=gateway, DryRun=True)
    ec2.create_route(**route, NatGatewayId=gateway)
    with refused("RouteAlreadyExists"):
        ec2.create_route(**route, NatGatewayId=gateway)
    local = ec2.describe_route_tables(RouteTableIds=[private.route_table_id])["RouteTables"][0]["Routes"][0]
    with refused("InvalidParameterValue"):
        ec2.delete_route(**route | {"DestinationCidrBlock": local["DestinationCidrBlock"]})
    with refused("InvalidRouteTableID.NotFound"):
        ec2.delete_route(**route | {"RouteTableId": "rtb-0123456789abcdef0"})


def test_a_route_to_a_deleted_gateway_is_a_black_hole_until_it_is_replaced(
    ec2, create, available, private, local_emr, refused
):
    """[botocore: DeleteNatGateway: "does not delete any NAT gateway routes"; Route, ``State``]."""
    gateway = available()
    route = {"RouteTableId": private.route_table_id, "DestinationCidrBlock": ANYWHERE}
    ec2.create_route(**route, NatGatewayId=gateway)
    assert default_route(ec2, private.route_table_id)["State"] == "active"
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    local_emr.clock.advance(local_emr.durations.nat_gateway_deletion + local_emr.durations.nat_gateway_memory)
    seen = default_route(ec2, private.route_table_id)
    assert (seen["State"], seen["NatGatewayId"]) == ("blackhole", gateway)
    with refused("InvalidNatGatewayID.NotFound"):
        ec2.replace_route(**route, NatGatewayId=gateway)
    second = create()
    ec2.replace_route(**route, NatGatewayId=second)
    assert default_route(ec2, private.route_table_id)["State"] == "active"


def test_a_node_in_a_private_subnet_is_seen_with_its_nat_gateways_address(
    ec2, create, launch, private, allocation_id, local_emr
):
    """[docs: VPC, NAT gateways]: from when it is available until it is deleted, and not at all without a route."""
    instance_id, _ = launch(SubnetId=private.subnet_id)

    def seen() -> str | None:
        return local_emr.ec2(local_emr.region).public_ip(instance_id)

    gateway = create()
    assert seen() is None
    ec2.create_route(RouteTableId=private.route_table_id, DestinationCidrBlock=ANYWHERE, NatGatewayId=gateway)
    assert seen() is None
    local_emr.clock.advance(local_emr.durations.nat_gateway_start)
    assert seen() == address(ec2, allocation_id)["PublicIp"]
    ec2.delete_route(RouteTableId=private.route_table_id, DestinationCidrBlock=ANYWHERE)
    assert seen() is None
    ec2.create_route(RouteTableId=private.route_table_id, DestinationCidrBlock=ANYWHERE, NatGatewayId=gateway)
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    assert seen() is None


def test_a_gateway_in_a_private_subnet_leads_nowhere(ec2, available, launch, private, local_emr):
    """[docs: VPC, "Troubleshoot NAT gateways": the gateway's own subnet needs the route to the internet gateway]."""
    instance_id, _ = launch(SubnetId=private.subnet_id)
    gateway = available(SubnetId=private_subnet(ec2).subnet_id)
    ec2.create_route(RouteTableId=private.route_table_id, DestinationCidrBlock=ANYWHERE, NatGatewayId=gateway)
    assert local_emr.ec2(local_emr.region).public_ip(instance_id) is None


def test_gateways_and_routes_leave_their_story_in_the_event_log(ec2, available, private, local_emr, allocation_id):
    gateway = available(ClientToken="token")
    route = {"RouteTableId": private.route_table_id, "DestinationCidrBlock": ANYWHERE}
    ec2.create_route(**route, NatGatewayId=gateway)
    ec2.delete_route(**route)
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    local_emr.clock.advance(local_emr.durations.nat_gateway_deletion)
    told = local_emr.events.read(kind="nat_gateway")
    assert [event["state"] for event in told] == ["pending", "available", "deleting", "deleted"]
    assert {(event["nat_gateway_id"], event["allocation_id"], event["client_token"]) for event in told} == {
        (gateway, allocation_id, "token")
    }
    assert [
        (event["change"], event["route_table_id"], event["destination"], event["target"])
        for event in local_emr.events.read(kind="route")
    ] == [
        ("created", private.route_table_id, ANYWHERE, gateway),
        ("deleted", private.route_table_id, ANYWHERE, None),
    ]
    assert [event["change"] for event in local_emr.events.read(kind="address")] == ["associated", "disassociated"]


def test_iam_asks_for_everything_that_a_gateway_is_made_of_and_for_its_tags(
    boto, local_emr, subnet_id, allocation_id, private, refused
):
    """[docs: Service Authorization Reference, EC2]."""
    caller = boto("ec2", aws_access_key_id="somebody", aws_secret_access_key="testing")
    ours = {"StringEquals": {"aws:RequestTag/owner": "us"}}
    whole = {"Sid": "Make", "Effect": "Allow", "Action": "ec2:CreateNatGateway"}
    arn = f"arn:aws:ec2:{local_emr.region}:123456789012"
    made_of = {**whole, "Resource": [f"{arn}:subnet/{subnet_id}", f"{arn}:elastic-ip/{allocation_id}"]}
    gateway = {**whole, "Resource": f"{arn}:natgateway/*", "Condition": ours}
    tagging = {**gateway, "Action": "ec2:CreateTags"}
    tagging["Condition"] = {"StringEquals": {"ec2:CreateAction": "CreateNatGateway"}}
    deleting = {
        **gateway,
        "Action": "ec2:DeleteNatGateway",
        "Condition": {"StringEquals": {"aws:ResourceTag/owner": "us"}},
    }
    routes = {**whole, "Action": "ec2:*Route", "Resource": f"{arn}:route-table/{private.route_table_id}"}
    wanted = {"SubnetId": subnet_id, "AllocationId": allocation_id}
    tags = [{"ResourceType": "natgateway", "Tags": [{"Key": "owner", "Value": "us"}]}]
    for statements in ([made_of], [gateway], [made_of, gateway]):
        local_emr.enforce({"Statement": statements}, access_key_id="somebody")
        with refused("UnauthorizedOperation"):
            caller.create_nat_gateway(**wanted, TagSpecifications=tags)
    local_emr.enforce({"Statement": [made_of, gateway, tagging, deleting, routes]}, access_key_id="somebody")
    with refused("UnauthorizedOperation"):
        caller.create_nat_gateway(**wanted)
    name = caller.create_nat_gateway(**wanted, TagSpecifications=tags)["NatGateway"]["NatGatewayId"]
    route = {"RouteTableId": private.route_table_id, "DestinationCidrBlock": ANYWHERE, "NatGatewayId": name}
    caller.create_route(**route)
    caller.delete_nat_gateway(NatGatewayId=name)
    untagged = boto("ec2").create_nat_gateway(**wanted)["NatGateway"]["NatGatewayId"]
    with refused("UnauthorizedOperation"):
        caller.delete_nat_gateway(NatGatewayId=untagged)
