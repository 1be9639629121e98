"""Wrong bindings to NAT gateways are refused before any call that changes AWS."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.operators.bindings import NatGateway
from harness.life import Task
from tests.integration.operators.aws_state import STORE
from tests.integration.operators.nat import Network

UNKNOWN_SUBNET, UNKNOWN_TABLE = "subnet-0123456789abcdef0", "rtb-0123456789abcdef0"


@pytest.fixture
def refused(clocked: Any, nat: Any, assert_nothing_changed: Any) -> Any:
    """Expect a task with these parameters to fail without a retry, with this in its error, and AWS unchanged."""

    def check(*in_message: str, **parameters: Any) -> None:
        clocked.events.clear()
        with pytest.raises(AirflowFailException) as error:
            Task(nat(**parameters)).run()
        for text in in_message:
            assert text in str(error.value)
        assert_nothing_changed()

    return check


def behind(network: Network, **changes: Any) -> NatGateway:
    return NatGateway(**{"public_subnet_id": network.public, "route_table_ids": [network.table], **changes})


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "it is empty"),
        ({"nat_gateway_id": "nat-0123456789abcdef0", "public_subnet_id": UNKNOWN_SUBNET}, "both"),
        ({"nat_gateway_id": "gateway"}, "nat-…"),
        ({"public_subnet_id": "public", "route_table_ids": [UNKNOWN_TABLE]}, "subnet-…"),
        ({"public_subnet_id": UNKNOWN_SUBNET}, "list of route tables"),
        ({"public_subnet_id": UNKNOWN_SUBNET, "route_table_ids": UNKNOWN_TABLE}, "list of route tables"),
        ({"public_subnet_id": UNKNOWN_SUBNET, "route_table_ids": ["main"]}, "rtb-…"),
        ({"public_subnet_id": UNKNOWN_SUBNET, "route_table_ids": [UNKNOWN_TABLE] * 2}, "duplicate"),
        ({"subnet": UNKNOWN_SUBNET}, "not a binding"),
        ("primary", "not a binding"),
        (7, "not a binding"),
    ],
)
def test_parameters_that_are_no_binding(refused, given, text):
    refused("binding", text, binding=given)


def test_an_address_that_another_gateway_keeps(refused, ec2, network, allocation_id, clocked):
    ec2.create_nat_gateway(SubnetId=network.public, AllocationId=allocation_id)
    clocked.clock.advance(120)
    refused(allocation_id, "NAT gateway")


def test_a_public_subnet_that_does_not_exist(refused, network):
    refused(UNKNOWN_SUBNET, "does not exist", binding=behind(network, public_subnet_id=UNKNOWN_SUBNET))


def test_a_public_subnet_that_is_private(refused, network, ec2):
    other = Network.make(ec2)
    refused(other.private, "internet gateway", binding=behind(network, public_subnet_id=other.private))


def test_a_route_table_that_does_not_exist(refused, network):
    refused(UNKNOWN_TABLE, "does not exist", binding=behind(network, route_table_ids=[UNKNOWN_TABLE]))


def test_a_route_table_of_another_vpc(refused, network, ec2):
    vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    refused(table, vpc, binding=behind(network, route_table_ids=[table]))


def test_the_public_subnets_own_route_table(refused, network, ec2):
    main = [{"Name": "association.main", "Values": ["true"]}]
    tables = [table["RouteTableId"] for table in ec2.describe_route_tables(Filters=main)["RouteTables"]]
    refused(
        network.public,
        "lead to the gateway itself",
        binding=behind(network, route_table_ids=[network.table, *tables[:1]]),
    )


def test_a_cluster_in_the_public_subnet(refused, network, overrides):
    given = network.overrides(overrides)
    given["Instances"]["Ec2SubnetId"] = network.public
    refused(network.public, "private subnet", job_flow_overrides=given)


def test_a_cluster_without_a_subnet(refused, network, overrides):
    given = network.overrides(overrides)
    del given["Instances"]["Ec2SubnetId"]
    refused("Instances.Ec2SubnetId", job_flow_overrides=given)


def test_a_cluster_subnet_with_another_route_table(refused, network, ec2):
    other = Network.make(ec2)
    refused(network.private, network.table, "route_table_ids", binding=behind(network, route_table_ids=[other.table]))


def test_a_route_table_of_another_addresss_session(refused, nat, network, ec2):
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    job_flow_id = Task(nat(allocation_id=other), dag_id="other").run()
    refused(network.table, job_flow_id, "another")


def test_a_route_table_of_another_run_with_an_address_of_the_same_pool(refused, nat, network, ec2, allocation_id):
    pool = [allocation_id, ec2.allocate_address(Domain="vpc")["AllocationId"]]
    job_flow_id = Task(nat(allocation_id=pool), dag_id="other").run()
    refused(network.table, job_flow_id, "another", "name one Elastic IP", allocation_id=pool)


@pytest.mark.parametrize("operation", ["CreateNatGateway", "CreateRoute", "ReplaceRoute", "DeleteRoute"])
def test_a_missing_permission(refused, clocked, operation):
    clocked.deny(operation)
    refused(f"ec2:{operation}")


def test_all_errors_are_reported_at_once(refused, clocked, network):
    clocked.deny("ReplaceRoute")
    tables = [network.table, UNKNOWN_TABLE]
    refused(
        "4 problems: (1)",
        f"(1) permission 'ec2:ReplaceRoute' on '{network.table}'",
        f"(3) public subnet '{UNKNOWN_SUBNET}'",
        f"(4) route table '{UNKNOWN_TABLE}'",
        "airflow-eip doctor",
        binding=behind(network, public_subnet_id=UNKNOWN_SUBNET, route_table_ids=tables),
    )


def test_what_others_notice_is_warned_of(clocked, nat, network, ec2, logged):
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
    other = ec2.create_subnet(VpcId=vpc, CidrBlock="172.31.250.0/24")["Subnet"]["SubnetId"]
    ec2.associate_route_table(RouteTableId=network.table, SubnetId=other)
    Task(nat()).run()
    text = logged()
    assert other in text
    assert "gateway endpoint for S3" in text


@pytest.fixture
def existing(network: Network, ec2: Any, allocation_id: str, clocked: Any) -> str:
    """A permanent NAT gateway with the address, and the private subnet's route to it."""
    made = ec2.create_nat_gateway(SubnetId=network.public, AllocationId=allocation_id)["NatGateway"]["NatGatewayId"]
    clocked.clock.advance(120)
    ec2.create_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0", NatGatewayId=made)
    return str(made)


def test_an_existing_gateway_without_a_lock_store(refused, existing):
    refused(existing, "lock store", binding=NatGateway(nat_gateway_id=existing))


def test_a_gateway_that_does_not_exist(refused):
    unknown = "nat-0123456789abcdef0"
    refused(unknown, "does not exist", binding=NatGateway(nat_gateway_id=unknown), lock_store=STORE)


def test_a_gateway_with_another_address(refused, existing, ec2):
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    refused(existing, other, binding=NatGateway(nat_gateway_id=existing), allocation_id=other, lock_store=STORE)


def test_a_cluster_subnet_that_does_not_lead_to_the_gateway(refused, existing, network, ec2):
    ec2.delete_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0")
    refused(network.private, existing, binding=NatGateway(nat_gateway_id=existing), lock_store=STORE)


def test_an_existing_gateway_is_used_in_turn_and_left_as_it_is(
    clocked, existing, network, nat, steps_operator, terminate_operator, queue, assert_gateway_untouched
):
    given = {"binding": NatGateway(nat_gateway_id=existing), "lock_store": STORE}
    first, second = Task(nat(**given), dag_id="first"), Task(nat(**given, deferrable=True), dag_id="second")
    job_flow_id = first.run()
    assert first.ti.xcoms["static_ip"]["nat_gateway_id"] == existing
    second.start()
    queue.pass_time(600, second)
    assert not second.ended
    assert Task(steps_operator(job_flow_id, lock_store=STORE), dag_id="first").run()
    Task(terminate_operator(job_flow_id, lock_store=STORE), dag_id="first").run()
    queue.until(lambda: second.ended, second)
    assert second.error is None
    assert_gateway_untouched()


def test_no_step_runs_on_a_cluster_that_does_not_use_the_gateway(
    clocked, existing, network, nat, steps_operator, create_operator, overrides, emr
):
    mine = Task(nat(binding=NatGateway(nat_gateway_id=existing), lock_store=STORE)).run()
    tags = emr.describe_cluster(ClusterId=mine)["Cluster"]["Tags"]
    emr.remove_tags(ResourceId=mine, TagKeys=["airflow-eip:binding"])
    assert {"Key": "airflow-eip:binding", "Value": existing} in tags
    with pytest.raises(AirflowFailException, match=existing):
        Task(steps_operator(mine, lock_store=STORE)).run()


@pytest.fixture
def assert_gateway_untouched(clocked: Any, existing: str, network: Network) -> Any:
    clocked.events.clear()

    def check() -> None:
        for operation in ("CreateNatGateway", "DeleteNatGateway", "CreateRoute", "ReplaceRoute", "DeleteRoute"):
            assert clocked.events.calls(operation) == []
        assert network.gateways("available") == [existing]
        assert network.target() == existing

    return check
