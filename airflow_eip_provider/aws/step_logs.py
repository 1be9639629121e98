"""The logs of steps in S3."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.errors import IgnoreCodes, is_transient

STREAMS = ("stdout", "stderr")  # either may show why a PySpark step failed
CONTROLLER = "controller"  # EMR's own log, which shows why a step failed before it ran


@dataclass(frozen=True, slots=True)
class StepLogs:
    """
    The location of the logs of one step.

    EMR writes ``LogUri/CLUSTER/steps/STEP/{controller,stdout,stderr,syslog}.gz`` some minutes after the end of the step
    (EMR Management Guide, "View log files").
    """

    bucket: str
    prefix: str

    @classmethod
    def of(cls, *, log_uri: str, job_flow_id: str, step_id: str) -> StepLogs:
        """Return the location below the LogUri of a cluster (``s3://``, ``s3n://`` or ``s3a://``)."""
        bucket, base = split_log_uri(log_uri)
        return cls(bucket, f"{base}{job_flow_id}/steps/{step_id}/")

    def key(self, stream: str) -> str:
        """Return the object key of one stream."""
        return self.keys(stream)[0]

    def keys(self, stream: str) -> list[str]:
        """Return the possible object keys of one stream: see :func:`spellings`."""
        return [f"{prefix}{stream}.gz" for prefix in spellings(self.prefix)]


def split_log_uri(log_uri: str) -> tuple[str, str]:
    """Return the bucket and the key prefix of a LogUri; the prefix is empty or ends with a slash."""
    # Not urlsplit: a key may contain "?" and "#".
    bucket, _, base = log_uri.partition("://")[2].partition("/")
    base = base.rstrip("/")
    return bucket, f"{base}/" * bool(base)


def spellings(prefix: str) -> list[str]:
    """
    Return the key prefixes that EMR may use for a LogUri with empty parts, such as ``s3://BUCKET//A//B/``.

    AWS does not document whether EMR treats it as a key, which may have empty parts, or as a path.
    """
    return list(dict.fromkeys([prefix, prefix.lstrip("/"), re.sub("/+", "/", prefix.lstrip("/"))]))


def read_logs_written(s3: Any, logs: StepLogs) -> bool:
    """
    Whether EMR has written both streams.

    After an error of S3 that is not transient there is nothing to wait for, so it counts as written.
    """
    try:
        return all(any(_exists(s3, logs.bucket, key) for key in logs.keys(stream)) for stream in STREAMS)
    except (ClientError, BotoCoreError) as error:
        return not is_transient(error)


def _exists(s3: Any, bucket: str, key: str) -> bool:
    with IgnoreCodes("404", "NoSuchKey", "NotFound"):
        s3.head_object(Bucket=bucket, Key=key)
        return True
    return False
