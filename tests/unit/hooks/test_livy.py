"""The Livy hook: answers that are not Livy's, such as those of a proxy, and redirects."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")

from airflow_eip_provider.exceptions import LivyRefusedError, LivyUnavailableError
from airflow_eip_provider.hooks.livy import LivyBatchHook
from tests.livy_servers import REDIRECTS, Endpoint, Livy, connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

REQUESTS: dict[str, Callable[[LivyBatchHook], Any]] = {
    "find": lambda hook: hook.find("daily"),
    "list": lambda hook: hook.named(lambda _: True),
    "submit": lambda hook: hook.submit({"name": "daily"}),
    "delete": lambda hook: hook.delete("daily"),
}


@pytest.fixture
def livy() -> Livy:
    return Livy(now=lambda: 0.0)


@pytest.fixture
def hook(livy: Livy, monkeypatch: pytest.MonkeyPatch) -> Iterator[LivyBatchHook]:
    endpoint = Endpoint(livy)
    monkeypatch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", connection(endpoint))
    yield LivyBatchHook()
    endpoint.close()


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("answer", [{"message": "maintenance"}, [], None, "ok"], ids=str)
def test_an_answer_that_is_not_livys_may_be_another_one_later(livy, hook, request_of, answer):
    livy.answer = lambda *_: (200, answer)
    with pytest.raises(LivyUnavailableError, match=r"the answer (is not a|does not say)") as error:
        request_of(hook)
    assert error.value.was_sent, "a batch may have been submitted"
    assert "on the host of connection 'livy_default'" in str(error.value)


@pytest.mark.parametrize(
    "batch",
    [
        {"id": None, "state": None},
        {"id": None, "state": "running"},
        {"id": True, "state": "running"},
        {"id": 0},
        {"id": 0, "state": ""},
        "ok",
    ],
    ids=str,
)
def test_a_batch_without_a_number_or_a_state_is_not_one(livy, hook, batch):
    answers = itertools.cycle([batch, {"total": 1, "sessions": [batch]}])
    livy.answer = lambda *_: (200, next(answers))
    for find in (REQUESTS["find"], REQUESTS["list"]):
        with pytest.raises(LivyUnavailableError, match="the answer is not a Livy batch"):
            find(hook)


@pytest.mark.parametrize("request_of", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("status", REDIRECTS)
def test_a_redirect_is_not_followed_and_its_location_is_named(livy, hook, request_of, status):
    moved = Livy(now=lambda: 0.0)
    target = Endpoint(moved)
    moved.add(name="daily")
    location = f"http://airflow:s3cr3t-of-livy@127.0.0.1:{target.port}/batches?token=t0ken#part"
    livy.answer = lambda *_: (status, location)
    with pytest.raises(LivyRefusedError) as error:
        request_of(hook)
    target.close()
    assert f"Livy returned {status}: a redirect to http://127.0.0.1:{target.port}/batches, which" in str(error.value)
    assert "t0ken" not in str(error.value)
    assert "s3cr3t" not in str(error.value)
    assert moved.requests == []


def test_a_redirect_to_a_path_is_named_with_its_server(livy, hook):
    livy.answer = lambda *_: (302, "/login?next=%2Fbatches")
    with pytest.raises(LivyRefusedError, match=r"a redirect to http://127\.0\.0\.1:\d+/login, which is not followed"):
        hook.find("daily")


def test_a_redirect_is_not_followed_whatever_the_options_say(livy, hook):
    livy.answer = lambda *_: (302, "/batches")
    with pytest.raises(LivyRefusedError):
        LivyBatchHook(extra_options={"allow_redirects": True}).find("daily")


@pytest.mark.parametrize("location", ["http://[::1/login", "http://[not-an-address]/", "//["])
def test_a_redirect_to_a_malformed_url_is_an_error_of_this_package(livy, hook, location):
    livy.answer = lambda *_: (302, location)
    with pytest.raises(LivyUnavailableError, match="a redirect to a malformed URL"):
        hook.find("daily")
