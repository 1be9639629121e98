"""``airflow-eip doctor --binding nat-gateway``: one test for each finding, and one for a correct setup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.preflight import CLUSTER_GATEWAY_CHECKS, GATEWAY_CHECKS
from harness.life import Task
from local_emr.testing import ANYWHERE
from tests.integration.operators.nat import Network

if TYPE_CHECKING:
    from collections.abc import Callable

UNKNOWN_SUBNET, UNKNOWN_TABLE, UNKNOWN_GATEWAY = (f"{kind}-0123456789abcdef0" for kind in ("subnet", "rtb", "nat"))
STORE = "dynamodb://leases?create=true"


@pytest.fixture(autouse=True)
def behind(network: Network, overrides: dict[str, Any], ec2: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster is in the private subnet, whose route table has a gateway endpoint for S3."""
    overrides.update(network.overrides(overrides))
    vpc_id = ec2.describe_subnets(SubnetIds=[network.private])["Subnets"][0]["VpcId"]
    endpoint = {"VpcId": vpc_id, "ServiceName": "com.amazonaws.eu-west-1.s3", "VpcEndpointType": "Gateway"}
    ec2.create_vpc_endpoint(**endpoint, RouteTableIds=[network.table])
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")


@pytest.fixture
def made(examine: Any, network: Network) -> Callable[..., Any]:
    """Check a gateway that is created for the cluster."""

    def run(
        *arguments: str, subnet: str = network.public, tables: tuple[str, ...] = (network.table,), **how: Any
    ) -> Any:
        given = ["--binding", "nat-gateway", "--public-subnet-id", subnet]
        for table in tables:
            given += ["--route-table-id", table]
        return examine(*given, *arguments, **how)

    return run


@pytest.fixture
def existing(network: Network, ec2: Any, allocation_id: str, clocked: Any) -> str:
    """A NAT gateway that always has the address, and a route to it from the private subnet."""
    gateway = ec2.create_nat_gateway(SubnetId=network.public, AllocationId=allocation_id)["NatGateway"]["NatGatewayId"]
    clocked.clock.advance(120)
    ec2.create_route(RouteTableId=network.table, DestinationCidrBlock=ANYWHERE, NatGatewayId=gateway)
    return str(gateway)


@pytest.fixture
def lasting(examine: Any) -> Callable[..., Any]:
    """Check a gateway that always has the address."""

    def run(gateway: str, *, store: str | None = STORE, **how: Any) -> Any:
        lock = ["--lock-store", store] if store else []
        return examine("--binding", "nat-gateway", "--nat-gateway-id", gateway, *lock, **how)

    return run


def test_an_address_of_a_local_zone_for_a_gateway_in_a_zone_of_the_region(made, address_of_a_local_zone):
    said = made()
    assert said.status == 3
    assert "is 'eu-west-1-lhr-1'" in said.found("public-subnet")["what"]


def test_a_sound_setup_for_a_gateway_of_the_session_has_no_findings(made):
    said = made()
    assert said.all_found == {}
    assert said.status == 0
    assert [c["check"] for c in said.result["checks"]] == [check.name for check in CLUSTER_GATEWAY_CHECKS]
    assert [c["check"] for c in said.result["checks"] if c["skipped"]] == ["lock-store"]
    assert "ec2:DeleteNatGateway" in said.result["unanswered"]
    assert "ec2:DisassociateAddress" not in said.result["unanswered"]


def test_a_sound_setup_for_a_lasting_gateway_has_no_findings(lasting, existing):
    said = lasting(existing)
    assert said.all_found == {}
    assert said.status == 0
    assert [c["check"] for c in said.result["checks"]] == [check.name for check in GATEWAY_CHECKS]
    assert [name for name in said.result["unanswered"] if name.startswith("ec2:")] == []


def test_each_thing_is_read_once(made, clocked, network, ec2):
    before = clocked.events.read()[-1]["seq"]
    made()
    asked = [
        (event["operation"], str(sorted((k, v) for k, v in event["request"].items() if k != "DryRun")))
        for event in clocked.events.read(after=before, kind="call")
    ]
    assert len(asked) == len(set(asked))


def test_with_a_subnet_alone_what_concerns_the_cluster_is_skipped(made, network):
    said = made("--subnet-id", network.private, file=False)
    assert said.status == 0
    assert said.all_found == {}
    assert {c["check"] for c in said.result["checks"] if c["skipped"]} == {
        "idle",
        "job-flow",
        "lifetime",
        "instance-types",
        "lock-store",
        "tags",
        "values",
    }


def test_without_any_subnet_of_the_cluster_what_concerns_it_is_skipped(made):
    said = made(file=False)
    assert said.status == 0
    names = ("subnet", "cluster-subnets", "neighbours")
    assert [said.skipped[name] for name in names] == ["no subnet is known"] * 3


def test_what_depends_on_an_unknown_route_table_is_no_success(made):
    said = made(tables=(UNKNOWN_TABLE,))
    assert said.skipped["tenancies"] == said.skipped["neighbours"] == "it depends on 'route-tables', see above"


def test_a_public_subnet_that_does_not_exist(made):
    found = made(subnet=UNKNOWN_SUBNET).found("public-subnet")
    assert UNKNOWN_SUBNET in found["subject"]
    assert "does not exist" in found["what"]


def test_a_public_subnet_without_a_route_to_an_internet_gateway(made, ec2):
    other = Network.make(ec2)
    assert "internet gateway" in made(subnet=other.private).found("public-subnet")["what"]


def test_a_route_table_that_does_not_exist(made, network):
    found = made(tables=(network.table, UNKNOWN_TABLE)).found("route-tables")
    assert UNKNOWN_TABLE in found["subject"]
    assert "does not exist" in found["what"]


def test_a_route_table_of_another_vpc(made, network, ec2):
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    table = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    said = made(tables=(network.table, table))
    assert said.status == 3
    (what,) = said.all_found["route-tables"]
    assert vpc_id in what


def test_the_route_table_of_the_public_subnet_itself(made, network, ec2):
    table = ec2.create_route_table(VpcId=ec2.describe_vpcs()["Vpcs"][0]["VpcId"])["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=table, SubnetId=network.public)
    ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, GatewayId=network.internet_gateway())
    said = made(tables=(network.table, table))
    assert said.status == 3
    (what,) = said.all_found["route-tables"]
    assert network.public in what


def test_a_route_table_that_a_session_of_another_address_leads(made, create_operator, network, ec2, overrides):
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    task = Task(
        create_operator(allocation_id=other, binding=network.binding, job_flow_overrides=overrides), dag_id="other"
    )
    job_flow_id = task.run()
    assert job_flow_id in made().found("tenancies")["what"]


def test_a_cluster_that_names_no_subnet(made, overrides):
    del overrides["Instances"]["Ec2SubnetId"]
    assert "no subnet" in made().found("cluster-subnets")["what"]


def test_a_cluster_subnet_that_does_not_exist(made, overrides):
    overrides["Instances"]["Ec2SubnetId"] = UNKNOWN_SUBNET
    said = made()
    assert said.status == 3
    assert "does not exist" in said.all_found["subnet"][0]


def test_a_cluster_in_the_gateways_own_subnet(made, overrides, network):
    overrides["Instances"]["Ec2SubnetId"] = network.public
    said = made()
    assert said.status == 3
    assert "own public subnet" in said.all_found["cluster-subnets"][0]


def test_a_cluster_in_another_vpc_than_the_gateway(made, overrides, ec2):
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    elsewhere = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    overrides["Instances"]["Ec2SubnetId"] = elsewhere
    said = made()
    assert said.status == 3
    assert vpc_id in said.all_found["cluster-subnets"][0]


def test_a_cluster_subnet_whose_route_table_is_not_named(made, overrides, network, ec2):
    other = Network.make(ec2)
    overrides["Instances"] |= {"Ec2SubnetIds": [network.private, other.private]}
    del overrides["Instances"]["Ec2SubnetId"]
    found = made().found("cluster-subnets")
    assert other.private in found["subject"]
    assert other.table in found["what"]


def test_another_subnet_that_uses_the_route_table(made, network, ec2):
    other = Network.make(ec2).private
    (link,) = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [other]}])["RouteTables"]
    ec2.replace_route_table_association(
        AssociationId=link["Associations"][0]["RouteTableAssociationId"], RouteTableId=network.table
    )
    found = made().found("neighbours")
    assert found["severity"] == "warning"
    assert other in found["what"]


def test_the_main_route_table_of_the_vpc(made, overrides, ec2, network):
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    public, private = (
        ec2.create_subnet(VpcId=vpc_id, CidrBlock=f"10.9.{k}.0/24")["Subnet"]["SubnetId"] for k in (1, 2)
    )
    gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
    ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
    (main,) = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["RouteTables"]
    out = ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"]
    ec2.associate_route_table(RouteTableId=out, SubnetId=public)
    for table in (out, main["RouteTableId"]):
        ec2.create_route(RouteTableId=table, DestinationCidrBlock=ANYWHERE, GatewayId=gateway)
    overrides["Instances"]["Ec2SubnetId"] = private
    found = made(subnet=public, tables=(main["RouteTableId"],)).found("neighbours")
    assert found["severity"] == "warning"
    assert "main route table" in found["what"]


def test_a_route_table_that_the_cluster_does_not_use(made, network, ec2):
    other = Network.make(ec2)
    ec2.create_route(RouteTableId=other.table, DestinationCidrBlock=ANYWHERE, GatewayId=network.internet_gateway())
    said = made(tables=(network.table, other.table))
    assert said.status == 0
    assert any("none of the cluster's subnets" in what for what in said.all_found["neighbours"])


def test_a_route_table_from_which_nothing_leads_out(made, ec2, overrides):
    other = Network.make(ec2)
    overrides["Instances"]["Ec2SubnetId"] = other.private
    found = made(tables=(other.table,)).found("neighbours")
    assert found["severity"] == "warning"
    assert "gateway endpoint for S3" in found["mend"]


@pytest.mark.parametrize("operation", ["CreateNatGateway", "CreateRoute", "ReplaceRoute", "DeleteRoute"])
def test_a_missing_permission(made, clocked, operation):
    clocked.deny(operation)
    found = made().found("permission")
    assert f"ec2:{operation}" in found["subject"]
    assert "DryRun" in found["what"]


def test_gateways_that_may_not_be_looked_at(lasting, existing, clocked):
    clocked.deny("DescribeNatGateways")
    assert "ec2:DescribeNatGateways is not permitted" in str(lasting(existing).all_found)


def test_a_gateway_that_does_not_exist(lasting):
    said = lasting(UNKNOWN_GATEWAY)
    assert said.status == 3
    assert said.all_found["gateway"] == ["it does not exist in region 'eu-west-1'"]


def test_a_gateway_that_is_not_available(lasting, existing, ec2):
    ec2.delete_nat_gateway(NatGatewayId=existing)
    assert lasting(existing).all_found["gateway"] == ["it is deleting"]


def test_a_gateway_that_was_made_for_a_cluster(lasting, create_operator, network, overrides):
    job_flow_id = Task(create_operator(binding=network.binding, job_flow_overrides=overrides)).run()
    (gateway,) = network.gateways("available")
    assert job_flow_id in lasting(gateway).found("gateway")["what"]


def test_a_gateway_with_another_address(lasting, existing, ec2):
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    assert other in lasting(existing, address=other).found("gateway")["what"]


def test_a_lasting_gateway_without_a_lock_store(lasting, existing):
    assert "no lock store" in lasting(existing, store=None).found("turns")["what"]


def test_a_cluster_subnet_that_does_not_lead_to_the_gateway(lasting, existing, network, ec2):
    ec2.delete_route(RouteTableId=network.table, DestinationCidrBlock=ANYWHERE)
    found = lasting(existing).found("cluster-subnets")
    assert network.private in found["subject"]
    assert existing in found["what"]


@pytest.mark.parametrize(
    ("arguments", "in_message"),
    [
        (["--binding", "nat-gateway"], "it is empty"),
        (["--binding", "nat-gateway", "--public-subnet-id", UNKNOWN_SUBNET], "not a list of route tables"),
        (["--binding", "nat-gateway", "--nat-gateway-id", "gateway"], "nat-…"),
        (["--nat-gateway-id", UNKNOWN_GATEWAY], "--binding nat-gateway"),
    ],
)
def test_parameters_that_are_no_binding(local_aws, run, arguments, in_message):
    said = run("doctor", "--allocation-id", "eipalloc-0123456789abcdef0", *arguments)
    assert said.status == 2
    assert local_aws.events.calls("GetCallerIdentity") == []
    assert in_message in said.err
