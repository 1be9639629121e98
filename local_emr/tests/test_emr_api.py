"""EMR's actions: what they accept, refuse and list."""

from __future__ import annotations

import json
from datetime import timedelta

import boto3
import pytest
from botocore.config import Config

FLEETS = {
    "InstanceGroups": None,
    "Ec2SubnetId": None,
    "InstanceFleets": [
        {
            "InstanceFleetType": "MASTER",
            "TargetOnDemandCapacity": 1,
            "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}, {"InstanceType": "m6g.xlarge"}],
        },
        {
            "InstanceFleetType": "CORE",
            "TargetSpotCapacity": 2,
            "InstanceTypeConfigs": [{"InstanceType": "m5.xlarge"}],
        },
    ],
}


def group(role, count=1):
    return {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": count}


def test_the_same_request_twice_makes_two_clusters(start_cluster):
    """RunJobFlow has no client token [botocore: RunJobFlowInput]."""
    assert start_cluster() != start_cluster()


def test_a_cluster_is_described_as_it_was_asked_for(emr, start_cluster, subnet_id):
    job_flow_id = start_cluster(
        LogUri="s3://logs/", ReleaseLabel="emr-7.5.0", JobFlowRole="EMR_EC2_DefaultRole", StepConcurrencyLevel=3
    )
    cluster = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]
    assert cluster["LogUri"] == "s3://logs/"
    assert cluster["ReleaseLabel"] == "emr-7.5.0"
    assert cluster["StepConcurrencyLevel"] == 3
    assert cluster["AutoTerminate"] is False
    assert cluster["TerminationProtected"] is False
    assert cluster["InstanceCollectionType"] == "INSTANCE_GROUP"
    assert cluster["Ec2InstanceAttributes"]["Ec2SubnetId"] == subnet_id
    assert job_flow_id in cluster["ClusterArn"]


def test_the_primarys_public_name_follows_its_address(emr, ec2, start_cluster, primary_of, allocation_id, local_emr):
    """``MasterPublicDnsName`` [botocore: Cluster]."""
    job_flow_id = start_cluster()
    assert "MasterPublicDnsName" not in emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]
    local_emr.clock.advance(60)
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary_of(job_flow_id).nics[0].id)
    assert "203-0-113" in emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["MasterPublicDnsName"]


@pytest.mark.parametrize(
    "instances",
    [
        {"Ec2SubnetId": "subnet-0123456789abcdef0"},
        {"InstanceGroups": None},
        {"InstanceGroups": [group("CORE")]},
        {"InstanceGroups": [group("MASTER", 2)]},
        {"InstanceCount": 1},
        {"Ec2SubnetId": None, "Ec2SubnetIds": ["subnet-1", "subnet-2"]},
    ],
    ids=["unknown subnet", "no nodes", "no primary", "two primaries", "told twice", "two subnets for groups"],
)
def test_impossible_instances_are_refused(start_cluster, refused, instances):
    """``ValidationException`` [docs: EMR API, RunJobFlow]."""
    with refused("ValidationException"):
        start_cluster(instances=instances)


def test_parameters_are_checked_as_botocore_does_even_if_the_client_does_not(local_emr, refused):
    lax = boto3.client("emr", config=Config(parameter_validation=False))
    with refused("ValidationException"):
        lax.run_job_flow(Name="x")
    lax.close()


def test_tags_of_aws_own_are_refused(start_cluster, refused):
    with refused("ValidationException"):
        start_cluster(Tags=[{"Key": "aws:mine", "Value": "x"}])


def test_an_unknown_cluster_is_an_invalid_request(emr, refused):
    """``InvalidRequestException`` [botocore: DescribeCluster]."""
    with refused("InvalidRequestException"):
        emr.describe_cluster(ClusterId="j-UNKNOWN")


def test_clusters_are_listed_newest_first_by_state_and_time(emr, start_cluster, local_emr):
    """``ClusterStates``, ``CreatedAfter`` [botocore: ListClustersInput]; moto ignores them."""
    first = start_cluster()
    local_emr.clock.advance(300)
    between = local_emr.clock.now() - timedelta(seconds=100)
    second = start_cluster()
    ids = [cluster["Id"] for cluster in emr.list_clusters()["Clusters"]]
    assert ids == [second, first]
    assert [c["Id"] for c in emr.list_clusters(ClusterStates=["WAITING"])["Clusters"]] == [first]
    assert [c["Id"] for c in emr.list_clusters(CreatedAfter=between)["Clusters"]] == [second]


def test_a_long_list_comes_in_pages(emr, start_cluster):
    """50 clusters a page [botocore: ListClusters, "at most 50 clusters"]."""
    made = [start_cluster() for _ in range(51)]
    first = emr.list_clusters()
    assert len(first["Clusters"]) == 50
    last = emr.list_clusters(Marker=first["Marker"])
    assert [cluster["Id"] for cluster in last["Clusters"]] == made[:1]
    assert "Marker" not in last


def test_instances_are_listed_by_group_and_state(emr, start_cluster, local_emr):
    job_flow_id = start_cluster(instances={"InstanceGroups": [group("MASTER"), group("CORE", 2)]})
    local_emr.clock.advance(300)
    [primary] = emr.list_instances(ClusterId=job_flow_id, InstanceGroupTypes=["MASTER"])["Instances"]
    assert len(emr.list_instances(ClusterId=job_flow_id)["Instances"]) == 3
    assert emr.list_instances(ClusterId=job_flow_id, InstanceStates=["TERMINATED"])["Instances"] == []
    groups = emr.list_instance_groups(ClusterId=job_flow_id)["InstanceGroups"]
    assert primary["InstanceGroupId"] == next(g["Id"] for g in groups if g["InstanceGroupType"] == "MASTER")
    assert [g["RunningInstanceCount"] for g in groups] == [1, 2]


def test_instances_of_fleets_are_listed_by_fleet(emr, start_cluster, local_emr, refused):
    """``InstanceFleetType`` for fleets, ``InstanceGroupTypes`` for groups [docs: EMR API, ListInstances]."""
    job_flow_id = start_cluster(instances=FLEETS)
    local_emr.clock.advance(300)
    cluster = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]
    assert cluster["InstanceCollectionType"] == "INSTANCE_FLEET"
    [primary] = emr.list_instances(ClusterId=job_flow_id, InstanceFleetType="MASTER")["Instances"]
    fleets = emr.list_instance_fleets(ClusterId=job_flow_id)["InstanceFleets"]
    assert primary["InstanceFleetId"] == fleets[0]["Id"]
    assert fleets[1]["ProvisionedSpotCapacity"] == 2
    with refused("InvalidRequestException"):
        emr.list_instances(ClusterId=job_flow_id, InstanceGroupTypes=["MASTER"])
    with refused("InvalidRequestException"):
        emr.list_instance_groups(ClusterId=job_flow_id)


def test_counts_alone_make_a_primary_and_core_nodes(emr, start_cluster, local_emr):
    """``MasterInstanceType``, ``InstanceCount`` [botocore: JobFlowInstancesConfig]; moto lists no instance then."""
    wanted = {"InstanceGroups": None, "MasterInstanceType": "m5.large", "InstanceCount": 3}
    job_flow_id = start_cluster(instances=wanted)
    groups = emr.list_instance_groups(ClusterId=job_flow_id)["InstanceGroups"]
    assert [(g["InstanceGroupType"], g["RequestedInstanceCount"]) for g in groups] == [("MASTER", 1), ("CORE", 2)]


def test_bootstrap_actions_are_listed_in_order_and_are_16_at_most(emr, start_cluster, refused):
    """[docs: EMR API, ListBootstrapActions; EMR, "Create bootstrap actions"]."""
    actions = [
        {"Name": f"action {number}", "ScriptBootstrapAction": {"Path": f"s3://b/{number}.sh", "Args": ["--exit", "0"]}}
        for number in range(17)
    ]
    job_flow_id = start_cluster(BootstrapActions=actions[:16])
    listed = emr.list_bootstrap_actions(ClusterId=job_flow_id)["BootstrapActions"]
    assert [action["Name"] for action in listed] == [f"action {number}" for number in range(16)]
    assert listed[0] == {"Name": "action 0", "ScriptPath": "s3://b/0.sh", "Args": ["--exit", "0"]}
    with refused("ValidationException"):
        start_cluster(BootstrapActions=actions)


def test_three_primaries_are_protected_from_termination(emr, start_cluster, local_emr):
    """[docs: EMR, Multiple primary nodes: termination protection is enabled]."""
    job_flow_id = start_cluster(instances={"InstanceGroups": [group("MASTER", 3)]})
    local_emr.clock.advance(60)
    assert len(emr.list_instances(ClusterId=job_flow_id, InstanceGroupTypes=["MASTER"])["Instances"]) == 3
    assert emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["TerminationProtected"] is True


def test_a_protected_cluster_is_not_terminated_until_unlocked(emr, start_cluster, state_of, refused):
    """[botocore: TerminateJobFlows, SetTerminationProtection]."""
    locked, free = start_cluster(instances={"TerminationProtected": True}), start_cluster()
    with refused("ValidationException"):
        emr.terminate_job_flows(JobFlowIds=[locked, free])
    assert (state_of(locked), state_of(free)) == ("STARTING", "TERMINATING")
    emr.set_termination_protection(JobFlowIds=[locked], TerminationProtected=False)
    emr.terminate_job_flows(JobFlowIds=[locked])
    assert state_of(locked) == "TERMINATING"


def test_terminating_twice_is_no_error(emr, start_cluster, local_emr):
    job_flow_id = start_cluster()
    for seconds in (0, 10, 100):
        local_emr.clock.advance(seconds)
        emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    assert len([e for e in local_emr.events.read(kind="cluster") if e["to"] == "TERMINATING"]) == 1


def test_tags_come_and_go_on_cluster_and_instances(emr, ec2, start_cluster, local_emr):
    """ "Tags … are propagated to the instances" [docs: EMR, Tag clusters]."""
    job_flow_id = start_cluster(Tags=[{"Key": "old", "Value": "1"}])
    local_emr.clock.advance(60)
    emr.add_tags(ResourceId=job_flow_id, Tags=[{"Key": "new", "Value": "2"}])
    emr.remove_tags(ResourceId=job_flow_id, TagKeys=["old"])
    assert emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Tags"] == [{"Key": "new", "Value": "2"}]
    tags = ec2.describe_instances()["Reservations"][0]["Instances"][0]["Tags"]
    assert {"old", "new"} & {tag["Key"] for tag in tags} == {"new"}


def test_an_idle_timeout_out_of_bounds_is_refused(emr, start_cluster, refused):
    """60 seconds to 7 days [botocore: AutoTerminationPolicy]."""
    job_flow_id = start_cluster()
    for seconds in (59, 604_801):
        with refused("ValidationException"):
            emr.put_auto_termination_policy(ClusterId=job_flow_id, AutoTerminationPolicy={"IdleTimeout": seconds})


def test_a_cluster_with_runtime_roles_refuses_steps_without_one(emr, start_cluster, step, add_steps, refused):
    """ "Runtime roles are required for this cluster" [docs: EMR, Runtime roles for steps]."""
    iam = {"AuthorizationConfiguration": {"IAMConfiguration": {"EnableApplicationScopedIAMRole": True}}}
    emr.create_security_configuration(Name="roles", SecurityConfiguration=json.dumps(iam))
    job_flow_id = start_cluster(SecurityConfiguration="roles")
    with refused("ValidationException"):
        add_steps(job_flow_id, step())
    role = "arn:aws:iam::123456789012:role/reader"
    [step_id] = add_steps(job_flow_id, step(), ExecutionRoleArn=role)
    assert emr.describe_step(ClusterId=job_flow_id, StepId=step_id)["Step"]["ExecutionRoleArn"] == role


def test_calls_that_are_not_simulated_are_refused_with_that_reason(emr, refused):
    with refused("NotSimulated"):
        emr.list_studios()


def test_emr_of_another_region_is_refused_as_not_simulated(boto, refused):
    with refused("NotSimulated"):
        boto("emr", region_name="us-east-1").list_clusters()
