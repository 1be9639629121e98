"""Readings are performed the same way by a worker and by the triggerer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, IncompleteReadError, ReadTimeoutError
from botocore.parsers import ResponseParserError

from airflow_eip_provider.calls import Call, error_code, is_transient, perform, perform_async
from airflow_eip_provider.exceptions import LockStoreUnavailableError

if TYPE_CHECKING:
    from airflow_eip_provider.calls import Reading


def client_error(code: str, status: int = 400) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Operation")


def answer(number: int) -> int:
    if number == 0:
        raise client_error("NotThere")
    return number * 10


async def answer_async(number: int) -> int:
    return answer(number)


def reading(*numbers: int) -> Reading[list[Any]]:
    found: list[Any] = []
    for number in numbers:
        try:
            found.append((yield Call("svc", "answer", {"number": number})))
        except ClientError as error:
            found.append(error_code(error))
    return found


def both_ways(make: Any) -> list[Any]:
    blocking = perform(make(), {"svc": SimpleNamespace(answer=answer)})
    deferred = asyncio.run(perform_async(make(), {"svc": SimpleNamespace(answer=answer_async)}))
    assert blocking == deferred
    return list(blocking)


def test_responses_and_errors_reach_the_reading_in_both_ways():
    assert both_ways(lambda: reading(1, 0, 2)) == [10, "NotThere", 20]


def test_a_reading_without_calls_just_returns():
    assert both_ways(reading) == []


def test_an_error_that_the_reading_does_not_expect_comes_out():
    def careless() -> Reading[Any]:
        return (yield Call("svc", "answer", {"number": 0}))

    with pytest.raises(ClientError):
        perform(careless(), {"svc": SimpleNamespace(answer=answer)})
    with pytest.raises(ClientError):
        asyncio.run(perform_async(careless(), {"svc": SimpleNamespace(answer=answer_async)}))


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


class Streamed:
    """What boto3 gives as a ``Body``."""

    def __init__(self, *parts: bytes | Exception) -> None:
        self.parts = parts

    def read(self) -> bytes:
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
        return b"".join(self.parts)


class StreamedAsync(Streamed):
    """What aiobotocore gives: only awaited it says anything."""

    async def read(self) -> bytes:  # type: ignore[override]
        return super().read()


def reading_of_a_body() -> Reading[list[Any]]:
    try:
        response = yield Call("svc", "get_object")
    except ReadTimeoutError:
        return ["cut"]
    return [response["Body"], response["ETag"]]


@pytest.mark.parametrize(
    ("parts", "found"),
    [
        ((b"some ", b"bytes"), [b"some bytes", "1"]),
        ((b"some ", ReadTimeoutError(endpoint_url="x")), ["cut"]),
    ],
)
def test_a_streamed_body_reaches_the_reading_as_bytes_in_both_ways(parts, found):
    def get_object() -> dict[str, Any]:
        return {"Body": Streamed(*parts), "ETag": "1"}

    async def get_object_async() -> dict[str, Any]:
        return {"Body": StreamedAsync(*parts), "ETag": "1"}

    assert perform(reading_of_a_body(), {"svc": SimpleNamespace(get_object=get_object)}) == found
    clients = {"svc": SimpleNamespace(get_object=get_object_async)}
    assert asyncio.run(perform_async(reading_of_a_body(), clients)) == found


def test_what_the_network_does_reaches_the_reading_too():
    def patient() -> Reading[list[Any]]:
        try:
            yield Call("svc", "fail")
        except ConnectionClosedError:
            return ["closed"]
        return []

    def fail() -> None:
        raise ConnectionClosedError(endpoint_url="x")

    async def fail_async() -> None:
        fail()

    assert perform(patient(), {"svc": SimpleNamespace(fail=fail)}) == ["closed"]
    assert asyncio.run(perform_async(patient(), {"svc": SimpleNamespace(fail=fail_async)})) == ["closed"]
