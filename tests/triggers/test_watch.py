"""Watching, deferred or not."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.exceptions import CredentialsExpiredError
from airflow_eip_provider.triggers import watch
from airflow_eip_provider.triggers.watch import Verdict, WatchTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

START = 1000.0


class Scripted(WatchTrigger):
    """Finds what it was told to find, one look after the other."""

    services = ()

    def __init__(self, *found: Verdict | Exception, **parameters: Any) -> None:
        super().__init__(**{"waiter_delay": 15, "deadline": START + 100, "hint": {"try_number": 1}, **parameters})
        self.found = list(found)

    def look(self) -> Any:
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Exception):
            raise found
        return found
        yield

    def connect(self) -> dict[str, Any]:
        return {}


@pytest.fixture(params=["blocking", "deferred"])
def payload(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run a trigger on a clock of its own; return the event's payload and the sleeps."""
    slept: list[float] = []

    async def sleep_async(seconds: float) -> None:
        slept.append(seconds)

    clock = SimpleNamespace(time=lambda: START + sum(slept), sleep=slept.append)
    monkeypatch.setattr(watch, "time", clock)
    monkeypatch.setattr(watch, "asyncio", SimpleNamespace(sleep=sleep_async))

    async def first(trigger: Scripted) -> Any:
        async for event in trigger.run():
            return event.payload
        raise AssertionError("the trigger ended without an event")

    def run(trigger: Scripted) -> tuple[Any, list[float]]:
        return (trigger.block(trigger.connect) if request.param == "blocking" else asyncio.run(first(trigger))), slept

    return run


PENDING = Verdict("pending", "not yet")
DONE = Verdict("done", "there", {"found": 1})
EXPIRED = ClientError({"Error": {"Code": "ExpiredToken", "Message": "is expired"}}, "DescribeAddresses")
THROTTLED = ClientError({"Error": {"Code": "RequestLimitExceeded"}}, "DescribeAddresses")


def test_it_sleeps_before_each_look_and_echoes_the_hint(payload):
    event, slept = payload(Scripted(PENDING, DONE))
    assert event == {"status": "done", "message": "there", "data": {"found": 1}, "hint": {"try_number": 1}}
    assert slept == [15, 15]


def test_a_deadline_is_reported_with_what_was_seen_last(payload):
    event, slept = payload(Scripted(PENDING))
    assert (event["status"], event["message"]) == ("timeout", "not yet")
    assert sum(slept) == pytest.approx(100)


def test_throttling_costs_one_look_only(payload):
    event, slept = payload(Scripted(THROTTLED, DONE))
    assert event["status"] == "done"
    assert slept[0] == 15
    assert 15 <= slept[1] <= 30, "after no answer the pause is longer, and not the same for all"
    assert len(slept) == 2


def test_an_error_that_will_not_pass_comes_out_at_once(payload):
    denied = ClientError({"Error": {"Code": "UnauthorizedOperation"}}, "DescribeAddresses")
    with pytest.raises(ClientError):
        payload(Scripted(denied))


def test_expired_credentials_are_read_anew_once_and_cost_one_look(payload):
    event, slept = payload(Scripted(EXPIRED, PENDING, EXPIRED, DONE))
    assert event["status"] == "done"
    assert len(slept) == 4, "once since the last answer"


def test_credentials_that_stay_expired_are_an_error_that_names_the_connection(payload):
    with pytest.raises(CredentialsExpiredError, match=r"'aws_1'.*is expired"):
        payload(Scripted(EXPIRED, aws_conn_id="aws_1"))


def test_the_last_look_comes_at_the_deadline_not_after_it(payload):
    _, slept = payload(Scripted(PENDING, waiter_delay=70))
    assert sum(slept) == pytest.approx(100)


def test_a_failure_is_reported_as_one(payload):
    event, _ = payload(Scripted(Verdict("failed", "gone")))
    assert event["status"] == "failed"


class Connecting(Scripted):
    """Connects to two services, to the second as it is told to."""

    services = ("ec2", "emr")

    def __init__(self, *connecting: Exception, found: Verdict = DONE, **parameters: Any) -> None:
        super().__init__(found, **parameters)
        self.connecting = list(connecting)
        self.opened = self.closed = 0

    async def _connect(self, service: str) -> Any:
        if service == "emr" and self.connecting:
            raise self.connecting.pop(0)
        return self._client()

    def connect(self) -> dict[str, Any]:
        if self.connecting:
            raise self.connecting.pop(0)
        return {}

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[None]:
        self.opened += 1
        try:
            yield
        finally:
            self.closed += 1


deferred = pytest.mark.parametrize("payload", ["deferred"], indirect=True)


def test_a_connection_that_fails_for_once_costs_one_look_only(payload):
    event, slept = payload(Connecting(THROTTLED))
    assert event["status"] == "done"
    assert slept[0] == 15
    assert 15 <= slept[1] <= 30
    assert len(slept) == 2


@deferred
def test_what_a_failed_connection_had_opened_is_closed(payload):
    watched = Connecting(THROTTLED)
    payload(watched)
    assert (watched.opened, watched.closed) == (3, 3)


def test_a_connection_that_never_comes_ends_with_the_deadline(payload):
    watched = Connecting(*[THROTTLED] * 100)
    event, slept = payload(watched)
    assert event["status"] == "timeout"
    assert "RequestLimitExceeded" in event["message"]
    assert sum(slept) == pytest.approx(100)
    assert watched.opened == watched.closed


def test_a_connection_that_cannot_be_made_comes_out_at_once(payload):
    watched = Connecting(ValueError("no such connection"))
    with pytest.raises(ValueError, match="no such connection"):
        payload(watched)
    assert watched.opened == watched.closed


@deferred
def test_expired_credentials_close_the_old_clients_before_new_ones_are_made(payload):
    watched = Connecting()
    watched.found = [EXPIRED, DONE]
    payload(watched)
    assert (watched.opened, watched.closed) == (4, 4)


@deferred
def test_a_watch_connects_once_and_closes_its_clients(payload):
    watched = Connecting(found=PENDING)
    assert payload(watched)[0]["status"] == "timeout"
    assert (watched.opened, watched.closed) == (2, 2)
