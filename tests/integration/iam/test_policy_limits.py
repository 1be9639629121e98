"""What the policy keeps from whoever has the role: other people's addresses, clusters, roles, records and regions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from tests.integration.iam.stage import AIRFLOW, DENIED, DYNAMODB, EXECUTION_ROLE, S3, TAGGED, Stage, staged

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def stage(served_aws: Any) -> Iterator[Stage]:
    with staged(served_aws) as stage:
        yield stage


def refused(call: Any, **parameters: Any) -> None:
    with pytest.raises(ClientError) as error:
        call(**parameters)
    assert error.value.response["Error"]["Code"] in DENIED


def tags(allocation_id: str) -> list[dict[str, str]]:
    return [{"Key": ALLOCATION_TAG, "Value": allocation_id}]


def launched(stage: Stage, *, tagged: str | None) -> str:
    """Launch a cluster as somebody else."""
    given = {"Tags": tags(tagged)} if tagged else {}
    return str(stage.client("emr").run_job_flow(**stage.overrides(**given))["JobFlowId"])


def test_another_address_can_neither_be_put_anywhere_nor_taken_off(stage):
    stage.enforce(None)
    own, ec2 = stage.client("ec2"), stage.client("ec2", AIRFLOW)
    other = own.allocate_address(Domain="vpc")["AllocationId"]
    interface = own.create_network_interface(SubnetId=stage.subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    refused(ec2.associate_address, AllocationId=other, NetworkInterfaceId=interface)
    public_ip = own.describe_addresses(AllocationIds=[other])["Addresses"][0]["PublicIp"]
    refused(ec2.associate_address, PublicIp=public_ip, NetworkInterfaceId=interface)
    association = own.associate_address(AllocationId=other, NetworkInterfaceId=interface)["AssociationId"]
    refused(ec2.disassociate_address, AssociationId=association)
    refused(ec2.release_address, AllocationId=stage.allocation_id)


def test_of_addresses_that_are_known_by_a_tag_no_other_is_moved(stage):
    pool = stage.pool()
    stage.enforce(None, **TAGGED)
    own, ec2 = stage.client("ec2"), stage.client("ec2", AIRFLOW)
    other = own.allocate_address(Domain="vpc")["AllocationId"]
    own.create_tags(Resources=[other], Tags=[{"Key": "purpose", "Value": "another"}])
    interface = own.create_network_interface(SubnetId=stage.subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    refused(ec2.associate_address, AllocationId=other, NetworkInterfaceId=interface)
    for address in pool:
        association = ec2.associate_address(AllocationId=address, NetworkInterfaceId=interface)["AssociationId"]
        ec2.disassociate_address(AssociationId=association)


def test_a_cluster_of_a_pool_gets_the_tag_of_another_address_of_it_and_of_no_other(stage):
    pool = stage.pool()
    stage.enforce(None, allocation_ids=pool)
    job_flow_id, emr = launched(stage, tagged=pool[0]), stage.client("emr", AIRFLOW)
    refused(emr.add_tags, ResourceId=job_flow_id, Tags=tags("eipalloc-0123456789abcdef0"))
    emr.add_tags(ResourceId=job_flow_id, Tags=tags(pool[1]))


@pytest.mark.parametrize("tagged", [None, "eipalloc-0123456789abcdef0"], ids=["untagged", "another-address"])
def test_clusters_of_others_cannot_be_changed(stage, tagged):
    stage.enforce(None)
    job_flow_id, emr = launched(stage, tagged=tagged), stage.client("emr", AIRFLOW)
    steps = [{"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar"}}]
    refused(emr.terminate_job_flows, JobFlowIds=[job_flow_id])
    refused(emr.set_termination_protection, JobFlowIds=[job_flow_id], TerminationProtected=False)
    refused(emr.add_job_flow_steps, JobFlowId=job_flow_id, Steps=steps)
    refused(emr.cancel_steps, ClusterId=job_flow_id, StepIds=["s-1"])
    refused(emr.add_tags, ResourceId=job_flow_id, Tags=[{"Key": "airflow-eip:try", "Value": "2"}])


def test_one_foreign_cluster_among_own_ones_keeps_the_call_from_all(stage):
    stage.enforce(None)
    own, foreign = launched(stage, tagged=stage.allocation_id), launched(stage, tagged=None)
    refused(stage.client("emr", AIRFLOW).terminate_job_flows, JobFlowIds=[own, foreign])
    assert stage.cluster_state(own) != "TERMINATING"


def test_a_cluster_of_another_address_cannot_be_made_ones_own(stage):
    stage.enforce(None)
    emr, other = stage.client("emr", AIRFLOW), launched(stage, tagged="eipalloc-0123456789abcdef0")
    refused(emr.add_tags, ResourceId=other, Tags=tags(stage.allocation_id))
    refused(emr.put_auto_termination_policy, ClusterId=other, AutoTerminationPolicy={"IdleTimeout": 60})


def test_an_adopted_cluster_gets_no_other_tag_than_those_of_the_tries(stage):
    stage.enforce(None)
    job_flow_id = launched(stage, tagged=stage.allocation_id)
    refused(stage.client("emr", AIRFLOW).add_tags, ResourceId=job_flow_id, Tags=[{"Key": "team", "Value": "x"}])


def test_no_cluster_is_launched_without_the_tag_or_with_another_role(stage):
    stage.enforce(None)
    emr, ours = stage.client("emr", AIRFLOW), {"Tags": tags(stage.allocation_id)}
    refused(emr.run_job_flow, **stage.overrides())
    refused(emr.run_job_flow, **stage.overrides(Tags=tags("eipalloc-0123456789abcdef0")))
    refused(emr.run_job_flow, **stage.overrides(**ours, ServiceRole="Administrator"))
    refused(emr.run_job_flow, **stage.overrides(**ours, JobFlowRole="Administrator"))
    assert emr.run_job_flow(**stage.overrides(**ours))["JobFlowId"]


def test_a_role_is_passed_only_as_what_it_is_for(stage):
    stage.enforce(None)
    swapped = stage.overrides(Tags=tags(stage.allocation_id), JobFlowRole="EMR_DefaultRole")
    refused(stage.client("emr", AIRFLOW).run_job_flow, **swapped)


def test_steps_name_no_other_runtime_role(stage):
    stage.enforce(None)
    job_flow_id, emr = launched(stage, tagged=stage.allocation_id), stage.client("emr", AIRFLOW)
    steps = [{"Name": "read", "HadoopJarStep": {"Jar": "command-runner.jar"}}]
    refused(emr.add_job_flow_steps, JobFlowId=job_flow_id, Steps=steps, ExecutionRoleArn=EXECUTION_ROLE + "2")
    emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=steps, ExecutionRoleArn=EXECUTION_ROLE)
    emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=steps)


def test_of_the_lock_table_only_the_record_of_the_address_is_within_reach(stage):
    stage.enforce(DYNAMODB)
    dynamodb = stage.client("dynamodb", AIRFLOW)
    stage.create(lock_store=DYNAMODB, deferrable=True).start()
    mine, other = ({"address": {"S": name}} for name in (stage.allocation_id, "eipalloc-0123456789abcdef0"))
    assert dynamodb.get_item(TableName="leases", Key=mine)["Item"]
    refused(dynamodb.get_item, TableName="leases", Key=other)
    refused(dynamodb.put_item, TableName="leases", Item=other)
    refused(dynamodb.delete_item, TableName="leases", Key=mine)
    refused(dynamodb.delete_table, TableName="leases")
    refused(dynamodb.describe_table, TableName="another")


def test_of_the_buckets_only_the_record_and_the_logs_of_steps_are_within_reach(stage):
    stage.enforce(S3)
    own, s3 = stage.client("s3"), stage.client("s3", AIRFLOW)
    mine = f"eip/{stage.allocation_id}.json"
    s3.put_object(Bucket="leases", Key=mine, Body=b"{}")
    refused(s3.put_object, Bucket="leases", Key="eip/eipalloc-0123456789abcdef0.json", Body=b"{}")
    refused(s3.delete_object, Bucket="leases", Key=mine)
    for key in ("emr/j-1/steps/s-1/stdout.gz", "emr/j-1/node/i-1/daemons/instance-controller/x.gz", "other"):
        own.put_object(Bucket="logs", Key=key, Body=b"")
    assert s3.get_object(Bucket="logs", Key="emr/j-1/steps/s-1/stdout.gz")
    refused(s3.get_object, Bucket="logs", Key="emr/j-1/node/i-1/daemons/instance-controller/x.gz")
    refused(s3.get_object, Bucket="logs", Key="other")


def test_other_regions_are_out_of_reach(stage):
    stage.enforce(None)
    refused(stage.client("ec2", AIRFLOW, "eu-central-1").describe_addresses)
