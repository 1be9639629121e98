"""HTTP checks: their parameters, and the meaning of an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.health.checks import DEFAULT_CHECKS, HDFS, LIVY, YARN, HttpCheck, checked_checks


def said(check: HttpCheck, answer: Any, status: int = 200) -> str | None:
    return check.problem_with(status, json.dumps(answer).encode())


def test_the_default_checks_are_those_of_a_primary_node():
    assert [(check.name, check.port) for check in DEFAULT_CHECKS] == [("yarn", 8088), ("hdfs", 9870), ("livy", 8998)]


@pytest.mark.parametrize(
    ("check", "answer", "problem"),
    [
        (YARN, {"clusterInfo": {"state": "STARTED"}}, None),
        (YARN, {"clusterInfo": {"state": "INITED"}}, "clusterInfo.state is 'INITED' (expected 'STARTED')"),
        (YARN, {"clusterInfo": None}, "the answer has no clusterInfo.state"),
        (YARN, ["STARTED"], "the answer has no clusterInfo.state"),
        (HDFS, {"beans": [{"FSState": "Operational"}]}, None),
        (HDFS, {"beans": [{"name": "other"}, {"FSState": "Operational"}]}, None),
        (HDFS, {"beans": [{"FSState": "safeMode"}]}, "beans.FSState is 'safeMode' (expected 'Operational')"),
        (HDFS, {"beans": []}, "the answer has no beans.FSState"),
        (LIVY, {"sessions": []}, None),
    ],
)
def test_the_problem_with_an_answer_is_named(check, answer, problem):
    assert said(check, answer) == problem


def test_an_unexpected_status_is_a_problem():
    assert said(LIVY, {}, 500) == "HTTP status 500 (expected 200)"
    assert said(HttpCheck(name="x", port=1, statuses=(401,)), {}, 401) is None
    assert LIVY.refuses_credentials(401)
    assert not HttpCheck(name="x", port=1, statuses=(401,)).refuses_credentials(401)


def test_an_answer_that_is_not_json_is_a_problem_only_if_values_are_expected():
    assert LIVY.problem_with(200, b"<html>") is None
    assert "not JSON: '<html>" in str(YARN.problem_with(200, b"<html>"))


def test_a_number_in_a_path_is_a_position_in_a_list():
    check = HttpCheck(name="x", port=1, expect={"items.1.up": True})
    assert said(check, {"items": [{"up": False}, {"up": True}]}) is None
    assert said(check, {"items": []}) == "the answer has no items.1.up"


def test_checks_may_be_mappings_and_a_default_check_needs_only_what_differs():
    checks = checked_checks([YARN, {"name": "livy", "port": "8999", "scheme": "https"}, {"name": "ui", "port": 80}])
    assert [check.url("10.0.0.5") for check in checks] == [
        "http://10.0.0.5:8088/ws/v1/cluster/info",
        "https://10.0.0.5:8999/batches?from=0&size=1",
        "http://10.0.0.5:80/",
    ]
    assert checked_checks([check.as_mapping() for check in checks]) == checks
    assert json.loads(json.dumps([check.as_mapping() for check in checks]))
    assert YARN.url("::1") == "http://[::1]:8088/ws/v1/cluster/info"


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ("livy", "not a list of checks"),
        ([3], "this is not a check"),
        ([{"name": "x"}], "has no port"),
        ([{"name": "x", "port": 1, "ports": 2}], "no parameter ports"),
        ([{"name": "emr_state", "port": 1}], "not a name"),
        ([{"name": "a b", "port": 1}], "not a name"),
        ([LIVY, {"name": "livy"}], "more than one check has this name"),
        ([{"name": "livy", "port": 0}], "not a port"),
        ([{"name": "livy", "port": 70000}], "not a port"),
        ([{"name": "livy", "port": "{{ port }}"}], "not a port"),
        ([{"name": "livy", "scheme": []}], "neither 'http' nor 'https'"),
        ([{"name": "livy", "scheme": "ftp"}], "neither 'http' nor 'https'"),
        ([{"name": "livy", "path": "batches"}], "does not begin with '/'"),
        ([{"name": "livy", "path": "/a b"}], "white space"),
        ([{"name": "livy", "statuses": 200}], "not HTTP statuses"),
        ([{"name": "livy", "statuses": [2000]}], "not HTTP statuses"),
        ([{"name": "livy", "timeout_seconds": 0}], "timeout_seconds"),
        ([{"name": "livy", "timeout_seconds": "nan"}], "timeout_seconds"),
        ([{"name": "livy", "expect": "STARTED"}], "not a mapping"),
        ([{"name": "livy", "verify": 3}], "neither a bool nor a path"),
        ([{"name": "livy", "auth_conn_id": 3}], "not the name of a connection"),
    ],
)
def test_a_wrong_check_is_refused_with_a_reason(wrong, why):
    with pytest.raises(InvalidInputError, match=why):
        checked_checks(wrong)


@pytest.mark.parametrize(
    "wrong", ["S3cr3t", ["S3cr3t"], [{"name": "x", "expect": "S3cr3t"}], [{"name": "livy", "expect": "S3cr3t"}]]
)
def test_what_may_contain_a_password_is_not_in_the_error(wrong):
    with pytest.raises(InvalidInputError) as refused:
        checked_checks(wrong)
    assert "S3cr3t" not in str(refused.value)
