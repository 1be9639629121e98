"""Where EMR writes the logs of a step, and whether it has."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.errors import error_code, is_transient

STREAMS = ("stdout", "stderr")  # the cause of a failed PySpark step is as often in one as in the other
CONTROLLER = "controller"  # EMR's own account of the step, which says why a step failed that never ran


@dataclass(frozen=True, slots=True)
class StepLogs:
    """
    Where one step's logs are, or will be.

    EMR writes ``LogUri/CLUSTER/steps/STEP/{controller,stdout,stderr,syslog}.gz``, some minutes after the step's end
    (EMR Management Guide, "View log files").
    """

    bucket: str
    prefix: str

    @classmethod
    def of(cls, *, log_uri: str, job_flow_id: str, step_id: str) -> StepLogs:
        """Locate the logs below a cluster's LogUri (``s3://``, ``s3n://`` or ``s3a://``)."""
        bucket, base = split_log_uri(log_uri)
        return cls(bucket, f"{base}{job_flow_id}/steps/{step_id}/")

    def key(self, stream: str) -> str:
        """Return the object key of one stream."""
        return self.keys(stream)[0]

    def keys(self, stream: str) -> list[str]:
        """Return where one stream may be: below LogUri as it is written, else without its empty parts."""
        return [f"{prefix}{stream}.gz" for prefix in spellings(self.prefix)]


def split_log_uri(log_uri: str) -> tuple[str, str]:
    """Return the bucket of a LogUri, and what the keys begin with: empty, or with a slash at its end."""
    # Not urlsplit: a key may have "?" and "#" in it.
    bucket, _, base = log_uri.partition("://")[2].partition("/")
    base = base.rstrip("/")
    return bucket, f"{base}/" * bool(base)


def spellings(prefix: str) -> list[str]:
    """
    Return the prefixes that a LogUri with empty parts may lead to.

    What EMR makes of ``s3://BUCKET//A//B/`` is not documented: a key may have empty parts, a path has none.
    """
    return list(dict.fromkeys([prefix, prefix.lstrip("/"), re.sub("/+", "/", prefix.lstrip("/"))]))


def read_logs_written(s3: Any, logs: StepLogs) -> bool:
    """
    Tell whether EMR has written both streams; a bucket that may not be read counts as written.

    It raises no error of S3's: the step's own failure is what matters.
    """
    try:
        return all(any(_exists(s3, logs.bucket, key) for key in logs.keys(stream)) for stream in STREAMS)
    except (ClientError, BotoCoreError) as error:
        return not is_transient(error)


def _exists(s3: Any, bucket: str, key: str) -> bool:
    try:
        s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) in {"404", "NoSuchKey", "NotFound"}:
            return False
        raise
    return True
