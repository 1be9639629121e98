"""What EMR refuses of a cluster for its release and its tags."""

from __future__ import annotations

import pytest

POLICY = {"AutoTerminationPolicy": {"IdleTimeout": 600}}
OLD = [
    {"ReleaseLabel": "emr-5.29.0"},
    {"ReleaseLabel": "emr-6.0.1"},
    {"ReleaseLabel": "emr-4.9.6"},
    {"AmiVersion": "3.11.0"},
]
NEW = [{"ReleaseLabel": "emr-5.30.0"}, {"ReleaseLabel": "emr-6.1.0"}, {"ReleaseLabel": "emr-7.5.0"}]


def tags(count, prefix="k"):
    return [{"Key": f"{prefix}{n}", "Value": "v"} for n in range(count)]


@pytest.mark.parametrize("release", OLD, ids=str)
def test_an_old_release_has_no_auto_termination(emr, start_cluster, refused, release):
    with refused("ValidationException"):
        start_cluster(**release, **POLICY)
    job_flow_id = start_cluster(**release)
    with refused("ValidationException"):
        emr.put_auto_termination_policy(ClusterId=job_flow_id, **POLICY)


@pytest.mark.parametrize("release", NEW, ids=str)
def test_a_newer_release_has_it(emr, start_cluster, release):
    job_flow_id = start_cluster(**release, **POLICY)
    assert emr.get_auto_termination_policy(ClusterId=job_flow_id)["AutoTerminationPolicy"] == {"IdleTimeout": 600}


def test_a_fifty_first_tag_is_refused_at_the_launch(start_cluster, refused):
    with refused("ValidationException"):
        start_cluster(Tags=tags(51))


def test_fifty_tags_are_on_the_cluster_and_its_instances_in_addition_to_those_of_aws(
    local_emr, emr, ec2, start_cluster
):
    job_flow_id = start_cluster(Tags=tags(50))
    local_emr.clock.advance(600)
    assert len(emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Tags"]) == 50
    (instance,) = ec2.describe_instances()["Reservations"][0]["Instances"]
    keys = [tag["Key"] for tag in instance["Tags"]]
    assert sum(key.startswith("aws:") for key in keys) > 0
    assert sum(not key.startswith("aws:") for key in keys) == 50


def test_tags_of_a_cluster_count_together_and_a_known_key_once(emr, start_cluster, refused):
    job_flow_id = start_cluster(Tags=tags(49))
    emr.add_tags(ResourceId=job_flow_id, Tags=tags(50))
    with refused("ValidationException"):
        emr.add_tags(ResourceId=job_flow_id, Tags=tags(1, "other"))
