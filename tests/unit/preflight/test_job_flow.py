"""The checks of RunJobFlow's parameters, with valid and invalid ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_eip_provider.preflight import job_flow as checks
from airflow_eip_provider.preflight.setup import Setup
from airflow_eip_provider.preflight.templates import without_templates

KEEP = {"KeepJobFlowAliveWhenNoSteps": True}
POLICY = {"AutoTerminationPolicy": {"IdleTimeout": 600}}


def setup(job_flow: dict[str, Any] | None, *, emr: Any = None, **given: Any) -> Setup:
    hook: Any = SimpleNamespace(conn=emr)
    return Setup(allocation_id="eipalloc-1", eip=hook, emr=hook, job_flow=job_flow, **given)


def said(check: Any, job_flow: dict[str, Any], **given: Any) -> list[tuple[str, str]]:
    return [(finding.severity, finding.what) for finding in check.find(setup(job_flow, **given))]


@pytest.mark.parametrize(
    ("job_flow", "what"),
    [
        ({"Name": "x", "Instances": {}}, None),
        ({"Name": "x"}, "'Instances' is missing"),
        ({"Name": "x", "Instances": {}, "Nmae": 1}, 'Unknown parameter in input: "Nmae"'),
        ({"Name": 1, "Instances": {}}, "Invalid type for parameter Name"),
    ],
)
def test_names_and_types_are_run_job_flows(stubbed, job_flow, what):
    found = said(checks.shape, job_flow, emr=stubbed("emr"))
    assert [severity for severity, _ in found] == ["error"] * (what is not None)
    assert what is None or what in found[0][1]


@pytest.mark.parametrize(
    ("password", "kind"), [(73519864, "int"), (["S3cr3t"], "list"), ("S3cr3t,\ntype: S3cr3t", "str")], ids=repr
)
def test_the_value_of_a_wrong_type_may_be_a_password_and_is_left_out(stubbed, password, kind):
    properties = {"javax.jdo.option.ConnectionPassword": password, "javax.jdo.option.ConnectionUserName": 73519864}
    classification = {"Classification": "hive-site", "Properties": password if kind == "str" else properties}
    given = {"Name": "x", "Instances": {}, "Configurations": [classification]}
    [finding] = checks.shape.find(setup(given, emr=stubbed("emr")))
    assert f"type: <class '{kind}'>" in finding.what
    assert "S3cr3t" not in str(finding)
    assert "73519864" not in str(finding)


@pytest.mark.parametrize(
    ("job_flow", "given", "found"),
    [
        ({"Instances": KEEP}, {}, 0),
        ({"Instances": {}}, {}, 1),
        ({"Instances": {}}, {"accept_self_termination": True}, 0),
        ({"Instances": {}, "Steps": [{}]}, {}, 2),
    ],
)
def test_the_cluster_waits_for_its_steps(job_flow, given, found):
    assert len(said(checks.lifetime, job_flow, **given)) == found


@pytest.mark.parametrize(
    ("job_flow", "given", "severity"),
    [
        ({"ReleaseLabel": "emr-7.5.0", **POLICY}, {}, []),
        ({"ReleaseLabel": "emr-5.29.0", **POLICY}, {}, ["error"]),
        ({"ReleaseLabel": "emr-5.29.0"}, {}, ["warning"]),
        ({"ReleaseLabel": "emr-6.3.0"}, {}, ["warning"]),
        ({"ReleaseLabel": "emr-5.29.0"}, {"ends_idle": False}, []),
    ],
)
def test_what_a_release_lacks_is_found(job_flow, given, severity):
    assert [found for found, _ in said(checks.idle_termination, job_flow, **given)] == severity


GROUPS = {"InstanceGroups": [{"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1}]}
FLEETS = {"InstanceFleets": [{"InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1}]}
SUBNETS = ["subnet-a", "subnet-b"]


@pytest.mark.parametrize(
    ("instances", "what"),
    [
        (GROUPS, None),
        (FLEETS, None),
        ({"MasterInstanceType": "m5.xlarge", "SlaveInstanceType": "m5.xlarge", "InstanceCount": 3}, None),
        ({**GROUPS, **FLEETS}, "by InstanceGroups and InstanceFleets"),
        ({**GROUPS, "MasterInstanceType": "m5.xlarge"}, "by InstanceGroups and MasterInstanceType"),
        ({}, "no nodes"),
        ({"InstanceGroups": [], "InstanceFleets": []}, "no nodes"),
        ({**FLEETS, "Ec2SubnetIds": SUBNETS}, None),
        ({**GROUPS, "Ec2SubnetIds": SUBNETS[:1]}, None),
        ({**GROUPS, "Ec2SubnetIds": SUBNETS}, "Ec2SubnetIds has 2 subnets"),
        ({**FLEETS, "Ec2SubnetIds": SUBNETS, "Ec2SubnetId": "subnet-a"}, "both Ec2SubnetId"),
        ({**GROUPS, "Ec2SubnetId": ""}, "a subnet ID in Instances is empty"),
        ({**FLEETS, "Ec2SubnetIds": ["subnet-a", " "]}, "a subnet ID in Instances is empty"),
    ],
)
def test_the_nodes_and_their_subnets_are_described_in_one_way(instances, what):
    found = said(checks.values, {"Instances": instances})
    assert [severity for severity, _ in found] == ["error"] * (what is not None)
    assert what is None or what in found[0][1]


@pytest.mark.parametrize("place", ["Instances", "Instances.InstanceGroups", "Instances.InstanceGroups.InstanceType"])
def test_nodes_that_a_template_describes_are_unknown_and_not_missing(place):
    assert said(checks.values, {"Instances": {}}, templated=frozenset({place})) == []
    assert said(checks.values, {"Instances": {}}, templated=frozenset({"Instances.Ec2SubnetId"})) != []


@pytest.mark.parametrize(
    ("parameters", "what"),
    [
        *[({"ReleaseLabel": label}, None) for label in ("emr-4.9.6", "emr-7.12.0", "emr-10.0.0", "emr-spark-8.0.0")],
        ({"ReleaseLabel": "emr-7.5.0-preview.1"}, None),
        *[({"AmiVersion": version}, None) for version in ("3.11.0", "2.4", "latest")],
        *[
            ({"ReleaseLabel": label}, f"ReleaseLabel is {label!r}")
            for label in ("", "abc", "7.5.0", "emr-7", "{{ x }}")
        ],
        ({"AmiVersion": ""}, "AmiVersion is ''"),
        ({"ReleaseLabel": "emr-7.5.0", "AmiVersion": "3.11.0"}, "both ReleaseLabel and AmiVersion"),
        ({"AutoTerminationPolicy": {"IdleTimeout": 60}}, None),
        ({"AutoTerminationPolicy": {}}, None),
        *[({"AutoTerminationPolicy": {"IdleTimeout": n}}, "IdleTimeout is") for n in (0, 30, 59, 604801, True)],
        ({"BootstrapActions": [{"Name": "x", "ScriptBootstrapAction": {"Path": "s3://b/x"}}]}, None),
        ({"BootstrapActions": [{"Name": "x", "ScriptBootstrapAction": {"Path": " "}}]}, "BootstrapActions[0]"),
    ],
    ids=str,
)
def test_values_that_emr_refuses_are_found(parameters, what):
    found = said(checks.values, {"Instances": GROUPS, **parameters})
    assert [severity for severity, _ in found] == ["error"] * (what is not None)
    assert what is None or what in found[0][1]


def test_a_tag_without_a_key_is_found():
    assert "no Key" in said(checks.tags, {"Tags": [{"Value": "x"}, {"Value": "y"}]})[0][1]


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        (["a"], 0),
        (["AWS:x"], 1),
        ([f"k{n}" for n in range(50)], 1),
        (["airflow-eip:owner"], 1),
        (["airflow-eip:keep"], 0),
        (["a", "a"], 1),
        (["a", "A"], 0),
    ],
)
def test_emr_takes_the_tags(keys, found):
    assert len(said(checks.tags, {"Tags": [{"Key": key} for key in keys]})) == found


@pytest.mark.parametrize(
    ("instances", "primaries", "others"),
    [
        ({}, 1, 0),
        ({"InstanceCount": 3}, 1, 2),
        ({"InstanceGroups": [{"InstanceRole": "MASTER", "InstanceCount": 3}]}, 3, 0),
        (
            {"InstanceFleets": [
                {"InstanceFleetType": "MASTER", "TargetSpotCapacity": 1},
                {"InstanceFleetType": "CORE", "TargetOnDemandCapacity": 2, "TargetSpotCapacity": 1},
            ]}, 1, 3,
        ),
    ],
)  # fmt: skip
def test_nodes_are_counted_in_every_way_to_ask_for_them(instances, primaries, others):
    job_flow = {"Instances": instances}
    assert len(said(checks.one_primary, job_flow)) == (primaries != 1)
    for choice, severities in (("fail", ["error"]), ("warn", ["warning"]), ("allow", [])):
        found = said(checks.topology, job_flow, on_multi_node=choice)
        assert [severity for severity, _ in found] == (severities if others else [])
        assert all(f"{others} core or task nodes" in what for _, what in found)


def test_templates_are_left_out_and_what_is_demanded_has_a_stand_in(stubbed):
    shape = stubbed("emr").meta.service_model.operation_model("RunJobFlow").input_shape
    group = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": "{{ n }}"}
    given = {"Name": "{{ ds }}", "LogUri": "{{ uri }}", "Instances": {"InstanceGroups": [group]}}
    known, places = without_templates(given, shape)
    assert places == {"Name", "LogUri", "Instances.InstanceGroups.InstanceCount"}
    assert known == {"Name": "{{ ds }}", "Instances": {"InstanceGroups": [{**group, "InstanceCount": 1}]}}


@pytest.mark.parametrize(
    ("templated", "place", "skipped"),
    [
        ("Instances.Ec2SubnetId", "Instances.Ec2SubnetId", True),
        ("Instances", "Instances.Ec2SubnetId", True),
        ("Tags.Value", "Tags", True),
        ("Instances.Ec2SubnetIds", "Instances.Ec2SubnetId", False),
        ("Tags.Value", "Tags.Key", False),
    ],
)
def test_a_check_is_skipped_for_a_template_in_what_it_reads_and_around_it(templated, place, skipped):
    assert (setup({}, templated=frozenset({templated})).template_at(place) is not None) is skipped
