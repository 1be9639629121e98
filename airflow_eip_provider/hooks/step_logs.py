"""The logs that EMR writes for a step."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.gzipped import GzipText
from airflow_eip_provider.aws.step_logs import CONTROLLER, STREAMS, StepLogs
from airflow_eip_provider.hooks.eip import StrictConnectionMixin

if TYPE_CHECKING:
    from collections.abc import Iterator

_CUT_LINE_LENGTH = 1000  # after damage in a file the rest may be one very long line


class StepLogHook(StrictConnectionMixin, AwsBaseHook):
    """Reads step logs from S3 (s3:GetObject, s3:ListBucket on the log bucket)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "s3"})

    def tail(self, logs: StepLogs, *, lines: int) -> Iterator[tuple[str, list[str]]]:
        """
        Yield the last lines of stdout and stderr; those of EMR's controller log if both are empty.

        A log that cannot be read is not an error: the failure of the step is more important.

        :param lines: the number of lines of each.
        :return: pairs of a stream's name and its lines; the last line is the reason if the log could not be read.
        """
        has_lines = False
        reasons: set[str] = set()
        for stream in (*STREAMS, CONTROLLER):
            if stream == CONTROLLER and has_lines:
                break
            tail, reason = self._tail(logs, stream, lines=lines)
            has_lines = has_lines or bool(tail)
            if reason is not None and reason not in reasons:
                reasons.add(reason)
                tail.append(f"(s3://{logs.bucket}/{logs.key(stream)} cannot be read to its end: {reason})")
            if tail:
                yield stream, tail

    def _tail(self, logs: StepLogs, stream: str, *, lines: int) -> tuple[list[str], str | None]:
        """Return the last lines of one stream, and the reason if it could not be read to its end."""
        tail: deque[str] = deque(maxlen=lines)
        try:
            text = GzipText(self._body(logs, stream))
            tail.extend(text.lines())
        except (ClientError, BotoCoreError, OSError) as error:
            return list(tail), str(error)
        if text.cut_line is not None:
            tail.append(text.cut_line[:_CUT_LINE_LENGTH])
        return list(tail), text.problem

    def _body(self, logs: StepLogs, stream: str) -> Any:
        """Open one stream at the first key that exists."""
        errors: list[ClientError] = []
        for key in logs.keys(stream):
            try:
                return self.conn.get_object(Bucket=logs.bucket, Key=key)["Body"]
            except ClientError as error:
                errors.append(error)
        raise errors[0]
