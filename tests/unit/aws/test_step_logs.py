"""The location of step logs, whether EMR has written them, and reading damaged ones."""

from __future__ import annotations

import gzip
import io

import pytest

from airflow_eip_provider.aws.gzipped import GzipText
from airflow_eip_provider.aws.step_logs import StepLogs, read_logs_written


@pytest.mark.parametrize(
    ("log_uri", "bucket", "key"),
    [
        ("s3://logs/emr/", "logs", "emr/j-1/steps/s-1/stderr.gz"),
        ("s3n://logs/a/b", "logs", "a/b/j-1/steps/s-1/stderr.gz"),
        ("s3a://logs", "logs", "j-1/steps/s-1/stderr.gz"),
    ],
)
def test_logs_are_below_any_log_uri(log_uri, bucket, key):
    logs = StepLogs.of(log_uri=log_uri, job_flow_id="j-1", step_id="s-1")
    assert (logs.bucket, logs.key("stderr")) == (bucket, key)


@pytest.mark.parametrize(
    ("answers", "written"),
    [([{}, {}], True), ([{}, "404"], False), (["SlowDown"], False), (["403"], True), (["NoSuchBucket"], True)],
)
def test_both_streams_must_be_there_and_a_bucket_that_may_not_be_read_counts_as_written(stubbed, answers, written):
    s3 = stubbed("s3", *(("head_object", answer) for answer in answers))
    assert read_logs_written(s3, StepLogs("logs", "p/")) is written


TEXT = b"\xef\xbb\xbfone\r\ntwo\nthree"
LINES = ["one", "two", "three"]


@pytest.mark.parametrize(
    ("body", "lines", "problem", "rest"),
    [
        (gzip.compress(TEXT), LINES, None, None),
        (gzip.compress(TEXT[:8]) + gzip.compress(TEXT[8:]) + b"\0\0", LINES, None, None),
        (TEXT, LINES, None, None),
        (b"", [], None, None),
        (gzip.compress(TEXT)[:-9], ["one", "two"], "it is truncated", "three"),
        (gzip.compress(TEXT)[:-8] + b"\0" * 8, ["one", "two"], "it is damaged", "three"),
    ],
    ids=["whole", "members", "plain", "empty", "cut", "damaged"],
)
def test_readable_logs_are_read_and_unreadable_ones_are_reported(body, lines, problem, rest):
    text = GzipText(io.BytesIO(body))
    assert list(text.lines()) == lines
    assert (text.problem or "").partition(":")[0] == (problem or "")
    assert text.cut_line == rest
