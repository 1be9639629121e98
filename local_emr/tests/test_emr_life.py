"""How a cluster lives: its states, its instances, its Elastic IP. moto's is ready at once and never gone."""

from __future__ import annotations

import pytest


def test_a_cluster_takes_its_time_to_be_ready_and_to_end(emr, start_cluster, state_of, local_emr):
    """STARTING, BOOTSTRAPPING, RUNNING/WAITING, TERMINATING, TERMINATED [docs: EMR, Cluster lifecycle]."""
    job_flow_id = start_cluster()
    seen = [state_of(job_flow_id)]
    for seconds in (120, 90):
        local_emr.clock.advance(seconds)
        seen.append(state_of(job_flow_id))
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    seen.append(state_of(job_flow_id))
    local_emr.clock.advance(60)
    seen.append(state_of(job_flow_id))
    assert seen == ["STARTING", "BOOTSTRAPPING", "WAITING", "TERMINATING", "TERMINATED"]
    moves = [(e["from"], e["to"]) for e in local_emr.events.read(kind="cluster")]
    assert moves[0] == (None, "STARTING")
    assert moves[-1] == ("TERMINATING", "TERMINATED")


def test_the_reason_and_the_timeline_show_what_happened(emr, start_cluster, local_emr):
    """``Status.StateChangeReason`` and ``Status.Timeline`` [botocore: ClusterStatus]."""
    job_flow_id = start_cluster()
    local_emr.clock.advance(300)
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    local_emr.clock.advance(60)
    status = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]
    assert status["StateChangeReason"]["Code"] == "USER_REQUEST"
    timeline = status["Timeline"]
    assert timeline["CreationDateTime"] < timeline["ReadyDateTime"] < timeline["EndDateTime"]


def test_bootstrap_actions_that_only_take_time_take_none_beyond_the_clusters_by_default(
    start_cluster, state_of, local_emr
):
    """Actions of tests without processes, on the simulated clock: ``--sleep`` and ``--exit``, as for steps."""

    def actions(*args):
        script = {"Path": "s3://b/install.sh", "Args": list(args)}
        return [{"Name": "install", "ScriptBootstrapAction": script}] * 2

    quick, slow = start_cluster(BootstrapActions=actions()), start_cluster(BootstrapActions=actions("--sleep", "100"))
    failing = start_cluster(BootstrapActions=actions("--exit", "1"))
    local_emr.clock.advance(210)
    assert [state_of(job_flow_id) for job_flow_id in (quick, slow)] == ["WAITING", "BOOTSTRAPPING"]
    assert state_of(failing) == "TERMINATED_WITH_ERRORS"
    local_emr.clock.advance(109)
    assert state_of(slow) == "BOOTSTRAPPING"
    local_emr.clock.advance(1)
    assert state_of(slow) == "WAITING"


def test_a_primary_has_the_security_groups_that_the_cluster_was_given(
    ec2, start_cluster, primary_of, subnet_id, local_emr
):
    """EMR's managed group and ``AdditionalMasterSecurityGroups`` [docs: EMR, Control network traffic]."""
    vpc_id = ec2.describe_subnets(SubnetIds=[subnet_id])["Subnets"][0]["VpcId"]
    managed, further = (
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc_id)["GroupId"] for name in ("a", "b")
    )
    master = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}
    groups = {
        "InstanceGroups": [master],
        "EmrManagedMasterSecurityGroup": managed,
        "AdditionalMasterSecurityGroups": [further, "sg-unknown"],
    }
    job_flow_id = start_cluster(instances=groups)
    local_emr.clock.advance(60)
    (group,) = ec2.describe_instances(InstanceIds=[primary_of(job_flow_id).id])["Reservations"]
    (interface,) = group["Instances"][0]["NetworkInterfaces"]
    assert {found["GroupId"] for found in interface["Groups"]} == {managed, further}


def test_instances_are_in_the_subnet_carry_emrs_tags_and_boot(ec2, start_cluster, primary_of, local_emr, subnet_id):
    """``aws:elasticmapreduce:job-flow-id`` and ``…:instance-group-role`` [docs: EMR, Tag clusters]."""
    job_flow_id = start_cluster(Tags=[{"Key": "team", "Value": "data"}])
    local_emr.clock.advance(20)
    [reservation] = ec2.describe_instances(
        Filters=[{"Name": "tag:aws:elasticmapreduce:job-flow-id", "Values": [job_flow_id]}]
    )["Reservations"]
    instance = reservation["Instances"][0]
    tags = {tag["Key"]: tag["Value"] for tag in instance["Tags"]}
    assert tags["aws:elasticmapreduce:instance-group-role"] == "MASTER"
    assert tags["team"] == "data"
    assert instance["SubnetId"] == subnet_id
    assert instance["State"]["Name"] == "pending"
    local_emr.clock.advance(25)
    assert primary_of(job_flow_id).state == "running"


def test_instances_end_with_the_cluster_and_ec2_drops_the_address(
    ec2, emr, start_cluster, primary_of, local_emr, allocation_id
):
    """[docs: EC2, Terminate instances]; moto's go on running, with the address."""
    job_flow_id = start_cluster()
    local_emr.clock.advance(60)
    primary = primary_of(job_flow_id)
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary.nics[0].id)
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    assert primary.state == "shutting-down"
    local_emr.clock.advance(30)
    assert primary.state == "terminated"
    assert "AssociationId" in ec2.describe_addresses()["Addresses"][0]
    local_emr.clock.advance(5)
    assert "AssociationId" not in ec2.describe_addresses()["Addresses"][0]
    dropped = local_emr.events.read(kind="address")[-1]
    assert (dropped["change"], dropped["job_flow_id"]) == ("disassociated", job_flow_id)


def test_a_node_has_no_ec2_id_at_first(emr, start_cluster, local_emr):
    """AWAITING_FULFILLMENT comes first [botocore: InstanceState]; clients must bear it."""
    job_flow_id = start_cluster()
    node = emr.list_instances(ClusterId=job_flow_id)["Instances"][0]
    assert node["Status"]["State"] == "AWAITING_FULFILLMENT"
    assert "Ec2InstanceId" not in node
    local_emr.clock.advance(20)
    node = emr.list_instances(ClusterId=job_flow_id)["Instances"][0]
    assert node["Status"]["State"] == "PROVISIONING"
    assert node["Ec2InstanceId"].startswith("i-")


def test_a_cluster_without_steps_ends_unless_it_is_kept_alive(start_cluster, state_of, local_emr):
    """``KeepJobFlowAliveWhenNoSteps`` defaults to false [botocore: JobFlowInstancesConfig]."""
    job_flow_id = start_cluster(instances={"KeepJobFlowAliveWhenNoSteps": None})
    local_emr.clock.advance(300)
    assert state_of(job_flow_id) == "TERMINATED"


def test_steps_given_at_the_start_run_before_such_a_cluster_ends(start_cluster, step, step_states, local_emr, emr):
    job_flow_id = start_cluster(instances={"KeepJobFlowAliveWhenNoSteps": False}, Steps=[step(name="only")])
    local_emr.clock.advance(600)
    assert step_states(job_flow_id) == ["COMPLETED"]
    reason = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["StateChangeReason"]
    assert reason["Code"] == "ALL_STEPS_COMPLETED"


def test_an_idle_cluster_ends_by_its_auto_termination_policy(emr, start_cluster, state_of, local_emr):
    """``IdleTimeout`` [botocore: AutoTerminationPolicy]."""
    job_flow_id = start_cluster(AutoTerminationPolicy={"IdleTimeout": 600})
    assert emr.get_auto_termination_policy(ClusterId=job_flow_id)["AutoTerminationPolicy"]["IdleTimeout"] == 600
    local_emr.clock.advance(210 + 599)
    assert state_of(job_flow_id) == "WAITING"
    local_emr.clock.advance(1)
    assert state_of(job_flow_id) == "TERMINATING"


def test_a_cluster_that_works_is_not_idle(start_cluster, state_of, local_emr, step, add_steps):
    job_flow_id = start_cluster(AutoTerminationPolicy={"IdleTimeout": 600})
    local_emr.clock.advance(400)
    add_steps(job_flow_id, step("--sleep", "5000"))
    local_emr.clock.advance(4000)
    assert state_of(job_flow_id) == "RUNNING"


def test_a_removed_policy_lets_a_cluster_live_on(emr, start_cluster, state_of, local_emr):
    job_flow_id = start_cluster(AutoTerminationPolicy={"IdleTimeout": 600})
    local_emr.clock.advance(300)
    emr.remove_auto_termination_policy(ClusterId=job_flow_id)
    local_emr.clock.advance(5000)
    assert state_of(job_flow_id) == "WAITING"


@pytest.mark.parametrize(
    ("state", "code"),
    [("STARTING", "VALIDATION_ERROR"), ("BOOTSTRAPPING", "BOOTSTRAP_FAILURE"), ("WAITING", "INSTANCE_FAILURE")],
)
def test_a_cluster_can_be_made_to_fail_in_any_state(emr, start_cluster, local_emr, state, code):
    """TERMINATED_WITH_ERRORS, with a reason and ``ErrorDetails`` [botocore: ClusterStatus]."""
    local_emr.fail_next_cluster(state=state, code=code, message="on demand", after_seconds=5)
    job_flow_id = start_cluster()
    local_emr.clock.advance(600)
    status = emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]
    assert status["State"] == "TERMINATED_WITH_ERRORS"
    assert status["StateChangeReason"] == {"Code": code, "Message": "on demand"}
    assert status["ErrorDetails"][0]["ErrorMessage"] == "on demand"
    assert emr.list_instances(ClusterId=job_flow_id)["Instances"][0]["Status"]["State"] == "TERMINATED"


def test_a_cluster_whose_primary_a_user_terminates_ends_with_errors(
    ec2, start_cluster, primary_of, state_of, local_emr
):
    job_flow_id = start_cluster()
    local_emr.clock.advance(300)
    ec2.terminate_instances(InstanceIds=[primary_of(job_flow_id).id])
    local_emr.clock.advance(60)
    assert state_of(job_flow_id) == "TERMINATED_WITH_ERRORS"


def test_a_replaced_primary_is_another_instance_and_the_cluster_continues(
    ec2, start_cluster, primary_of, state_of, local_emr
):
    job_flow_id = start_cluster()
    local_emr.clock.advance(300)
    before = primary_of(job_flow_id).id
    local_emr.replace_primary(job_flow_id)
    local_emr.clock.advance(300)
    after = primary_of(job_flow_id).id
    states = ec2.describe_instances(InstanceIds=[before, after])["Reservations"]
    assert {i["InstanceId"]: i["State"]["Name"] for r in states for i in r["Instances"]} == {
        before: "terminated",
        after: "running",
    }
    assert state_of(job_flow_id) == "WAITING"


def test_a_cluster_terminated_before_it_has_instances_never_gets_any(emr, ec2, start_cluster, local_emr):
    emr.terminate_job_flows(JobFlowIds=[start_cluster()])
    local_emr.clock.advance(600)
    assert ec2.describe_instances()["Reservations"] == []


def test_nothing_of_a_cluster_survives_a_reset(emr, start_cluster, local_emr):
    start_cluster()
    local_emr.reset()
    local_emr.clock.advance(600)
    assert emr.list_clusters()["Clusters"] == []
    assert [e["operation"] for e in local_emr.events.read()] == ["ListClusters"]


def test_the_public_ip_of_a_step_is_its_nodes_at_that_moment(
    ec2, start_cluster, primary_of, local_emr, step, add_steps, allocation_id
):
    job_flow_id = start_cluster()
    local_emr.clock.advance(300)
    [step_id] = add_steps(job_flow_id, step("--sleep", "1000"))
    primary = primary_of(job_flow_id)
    assert local_emr.public_ip_of_step(step_id) == primary.public_ip
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary.nics[0].id)
    assert local_emr.public_ip_of_step(step_id).startswith("203.0.113.")
    assert local_emr.public_ip_of_step("s-unknown") is None


def test_the_executors_of_a_step_are_on_the_core_nodes_and_the_driver_is_on_the_primary(
    ec2, start_cluster, primary_of, local_emr, step, add_steps, allocation_id
):
    """[docs: EMR Management Guide, "Understand node types"]; each node has a public address of its own."""
    groups = [
        {"InstanceRole": role, "InstanceType": "m5.xlarge", "InstanceCount": count}
        for role, count in (("MASTER", 1), ("TASK", 1), ("CORE", 2))
    ]
    job_flow_id = start_cluster(instances={"InstanceGroups": groups})
    local_emr.clock.advance(300)
    [step_id] = add_steps(job_flow_id, step("--sleep", "1000"))
    primary = primary_of(job_flow_id)
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary.nics[0].id)
    core, task = (
        [node.instance.id for pool in local_emr.cluster(job_flow_id).pools if pool.role == role for node in pool.nodes]
        for role in ("CORE", "TASK")
    )
    executors = [local_emr.locate(step_id, number) for number in range(4)]
    assert [executor.instance_id for executor in executors] == [*core, *task, core[0]]
    driver = local_emr.locate(step_id)
    assert driver.instance_id == primary.id
    assert driver.ip.startswith("203.0.113.")
    assert all(executor.ip.startswith("198.51.100.") for executor in executors)
    assert len({executor.ip for executor in executors}) == 3


def test_without_core_nodes_executors_are_on_the_primary(start_cluster, primary_of, local_emr, step, add_steps):
    job_flow_id = start_cluster()
    local_emr.clock.advance(300)
    [step_id] = add_steps(job_flow_id, step("--sleep", "1000"))
    assert local_emr.locate(step_id, 1) == local_emr.locate(step_id)
    assert local_emr.locate(step_id).instance_id == primary_of(job_flow_id).id
