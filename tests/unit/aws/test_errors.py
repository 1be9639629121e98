"""Which AWS errors are transient."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, IncompleteReadError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.exceptions import LockStoreUnavailableError


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")


@pytest.mark.parametrize(
    ("error", "transient"),
    [
        (client_error("RequestLimitExceeded"), True),
        (client_error("ThrottlingException"), True),
        (client_error("InternalError", 500), True),
        (client_error("ProvisionedThroughputExceededException"), True),
        (client_error("SlowDown", 503), True),
        (ReadTimeoutError(endpoint_url="x"), True),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), True),
        (ResponseParserError("not XML"), True),
        (LockStoreUnavailableError("s3://locks", problem="SlowDown"), True),
        (ConnectionClosedError(endpoint_url="x"), True),
        (client_error("UnauthorizedOperation", 403), False),
        (client_error("InvalidAllocationID.NotFound"), False),
        (ValueError("ours"), False),
    ],
)
def test_what_may_succeed_later(error, transient):
    assert is_transient(error) is transient
