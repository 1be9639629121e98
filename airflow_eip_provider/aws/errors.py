"""What the errors of AWS's calls mean; they are told apart by their codes, never by their texts."""

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

# botocore names the codes that its own retries treat as throttling (botocore.retries.standard): EC2 and EMR use the
# first three, DynamoDB the third and the fourth, S3 the last.
THROTTLING_CODES = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "ProvisionedThroughputExceededException",
        "SlowDown",
    }
)
# EC2, then everybody else; S3 refuses a HEAD request by its status alone (S3 API Reference, HeadBucket).
DENIED_CODES = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "403"})
# The credentials were valid once: EC2 says RequestExpired, S3 and STS ExpiredToken, others ExpiredTokenException.
# InvalidClientTokenId is not among them: such a key was deactivated, deleted, or never existed.
EXPIRED_CODES = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_NO_WHOLE_ANSWER = (HTTPClientError, BotoConnectionError, IncompleteReadError, ResponseParserError)
_NO_ANSWER = (AzureUnavailableError, LivyUnavailableError, LockStoreUnavailableError, NotKnownYetError)
_SERVER_ERROR = 500


def error_code(error: ClientError) -> str:
    """Return AWS's error code, e.g. ``InvalidAllocationID.NotFound``; codes are compared, never texts."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_transient(error: Exception) -> bool:
    """Tell whether the same request may succeed later: throttling, a server's error, no whole response, a new id."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in THROTTLING_CODES or status >= _SERVER_ERROR
    return isinstance(error, (*_NO_WHOLE_ANSWER, *_NO_ANSWER))


def is_denied(error: Exception) -> bool:
    """Tell whether IAM refused the request."""
    return isinstance(error, ClientError) and error_code(error) in DENIED_CODES


def is_expired(error: Exception) -> bool:
    """Tell whether AWS refused the request because the session token has expired; a new client may have a new one."""
    return isinstance(error, ClientError) and error_code(error) in EXPIRED_CODES


def was_refused(error: Exception) -> bool:
    """Tell whether AWS said that it did not act: a throttled request had no effect."""
    return isinstance(error, ClientError) and error_code(error) in THROTTLING_CODES


def had_no_effect(error: BaseException) -> bool:
    """
    Tell whether AWS refused a request that botocore sent once.

    A refusal of botocore's own second sending says nothing of the first: its answer may have been lost.
    """
    if not isinstance(error, ClientError):
        return False
    said = error.response.get("ResponseMetadata", {})
    return int(said.get("HTTPStatusCode", 0)) < _SERVER_ERROR and int(said.get("RetryAttempts", 0)) == 0
