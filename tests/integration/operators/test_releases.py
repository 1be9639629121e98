"""EMR releases without AutoTerminationPolicy: it is left out, and said what remains."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.releases import auto_termination
from harness.life import Task

NONE, YARN_ONLY, FULL = "none", "yarn only", "full"
# Amazon EMR Management Guide, "Using an auto-termination policy".
RELEASES = [
    ("emr-4.9.6", NONE),
    ("emr-5.9.1", NONE),
    ("emr-5.29.0", NONE),
    ("emr-5.30.0", YARN_ONLY),
    ("emr-5.33.1", YARN_ONLY),
    ("emr-5.34.0", FULL),
    ("emr-5.36.2", FULL),
    ("emr-6.0.1", NONE),
    ("emr-6.1.0", YARN_ONLY),
    ("emr-6.3.1", YARN_ONLY),
    ("emr-6.4.0", FULL),
    ("emr-6.15.0", FULL),
    ("emr-7.5.0", FULL),
    ("emr-10.0.0", FULL),
    ("emr-spark-8.0.0", FULL),
]


@pytest.mark.parametrize(("label", "support"), RELEASES)
def test_what_a_release_can_do(label, support):
    assert auto_termination({"ReleaseLabel": label}) == support


def test_ami_versions_cannot_and_an_unnamed_release_is_taken_for_a_new_one():
    assert auto_termination({"AmiVersion": "3.11.0"}) == NONE
    assert auto_termination({}) == FULL


@pytest.mark.parametrize(
    ("label", "support"),
    [(r, s) for r, s in RELEASES if r in {"emr-5.29.0", "emr-6.0.1", "emr-5.30.0", "emr-6.3.1", "emr-7.5.0"}],
)
def test_a_cluster_has_the_policy_if_its_release_can(
    clocked, create_operator, overrides, emr, deferrable, logged, label, support
):
    overrides["ReleaseLabel"] = label
    job_flow_id = Task(create_operator(deferrable=deferrable)).run()
    policy = emr.get_auto_termination_policy(ClusterId=job_flow_id).get("AutoTerminationPolicy")
    assert policy == (None if support == NONE else {"IdleTimeout": 3600})
    said = logged()
    assert ("does not support AutoTerminationPolicy, so none is sent" in said) is (support == NONE)
    assert ("'airflow-eip reap'" in said) is (support == NONE)
    assert ("neither a YARN application nor a Spark job" in said) is (support == YARN_ONLY)


def test_the_warning_comes_once(clocked, create_operator, overrides, logged):
    overrides["ReleaseLabel"] = "emr-5.29.0"
    Task(create_operator()).run()
    assert logged().count("does not support AutoTerminationPolicy") == 1


def test_an_ami_version_is_like_an_old_release(clocked, create_operator, overrides, emr):
    del overrides["ReleaseLabel"]
    overrides["AmiVersion"] = "3.11.0"
    job_flow_id = Task(create_operator()).run()
    assert "AutoTerminationPolicy" not in emr.get_auto_termination_policy(ClusterId=job_flow_id)


@pytest.mark.parametrize("label", ["emr-5.29.0", "emr-7.5.0"])
def test_none_turns_it_off_without_a_warning(clocked, create_operator, overrides, emr, logged, label):
    overrides["ReleaseLabel"] = label
    job_flow_id = Task(create_operator(idle_timeout=None)).run()
    assert "AutoTerminationPolicy" not in emr.get_auto_termination_policy(ClusterId=job_flow_id)
    assert "AutoTerminationPolicy" not in logged()


def test_the_overrides_have_the_last_word(clocked, create_operator, overrides, emr):
    overrides["AutoTerminationPolicy"] = {"IdleTimeout": 600}
    job_flow_id = Task(create_operator(idle_timeout=timedelta(hours=2))).run()
    assert emr.get_auto_termination_policy(ClusterId=job_flow_id)["AutoTerminationPolicy"] == {"IdleTimeout": 600}


@pytest.mark.parametrize(
    "release", [{"ReleaseLabel": "emr-5.29.0"}, {"ReleaseLabel": "emr-6.0.0"}, {"AmiVersion": "3.11.0"}], ids=str
)
def test_a_policy_in_the_overrides_of_such_a_release_is_refused(
    clocked, create_operator, overrides, release, assert_nothing_changed
):
    del overrides["ReleaseLabel"]
    overrides.update(release, AutoTerminationPolicy={"IdleTimeout": 600})
    with pytest.raises(
        AirflowFailException, match=f"they have an AutoTerminationPolicy, which .*{next(iter(release.values()))}"
    ):
        Task(create_operator()).run()
    assert_nothing_changed()


@pytest.mark.parametrize("count", [40, 41])
def test_more_tags_than_emr_takes_are_refused(clocked, create_operator, overrides, count, assert_nothing_changed):
    overrides["Tags"] = [{"Key": f"k{n}", "Value": "v"} for n in range(count)]
    task = Task(create_operator())
    if count == 40:
        assert task.run()
        return
    with pytest.raises(
        AirflowFailException, match=r"Tags has 41 tags, and this provider adds up to 10.*give at most 40"
    ):
        task.run()
    assert_nothing_changed()


def test_a_tag_of_aws_is_refused(clocked, create_operator, overrides, assert_nothing_changed):
    overrides["Tags"] = [{"Key": "aws:team", "Value": "v"}]
    with pytest.raises(AirflowFailException, match="'aws:team'"):
        Task(create_operator()).run()
    assert_nothing_changed()
