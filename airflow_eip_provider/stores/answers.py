"""The meaning of DynamoDB's and S3's answers for the contract of ``lease.store``."""

from __future__ import annotations

from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code, is_denied, is_transient
from airflow_eip_provider.exceptions import LockStoreError, LockStoreUnavailableError
from airflow_eip_provider.lease.store import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MISSING = frozenset({"ResourceNotFoundException", "NoSuchBucket"})


def server_time(answer: Mapping[str, Any], *, uri: str) -> float:
    """
    Return the store's time from the ``Date`` header of an answer, in seconds since the epoch.

    :param answer: a response, or the ``response`` of a ``ClientError``.
    """
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError) as error:  # before Python 3.10 the first
        raise LockStoreError(
            uri,
            problem=f"its answer has no valid time: its Date header is {date!r}",
            remedy="use AWS's own endpoint; a proxy must forward the Date header",
        ) from error


def may_have_been_written(error: Exception) -> Unknown | None:
    """
    Return :class:`Unknown` when a write with this error may have taken effect, else ``None``.

    It may have taken effect when there was no response or a 5xx ("the operation might have succeeded or failed",
    DynamoDB Developer Guide, "Error handling"), and whenever botocore has sent the request more than once: the first
    one may have caused the refusal of the second. botocore's retries stay enabled, because the caller configures the
    client. A throttled write counts as unknown, too; the next read shows what happened, or that the store is down.
    """
    if is_transient(error):
        return Unknown(f"{type(error).__name__}: {error}")
    if isinstance(error, ClientError) and error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0:
        return Unknown(f"refused after a retry: {error}")
    return None


@contextmanager
def explained(*, uri: str, action: str, missing: Callable[[], LockStoreError]) -> Iterator[None]:
    """
    Raise expected errors of AWS as errors of the lock store; unexpected ones are not changed.

    :param action: the IAM action (or actions) that the call needs.
    :param missing: returns the error when the table or bucket does not exist.
    """
    try:
        yield
    except Exception as error:
        if is_transient(error):
            raise LockStoreUnavailableError(uri, problem=f"{type(error).__name__}: {error}") from error
        code = error_code(error) if isinstance(error, ClientError) else ""
        if code in MISSING:
            raise missing() from error
        if is_denied(error):
            raise LockStoreError(
                uri,
                problem=f"the credentials of this task lack the permission {action}",
                remedy=f"allow {action} in the policy of the role that aws_conn_id uses",
            ) from error
        raise
