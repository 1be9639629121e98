"""The candidates of a launch."""

from __future__ import annotations

import copy

import pytest

from airflow_eip_provider.candidates import candidates_of, merge_patch
from airflow_eip_provider.exceptions import InvalidInputError

FIRST = {"Name": "daily", "Instances": {"Ec2SubnetId": "subnet-a", "InstanceCount": 1}, "Steps": [1, 2]}


# RFC 7396, appendix A: the cases whose target and patch are objects.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_a_merge_patch_follows_its_standard(target, patch, result):
    assert merge_patch(target, patch) == result


def test_every_fallback_is_merged_over_the_first_choice_and_changes_nothing_that_was_given():
    given = copy.deepcopy(FIRST)
    to_b = {"Instances": {"Ec2SubnetId": "subnet-b"}}
    to_fleet = {"Instances": {"Ec2SubnetId": None, "Ec2SubnetIds": ["subnet-b", "subnet-c"]}, "Steps": None}
    first, second, third = candidates_of(given, [to_b, to_fleet])
    assert first.job_flow == given == FIRST
    assert second.job_flow == {**FIRST, "Instances": {"Ec2SubnetId": "subnet-b", "InstanceCount": 1}}
    assert third.job_flow == {
        "Name": "daily",
        "Instances": {"Ec2SubnetIds": ["subnet-b", "subnet-c"], "InstanceCount": 1},
    }


def test_a_binding_belongs_to_its_candidate_and_not_to_the_job_flow():
    binding = {"public_subnet_id": "subnet-pb", "route_table_ids": ["rtb-b"]}
    first, second = candidates_of(FIRST, [{"Instances": {"Ec2SubnetId": "subnet-b"}, "binding": binding}])
    assert (first.binding_override, second.binding_override) == (None, binding)
    assert "binding" not in second.job_flow


def test_rounds_go_through_the_whole_list_again_and_go_on_counting():
    candidates = candidates_of(FIRST, [{"ReleaseLabel": "emr-7.5.0"}], rounds=2)
    assert [candidate.number for candidate in candidates] == [0, 1, 2, 3]
    assert [candidate.job_flow.get("ReleaseLabel") for candidate in candidates] == [None, "emr-7.5.0"] * 2


@pytest.mark.parametrize(
    ("fallbacks", "rounds"),
    [
        ("[]", 1),
        ({"Instances": {}}, 1),
        (["subnet-b"], 1),
        ([{}], 1),
        ([], 0),
        ([], True),
        ([], 1.5),
        ([{"Name": "other"}], 26),
    ],
)
def test_a_wrong_form_is_refused(fallbacks, rounds):
    with pytest.raises(InvalidInputError, match="fallback"):
        candidates_of(FIRST, fallbacks, rounds)
