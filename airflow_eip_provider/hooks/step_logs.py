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

_CUT_LINE_LENGTH = 1000  # what follows damage in a file may be one endless line


class StepLogHook(StrictConnectionMixin, AwsBaseHook):
    """Reads step logs from S3 (s3:GetObject, s3:ListBucket on the log bucket)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "s3"})

    def tail(self, logs: StepLogs, *, lines: int) -> Iterator[tuple[str, list[str]]]:
        """
        Yield the last lines of stdout and of stderr, as far as they can be read; of EMR's controller log without any.

        A log that cannot be read is no error: why the step failed is what matters.

        :param lines: how many of each.
        :return: pairs of the stream's name and its lines, which end with the reason where not everything could be read.
        """
        shown = False
        reasons: dict[str, None] = {}
        for stream in (*STREAMS, CONTROLLER):
            if stream == CONTROLLER and shown:
                break
            found, reason = self._tail(logs, stream, lines=lines)
            shown = shown or bool(found)
            if reason is not None and reason not in reasons:
                reasons[reason] = None
                found = [*found, f"(s3://{logs.bucket}/{logs.key(stream)} cannot be read to its end: {reason})"]
            if found:
                yield stream, found

    def _tail(self, logs: StepLogs, stream: str, *, lines: int) -> tuple[list[str], str | None]:
        """Return the last lines of one stream, and why not everything could be read."""
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
        """Open one stream, in the first place that has it."""
        refused: list[ClientError] = []
        for key in logs.keys(stream):
            try:
                return self.conn.get_object(Bucket=logs.bucket, Key=key)["Body"]
            except ClientError as error:
                refused.append(error)
        raise refused[0]
