"""``airflow-eip doctor`` on a file with templates: what depends on them is skipped and listed; the rest is checked."""

from __future__ import annotations

import json

import pytest

SUBNETS = ["auto-assign", "border-group", "exposure", "instance-types", "route", "security-groups", "subnet", "zone"]
TYPES = ["instance-types"]
GROUPS = ["exposure", "security-groups"]
SIZES = ["primary", "topology"]


def skipped(said):
    return {c["check"]: c["skipped"] for c in said.result["checks"] if c["skipped"] and c["check"] != "lock-store"}


def group(**given):
    return {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1, **given}


@pytest.mark.parametrize(
    ("given", "instances", "templates", "without"),
    [
        ({"Name": "daily-{{ ds }}", "ReleaseLabel": "{{ var.value.release }}"}, {}, ["Name", "ReleaseLabel"], ["idle"]),
        ({}, {"Ec2SubnetId": "{{ var.value.subnet }}"}, ["Instances.Ec2SubnetId"], SUBNETS),
        ({}, {"InstanceGroups": [group(InstanceCount="{{ n }}")]}, ["Instances.InstanceGroups.InstanceCount"], SIZES),
        ({}, {"InstanceGroups": [group(InstanceType="{{ t }}")]}, ["Instances.InstanceGroups.InstanceType"], TYPES),
        ({}, {"InstanceGroups": "{{ groups }}"}, ["Instances.InstanceGroups"], TYPES + SIZES),
        ({}, {"KeepJobFlowAliveWhenNoSteps": "{% if x %}"}, ["Instances.KeepJobFlowAliveWhenNoSteps"], ["lifetime"]),
        ({}, {"EmrManagedMasterSecurityGroup": "{{ g }}"}, ["Instances.EmrManagedMasterSecurityGroup"], GROUPS),
        ({"Tags": "{{ tags }}"}, {}, ["Tags"], ["tags"]),
        ({"Tags": [{"Key": "k", "Value": "{{ ds }}"}]}, {}, ["Tags.Value"], []),
        ({"LogUri": "s3://{{ bucket }}/", "Applications": ["{{ a }}"]}, {}, ["Applications", "LogUri"], []),
        ({"StepConcurrencyLevel": "{{ n }}"}, {}, ["StepConcurrencyLevel"], []),
    ],
    ids=lambda value: f"{value!s:.50}",
)
def test_only_what_depends_on_it_is_skipped(examine, overrides, given, instances, templates, without):
    overrides.update(given)
    overrides["Instances"].update(instances)
    said = examine()
    assert said.status == 0
    assert said.all_found == {}
    assert said.result["templates"] == templates
    assert sorted(skipped(said)) == without
    for reason in skipped(said).values():
        assert "template" in reason or "it depends on" in reason


def test_instances_as_a_template_leave_nothing_to_check(examine, overrides):
    overrides["Instances"] = "{{ var.json.instances }}"
    said = examine()
    assert said.status == 0
    assert skipped(said)["job-flow"] == "Instances: a template, whose value is known when the task runs"


def test_a_problem_outside_of_a_template_is_found(examine, overrides):
    overrides["Name"] = "{{ ds }}"
    overrides["ReleaseLable"] = "emr-7.5.0"
    said = examine()
    assert said.status == 3
    assert "ReleaseLable" in str(said.all_found)


def test_the_table_names_the_templates_too(clocked, allocation_id, overrides, tmp_path, run):
    overrides["Instances"]["Ec2SubnetId"] = "{{ var.value.subnet }}"
    (tmp_path / "cluster.json").write_text(json.dumps(overrides), encoding="utf-8")
    said = run("doctor", "--allocation-id", allocation_id, "--job-flow-overrides", str(tmp_path / "cluster.json"))
    assert said.status == 0
    assert "templates, whose values are known only when the task runs: Instances.Ec2SubnetId" in said.out + said.err
    assert "does not exist" not in said.out + said.err


@pytest.mark.parametrize(
    ("text", "said"),
    [('{"Count": {{ n }}}', "it contains templates: put each into a string"), ("[" * 100_000, "it is not JSON")],
    ids=["template", "deep"],
)
def test_a_file_that_is_not_json_is_reported_with_the_reason(clocked, allocation_id, tmp_path, run, text, said):
    (tmp_path / "cluster.json").write_text(text, encoding="utf-8")
    ended = run("doctor", "--allocation-id", allocation_id, "--job-flow-overrides", str(tmp_path / "cluster.json"))
    assert ended.status == 2
    assert said in ended.err
