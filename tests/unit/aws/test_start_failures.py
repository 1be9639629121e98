"""Why a cluster did not start, and whether another candidate may start."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.start_failures import (
    ERROR_DETAILS,
    REFUSALS,
    STATE_CHANGES,
    refused_start,
    start_failure,
)

CREATED = datetime(2026, 11, 20, 3, 0, tzinfo=UTC)
DEADLINE = CREATED.timestamp() + 2700


class Emr:
    """An EMR that describes one cluster."""

    def __init__(self, **status: Any) -> None:
        self._status = {"State": "TERMINATED_WITH_ERRORS", "Timeline": {"CreationDateTime": CREATED}, **status}

    def describe_cluster(self, ClusterId: str) -> dict[str, Any]:  # noqa: N803 - boto3's
        return {"Cluster": {"Id": ClusterId, "Name": "daily", "Status": self._status}}


def judged(
    *, details: tuple[str, ...] = (), code: str = "", message: str = "", now: float = DEADLINE - 60, **status: Any
) -> tuple[str, bool]:
    change = {"Code": code, "Message": message} if code else {}
    given = [{"ErrorCode": detail, "ErrorMessage": "says EMR"} for detail in details]
    cluster = read_cluster(Emr(StateChangeReason=change, ErrorDetails=given, **status), "j-1")
    assert cluster is not None
    failure = start_failure(cluster, deadline=DEADLINE, now=now)
    return failure.code, failure.moves_on


@pytest.mark.parametrize("code", [code for code, what in ERROR_DETAILS.items() if what == "move on"])
def test_a_code_of_capacity_or_zone_moves_on(code):
    assert judged(details=(code,), code=code.split("_ERROR")[0] + "_ERROR") == (code, True)


@pytest.mark.parametrize("code", [code for code, what in ERROR_DETAILS.items() if what == "fail"])
def test_any_other_code_of_errordetails_fails_at_once(code):
    assert judged(details=(code,), code="INTERNAL_ERROR", message="insufficient capacity") == (code, False)


@pytest.mark.parametrize("code", [code for code, what in STATE_CHANGES.items() if what == "fail"])
def test_a_state_change_without_details_fails_at_once(code):
    assert judged(code=code, message="whatever it says") == (code, False)
    assert judged(details=(code,), code=code, message="and says so twice") == (code, False)


def test_a_lost_instance_is_a_lost_primary():
    assert judged(code="INSTANCE_FAILURE", message="the master node was terminated") == ("primary_lost", True)


@pytest.mark.parametrize(
    ("code", "message", "moves_on"),
    [
        (
            "VALIDATION_ERROR",
            "The requested instance type c4.large is not supported in the requested availability zone.",
            True,
        ),
        ("INTERNAL_ERROR", "We currently do not have sufficient m5.xlarge capacity in the Availability Zone", True),
        ("VALIDATION_ERROR", "The requested instance type m5.xlarge is not available: insufficient capacity", True),
        ("VALIDATION_ERROR", "Subnet does not have enough free addresses", True),
        ("INTERNAL_ERROR", "Request exceeds the EC2 service quota for that type.", False),
        ("INTERNAL_ERROR", "Failed to provision instances due to throttling from Amazon EC2", False),
        ("BOOTSTRAP_FAILURE", "the script says: insufficient capacity", False),
    ],
)
def test_only_where_emr_has_no_code_its_text_decides(code, message, moves_on):
    assert judged(code=code, message=message) == (code, moves_on)


def test_a_code_that_is_not_known_is_no_reason_to_move_on():
    assert judged(details=("INTERNAL_ERROR_OF_TOMORROW",), code="INTERNAL_ERROR", message="insufficient capacity") == (
        "INTERNAL_ERROR_OF_TOMORROW",
        False,
    )


def test_one_code_that_fails_everywhere_is_enough():
    both = ("INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ", "BOOTSTRAP_FAILURE_PRIMARY_WITH_NON_ZERO_CODE")
    assert not judged(details=both)[1]


@pytest.mark.parametrize(
    ("seconds", "ready", "code", "moves_on"),
    [
        (2700, False, "start_timeout", True),
        (2699, False, "USER_REQUEST", False),
        (2700, True, "USER_REQUEST", False),
        (None, False, "start_timeout", True),
    ],
)
def test_what_was_terminated_after_its_deadline_without_a_start_ended_because_of_that(seconds, ready, code, moves_on):
    timeline: dict[str, Any] = {"CreationDateTime": CREATED}
    if seconds is not None:
        timeline["EndDateTime"] = datetime.fromtimestamp(CREATED.timestamp() + seconds, UTC)
    if ready:
        timeline["ReadyDateTime"] = CREATED
    state = "TERMINATING" if seconds is None else "TERMINATED"
    given: dict[str, Any] = {"code": "USER_REQUEST", "State": state, "Timeline": timeline}
    assert judged(**given, now=DEADLINE + 60) == (code, moves_on)


def refusal(code: str, message: str = "no", status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}, "RunJobFlow"
    )


@pytest.mark.parametrize(("code", "what"), REFUSALS.items())
def test_a_refused_launch_is_recognized_by_its_code(code, what):
    found = refused_start(refusal(code))
    assert (found is not None) == (what == "move on")
    assert found is None or (found.code, found.reason, found.moves_on) == (code, "no", True)


def test_a_validation_that_names_the_zone_moves_on():
    text = "The requested instance type m9.huge is not supported in the requested availability zone."
    assert refused_start(refusal("ValidationException", text)) is not None


def test_what_is_no_answer_of_aws_is_no_refusal():
    assert refused_start(ReadTimeoutError(endpoint_url="x")) is None


def test_an_unknown_code_together_with_a_capacity_code_is_no_reason_to_try_the_next_candidate():
    # "Whatever is not in these tables is no reason to move on."
    details = ("INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ", "SOME_QUOTA_OF_THE_ACCOUNT")
    assert judged(details=details, code="INTERNAL_ERROR")[1] is False


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("VALIDATION_ERROR", "You do not have sufficient permissions to use the KMS key of the volumes"),
        ("INTERNAL_ERROR", "Your quota allows for 0 more running instance(s). You requested at least 1"),
        ("INTERNAL_ERROR", "You have requested more vCPU capacity than your current vCPU limit of 0 allows for"),
    ],
)
def test_permissions_and_quotas_are_no_want_of_capacity(code, message):
    # Made-up words for permissions; EC2's own for quotas. Only capacity that is insufficient may move on.
    assert judged(code=code, message=message) == (code, False)
