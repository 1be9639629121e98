"""The report of wrong parameters names them without their values."""

from __future__ import annotations

import boto3
import pytest

from airflow_eip_provider.aws.parameters import parameter_problems


@pytest.fixture(scope="module")
def request_shape():
    emr = boto3.client("emr", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    return emr.meta.service_model.operation_model("RunJobFlow").input_shape


def test_valid_parameters_have_no_problems(request_shape):
    assert parameter_problems({"Name": "x", "Instances": {"InstanceCount": 1}, "Tags": []}, request_shape) == ""


@pytest.mark.parametrize("secret", ["S3cr3t", "two, type: <class 'str'> S3cr3t", "two\nlines S3cr3t"])
@pytest.mark.parametrize("wrap", [list, tuple, lambda texts: texts[0].encode(), lambda texts: {"key": texts[0]}])
def test_no_problem_contains_a_value(request_shape, secret, wrap):
    wrong = {"Name": "x", "Instances": {}, "Configurations": [{"Properties": {"password": wrap([secret])}}]}
    problems = parameter_problems(wrong, request_shape)
    assert "Configurations[0].Properties.password" in problems
    assert "S3cr3t" not in problems
