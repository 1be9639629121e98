"""What the answers of DynamoDB and S3 mean, in the words of the contract."""

from __future__ import annotations

from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code, is_denied, is_transient
from airflow_eip_provider.exceptions import LockStoreError, LockStoreUnavailableError
from airflow_eip_provider.lease.store import Unknown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MISSING = frozenset({"ResourceNotFoundException", "NoSuchBucket"})


def server_time(answer: Mapping[str, Any], *, uri: str) -> float:
    """
    Return the store's time of an answer, from its ``Date`` header, in seconds since the epoch.

    :param answer: a response, or the ``response`` of a ``ClientError``.
    """
    date = answer["ResponseMetadata"]["HTTPHeaders"].get("date", "")
    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError) as error:  # before Python 3.10 the first
        raise LockStoreError(
            uri,
            problem=f"its answer has no valid time: its Date header is {date!r}",
            remedy="use AWS's own endpoint; a proxy must pass the Date header on",
        ) from error


def may_have_been_written(error: Exception) -> Unknown | None:
    """
    Return :class:`Unknown` when a write that failed like this may have taken effect, else ``None``.

    That is so when the last answer says nothing (no response, or a 5xx: "the operation might have succeeded or failed",
    DynamoDB Developer Guide, "Error handling"), and whenever botocore has sent the request more than once: the response
    of the first may have been lost, and the refusal of the second may be the first's own doing. The retries stay on,
    as the client is the caller's. A throttled write falls under the same rule instead of a second one: nothing is lost,
    as the next read either shows what happened or says that the store is down.
    """
    if is_transient(error):
        return Unknown(f"{type(error).__name__}: {error}")
    if isinstance(error, ClientError) and error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0) > 0:
        return Unknown(f"refused after a retry: {error}")
    return None


@contextmanager
def explained(*, uri: str, action: str, missing: str) -> Iterator[None]:
    """
    Raise what an error of AWS means to whoever uses the store; unexpected ones stay as they are.

    :param action: the IAM action (or actions) that the call needs.
    :param missing: what to do when the table or bucket does not exist.
    """
    try:
        yield
    except Exception as error:
        if is_transient(error):
            raise LockStoreUnavailableError(uri, problem=f"{type(error).__name__}: {error}") from error
        code = error_code(error) if isinstance(error, ClientError) else ""
        if code in MISSING:
            raise LockStoreError(uri, problem="it does not exist", remedy=missing) from error
        if is_denied(error):
            raise denied(uri, action=action) from error
        raise


def denied(uri: str, *, action: str) -> LockStoreError:
    """Return the error that names a permission to give."""
    return LockStoreError(
        uri,
        problem=f"the credentials of this task lack the permission {action}",
        remedy=f"allow {action} in the policy of the role behind aws_conn_id",
    )
