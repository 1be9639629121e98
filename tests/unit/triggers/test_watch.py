"""Waits, deferred or blocking."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.exceptions import CredentialsExpiredError
from airflow_eip_provider.triggers import watch
from airflow_eip_provider.triggers.poller import Poller
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger
from harness.life import first_event
from harness.simulated_clock import SimulatedClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.triggers.observed import Observed

START = 1000.0


class Scripted(WatchTrigger):
    """Returns planned verdicts, one after the other."""

    def __init__(self, *found: Verdict | Exception, **parameters: Any) -> None:
        super().__init__(**{"waiter_delay": 15, "deadline": START + 100, "hint": {"try_number": 1}, **parameters})
        self.found = list(found)
        self.connections = 0

    def judge(self, observed: Observed) -> Verdict:
        observed.client("ec2")
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Exception):
            raise found
        return found

    @property
    def connection(self) -> Any:
        return self

    def content(self) -> object:
        return None

    def client(self, service: str, region_name: str | None) -> Any:
        self.connections += 1
        return SimpleNamespace(close=lambda: None)


@pytest.fixture(params=["blocking", "deferred"])
def payload(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Run a trigger on a simulated clock; return the event's payload and the sleeps."""
    slept: list[float] = []
    poll = Poller.poll

    async def poll_at_once(self: Poller, wait: Any, *, after: float, **_: Any) -> Verdict:
        slept.append(after)
        return await poll(self, wait, after=0)

    monkeypatch.setattr(Poller, "poll", poll_at_once)

    def run(trigger: Scripted) -> tuple[Any, list[float]]:
        blocks = request.param == "blocking"
        return (trigger.block(trigger.client) if blocks else asyncio.run(first_event(trigger))), slept

    with clock.used(SimulatedClock(lambda: START + sum(slept), slept.append)):
        yield run


PENDING = Verdict("pending", "not yet")
DONE = Verdict("done", "there", {"found": 1})
EXPIRED = ClientError({"Error": {"Code": "ExpiredToken", "Message": "is expired"}}, "DescribeAddresses")
THROTTLED = ClientError({"Error": {"Code": "RequestLimitExceeded"}}, "DescribeAddresses")


def test_it_sleeps_before_each_poll_and_returns_the_hint(payload):
    event, slept = payload(Scripted(PENDING, DONE))
    assert event == {"status": "done", "message": "there", "data": {"found": 1}, "hint": {"try_number": 1}}
    assert slept == [15, 15]


def test_a_timeout_has_the_message_of_the_last_verdict(payload):
    event, slept = payload(Scripted(PENDING))
    assert (event["status"], event["message"]) == ("timeout", "not yet")
    assert sum(slept) == pytest.approx(100)


def test_throttling_delays_the_wait_by_one_poll(payload):
    event, slept = payload(Scripted(THROTTLED, DONE))
    assert event["status"] == "done"
    assert slept[0] == 15
    assert 15 <= slept[1] <= 30, "after no answer the pause is longer, and not the same for all"
    assert len(slept) == 2


def test_a_permanent_error_is_raised_at_once(payload):
    denied = ClientError({"Error": {"Code": "UnauthorizedOperation"}}, "DescribeAddresses")
    with pytest.raises(ClientError):
        payload(Scripted(denied))


def test_expired_credentials_are_read_again_once_since_the_last_answer(payload):
    event, slept = payload(Scripted(EXPIRED, PENDING, EXPIRED, DONE))
    assert event["status"] == "done"
    assert len(slept) == 4, "once since the last answer"


def test_credentials_that_stay_expired_are_an_error_that_names_the_connection(payload):
    with pytest.raises(CredentialsExpiredError, match=r"'aws_1'.*is expired"):
        payload(Scripted(EXPIRED, aws_conn_id="aws_1"))


def test_the_last_poll_comes_at_the_deadline_not_after_it(payload):
    _, slept = payload(Scripted(PENDING, waiter_delay=70))
    assert sum(slept) == pytest.approx(100)


def test_a_failed_verdict_is_reported(payload):
    event, _ = payload(Scripted(Verdict("failed", "gone")))
    assert event["status"] == "failed"


class Connecting(Scripted):
    """Raises planned errors when it connects."""

    def __init__(self, *connecting: Exception, found: Verdict = DONE, **parameters: Any) -> None:
        super().__init__(found, **parameters)
        self.connecting = list(connecting)

    def client(self, service: str, region_name: str | None) -> Any:
        if self.connecting:
            raise self.connecting.pop(0)
        return super().client(service, region_name)


def test_a_connection_that_fails_once_delays_the_wait_by_one_poll(payload):
    event, slept = payload(Connecting(THROTTLED))
    assert event["status"] == "done"
    assert slept[0] == 15
    assert 15 <= slept[1] <= 30
    assert len(slept) == 2


def test_a_connection_that_always_fails_ends_with_a_timeout(payload):
    event, slept = payload(Connecting(*[THROTTLED] * 100))
    assert event["status"] == "timeout"
    assert "RequestLimitExceeded" in event["message"]
    assert sum(slept) == pytest.approx(100)


def test_a_permanent_connection_error_is_raised_at_once(payload):
    with pytest.raises(ValueError, match="no such connection"):
        payload(Connecting(ValueError("no such connection")))


def test_expired_credentials_lead_to_new_clients(payload):
    watched = Scripted(PENDING, EXPIRED, PENDING, DONE)
    payload(watched)
    assert watched.connections == 2


def test_a_wait_creates_each_client_once(payload):
    watched = Scripted(PENDING)
    assert payload(watched)[0]["status"] == "timeout"
    assert watched.connections == 1


@pytest.mark.parametrize("error", [ImportError("no module"), OSError("too many open files")])
def test_an_import_that_failed_is_tried_again_by_the_next_wait(monkeypatch, error):
    watch._polling_imports.cache_clear()
    wait = Scripted(DONE, waiter_delay=0, deadline=clock.time() + 100)
    with monkeypatch.context() as broken:
        broken.setattr(watch.importlib, "import_module", Mock(side_effect=error))
        with pytest.raises(type(error), match=str(error)):
            asyncio.run(first_event(wait))
    assert asyncio.run(first_event(wait))["message"] == "there"
