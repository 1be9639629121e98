"""The bootstrap action as a node runs it: the shell, the AWS CLI and the metadata service, without EMR around it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.integration.bootstrap_action.conftest import STORE
from tests.pythons import interpreter

CHANGES = {"AssociateAddress", "DisassociateAddress", "PutItem"}


@pytest.fixture
def nothing_changed(local_aws: Any) -> Any:
    return lambda: not [call for call in local_aws.events.calls() if call["operation"] in CHANGES]


def test_the_primary_binds_the_free_address_without_allowing_reassociation(
    nodes, by_hand, parameters, local_aws, associated_instance_of, allocation_id
):
    job_flow_id = by_hand()
    done = nodes.run(job_flow_id, parameters)
    assert done.returncode == 0, done.stdout + done.stderr
    primary = local_aws.cluster(job_flow_id).primary
    assert associated_instance_of() == primary.id
    (call,) = local_aws.events.calls("AssociateAddress")
    assert call["request"]["AllowReassociation"] is False
    assert call["request"]["NetworkInterfaceId"] == primary.nics[0].id
    assert f"is on this node: {primary.nics[0].id} of cluster {job_flow_id}" in done.stdout
    assert all(line[:2] == "20" and line[19:21] == "Z " for line in done.stdout.splitlines())

    again = nodes.run(job_flow_id, parameters)
    assert again.returncode == 0
    assert len(local_aws.events.calls("AssociateAddress")) == 1


def test_other_nodes_do_nothing(nodes, by_hand, local_aws):
    done = nodes.run(by_hand(), "s3://ours/parametersValues.json", primary=False)
    assert done.returncode == 0
    assert done.stdout.endswith("not the primary node: nothing to do\n")
    assert local_aws.events.calls("GetObject") == []


def test_a_busy_address_is_not_moved(nodes, by_hand, parameters, local_aws, allocation_id, associated_instance_of):
    job_flow_id = by_hand()
    thief = local_aws.steal(allocation_id)
    failed = nodes.run(job_flow_id, parameters)
    assert failed.returncode == 1
    assert f"error: {allocation_id} is not free after 0s (on {thief}" in failed.stderr
    went_on = nodes.run(job_flow_id, parameters, "--when-busy", "continue", "--wait", "6s", "--poll", "1")
    assert went_on.returncode == 0
    assert f"waiting: {allocation_id} is on {thief}" in went_on.stdout
    assert "this cluster continues WITHOUT it" in went_on.stdout
    assert associated_instance_of() == thief
    assert local_aws.events.calls("AssociateAddress") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no parameters file is named"),
        (["parametersValues.json"], "unknown argument 'parametersValues.json'"),
        (["s3://a/b", "s3://a/c"], "two parameters files are named: s3://a/b and s3://a/c"),
        (["s3://a/b", "--wait"], "--wait needs a value"),
        (["s3://a/b", "--wait", "soon"], "--wait is 'soon', not a time span"),
        (["s3://a/b", "--when-busy", "steal"], "--when-busy is 'steal', neither fail nor continue"),
        (["s3://a/b", "--poll", "0"], "--poll is 0"),
    ],
)
def test_wrong_arguments_are_named(nodes, by_hand, nothing_changed, arguments, said):
    done = nodes.run(by_hand(), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert nothing_changed()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (None, "reading s3://ours/parametersValues.json"),
        ({"allocationID": "eipalloc-12345678", "clusterVPCID": "vpc-12345678", "VPC": "x"}, "unknown key 'VPC'"),
        (
            {"allocationID": "eipalloc-12345678", "clusterVPCID": "vpc-12345678"},
            "clusterVPCID is vpc-12345678, and this cluster is in vpc-",
        ),
        (
            {"allocationID": "eipalloc-12345678", "clusterVPCID": "HERE"},
            "eipalloc-12345678 does not exist in eu-west-1",
        ),
    ],
)
@pytest.mark.parametrize("lock_store", [None, STORE], ids=["alone", "with a lock store"])
def test_wrong_parameters_are_named_and_change_nothing(
    nodes, by_hand, table, vpc_id, nothing_changed, values, said, lock_store
):
    if values is not None:
        nodes.parameters(json.dumps(values).replace("HERE", vpc_id))
    done = nodes.run(by_hand(), "s3://ours/parametersValues.json", lock_store=lock_store)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert nothing_changed()


def test_the_lock_on_an_older_python_is_refused_before_anything_is_done(nodes, by_hand, local_aws):
    older = interpreter("3.8") or interpreter("3.7")
    if older is None:
        pytest.skip("there is no Python 3.7 or 3.8 here")
    (nodes.path / "python3").unlink()
    (nodes.path / "python3").symlink_to(older)
    done = nodes.run(by_hand(), "s3://ours/parametersValues.json", lock_store=STORE)
    assert done.returncode == 2
    assert "the lock needs Python 3.9 and this release of EMR has an older one: use EMR 7 or newer" in done.stderr
    assert local_aws.events.calls("GetObject") == []


def test_a_machine_that_is_not_a_node_of_emr_fails(nodes, by_hand, tmp_path, nothing_changed):
    done = nodes.run(by_hand(), "s3://ours/p.json", EMR_NODE_INFO=str(tmp_path / "none"))
    assert done.returncode == 1
    assert "instance.json does not have isMaster: this is not a node of an EMR cluster" in done.stderr
    assert nothing_changed()


def test_without_the_lock_an_old_python_is_enough(nodes, by_hand, parameters, associated_instance_of):
    if (older := interpreter("3.7")) is None:
        pytest.skip("there is no Python 3.7 here, which EMR 6 has")
    (nodes.path / "python3").unlink()
    (nodes.path / "python3").symlink_to(older)
    done = nodes.run(by_hand(), parameters)
    assert done.returncode == 0, done.stderr
    assert associated_instance_of() is not None


def test_a_node_without_the_metadata_service_fails_with_its_name(nodes, by_hand, nothing_changed):
    where = "http://127.0.0.1:1"
    done = nodes.run(by_hand(), "s3://ours/p.json", AWS_EC2_METADATA_SERVICE_ENDPOINT=where)
    assert done.returncode == 1
    assert f"the instance metadata service at {where} does not answer" in done.stderr
    assert nothing_changed()


@pytest.mark.parametrize(
    ("operation", "answered_before", "fault", "said"),
    [
        ("DescribeAddresses", 0, {"kind": "throttle"}, "not known to be free: "),
        ("DescribeAddresses", 1, {"kind": "reset"}, "not known to be free: "),
        ("AssociateAddress", 0, {"kind": "throttle"}, "not known to be on this node: "),
        ("AssociateAddress", 0, {"kind": "error", "code": "Unavailable", "status": 503}, "(Unavailable)"),
        ("AssociateAddress", 0, {"kind": "lost_response"}, "not known to be on this node: "),
    ],
)
def test_a_call_without_an_answer_is_repeated_until_the_wait_is_over(
    nodes, by_hand, parameters, local_aws, associated_instance_of, operation, answered_before, fault, said
):
    job_flow_id = by_hand()
    if answered_before:
        local_aws.faults.add(operation=operation, kind="delay", seconds=0, times=answered_before)
    local_aws.faults.add(operation=operation, times=2, **fault)
    once = {"AWS_MAX_ATTEMPTS": "1"}  # the AWS CLI's own retries have ended
    gave_up = nodes.run(job_flow_id, parameters, "--wait", "0", "--when-busy", "continue", **once)
    assert gave_up.returncode == 0, gave_up.stdout + gave_up.stderr
    assert said in gave_up.stdout
    assert "continues WITHOUT it" in gave_up.stdout

    done = nodes.run(job_flow_id, parameters, "--wait", "60s", "--poll", "1", **once)
    assert done.returncode == 0, done.stdout + done.stderr
    assert associated_instance_of() == local_aws.cluster(job_flow_id).primary.id


def test_a_store_that_does_not_answer_is_not_called_a_lease_of_another(nodes, by_hand, parameters, table, local_aws):
    job_flow_id = by_hand()
    local_aws.faults.add(operation="GetItem", kind="error", times=None)
    once = {"AWS_MAX_ATTEMPTS": "1"}
    done = nodes.run(job_flow_id, parameters, lock_store=STORE, **once)
    assert done.returncode == 1
    assert f"is not known to be free: {STORE}, EC2 or EMR does not answer" in done.stderr
    assert "no answer in time: " in done.stdout


def test_warnings_of_the_aws_cli_are_not_part_of_its_answers(nodes, by_hand, parameters, associated_instance_of):
    program = nodes.path / "aws"
    real = program.resolve()
    program.unlink()
    program.write_text(
        f'#!/bin/bash\necho "NotOpenSSLWarning: urllib3 v2 supports OpenSSL 1.1.1+" >&2\nexec {real} "$@"\n'
    )
    program.chmod(0o755)
    done = nodes.run(by_hand(), parameters)
    assert done.returncode == 0, done.stdout + done.stderr
    assert associated_instance_of() is not None


def test_a_lease_whose_association_fails_is_released(nodes, by_hand, parameters, local_aws, record):
    job_flow_id = by_hand()
    local_aws.deny("AssociateAddress")
    refused = nodes.run(job_flow_id, parameters, lock_store=STORE)
    assert refused.returncode == 1
    assert "(UnauthorizedOperation)" in refused.stderr
    assert record().lease is None
    assert [ended.why for ended in record().history] == ["undone"]

    local_aws.faults.clear()
    done = nodes.run(job_flow_id, parameters, lock_store=STORE)
    assert done.returncode == 0, done.stdout + done.stderr
    lease = record().lease
    assert (lease.phase.value, lease.resource_id, lease.token) == ("held", job_flow_id, 2)
    assert lease.attempt.name == f"by-hand/cluster/{job_flow_id}"


@pytest.mark.parametrize("lock_store", [None, STORE], ids=["without a lock", "with a lock"])
def test_an_association_whose_answer_was_lost_is_found_although_ec2_shows_it_late(
    nodes, by_hand, parameters, local_aws, associated_instance_of, lock_store, table
):
    """EC2 gives the same association to who asks again for the same interface, as the AWS CLI does by itself."""
    job_flow_id = by_hand()
    local_aws.faults.add(operation="DescribeAddresses", kind="stale", seconds=60, times=None)
    local_aws.faults.add(operation="AssociateAddress", kind="lost_response")
    done = nodes.run(job_flow_id, parameters, "--wait", "0", "--when-busy", "continue", lock_store=lock_store)
    local_aws.faults.clear()
    assert done.returncode == 0, done.stdout + done.stderr
    primary = local_aws.cluster(job_flow_id).primary
    assert f"is on this node: {primary.nics[0].id}" in done.stdout
    assert associated_instance_of() == primary.id
    assert len(local_aws.events.calls("AssociateAddress")) == 2
