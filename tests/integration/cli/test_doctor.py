"""``airflow-eip doctor``: one test for each finding, and one for a correct setup."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.preflight import PRIMARY_CHECKS

if TYPE_CHECKING:
    from collections.abc import Callable

ANYWHERE = [{"CidrIp": "0.0.0.0/0"}]


@pytest.fixture
def group(ec2: Any, overrides: dict[str, Any]) -> Callable[..., str]:
    """Give the cluster a security group with open ports."""

    def make(
        *ports: tuple[int, int], parameter: str = "EmrManagedMasterSecurityGroup", protocol: str = "tcp", **to: Any
    ) -> str:
        (vpc,) = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
        made = ec2.create_security_group(GroupName=f"emr-{parameter}", Description="x", VpcId=vpc["VpcId"])["GroupId"]
        rules = [
            {"IpProtocol": protocol, "FromPort": a, "ToPort": b, **(to or {"IpRanges": ANYWHERE})} for a, b in ports
        ]
        if protocol == "-1":
            rules = [{"IpProtocol": "-1", **(to or {"IpRanges": ANYWHERE})}]
        ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=rules)
        overrides["Instances"][parameter] = [made] if parameter.startswith("Additional") else made
        return made

    return make


def subnet(ec2: Any, *, public: bool, assigns: bool = True) -> str:
    """Create a subnet in a separate VPC."""
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    made = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    ec2.modify_subnet_attribute(SubnetId=made, MapPublicIpOnLaunch={"Value": assigns})
    if public:
        gateway = ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=vpc_id)
        ec2.create_route(RouteTableId=route_table(ec2, vpc_id), DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway)
    return str(made)


def route_table(ec2: Any, vpc_id: str) -> str:
    filters = [{"Name": "vpc-id", "Values": [vpc_id]}]
    return str(ec2.describe_route_tables(Filters=filters)["RouteTables"][0]["RouteTableId"])


def with_workers(overrides: dict[str, Any]) -> None:
    workers = {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2}
    overrides["Instances"]["InstanceGroups"].append(workers)


def test_a_sound_setup_has_no_findings(examine):
    said = examine()
    assert said.status == 0
    assert said.all_found == {}
    assert [c["check"] for c in said.result["checks"]] == [check.name for check in PRIMARY_CHECKS]
    assert [c["check"] for c in said.result["checks"] if c["skipped"]] == ["lock-store"]
    assert "elasticmapreduce:RunJobFlow" in said.result["unanswered"]


def test_with_a_subnet_alone_what_concerns_the_cluster_is_skipped(examine, subnet_id):
    said = examine("--subnet-id", subnet_id, file=False)
    skipped = {c["check"] for c in said.result["checks"] if c["skipped"]}
    assert said.status == 0
    assert skipped == {
        "job-flow",
        "values",
        "lifetime",
        "idle",
        "tags",
        "primary",
        "topology",
        "lock-store",
        "instance-types",
    }


def test_what_there_is_nothing_to_look_at_for_is_no_success(examine):
    said = examine(file=False)
    skipped = {c["check"]: c["skipped"] for c in said.result["checks"] if c["skipped"]}
    assert {skipped[name] for name in ("subnet", "route", "auto-assign", "exposure")} == {"no subnet is known"}
    assert skipped["lock-store"] == "no lock store is given"


def test_an_address_that_does_not_exist(examine):
    assert "does not exist in region" in examine(address="eipalloc-0123456789abcdef0").found("address")["what"]


def test_an_address_of_another_region(examine, ec2_elsewhere):
    elsewhere = ec2_elsewhere.allocate_address(Domain="vpc")["AllocationId"]
    assert "eu-west-1" in examine(address=elsewhere).found("address")["what"]


def test_an_address_in_the_classic_domain(examine, clocked):
    assert "EC2-Classic" in examine(address=clocked.add_classic_address()).found("address")["what"]


def test_an_address_that_a_nat_gateway_keeps(examine, clocked, ec2, subnet_id, allocation_id):
    ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=allocation_id)
    clocked.clock.advance(clocked.durations.nat_gateway_association)
    assert "NAT gateway" in examine().found("address")["what"]


def test_an_address_that_a_stranger_carries(examine, clocked, allocation_id):
    thief = clocked.steal(allocation_id)
    found = examine().found("holder")
    assert found["severity"] == "warning"
    assert thief in found["what"]
    assert "disassociate-address" in found["mend"]


def test_an_address_on_a_cluster_of_ours_is_no_finding(examine, left):
    left("production", age=0)
    assert examine().all_found == {}


@pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)
def test_an_address_on_the_cluster_that_has_the_lease_is_no_finding(examine, left, lock_store):
    left("production", age=0, lock_store=lock_store)
    assert examine("--lock-store", lock_store).all_found == {}


@pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)
def test_an_address_that_is_not_where_the_lease_is(examine, left, lock_store, clocked, allocation_id):
    job_flow_id = left("production", age=0, lock_store=lock_store)
    thief = clocked.steal(allocation_id)
    found = examine("--lock-store", lock_store).found("holder")
    assert thief in found["what"]
    assert f"'production/daily/run-1/create/-1' on {job_flow_id}" in found["what"]


def test_a_missing_permission_to_associate(examine, clocked):
    clocked.deny("AssociateAddress")
    assert "DryRun" in examine().found("permission")["what"]


def test_what_depends_on_what_is_wrong_is_no_success(examine, clocked, ec2, overrides, subnet_id, allocation_id):
    unknown = "eipalloc-0123456789abcdef0"
    said = examine(address=unknown)
    assert said.skipped["holder"] == said.skipped["permission"] == "it depends on 'address', see above"

    overrides["Instances"]["Ec2SubnetId"] = "subnet-0123456789abcdef0"
    said = examine()
    assert [said.skipped[name] for name in ("route", "auto-assign", "exposure")] == [
        "it depends on 'subnet', see above"
    ] * 3

    ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=allocation_id)
    clocked.clock.advance(clocked.durations.nat_gateway_association)
    assert examine().skipped["holder"] == "it depends on 'address', see above"


def test_what_is_wrong_besides_is_found_although_another_check_has_an_error(examine, overrides, ec2):
    private = subnet(ec2, public=False)
    del overrides["Instances"]["Ec2SubnetId"]
    overrides["Instances"]["Ec2SubnetIds"] = ["subnet-0123456789abcdef0", private]
    said = examine()
    assert len(said.all_found["subnet"]) == len(said.all_found["route"]) == 1
    assert "route" not in said.skipped


def test_overrides_that_run_job_flow_does_not_take(examine, overrides):
    overrides["ReleaseLable"] = "emr-7.5.0"
    said = examine()
    assert "ReleaseLable" in said.found("job-flow")["what"]
    assert {said.skipped[name] for name in ("lifetime", "idle", "tags", "primary", "topology")} == {
        "it depends on 'job-flow', see above"
    }


def test_a_cluster_that_would_end_before_its_first_step(examine, overrides):
    del overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]
    assert "KeepJobFlowAliveWhenNoSteps" in examine().found("lifetime")["what"]
    assert examine("--accept-self-termination").status == 0


def test_workers_are_found(examine, overrides):
    with_workers(overrides)
    assert examine().found("topology")["severity"] == "error"
    assert examine("--on-multi-node", "warn").found("topology")["severity"] == "warning"
    assert examine("--on-multi-node", "allow").all_found == {}


def test_a_subnet_that_does_not_exist(examine, overrides):
    overrides["Instances"]["Ec2SubnetId"] = "subnet-0123456789abcdef0"
    found = examine().found("subnet")
    assert "does not exist" in found["what"]
    assert found["mend"] == "use a subnet that exists there"


def test_a_subnet_of_another_vpc(examine, ec2, subnet_id):
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    assert examine("--vpc-id", vpc["VpcId"]).all_found == {}
    assert "not in 'vpc-1'" in examine("--vpc-id", "vpc-1").found("subnet")["what"]


def test_a_subnet_without_a_route_to_an_internet_gateway(examine, overrides, ec2):
    overrides["Instances"]["Ec2SubnetId"] = subnet(ec2, public=False)
    assert "internet gateway" in examine().found("route")["what"]


def test_bootstrap_actions_where_an_assigned_address_is_replaced(examine, overrides):
    overrides["BootstrapActions"] = [{"Name": "x", "ScriptBootstrapAction": {"Path": "s3://x/y.sh"}}]
    assert "bootstrap actions" in examine().found("auto-assign")["what"]
    assert examine("--bind-at", "cluster_ready").all_found == {}


def test_a_subnet_that_assigns_no_addresses(examine, overrides, ec2):
    name = subnet(ec2, public=True, assigns=False)
    overrides["Instances"]["Ec2SubnetId"] = name
    found = examine().found("auto-assign")
    assert found["severity"] == "warning"
    assert "no gateway endpoint for S3" in found["what"]
    assert examine("--bind-at", "cluster_ready").found("auto-assign")["severity"] == "error"

    vpc_id = ec2.describe_subnets(SubnetIds=[name])["Subnets"][0]["VpcId"]
    endpoint = {"VpcId": vpc_id, "ServiceName": "com.amazonaws.eu-west-1.s3", "VpcEndpointType": "Gateway"}
    ec2.create_vpc_endpoint(**endpoint, RouteTableIds=[route_table(ec2, vpc_id)])
    assert examine().all_found == {}


def test_workers_in_a_public_subnet_that_assigns_no_addresses(examine, overrides, ec2):
    with_workers(overrides)
    overrides["Instances"]["Ec2SubnetId"] = subnet(ec2, public=True, assigns=False)
    said = examine("--on-multi-node", "allow")
    assert said.status == 3
    assert "core and task nodes get no public address" in said.all_found["auto-assign"][-1]


def test_an_address_of_a_local_zone_in_a_zone_of_the_region(examine, address_of_a_local_zone):
    said = examine()
    assert said.status == 3
    assert (
        f"the network border group of Elastic IP '{address_of_a_local_zone}' is 'eu-west-1-lhr-1'"
        in (said.found("border-group")["what"])
    )


@pytest.mark.parametrize("to", [{"IpRanges": ANYWHERE}, {"Ipv6Ranges": [{"CidrIpv6": "::/0"}]}], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("parameter", ["EmrManagedMasterSecurityGroup", "AdditionalMasterSecurityGroups"])
def test_a_primary_whose_ssh_port_is_open_to_all(examine, group, parameter, to):
    name = group((22, 22), parameter=parameter, **to)
    found = examine().found("exposure")
    assert found["severity"] == "warning"
    assert name in found["subject"]
    assert "22 (SSH)" in found["what"]


def test_a_primary_that_is_open_to_its_own_networks_only(examine, group):
    group((22, 22), (8088, 8088), IpRanges=[{"CidrIp": "10.0.0.0/8"}, {"CidrIp": "203.0.113.0/24"}])
    assert examine().all_found == {}


def test_icmp_opens_no_port(examine, group):
    group((8, -1), protocol="icmp")
    assert examine().all_found == {}


@pytest.mark.parametrize(
    ("ports", "protocol", "shown"),
    [((8088, 8088), "tcp", "port 8088 (YARN)"), ((20, 30), "tcp", "ports 20-30"), ((0, 0), "-1", "ports 0-65535")],
)
def test_ports_with_which_emr_refuses_the_launch(examine, group, emr, ports, protocol, shown):
    group(ports, protocol=protocol)
    said = examine()
    assert said.status == 3
    exposed, refused = said.all_found["exposure"]
    assert shown in exposed
    assert shown in refused
    assert "block public access is on (its exceptions are port 22 (SSH))" in refused

    emr.put_block_public_access_configuration(BlockPublicAccessConfiguration={"BlockPublicSecurityGroupRules": False})
    assert examine().found("exposure")["severity"] == "warning"


def test_an_open_port_of_the_workers_matters_to_emr_alone(examine, overrides, group):
    with_workers(overrides)
    group((8042, 8042), parameter="EmrManagedSlaveSecurityGroup")
    assert "block public access" in examine("--on-multi-node", "allow").found("exposure")["what"]


def test_the_security_group_that_emr_takes_when_none_is_named(examine, ec2):
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    made = ec2.create_security_group(GroupName="ElasticMapReduce-master", Description="x", VpcId=vpc["VpcId"])
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": ANYWHERE}
    ec2.authorize_security_group_ingress(GroupId=made["GroupId"], IpPermissions=[rule])
    assert made["GroupId"] in examine().found("exposure")["subject"]


def test_a_security_group_that_does_not_exist(examine, overrides):
    overrides["Instances"]["EmrManagedMasterSecurityGroup"] = "sg-0123456789abcdef0"
    assert "does not exist" in examine().found("exposure")["what"]


def test_what_must_not_be_read_is_reported(examine, clocked):
    clocked.deny("DescribeSecurityGroups")
    found = examine().found("exposure")
    assert found["severity"] == "warning"
    assert "the check failed: ec2:DescribeSecurityGroups is not permitted" in found["what"]


def test_what_a_launch_cannot_do_without_is_an_error_when_it_may_not_be_looked_at(examine, clocked):
    clocked.deny("DescribeSubnets")
    said = examine()
    assert said.status == 3
    assert "ec2:DescribeSubnets is not permitted" in said.all_found["subnet"][0]


def test_a_lock_store_that_does_not_exist(examine, monkeypatch):
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    found = examine("--lock-store", "dynamodb://nothing").found("lock-store")
    assert "does not exist" in found["what"]
    assert "create=true" in found["mend"]
    assert "does not exist" in examine("--lock-store", "s3://nothing/eip").found("lock-store")["what"]
    said = examine("--lock-store", "redis://leases")
    assert (said.status, said.out) == (2, "")
    assert "its scheme is 'redis'" in said.err


def test_a_table_that_the_first_task_creates_is_no_finding(examine, monkeypatch, boto):
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    assert examine("--lock-store", "dynamodb://leases?create=true").all_found == {}
    assert boto("dynamodb").list_tables()["TableNames"] == []


def test_a_table_with_another_key(examine, monkeypatch, boto):
    monkeypatch.setenv("AIRFLOW__EIP__LOCK_STORE", "dynamodb://others")
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    boto("dynamodb").create_table(
        TableName="others",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    assert "key" in examine().found("lock-store")["what"]


@pytest.mark.parametrize("lock_store", ["s3"], indirect=True)
def test_a_record_that_is_none(examine, lock_store, s3, allocation_id):
    s3.put_object(Bucket="leases", Key=f"eip/{allocation_id}.json", Body=b"no record")
    assert "not a lease record" in examine("--lock-store", lock_store).found("lock-store")["what"]


@pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)
def test_an_environment_without_a_name(examine, lock_store, left, monkeypatch):
    left("testing", lock_store=lock_store)
    monkeypatch.delenv("AIRFLOW__EIP__ENVIRONMENT")
    found = examine("--lock-store", lock_store).found("lock-store")
    assert found["severity"] == "warning"
    assert "environment is not set" in found["what"]


@pytest.fixture
def refused(local_aws: Any, run: Callable[..., Any]) -> Callable[..., str]:
    """Check that wrong arguments end with status 2 before AWS is called; return the message."""

    def refuse(*arguments: str) -> str:
        said = run("doctor", "--allocation-id", "eipalloc-0123456789abcdef0", *arguments)
        assert (said.status, said.out) == (2, "")
        assert local_aws.events.calls() == []
        return str(said.err)

    return refuse


def test_an_allocation_id_that_is_none(refused):
    assert "allocation_id '203.0.113.7': this is not the allocation ID" in refused("--allocation-id", "203.0.113.7")


def test_overrides_that_are_not_there(refused):
    said = refused("--job-flow-overrides", "/nowhere.json")
    assert "reading --job-flow-overrides '/nowhere.json': No such file or directory; name a JSON file" in said


@pytest.mark.parametrize(
    ("text", "in_message"),
    [
        (
            '{\n  "Name": "x",\n  "Instances": {]\n}',
            "it is not JSON: Expecting property name enclosed in double quotes: line 3",
        ),
        ("[1, 2]", "it is not a JSON object"),
        ("\xff", "it is not JSON: 'utf-8' codec"),
    ],
)
def test_overrides_that_are_no_mapping(refused, tmp_path, text, in_message):
    path = tmp_path / "bad.json"
    path.write_bytes(text.encode("latin-1"))
    said = refused("--job-flow-overrides", str(path))
    assert in_message in said
    assert str(path) in said


def test_a_subnet_besides_that_of_the_file(refused, tmp_path):
    (tmp_path / "x.json").write_text('{"Instances": {"Ec2SubnetId": "subnet-0123456789abcdef0"}}')
    said = refused("--job-flow-overrides", str(tmp_path / "x.json"), "--subnet-id", "subnet-0123456789abcdef1")
    assert "--subnet-id is given, too" in said
