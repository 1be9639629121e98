"""Values that EMR refuses with a ValidationException, though botocore sends them."""

from __future__ import annotations

import pytest


@pytest.fixture
def refused_with(refused):
    def check(call, *parts, **params):
        with refused("ValidationException") as caught:
            call(**params)
        message = caught.value.response["Error"]["Message"]
        assert [part for part in parts if part not in message] == []

    return check


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"ActionOnFailure": "NONSENSE"}, ["'NONSENSE' at 'Steps[1].ActionOnFailure'", "CANCEL_AND_WAIT, CONTINUE"]),
        ({"ActionOnFailure": "continue"}, ["'continue' at 'Steps[1].ActionOnFailure'"]),
        ({"HadoopJarStep": {"Jar": ""}}, ["Steps[1]: the path of the jar must not be empty"]),
        ({"HadoopJarStep": {"Jar": " "}}, ["Steps[1]: the path of the jar must not be empty"]),
        ({"Name": "x" * 257}, ["Value at 'Steps[1].Name'", "less than or equal to 256"]),
    ],
)
def test_steps(emr, start_cluster, step, local_emr, refused_with, change, parts):
    """The same at the launch and later; nothing is launched."""
    wrong = {**step(), **change}
    clusters = len(emr.list_clusters()["Clusters"])
    refused_with(start_cluster, *parts, Steps=[wrong])
    assert len(emr.list_clusters()["Clusters"]) == clusters
    job_flow_id = start_cluster()
    refused_with(emr.add_job_flow_steps, *parts, JobFlowId=job_flow_id, Steps=[wrong])
    assert emr.list_steps(ClusterId=job_flow_id)["Steps"] == []


@pytest.mark.parametrize(
    "label", ["emr-99", "emr-99.1.0", "emr-6", "7.5.0", "emr-5.37.0", "emr-6.16.0", "EMR-7.5.0", "emr-7.5.0;", ""]
)
def test_releases_that_there_are_not(start_cluster, refused_with, label):
    refused_with(start_cluster, f"The supplied release label is invalid: {label}.", ReleaseLabel=label)


@pytest.mark.parametrize("label", ["emr-4.9.6", "emr-5.36.2", "emr-6.15.0", "emr-7.0.0", "emr-7.12.0"])
def test_releases_that_there_are(start_cluster, label):
    assert start_cluster(ReleaseLabel=label)


@pytest.mark.parametrize(
    ("group", "where"),
    [
        ({"InstanceRole": "WORKER"}, "Instances.InstanceGroups[1].InstanceRole"),
        ({"Market": "FREE"}, "Instances.InstanceGroups[1].Market"),
    ],
)
def test_values_that_are_none_of_a_set(start_cluster, refused_with, group, where):
    wrong = {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1, **group}
    refused_with(start_cluster, f"at '{where}'", instances={"InstanceGroups": [wrong]})


def test_a_bootstrap_action_without_a_script(start_cluster, refused_with):
    action = {"Name": "x", "ScriptBootstrapAction": {"Path": ""}}
    refused_with(start_cluster, "BootstrapActions[1]: the path of the script", BootstrapActions=[action])
