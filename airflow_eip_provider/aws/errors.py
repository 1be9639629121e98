"""What the errors of AWS calls mean. They are distinguished by their codes, never by their texts."""

from __future__ import annotations

from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from airflow_eip_provider.exceptions import (
    AzureUnavailableError,
    LivyUnavailableError,
    LockStoreUnavailableError,
    NotKnownYetError,
)

# The codes that botocore's own retries treat as throttling (botocore.retries.standard): EC2 and EMR use the first
# three, DynamoDB the third and the fourth, S3 the last.
THROTTLING_CODES = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "SlowDown",
    }
)
# EC2, then the other services; S3 refuses a HEAD request by its status alone (S3 API Reference, HeadBucket).
DENIED_CODES = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "403"})
# The credentials were valid before: EC2 returns RequestExpired, S3 and STS ExpiredToken, others ExpiredTokenException.
# InvalidClientTokenId is different: such a key was deactivated or deleted, or never existed.
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_NO_COMPLETE_RESPONSE = (HTTPClientError, BotoConnectionError, IncompleteReadError, ResponseParserError)
_UNAVAILABLE = (AzureUnavailableError, LivyUnavailableError, LockStoreUnavailableError, NotKnownYetError)
_SERVER_ERROR = 500


def error_code(error: ClientError) -> str:
    """Return the error code of AWS, e.g. ``InvalidAllocationID.NotFound``."""
    return str(error.response.get("Error", {}).get("Code", ""))


class IgnoreCodes:
    """A context manager that suppresses AWS errors with one of these codes, e.g. because a resource does not exist."""

    def __init__(self, *codes: str) -> None:
        self._codes = codes

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        return isinstance(error, ClientError) and error_code(error) in self._codes


def is_transient(error: Exception) -> bool:
    """Whether the same request may succeed later: throttling, a server error, an incomplete response, a new ID."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return was_throttled(error) or status >= _SERVER_ERROR
    return isinstance(error, (*_NO_COMPLETE_RESPONSE, *_UNAVAILABLE))


def is_denied(error: Exception) -> bool:
    """Whether IAM refused the request."""
    return isinstance(error, ClientError) and error_code(error) in DENIED_CODES


def is_expired(error: Exception) -> bool:
    """Whether AWS refused the request because the session token has expired; a new client may have a new token."""
    return isinstance(error, ClientError) and error_code(error) in EXPIRED_CODES


def was_throttled(error: Exception) -> bool:
    """Whether AWS throttled the request; then it had no effect."""
    return isinstance(error, ClientError) and error_code(error) in THROTTLING_CODES


def had_no_effect(error: BaseException) -> bool:
    """
    Whether AWS refused a request that botocore sent only once.

    When botocore sent it again, a refusal says nothing about the first request, whose response may have been lost.
    """
    if not isinstance(error, ClientError):
        return False
    metadata = error.response.get("ResponseMetadata", {})
    return int(metadata.get("HTTPStatusCode", 0)) < _SERVER_ERROR and int(metadata.get("RetryAttempts", 0)) == 0
