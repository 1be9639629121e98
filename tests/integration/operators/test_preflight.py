"""Invalid input is refused before any call that changes AWS, with an error that names the ID and the fix."""

from __future__ import annotations

import json

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from harness.life import Task
from tests.airflow_version import AIRFLOW
from tests.integration.operators.aws_state import STORE, is_associated, launches


@pytest.mark.parametrize("malformed", ["eipalloc-xyz", "203.0.113.7", "eipassoc-0123456789abcdef0", "", None, 7])
def test_malformed_allocation_id(refused, malformed):
    refused(repr(malformed), "eipalloc-…", allocation_id=malformed)


def test_unknown_allocation_id(refused):
    refused("eipalloc-0123456789abcdef0", "eu-west-1", allocation_id="eipalloc-0123456789abcdef0")


def test_released_allocation_id(refused, ec2):
    released = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.release_address(AllocationId=released)
    refused(released, "released", allocation_id=released)


def test_address_of_another_region(refused, ec2_elsewhere):
    elsewhere = ec2_elsewhere.allocate_address(Domain="vpc")["AllocationId"]
    refused(elsewhere, "another region", allocation_id=elsewhere)


def test_address_in_the_classic_domain(refused, clocked):
    classic = clocked.add_classic_address()
    refused(classic, "EC2-Classic", allocation_id=classic)


def test_address_that_a_nat_gateway_keeps(refused, ec2, allocation_id, subnet_id, clocked):
    ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=allocation_id)
    clocked.clock.advance(clocked.durations.nat_gateway_association)
    clocked.events.clear()
    refused(allocation_id, "NAT gateway", allocation_id=allocation_id)


@pytest.mark.parametrize("lock_store", ["", [], False, 0], ids=repr)
def test_an_empty_lock_store_does_not_mean_that_there_is_no_queue(refused, lock_store):
    refused("lock_store", "only None means that there is no queue", lock_store=lock_store)


@pytest.mark.parametrize("name", ["accept_self_termination", "deferrable"])
def test_a_text_is_neither_true_nor_false(refused, name):
    refused(f"checking {name} 'False'", "without quotes", **{name: "False"})


@pytest.mark.parametrize("wait_policy", ["", "WAIT_FOR_COMPLETION", 5, []], ids=repr)
def test_a_wait_policy_that_does_not_exist(refused, wait_policy):
    refused("wait_policy", "WaitPolicy.WAIT_FOR", wait_policy=wait_policy)


@pytest.mark.skipif(
    (3, 0) <= AIRFLOW < (3, 1), reason="Airflow 3.0 does not find a connection that its secrets backend cannot parse"
)
@pytest.mark.parametrize("extra", [[1, 2], "text"], ids=repr)
def test_an_emr_connection_whose_extra_is_no_mapping(refused, monkeypatch, extra):
    monkeypatch.setenv("AIRFLOW_CONN_EMR_X", json.dumps({"conn_type": "emr", "extra": json.dumps(extra)}))
    refused("'emr_x'", emr_conn_id="emr_x")


@pytest.mark.parametrize(
    "extra",
    [
        {"region_name": 5},
        {"role_arn": "foo"},
        {"endpoint_url": "foo"},
        {"config_kwargs": {"nosuch": 1}},
    ],
    ids=str,
)
def test_a_connection_with_which_boto3_makes_no_client(refused, monkeypatch, extra):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_X", json.dumps({"conn_type": "aws", "extra": extra}))
    refused("making an AWS client with connection 'aws_x'", aws_conn_id="aws_x")


@pytest.mark.parametrize(
    "parameters",
    [
        {"region_name": "no where"},
        {"region_name": 5},
        {"region_name": "https://user:S3cr3t@host"},
        {"botocore_config": {"nosuch": 1}},
        {"botocore_config": "abc"},
    ],
    ids=str,
)
def test_parameters_with_which_boto3_makes_no_client(refused, create_operator, parameters):
    refused("making an AWS client with boto3's default credentials", **parameters)
    with pytest.raises(AirflowFailException) as error:
        Task(create_operator(**parameters)).run()
    assert "S3cr3t" not in str(error.value)


@pytest.mark.parametrize("overrides", ["[1, 2]", [1], "no mapping at all", 7])
def test_overrides_that_are_no_mapping(refused, overrides):
    refused("job_flow_overrides", "not a mapping", job_flow_overrides=overrides)


def test_overrides_without_instances(refused):
    refused("'Instances' is missing", job_flow_overrides={"Name": "x"})


def test_overrides_with_unknown_or_mistyped_parameters(refused, overrides):
    refused("ReleaseLable", job_flow_overrides={**overrides, "ReleaseLable": "emr-7.5.0"})
    refused("Ec2SubnetId", job_flow_overrides={**overrides, "Instances": {**overrides["Instances"], "Ec2SubnetId": 7}})


def test_several_primaries_in_an_instance_group(refused, overrides):
    overrides["Instances"]["InstanceGroups"][0]["InstanceCount"] = 3
    refused("3 primary nodes", "exactly one MASTER")


def test_several_primaries_in_a_fleet(refused, overrides):
    del overrides["Instances"]["InstanceGroups"]
    overrides["Instances"]["InstanceFleets"] = [{"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 3}]
    refused("3 primary nodes")


def test_workers_are_refused_unless_they_are_accepted(refused, overrides, create_operator):
    overrides["Instances"]["InstanceGroups"].append(
        {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2}
    )
    refused("2 core or task nodes", "on_multi_node='allow'")


@pytest.mark.parametrize("choice", ["warn", "allow"])
def test_accepted_workers_are_a_warning(clocked, create_operator, overrides, choice, logged):
    overrides["Instances"]["InstanceGroups"].append(
        {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 2}
    )
    assert Task(create_operator(on_multi_node=choice)).run()
    assert ("2 core or task nodes" in logged()) is (choice == "warn")


def test_subnet_that_does_not_exist(refused, overrides):
    overrides["Instances"]["Ec2SubnetId"] = "subnet-0123456789abcdef0"
    refused("subnet-0123456789abcdef0", "does not exist")


def test_subnet_without_a_route_to_an_internet_gateway(refused, overrides, ec2):
    vpc_id = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    private = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.9.1.0/24")["Subnet"]["SubnetId"]
    overrides["Instances"]["Ec2SubnetId"] = private
    refused(private, "internet gateway")


def test_all_errors_are_reported_at_once(refused, overrides, clocked):
    del overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]
    overrides["Instances"]["Ec2SubnetId"] = "subnet-0123456789abcdef0"
    clocked.deny("AssociateAddress")
    refused("3 problems: (1)", "(1) permission", "(2) job_flow_overrides", "(3) subnet", "airflow-eip doctor")


@pytest.fixture
def open_group(ec2, overrides):
    """Give the cluster a security group with a port that is open to the internet."""

    def make(port):
        vpc_id = ec2.describe_subnets(SubnetIds=[overrides["Instances"]["Ec2SubnetId"]])["Subnets"][0]["VpcId"]
        group_id = ec2.create_security_group(GroupName="open", Description="open", VpcId=vpc_id)["GroupId"]
        rule = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}
        ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[rule])
        overrides["Instances"]["EmrManagedMasterSecurityGroup"] = group_id

    return make


def test_security_group_with_which_emr_would_refuse_the_launch(refused, open_group):
    open_group(8088)
    refused("block public access is on", "8088")


def test_open_port_that_emr_permits_is_a_warning(clocked, create_operator, open_group, logged):
    open_group(22)
    assert Task(create_operator()).run()
    assert "is open to the whole internet on port 22 (SSH)" in logged()


@pytest.mark.parametrize("operation", ["DescribeSecurityGroups", "GetBlockPublicAccessConfiguration"])
def test_what_may_not_be_looked_at_does_not_keep_a_cluster_from_its_launch(
    clocked, create_operator, open_group, logged, operation
):
    open_group(8088)
    clocked.deny(operation)
    assert Task(create_operator()).run()
    assert "the check failed" in (said := logged())
    assert operation in said


def test_missing_permission_to_associate(refused, clocked, allocation_id):
    clocked.deny("AssociateAddress")
    refused("ec2:AssociateAddress", allocation_id)


def test_steps_inside_the_overrides(refused, overrides, step):
    refused("EmrAddStepsWithStaticIpOperator", job_flow_overrides={**overrides, "Steps": [step()]})


def test_values_that_emr_would_refuse_are_refused_before_the_wait_for_the_address(refused, overrides):
    refused("ReleaseLabel is 'abc'", "EMR refuses the launch", job_flow_overrides={**overrides, "ReleaseLabel": "abc"})
    refused("airflow-eip:owner", job_flow_overrides={**overrides, "Tags": [{"Key": "airflow-eip:owner", "Value": ""}]})


@pytest.mark.parametrize("lock_store", [None, STORE])
def test_what_only_emr_can_refuse_fails_without_a_retry_and_leaves_nothing(
    clocked, create_operator, overrides, ec2, lock_store
):
    overrides["ReleaseLabel"] = "emr-99.0.0"
    task = Task(create_operator(lock_store=lock_store))
    with pytest.raises(AirflowFailException, match=r"launching cluster 'daily': EMR refuses its parameters: .*emr-99"):
        task.run()
    assert launches(clocked) == []
    assert not is_associated(ec2)


def test_cluster_that_would_end_before_its_first_step(refused, overrides):
    del overrides["Instances"]["KeepJobFlowAliveWhenNoSteps"]
    refused("KeepJobFlowAliveWhenNoSteps", "accept_self_termination")


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("bind_at", "never"), ("on_multi_node", "maybe"), ("prewarm", True), ("lock_store", "dynamodb://locks")],
)
def test_choices_that_do_not_exist(refused, parameter, value):
    refused(parameter.replace("lock_store", "lock store"), **{parameter: value})


def test_missing_connection_is_never_replaced_by_default_credentials(refused):
    refused("aws_nowhere", aws_conn_id="aws_nowhere")
