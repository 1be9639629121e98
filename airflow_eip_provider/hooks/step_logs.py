"""The logs that EMR writes for a step."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError

from airflow_eip_provider.calls import Call, Reading, error_code
from airflow_eip_provider.hooks.eip import StrictConnectionMixin

if TYPE_CHECKING:
    from collections.abc import Iterator

STREAMS = ("stdout", "stderr")  # the cause of a failed PySpark step is as often in one as in the other


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


def read_logs_written(logs: StepLogs) -> Reading[bool]:
    """Tell whether EMR has written both streams; a bucket that may not be read counts as written."""
    for stream in STREAMS:
        try:
            yield Call("s3", "head_object", {"Bucket": logs.bucket, "Key": logs.key(stream)})
        except ClientError as error:
            return error_code(error) not in {"404", "NoSuchKey", "NotFound"}
    return True


class StepLogHook(StrictConnectionMixin, AwsBaseHook):
    """Reads step logs from S3 (s3:GetObject, s3:ListBucket on the log bucket)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "s3"})

    def tail(self, logs: StepLogs, *, lines: int) -> Iterator[tuple[str, list[str]]]:
        """
        Yield the last lines of stdout and of stderr, as far as they can be read.

        :param lines: how many of each.
        :return: pairs of the stream's name and its lines; the reason in one line where it cannot be read.
        """
        for stream in STREAMS:
            try:
                body = self.conn.get_object(Bucket=logs.bucket, Key=logs.key(stream))["Body"].read()
                text = gzip.decompress(body).decode(errors="replace")
                yield stream, text.splitlines()[-lines:]
            except (ClientError, OSError) as error:
                yield stream, [f"(s3://{logs.bucket}/{logs.key(stream)} cannot be read: {error})"]
