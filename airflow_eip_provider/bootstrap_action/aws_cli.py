"""A client like boto3's that runs the AWS CLI, which every EMR node has; versions 1 and 2."""

from __future__ import annotations

import functools
import json
import os
import re
import subprocess
import tempfile
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, HTTPClientError

from airflow_eip_provider.exceptions import PermanentError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# For these operations of EMR the AWS CLI has custom commands, without --cli-input-json.
_CUSTOM_COMMANDS: Mapping[tuple[str, str], Callable[[Mapping[str, Any]], list[str]]] = {
    ("emr", "describe_cluster"): lambda given: ["describe-cluster", "--cluster-id", given["ClusterId"]],
    ("emr", "terminate_job_flows"): lambda given: ["terminate-clusters", "--cluster-ids", *given["JobFlowIds"]],
    ("emr", "set_termination_protection"): lambda given: [
        "modify-cluster-attributes",
        "--cluster-id",
        *given["JobFlowIds"],
        "--termination-protected" if given["TerminationProtected"] else "--no-termination-protected",
    ],
}
# The AWS CLI does not show the item that a condition failed on, and older versions do not accept the parameter.
_NOT_SENT = frozenset({"ReturnValuesOnConditionCheckFailure"})
_READS = ("describe_", "get_", "list_")

# What the AWS CLI writes with --debug; each line of botocore's log starts with a time.
_LOG = r"^\d{4}-\d\d-\d\d \S+ - \S+ - \S+ - DEBUG - "
_LOGGED = re.compile(_LOG)
_SENT = re.compile(_LOG + "Sending http request", re.MULTILINE)
_HEADERS = re.compile(_LOG + "Response headers: (.*)$", re.MULTILINE)
_DATE = re.compile(r"""['"]date['"]: ['"]([^'"]+)['"]""", re.IGNORECASE)
_STATUS = re.compile(_LOG + r'\S+ "[A-Z]+ .* HTTP/1\.1" (\d{3})', re.MULTILINE)
_ERROR = re.compile(
    r"^(?:aws: \[ERROR\]: )?An error occurred \((?P<code>[^)]+)\) when calling the (?P<operation>\w+) operation"
    r"(?: \([^)]*\))?: (?P<message>.*)$",
    re.MULTILINE,
)
_CLI_STATUSES = frozenset({1, 2, 252, 253, 254, 255})  # AWS CLI User Guide, "Command line return codes"
_LONGEST_SECONDS = 180


class AwsCli:
    """
    One service: ``AwsCli("ec2", region="eu-west-1").describe_addresses(AllocationIds=[…])``.

    A change is sent once, so that its answer is unambiguous; the AWS CLI retries only reads. Lists with pages are
    returned as a whole. Errors are botocore's.

    :param service: the AWS CLI's name of the service.
    :ivar meta: names the region, as that of a boto3 client does.
    """

    def __init__(self, service: str, *, region: str) -> None:
        self._service = service
        self._region = region
        self.meta = SimpleNamespace(region_name=region)

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        if operation.startswith("_"):
            raise AttributeError(operation)
        return functools.partial(self._call, operation)

    def _call(self, operation: str, /, **given: Any) -> dict[str, Any]:
        sent = {name: value for name, value in given.items() if name not in _NOT_SENT}
        with tempfile.NamedTemporaryFile("w", suffix=".json") as document:
            custom = _CUSTOM_COMMANDS.get((self._service, operation))
            if custom:
                words = custom(sent)
            else:
                json.dump(sent, document, default=datetime.isoformat)
                document.flush()
                words = [operation.replace("_", "-"), "--cli-input-json", f"file://{document.name}"]
            done = self._run(words, changes=not operation.startswith(_READS))
        if done.returncode != 0:
            raise _error(done.returncode, done.stderr, doing=f"calling aws {self._service} {words[0]}")
        answer: dict[str, Any] = json.loads(done.stdout or "{}", object_hook=_with_times)
        return {**answer, "ResponseMetadata": _metadata(done.stderr)}

    def _run(self, words: list[str], *, changes: bool) -> subprocess.CompletedProcess[str]:
        # Only the log of --debug has the Date of an answer. It is never printed, because it has the headers of
        # requests, e.g. a session token.
        common = ["--region", self._region, "--output", "json", "--debug", *self._endpoint()]
        timeouts = ["--cli-connect-timeout", "10", "--cli-read-timeout", "30"]
        once = {"AWS_MAX_ATTEMPTS": "1"} if changes else {}
        try:
            return subprocess.run(
                ["aws", self._service, *words, *common, *timeouts],
                env={**os.environ, "AWS_PAGER": "", **once},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=_LONGEST_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise HTTPClientError(error=f"aws {self._service} {words[0]} took over {_LONGEST_SECONDS} s") from error

    def _endpoint(self) -> list[str]:
        """Return the endpoint in the environment as an option: older AWS CLIs ignore it, and version 1 does for EMR."""
        names = (f"AWS_ENDPOINT_URL_{self._service.upper()}", "AWS_ENDPOINT_URL")
        url = next((os.environ[name] for name in names if os.environ.get(name)), None)
        return ["--endpoint-url", url] if url else []


def _error(status: int, log: str, *, doing: str) -> Exception:
    """Return the error for a failed call."""
    refusals = list(_ERROR.finditer(log))
    if refusals:
        refusal = refusals[-1]
        error = {"Code": refusal["code"], "Message": refusal["message"]}
        refused: Exception = ClientError({"Error": error, "ResponseMetadata": _metadata(log)}, refusal["operation"])
        return refused
    # Its message is the last line. The last line of a killed process can be anything, including secrets.
    problem = f"it ended with status {status}"
    if status in _CLI_STATUSES:
        last = next((line for line in reversed(log.splitlines()) if line.strip()), problem)
        problem = problem if _LOGGED.match(last) else last
    if not _SENT.search(log):
        return PermanentError(doing, problem=problem, remedy="nothing was sent; correct that")
    unanswered: Exception = HTTPClientError(error=problem)
    return unanswered


def _metadata(log: str) -> dict[str, Any]:
    """Return the status and the ``Date`` of the last answer in the log."""
    statuses, headers = _STATUS.findall(log), _HEADERS.findall(log)
    date = _DATE.search(headers[-1]) if headers else None
    return {
        "HTTPStatusCode": int(statuses[-1]) if statuses else 0,
        "HTTPHeaders": {"date": date.group(1)} if date else {},
        "RetryAttempts": 0,
    }


def _with_times(item: dict[str, Any]) -> dict[str, Any]:
    """Convert times to datetimes, as in boto3: version 1 of the AWS CLI prints seconds, version 2 ISO 8601."""
    return {name: _time(value) if name.endswith("DateTime") else value for name, value in item.items()}


def _time(value: Any) -> Any:
    if isinstance(value, str):
        return datetime.fromisoformat(value.replace("Z", "+00:00"))
    return datetime.fromtimestamp(value, timezone.utc) if isinstance(value, (int, float)) else value
