"""
How often 50 viewers make the page read the lock store, counted at its wire: each address once in five seconds at most.

The page is the one of the installed Airflow: its FastAPI app, in event loops of several threads, or its Flask view, in
a thread for each viewer. The clock of its reads is turned here, and what boto3 sends is answered here.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate

import httpx
import pytest
from botocore.awsrequest import AWSResponse
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import URLLib3Session

from airflow_eip_provider import clock
from airflow_eip_provider.stores.records import to_text
from airflow_eip_provider.ui import source
from harness.simulated_clock import SimulatedClock
from tests.airflow_version import AIRFLOW
from tests.unit.ui.stories import ALLOCATION, FREE, NOW, SECOND, THIRD

VIEWERS = 50
NAMES = (ALLOCATION, SECOND, THIRD)
_LOOPS = 5


class _Body(io.BytesIO):
    def stream(self, **_):
        yield self.read()


class Wire:
    """
    DynamoDB and EC2 where boto3 sends to them.

    :ivar fails: what the lock store says instead: a status, or an exception to raise.
    :ivar answers: cleared while the lock store takes long.
    """

    def __init__(self):
        self.reads = Counter()
        self.most_at_once = 0
        self.fails = None
        self.answers = threading.Event()
        self.answers.set()
        self.entered = threading.Event()
        self._now = 0
        self._lock = threading.Lock()

    def send(self, request):
        if "dynamodb" not in request.url:
            text = '<DescribeAddressesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"/>'
            return AWSResponse(request.url, 200, {}, _Body(text.encode()))
        assert request.headers["X-Amz-Target"].decode().endswith(".GetItem"), "the page only reads"
        with self._lock:
            self.reads[json.loads(request.body)["Key"]["address"]["S"]] += 1
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        self.entered.set()
        try:
            assert self.answers.wait(60)
            if isinstance(self.fails, Exception):
                raise self.fails
            answer = {"Item": {"version": {"S": "1"}, "record": {"S": to_text(FREE)}}}
            status = self.fails or 200
            body = _Body(json.dumps(answer if status == 200 else {"__type": "InternalServerError"}).encode())
            return AWSResponse(request.url, status, {"Date": formatdate(NOW, usegmt=True)}, body)
        finally:
            with self._lock:
                self._now -= 1


class Page:
    """The page's application, and its clock."""

    def __init__(self, monkeypatch, *, patience):
        self.seconds = 0.0
        self.shared = source.shared_snapshot.__wrapped__()
        self.shared._patience = patience
        make = self._airflow2 if AIRFLOW < (3,) else self._airflow3
        self.look = make(monkeypatch)

    def sleep(self, seconds):
        """Turn the clock; no read of the page pauses."""
        self.seconds += seconds

    def _airflow3(self, monkeypatch):
        from airflow_eip_provider.ui import airflow3  # noqa: PLC0415 - not in Airflow 2

        monkeypatch.setattr(airflow3, "shared_snapshot", lambda: self.shared)
        monkeypatch.setattr(airflow3, "_may_read", lambda user, dag_id: True)
        app = airflow3.make_app()
        app.dependency_overrides[airflow3._allowed_user] = lambda: "a user"

        async def some(count):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://page", timeout=60) as http:
                return await asyncio.gather(*(http.get("/data.json") for _ in range(count)))

        def look():
            with ThreadPoolExecutor(_LOOPS) as threads:
                found = threads.map(lambda count: asyncio.run(some(count)), [VIEWERS // _LOOPS] * _LOOPS)
                return [answer.json() for answers in found for answer in answers]

        return look

    def _airflow2(self, monkeypatch):
        from flask import Flask  # noqa: PLC0415 - not in Airflow 3

        from airflow_eip_provider.ui import airflow2  # noqa: PLC0415

        monkeypatch.setattr(airflow2, "shared_snapshot", lambda: self.shared)
        monkeypatch.setattr(airflow2, "_may_read", lambda dag_id: True)
        monkeypatch.setattr(airflow2, "_refusal", lambda: None)
        app = Flask("page")
        app.add_url_rule("/data.json", view_func=airflow2.ElasticIpsView().data)

        def look():
            with ThreadPoolExecutor(VIEWERS) as threads:
                return list(threads.map(lambda _: app.test_client().get("/data.json").json, range(VIEWERS)))

        return look


@pytest.fixture
def wire(monkeypatch):
    made = Wire()
    monkeypatch.setattr(URLLib3Session, "send", lambda _session, request: made.send(request))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "-")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("AIRFLOW__EIP__LOCK_STORE", "dynamodb://leases")
    monkeypatch.setenv("AIRFLOW__EIP__PAGE_ADDRESSES", ",".join(NAMES))
    monkeypatch.setattr(source, "_connection", lambda: None)
    monkeypatch.setattr(source, "read_starts", lambda tasks: {})
    source._hooks.cache_clear()
    yield made
    source._hooks.cache_clear()


@pytest.fixture
def opened(wire, monkeypatch):
    """Return the page whose viewers wait so long: with an earlier answer, and without. No read outlives the test."""
    with contextlib.ExitStack() as ends:

        def open_page(*patience):
            page = Page(monkeypatch, patience=patience)
            ends.enter_context(clock.used(SimulatedClock(lambda: NOW + page.seconds, page.sleep)))
            ends.callback(lambda: page.shared._pool.shutdown(wait=True))
            return page

        yield open_page
        wire.answers.set()


@pytest.fixture
def page(opened):
    return opened(60.0, 60.0)


def states(shown):
    return {address["allocation_id"]: address["state"] for address in shown["addresses"]}


def problems(shown):
    return " ".join(shown["problems"])


def test_each_address_is_read_once_in_five_seconds(page, wire):
    for second in range(12):  # reads are due at 0, 5 and 10
        page.seconds = float(second)
        shown = page.look()
        assert len(shown) == VIEWERS
        assert all(states(each) == dict.fromkeys(NAMES, "free") for each in shown)
    assert wire.reads == dict.fromkeys(NAMES, 3)
    assert wire.most_at_once == 1


@pytest.mark.parametrize("fails", [500, EndpointConnectionError(endpoint_url="https://dynamodb")], ids=["500", "down"])
def test_a_failing_store_is_not_called_more_often(page, wire, fails):
    page.look()
    wire.reads.clear()
    wire.fails = fails
    for second in range(5, 15):  # reads are due at 5 and 10
        page.seconds = float(second)
        assert all(set(states(each).values()) == {"not known"} for each in page.look())
    assert wire.reads == {NAMES[0]: 2}, "after the first failure the others are not asked, nor is one asked again"
    wire.fails, page.seconds = None, 15.0
    assert all(states(each) == dict.fromkeys(NAMES, "free") for each in page.look())


def test_requests_during_a_slow_read_wait_for_it(page, wire):
    wire.answers.clear()
    with ThreadPoolExecutor(2) as threads:
        first, second = threads.submit(page.look), threads.submit(page.look)
        assert wire.entered.wait(60)
        page.seconds = 60.0  # long after the next read would be due
        wire.answers.set()
        shown = [*first.result(), *second.result()]
    assert len(shown) == 2 * VIEWERS
    assert all(states(each) == dict.fromkeys(NAMES, "free") for each in shown)
    assert wire.most_at_once == 1
    assert max(wire.reads.values()) <= 2, "that one, and one for those who came after its end"


def test_while_a_store_is_slow_viewers_get_the_last_answer_without_another_read(opened, wire):
    impatient = opened(0.0, 60.0)
    impatient.look()
    wire.entered.clear()
    wire.answers.clear()
    for second in (5, 10, 60, 600):
        impatient.seconds = float(second)
        for each in impatient.look():
            assert states(each) == dict.fromkeys(NAMES, "free")
            assert "takes long to answer" in problems(each)
    assert wire.entered.wait(60)
    assert (wire.reads[NAMES[0]], wire.most_at_once) == (2, 1)


def test_a_store_without_any_answer_is_a_problem_on_the_page(opened, wire):
    wire.answers.clear()
    assert all("not answered yet" in problems(each) for each in opened(0.0, 0.0).look())
