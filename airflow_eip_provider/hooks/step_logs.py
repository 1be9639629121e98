"""The logs that EMR writes for a step."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError

from airflow_eip_provider.hooks.eip import StrictConnectionMixin

if TYPE_CHECKING:
    from collections.abc import Iterator

from airflow_eip_provider.readings.step_logs import STREAMS, StepLogs


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
