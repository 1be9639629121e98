"""Reads of EC2's status checks."""

from __future__ import annotations

from airflow_eip_provider.aws.instance_status import InstanceStatus, read_instance_statuses


def item(instance_id: str, *, state: str = "running", instance: str = "ok", system: str = "ok") -> dict:
    return {
        "InstanceId": instance_id,
        "InstanceState": {"Name": state},
        "InstanceStatus": {"Status": instance},
        "SystemStatus": {"Status": system},
    }


def asked(*instance_ids: str) -> dict:
    return {"InstanceIds": list(instance_ids), "IncludeAllInstances": True}


def test_many_are_asked_for_in_one_call_whatever_their_state(stubbed):
    answer = {"InstanceStatuses": [item("i-1", system="impaired"), item("i-2", state="terminated")]}
    ec2 = stubbed("ec2", ("describe_instance_status", answer, asked("i-1", "i-2")))
    assert read_instance_statuses(ec2, {"i-2", "i-1"}) == {
        "i-1": InstanceStatus("i-1", "running", "ok", "impaired"),
        "i-2": InstanceStatus("i-2", "terminated", "ok", "ok"),
    }


def test_one_that_ec2_does_not_know_does_not_hide_the_others(stubbed):
    unknown = "InvalidInstanceID.NotFound"
    ec2 = stubbed(
        "ec2",
        ("describe_instance_status", unknown, asked("i-1", "i-2")),
        ("describe_instance_status", {"InstanceStatuses": [item("i-1")]}, asked("i-1")),
        ("describe_instance_status", unknown, asked("i-2")),
        ("describe_instance_status", unknown, asked("i-2")),
    )
    assert list(read_instance_statuses(ec2, ["i-1", "i-2"])) == ["i-1"]
    assert read_instance_statuses(ec2, ["i-2"]) == {}
    assert read_instance_statuses(ec2, []) == {}


def test_a_hundred_are_asked_for_at_a_time(stubbed):
    names = [f"i-{n:03}" for n in range(101)]
    ec2 = stubbed(
        "ec2",
        ("describe_instance_status", {"InstanceStatuses": [item(name) for name in names[:100]]}, asked(*names[:100])),
        ("describe_instance_status", {"InstanceStatuses": [item(names[100])]}, asked(names[100])),
    )
    assert len(read_instance_statuses(ec2, names)) == 101
