"""Step logs that are cut, damaged, empty or missing: what can be read is shown; the failure is the error."""

from __future__ import annotations

import gzip
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from airflow_eip_provider.aws.clusters import _step
from airflow_eip_provider.aws.step_logs import StepLogs, read_logs_written
from airflow_eip_provider.exceptions import StepFailedError
from airflow_eip_provider.hooks.step_logs import StepLogHook
from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = [f"line {number}" for number in range(100)]
WHOLE = gzip.compress("\n".join(LINES).encode(), mtime=0)
LOGS = StepLogs.of(log_uri="s3://logs/emr/", job_flow_id="j-1", step_id="s-1")


@pytest.fixture
def tail(s3: Any, clocked: Any) -> Callable[..., dict[str, list[str]]]:
    """Put log objects into the bucket, and return what is shown of them."""
    s3.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def tail(lines: int = 40, **bodies: bytes) -> dict[str, list[str]]:
        for stream, body in bodies.items():
            s3.put_object(Bucket="logs", Key=LOGS.key(stream), Body=body)
        return dict(StepLogHook(aws_conn_id=None).tail(LOGS, lines=lines))

    return tail


@pytest.mark.parametrize(
    ("body", "last", "reason"),
    [
        (WHOLE, "line 99", None),
        (WHOLE + gzip.compress(b"\nmore"), "more", None),
        (WHOLE[:-8], "line 99", "it is truncated: the end of the gzip data is missing"),
        (WHOLE[:-8] + b"\xff" * 8, "line 98", "it is damaged"),
        ("\n".join(LINES).encode(), "line 99", None),  # plain text
        ("\r\n".join(LINES).encode(), "line 99", None),
        (gzip.compress("naïve \N{SNOWMAN}\n".encode()), "naïve \N{SNOWMAN}", None),
        (gzip.compress(b"\xff\xfe not UTF-8"), "\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER} not UTF-8", None),
    ],
    ids=["whole", "two parts", "cut", "damaged", "plain", "plain with CRLF", "not ASCII", "not UTF-8"],
)
def test_what_can_be_read_is_shown(tail, body, last, reason):
    shown = tail(stdout=body, stderr=gzip.compress(b""))["stdout"]
    if reason is None:
        assert shown[-1] == last
    else:
        assert last in shown
        assert shown[-1].startswith(f"(s3://logs/emr/j-1/steps/s-1/stdout.gz cannot be read to its end: {reason}")


@pytest.mark.parametrize("empty", [b"", gzip.compress(b"")], ids=["plain", "compressed"])
def test_the_controller_log_is_shown_when_the_streams_are_empty(tail, empty):
    controller = gzip.compress(b"INFO startExec\nERROR no such file\n")
    assert tail(stdout=empty, stderr=empty, controller=controller) == {
        "controller": ["INFO startExec", "ERROR no such file"]
    }
    assert set(tail(stdout=WHOLE, stderr=empty, controller=controller)) == {"stdout"}


@pytest.mark.parametrize(
    ("log_uri", "prefix"),
    [
        ("s3://logs", ""),
        ("s3://logs/emr", "emr/"),
        ("s3n://logs/emr//", "emr/"),
        ("s3://logs/emr#1/what?/", "emr#1/what?/"),
        *(("s3://logs//emr//x/", prefix) for prefix in ("/emr//x/", "emr//x/", "emr/x/")),
    ],
)
def test_logs_are_found_where_log_uri_leads(log_uri, prefix, s3, tail):
    logs = StepLogs.of(log_uri=log_uri, job_flow_id="j-1", step_id="s-1")
    assert not read_logs_written(s3, logs)
    for stream in ("stdout", "stderr"):
        s3.put_object(Bucket="logs", Key=f"{prefix}j-1/steps/s-1/{stream}.gz", Body=gzip.compress(stream.encode()))
    assert read_logs_written(s3, logs)
    assert dict(StepLogHook(aws_conn_id=None).tail(logs, lines=1)) == {"stdout": ["stdout"], "stderr": ["stderr"]}


def test_a_reason_is_given_once(tail):
    shown = tail()
    assert list(shown) == ["stdout"]
    assert shown["stdout"][0].count("NoSuchKey") == 1


def test_the_reason_of_a_step_is_reported_once():
    failure = {"Reason": "Unknown Error.", "Message": "java.lang.Error: broken", "LogFile": "s3://logs/x"}
    change = {"Message": "java.lang.Error: broken"}
    status = {"State": "FAILED", "FailureDetails": failure, "StateChangeReason": change}
    assert _step({"Id": "s-1", "Name": "x", "Status": status}).reason == "Unknown Error. java.lang.Error: broken"


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (WHOLE[:-12], "line 89"),
        (WHOLE[:12] + b"\xff" * 30, "cannot be read"),
        (b"plain text", "plain text"),
        (None, "why"),
    ],
    ids=["cut", "damaged", "plain text", "only the controller's"],
)
def test_the_step_s_failure_is_the_error_whatever_its_logs_are(
    clocked, create_operator, steps_operator, step, deferrable, emr, s3, logged, overrides, body, shown
):
    s3.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    job_flow_id = Task(create_operator(job_flow_overrides=overrides), dag_id="d").run()
    task = Task(steps_operator(job_flow_id, steps=[step("--exit", "1")], deferrable=deferrable), dag_id="d")

    def archive() -> None:
        (found,) = emr.list_steps(ClusterId=job_flow_id)["Steps"]
        for stream in ("stdout", "stderr", "controller"):
            content = body if body is not None and stream != "controller" else gzip.compress(b"why" * (body is None))
            if body is not None or stream == "controller":
                key = f"emr/{job_flow_id}/steps/{found['Id']}/{stream}.gz"
                s3.put_object(Bucket="logs", Key=key, Body=content)

    clocked.clock.call_later(200, archive, name="EMR archives the logs")
    with pytest.raises(StepFailedError, match="FAILED"):
        task.run()
    assert shown in logged()


def test_an_s3_that_cannot_be_reached_is_waited_for_and_never_the_error():
    def head_object(**_: Any) -> None:
        raise EndpointConnectionError(endpoint_url="https://s3")

    assert read_logs_written(SimpleNamespace(head_object=head_object), LOGS) is False
