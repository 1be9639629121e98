"""The log files of a step or bootstrap action: written, uploaded, and searched for the cause of a failure."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from local_emr.steps.command import S3Location

if TYPE_CHECKING:
    from pathlib import Path

    from local_emr.emr.steps import NodeWork

_LOG_LINE = re.compile(r"^(\d\d/\d\d/\d\d \d\d:\d\d:\d\d [A-Z]+ |WARNING: )")  # Spark's and the JVM's
_JVM_CAUSE = re.compile(r"^Exception in thread .*")
_CAUSE = re.compile(r"^[\w.$]*(?:Error|Exception)\b(?:: .*|$)")
_MESSAGE_LENGTH = 1000


@dataclass(frozen=True, kw_only=True)
class NodeLogs:
    """The log files of one step or bootstrap action in their own directory."""

    directory: Path

    def path(self, name: str) -> Path:
        """Return the path of a log file."""
        return self.directory / name

    def note(self, text: str) -> None:
        """Add a line to the controller log."""
        with self.path("controller").open("a", encoding="utf-8") as controller:
            controller.write(f"{datetime.now(tz=UTC).isoformat(timespec='milliseconds')} INFO {text}\n")

    def upload(self, s3: Any, work: NodeWork) -> None:
        """Upload the files as EMR does: ``LogUri/CLUSTER/PLACE/NAME.gz``."""
        for name in work.log_names:
            address = log_address(work, name)
            path = self.path(name)
            if address is not None:
                content = path.read_bytes() if path.exists() else b""
                s3.put_object(Bucket=address.bucket, Key=address.key, Body=gzip.compress(content))

    def failure_message(self, *, exit_code: int) -> str:
        """Return the line with the cause of a failure: the JVM's, or the last error, or the last line.

        Standard output is searched as well, because Spark writes errors of a Python driver there.
        """
        stdout, stderr = self._told("stdout"), self._told("stderr")
        jvm = [line for line in stderr if _JVM_CAUSE.match(line)]
        causes = [line for line in (*stderr, *stdout) if _CAUSE.match(line)]
        lines = [f"Command exited with code {exit_code}", *stdout[-1:], *stderr[-1:], *causes[-1:], *jvm[:1]]
        return lines[-1][:_MESSAGE_LENGTH]

    def _told(self, name: str) -> list[str]:
        """Return the lines of a file, without Spark's log lines."""
        path = self.path(name)
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
        return [line.strip() for line in lines if line.strip() and not _LOG_LINE.match(line)]


def log_address(work: NodeWork, name: str) -> S3Location | None:
    """Return the S3 URI of a log, or None when the cluster has no LogUri in S3."""
    if not work.log_uri:
        return None
    try:
        root = S3Location.parse(work.log_uri)
    except ValueError:
        return None
    prefix = f"{root.key.rstrip('/')}/" if root.key.strip("/") else ""
    return S3Location(bucket=root.bucket, key=f"{prefix}{work.job_flow_id}/{work.place}/{name}.gz")
