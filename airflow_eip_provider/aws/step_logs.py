"""Where EMR writes the logs of a step, and whether it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

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
        parsed = urlparse(log_uri)
        base = parsed.path.strip("/")
        return cls(parsed.netloc, f"{base}/" * bool(base) + f"{job_flow_id}/steps/{step_id}/")

    def key(self, stream: str) -> str:
        """Return the object key of one stream."""
        return f"{self.prefix}{stream}.gz"


def read_logs_written(s3: Any, logs: StepLogs) -> bool:
    """
    Tell whether EMR has written both streams; a bucket that may not be read counts as written.

    It raises no error of S3's: the step's own failure is what matters.
    """
    for stream in STREAMS:
        try:
            s3.head_object(Bucket=logs.bucket, Key=logs.key(stream))
        except (ClientError, BotoCoreError) as error:
            missing = isinstance(error, ClientError) and error_code(error) in {"404", "NoSuchKey", "NotFound"}
            return not missing and not is_transient(error)
    return True
