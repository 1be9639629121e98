"""Checks of fallbacks: rendered strings are parsed, and errors name the wrong fallback."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.preflight.fallbacks import name_of, read_candidates

FIRST: dict[str, Any] = {"Name": "daily", "Instances": {"Ec2SubnetId": "subnet-a", "InstanceCount": 1}}
TO_B = {"Instances": {"Ec2SubnetId": "subnet-b"}}


@pytest.fixture
def read(stubbed: Any) -> Any:
    shape = stubbed("emr").meta.service_model.operation_model("RunJobFlow").input_shape
    return lambda fallbacks, *, first=FIRST, rounds=1: read_candidates(first, fallbacks, shape=shape, rounds=rounds)


@pytest.mark.parametrize("nothing", [None, "", "None", [], (), "[]"])
def test_without_fallbacks_there_is_one_candidate(read, nothing):
    (only,) = read(nothing)
    assert only.job_flow == FIRST


@pytest.mark.parametrize(
    "fallbacks", [[TO_B], (TO_B,), '[{"Instances": {"Ec2SubnetId": "subnet-b"}}]', [str(TO_B)]], ids=str
)
def test_texts_of_them_are_read(read, fallbacks):
    _, second = read(fallbacks)
    assert second.job_flow == {"Name": "daily", "Instances": {"Ec2SubnetId": "subnet-b", "InstanceCount": 1}}


def test_findings_name_each_by_its_place_in_every_round(read):
    candidates = read([TO_B, {"Name": "other"}], rounds=2)
    names = ["job_flow_overrides", "fallbacks[0]", "fallbacks[1]"]
    assert [name_of(candidate, fallbacks=2) for candidate in candidates] == names * 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (7, "not a mapping"),
        ({"Instnaces": {}}, "unknown parameter 'Instnaces'"),
        ({"LogUri": ""}, "LogUri is empty"),
        ({"Tags": [{"Key": "a", "Value": "b"}, {"Key": " "}]}, "Tags[1].Key is empty"),
        ({"Instances": {"InstanceCount": "2"}}, "Invalid type for parameter Instances.InstanceCount"),
        ({"Name": None}, 'Missing required parameter in input: "Name"'),
    ],
)
def test_a_wrong_one_is_named(read, wrong, said):
    with pytest.raises(InvalidInputError) as error:
        read([TO_B, wrong])
    assert "fallbacks[1]" in str(error.value)
    assert said in str(error.value)


def test_what_is_wrong_with_the_first_choice_is_not_a_fallbacks_fault(read):
    wrong = {**FIRST, "ReleaseLable": "emr-7.5.0"}
    assert len(read([TO_B], first=wrong)) == 2


def test_templates_that_are_not_rendered_yet_are_left_alone(read):
    assert len(read([{"Instances": {"InstanceCount": "{{ n }}"}, "{{ key }}": 1}])) == 2
