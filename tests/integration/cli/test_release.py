"""``airflow-eip release``, ``status`` and ``wait`` without a lock store."""

from __future__ import annotations

import pytest

from airflow_eip_provider.cli.__main__ import main
from harness.life import Task


def test_release_takes_the_address_off_its_cluster_and_twice_is_fine(elsewhere):
    job_flow_id = elsewhere.launch()
    elsewhere.associate()
    said = elsewhere.about("release", json=False)
    assert said.out == f"Elastic IP {elsewhere.allocation_id} was released from cluster {job_flow_id}\n"
    assert elsewhere.cluster_of_address() is None
    before = elsewhere.mark()
    assert "is not on any cluster: nothing to do" in elsewhere.about("release", json=False).out
    assert elsewhere.run("release", "--parameters", elsewhere.parameters()).result["released"] is False
    assert elsewhere.changes(before) == []


@pytest.mark.parametrize("named", [False, True], ids=["any cluster", "named cluster"])
def test_one_old_answer_does_not_hide_the_association(elsewhere, named):
    job_flow_id = elsewhere.launch()
    elsewhere.aws.remember()
    elsewhere.associate()
    elsewhere.aws.clock.advance(20)
    elsewhere.aws.faults.add(operation="DescribeAddresses", kind="stale", seconds=40, times=1)
    said = elsewhere.about("release", *(["--job-flow-id", job_flow_id] if named else []))
    assert said.result["released"] is True
    assert elsewhere.cluster_of_address() is None


def test_release_from_another_cluster_than_the_holder_changes_nothing(elsewhere):
    other, holding = elsewhere.launch("Other"), elsewhere.launch()
    elsewhere.associate()
    before = elsewhere.mark()
    said = elsewhere.about("release", "--job-flow-id", other, json=False)
    assert (said.status, said.out.endswith(f"is not on cluster {other}: nothing to do\n")) == (0, True)
    assert elsewhere.changes(before) == []
    assert elsewhere.cluster_of_address() == holding


def test_release_of_a_tasks_cluster_needs_its_name(elsewhere, create_operator):
    job_flow_id = Task(create_operator()).run()
    said = elsewhere.about("release")
    assert said.status == 1
    assert "a task of Airflow; its teardown releases it; to release it earlier, name the cluster" in said.err
    assert f"--job-flow-id {job_flow_id}" in said.err
    assert elsewhere.cluster_of_address() == job_flow_id
    assert elsewhere.about("release", "--job-flow-id", job_flow_id).status == 0
    assert elsewhere.cluster_of_address() is None


def test_release_leaves_a_nat_gateway_and_a_plain_instance_alone(elsewhere, ec2, subnet_id):
    (instance,) = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, SubnetId=subnet_id)["Instances"]
    elsewhere.aws.clock.advance(300)
    association = ec2.associate_address(AllocationId=elsewhere.allocation_id, InstanceId=instance["InstanceId"])
    said = elsewhere.about("release")
    assert said.status == 1
    assert f"instance '{instance['InstanceId']}', which is not an EMR cluster" in said.err
    ec2.disassociate_address(AssociationId=association["AssociationId"])
    ec2.create_nat_gateway(SubnetId=subnet_id, AllocationId=elsewhere.allocation_id)
    elsewhere.aws.clock.advance(300)
    before = elsewhere.mark()
    for more in ([], ["--job-flow-id", "j-1ABCDEFGHIJKL"]):
        elsewhere.about("release", *more)
    assert elsewhere.changes(before) == []
    assert elsewhere.about("status").result["permanent"] is True
    elsewhere.launch()
    refused = elsewhere.associate()
    assert refused.status == 1
    assert "which never releases it" in refused.err


def test_status_shows_a_free_address_and_one_that_does_not_exist(elsewhere):
    said = elsewhere.about("status", json=False)
    assert said.out.splitlines()[1:] == ["on          nothing: it is free", "lock store  none"]
    facts = elsewhere.about("status").result
    assert (facts["free"], facts["lease"], facts["history"]) == (True, None, [])
    missing = elsewhere.run("status", "--allocation-id", "eipalloc-0123456789abcdef0")
    assert missing.status == 1
    assert "does not exist in region" in missing.err


def test_wait_ends_when_the_address_is_on_the_cluster(elsewhere):
    job_flow_id = elsewhere.launch()
    elsewhere.meanwhile(100, lambda: main(["associate", "--parameters", elsewhere.parameters()]))
    said = elsewhere.about("wait", "--job-flow-id", job_flow_id)
    assert said.status == 0
    assert said.result["job_flow_id"] == job_flow_id


def test_wait_ends_in_time_with_what_was_seen_last(elsewhere):
    job_flow_id = elsewhere.launch()
    said = elsewhere.about("wait", "--job-flow-id", job_flow_id, "--timeout", "2m", json=False)
    assert (said.status, said.out) == (1, "")
    assert "error: timed out; last state: Elastic IP" in said.err


def test_wait_for_a_cluster_that_has_ended_fails_at_once(elsewhere):
    job_flow_id = elsewhere.launch()
    elsewhere.emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    before = elsewhere.aws.clock.now()
    said = elsewhere.about("wait", "--job-flow-id", job_flow_id)
    assert said.status == 1
    assert f"using cluster '{job_flow_id}': it is TERMINATING" in said.err
    assert elsewhere.aws.clock.now() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["wait"], "nothing to wait for is given; give either --job-flow-id or --free"),
        (["wait", "--free", "--job-flow-id", "j-1ABC"], "both --job-flow-id and --free are given"),
        (["release", "--job-flow-id", "j-lower"], "'j-lower' is not a cluster ID"),
        (["status", "--lock-store", "dynamodb://table/path"], "reading --lock-store: a table has no path"),
    ],
)
def test_wrong_arguments_end_with_status_2(arguments, said, elsewhere):
    ended = elsewhere.about(*arguments)
    assert ended.status == 2
    assert said in ended.err


@pytest.mark.parametrize("command", [["status"], ["release"], ["wait", "--free"]])
def test_an_address_must_be_named_once(command, elsewhere):
    assert "no Elastic IP is named" in elsewhere.run(*command).err
    assert "allocation_id '203.0.113.7'" in elsewhere.run(*command, "--allocation-id", "203.0.113.7").err
    other = elsewhere.parameters(allocationID="eipalloc-0123456789abcdef0")
    said = elsewhere.about(*command, "--parameters", other)
    assert said.status == 2
    assert "give one" in said.err


def test_release_of_a_cluster_that_emr_does_not_know_is_an_error(elsewhere):
    said = elsewhere.about("release", "--job-flow-id", "j-UNKNOWN1")
    assert said.status == 1
    assert "EMR does not know cluster 'j-UNKNOWN1'; check the cluster ID and the region" in said.err


def test_release_while_a_step_runs_says_that_nothing_was_changed_and_how_to_wait(elsewhere):
    job_flow_id = elsewhere.launch()
    elsewhere.associate()
    step = {"Name": "long", "HadoopJarStep": {"Jar": "command-runner.jar", "Args": ["sleep", "9999"]}}
    (step_id,) = elsewhere.emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=[step])["StepIds"]
    before = elsewhere.mark()
    said = elsewhere.about("release")
    assert said.status == 1
    assert f"steps are running: {step_id}; nothing was changed; --wait 2h waits for them" in said.err
    assert elsewhere.changes(before) == []


def test_status_names_the_association_by_which_a_person_frees_the_address(elsewhere):
    elsewhere.launch()
    elsewhere.associate()
    association = elsewhere.about("status").result["association_id"]
    assert f"association {association}\n" in elsewhere.about("status", json=False).out


def test_commands_that_only_read_accept_a_lock_store_that_no_task_has_created_yet(elsewhere):
    store = ["--lock-store", "dynamodb://not-there-yet?create=true"]
    said = elsewhere.about("status", *store, json=False)
    assert said.status == 0
    assert "dynamodb://not-there-yet?create=true (not created yet; the first task creates it)" in said.out
    assert elsewhere.about("status", *store).result["lease"] is None
    assert elsewhere.about("wait", "--free", *store).status == 0
    history = elsewhere.about("history", *store)
    assert (history.status, history.result["leases"]) == (0, [])
    assert "no task has used it yet in region 'eu-west-1'" in history.err
    missing = elsewhere.about("status", "--lock-store", "dynamodb://not-there-yet")
    assert missing.status == 1
    assert "it does not exist in region 'eu-west-1'; check the region, add create=true" in missing.err
