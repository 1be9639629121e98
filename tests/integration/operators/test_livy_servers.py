"""LivyBatchWithStaticIpOperator on small Livy servers: its result, and what it posts and deletes."""

from __future__ import annotations

import base64
import inspect
import json
import logging
import subprocess
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")

from airflow.providers.apache.livy.operators.livy import LivyOperator
from requests.auth import AuthBase

from airflow_eip_provider.airflow_compat import AirflowFailException, AirflowTaskTimeout
from airflow_eip_provider.exceptions import (
    BatchFailedError,
    BatchLostError,
    KilledError,
    LivyUnavailableError,
    WaitTimeoutError,
)
from airflow_eip_provider.hooks.livy import LivyBatchHook
from airflow_eip_provider.operators.livy import LivyBatchWithStaticIpOperator
from harness.life import Task, TaskInstance, clock_of
from tests.livy_servers import Endpoint, Livy, connection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECRET = "s3cr3t-of-livy"


@pytest.fixture
def now(clocked: Any) -> Callable[[], float]:
    return clock_of(clocked).time  # type: ignore[no-any-return]


@pytest.fixture
def a(now: Any) -> Livy:
    return Livy(now)


@pytest.fixture
def b(now: Any) -> Livy:
    return Livy(now)


@pytest.fixture
def endpoint(a: Livy, monkeypatch: pytest.MonkeyPatch) -> Iterator[Endpoint]:
    """The host of the Livy connection, which forwards to server A."""
    endpoint = Endpoint(a)
    monkeypatch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", connection(endpoint))
    yield endpoint
    endpoint.close()


@pytest.fixture
def operator(endpoint: Endpoint) -> Callable[..., LivyBatchWithStaticIpOperator]:
    def make(**parameters: Any) -> LivyBatchWithStaticIpOperator:
        given = {"file": "s3://code/job.py", "aws_conn_id": None, "polling_interval": 15, **parameters}
        return LivyBatchWithStaticIpOperator(task_id="batch", **given)

    return make


def started(task: Task, clocked: Any) -> Task:
    """Run a task until its first deferral."""
    task.start()
    assert task.deferral is not None, task.error
    return task


def kill(operator: Callable[..., LivyBatchWithStaticIpOperator], task: Task) -> None:
    """Kill a deferred task in a worker, as Airflow does before 3.3."""
    killed = operator(deferrable=True)
    killed.pre_execute(task.context)
    killed.on_kill()


class Auth(AuthBase):
    """A custom authentication of requests."""

    def __init__(self, login: str = "", password: str = "") -> None:
        self.login = login

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Custom {self.login}"
        return request


@pytest.fixture
def fail_over(endpoint: Endpoint, a: Livy, b: Livy) -> None:
    """Send each POST to A and all later requests to B, which has another batch with number 0."""
    b.add(name="another's", state="success")
    post = a.answer

    def post_and_fail_over(*request: Any) -> Any:
        if request[0] == "POST":
            endpoint.servers = [b]
        return post(*request)

    a.answer = post_and_fail_over  # type: ignore[method-assign]


def test_the_stock_operator_reports_the_success_of_another_servers_batch(fail_over, a, b):
    """The reason for our operator: the stock one polls the batch of another client."""
    stock = LivyOperator(task_id="stock", file="s3://code/job.py", polling_interval=0.01, deferrable=False)
    stock.durable = False  # it concerns retries alone, and needs the task's supervisor
    assert stock.execute({"ti": TaskInstance(task_id="stock")}) == 0
    assert [batch["state"] for batch in a.batches.values()] == [None]
    assert b.posted() == []


def test_a_batch_of_another_server_with_the_same_number_is_ignored(fail_over, operator, deferrable, b, clocked):
    with pytest.raises(BatchLostError, match=r"for \d+ s no server had a batch of that name"):
        Task(operator(deferrable=deferrable)).run()
    assert [batch["name"] for batch in b.batches.values()] == ["another's"], "nothing of theirs was deleted"


def test_a_batch_succeeds(operator, deferrable, a, clocked, capsys):
    task = Task(operator(deferrable=deferrable, args=["--day", 7], driver_memory="2g", name="daily report"))
    assert task.run() == 0
    (body,) = a.posted()
    assert body["args"] == ["--day", "7"]
    assert body["driverMemory"] == "2g"
    assert body["name"].startswith("daily-report-eip-")
    xcoms = task.ti.xcoms
    assert (xcoms["batch_id"], xcoms["batch_name"]) == (0, body["name"])
    assert xcoms["app_id"].startswith("application_")
    assert xcoms["livy_spark_ui"] == {"url": f"http://node/proxy/{xcoms['app_id']}/"}
    assert f"line 2 of {body['name']}" in capsys.readouterr().out
    assert a.asked("DELETE") == []


def test_behind_a_load_balancer_of_two_servers_the_batch_is_found(operator, deferrable, endpoint, a, b, clocked):
    endpoint.servers = [a, b]
    a.takes = b.takes = 300
    for server in (a, b):
        server.add(name="another", state="dead")
    task = Task(operator(deferrable=deferrable))
    assert task.run() == 1
    assert len(a.posted() + b.posted()) == 1
    assert len(a.asked("GET")) > 5
    assert len(b.asked("GET")) > 5


def test_with_server_url_no_request_goes_through_the_load_balancer(operator, deferrable, endpoint, a, b, clocked):
    endpoint.servers = [b]
    direct = Endpoint(a)
    assert Task(operator(deferrable=deferrable, server_url=direct.url)).run() == 0
    direct.close()
    assert b.requests == []


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ("dead", "it ended dead: the driver or spark-submit exited with an error"),
        ("killed", "it ended killed: the application was killed in YARN, or the batch was deleted"),
        ("error", "it ended error: Livy itself failed to run it"),
    ],
)
def test_each_failed_state_has_its_own_message(operator, deferrable, a, clocked, capsys, state, said):
    a.ends = state
    with pytest.raises(BatchFailedError) as failed:
        Task(operator(deferrable=deferrable)).run()
    assert failed.value.state == state
    assert said in str(failed.value)
    logged = capsys.readouterr().out
    assert "line 0 of batch-eip-" in logged
    assert "The driver's log in YARN: http://node/logs/application_" in logged
    assert a.asked("DELETE") == [], "what has ended can still be looked at"


def test_an_unknown_state_does_not_count_as_ended(operator, deferrable, a, clocked):
    a.ends = "recovering"
    with pytest.raises(WaitTimeoutError):
        Task(operator(deferrable=deferrable, batch_timeout=timedelta(minutes=5))).run()


def test_when_the_answer_is_lost_the_batch_is_found_and_not_posted_again(operator, deferrable, a, clocked):
    a.after["POST"] = [0]
    assert Task(operator(deferrable=deferrable)).run() == 0
    assert len(a.asked("POST")) == 1
    assert len(a.posted()) == 1


def test_a_second_post_after_a_lost_answer_is_refused_by_its_name(operator, deferrable, a, clocked):
    """The list does not show the batch for more than a minute, but the server knows its name."""
    a.after["POST"] = [0]
    hidden = a._view

    def listed(batch: dict[str, Any]) -> dict[str, Any]:
        shown = hidden(batch)
        return shown if len(a.asked("POST")) > 1 else {**shown, "name": "not yet"}

    a._view = listed  # type: ignore[method-assign]
    assert Task(operator(deferrable=deferrable)).run() == 0
    assert len(a.asked("POST")) == 2
    assert len(a.posted()) == 1


@pytest.mark.parametrize("answer", [{"message": "maintenance"}, [], {"id": None, "state": None}], ids=str)
def test_an_answer_to_the_post_that_is_not_a_batch_counts_as_lost(operator, a, clocked, answer):
    usual, left = a.answer, [answer]

    def strange(method: str, *request: Any) -> Any:
        found = usual(method, *request)
        return (200, left.pop()) if method == "POST" and left else found

    a.answer = strange  # type: ignore[method-assign]
    assert Task(operator(deferrable=False)).run() == 0
    assert len(a.asked("POST")) == 1


@pytest.mark.parametrize("answer", [{"message": "maintenance"}, [], {"id": None, "state": None}], ids=str)
def test_an_answer_that_is_not_a_batch_does_not_end_the_wait(operator, deferrable, a, now, clocked, answer):
    a.takes = 300
    usual, left, begun = a.answer, [answer], now()

    def strange(method: str, *request: Any) -> Any:
        return (200, left.pop()) if method == "GET" and left and now() > begun + 60 else usual(method, *request)

    a.answer = strange  # type: ignore[method-assign]
    assert Task(operator(deferrable=deferrable)).run() == 0
    assert left == []
    assert a.asked("DELETE") == []


def test_when_every_request_is_redirected_the_task_fails_before_it_posts(operator, deferrable, a, clocked):
    a.answer = lambda _, target, *request: (301, f"https://livy.example.com{target}")  # type: ignore[method-assign]
    with pytest.raises(AirflowFailException, match=r"301: a redirect to https://livy\.example\.com/batches/batch-eip-"):
        Task(operator(deferrable=deferrable)).run()
    assert a.asked("POST") == []


def test_a_redirected_delete_is_not_taken_for_a_deletion(operator, a, clocked, logged):
    a.takes = 600
    task = started(Task(operator(deferrable=True)), clocked)
    usual = a.answer

    def redirected(method: str, target: str, *request: Any) -> Any:
        if method == "DELETE":
            return 302, f"https://livy.example.com{target}"
        return usual(method, target, *request)

    a.answer = redirected  # type: ignore[method-assign]
    kill(operator, task)
    (batch,) = a.batches.values()
    text = logged()
    assert "Deleted Livy batch" not in text
    assert f"deleting Livy batch '{batch['name']}' on the host of connection 'livy_default': Livy returned 302" in text
    assert f"Livy batch {batch['name']} on the host of connection 'livy_default' may still run" in text


def test_a_server_that_does_not_answer_yet_gets_the_request_again(operator, deferrable, a, endpoint, clocked):
    a.after["POST"] = [503]
    a.after["GET"] = [500]
    assert Task(operator(deferrable=deferrable)).run() == 0
    assert len(a.posted()) == 1


def test_too_many_sessions_is_retried(operator, a, clocked):
    answer = a.answer
    left = ["Rejected, too many sessions are being created!"]

    def busy(method: str, *request: Any) -> Any:
        return (400, {"msg": left.pop()}) if method == "POST" and left else answer(method, *request)

    a.answer = busy  # type: ignore[method-assign]
    assert Task(operator(deferrable=False)).run() == 0


def test_a_request_that_livy_refuses_is_not_retried(operator, a, clocked):
    a.after["POST"] = [400]
    with pytest.raises(AirflowFailException, match="Livy returned 400"):
        Task(operator(deferrable=False)).run()
    assert len(a.asked("POST")) == 1


def test_a_server_that_is_restarted_has_lost_the_batch(operator, a, clocked):
    """The ids begin at 0 again, and the new batch 0 succeeds."""
    a.takes = 600
    task = started(Task(operator(deferrable=True)), clocked)
    a.restart()
    a.add(name="somebody else's", state="success")
    begun = clock_of(clocked).time()
    task.go_on()
    assert isinstance(task.error, BatchLostError)
    assert 120 <= clock_of(clocked).time() - begun <= 120 + 2 * 15 + 15
    assert len(a.batches) == 1


def test_a_batch_that_is_missing_for_less_than_lost_after_is_not_lost(operator, a, b, endpoint, clocked):
    a.takes = 600
    task = started(Task(operator(deferrable=True, lost_after=timedelta(minutes=5))), clocked)
    find, away = a._find, clock_of(clocked).time() + 240

    def late(key: str) -> Any:
        return find(key) if clock_of(clocked).time() > away else None

    a._find = late  # type: ignore[method-assign]
    task.go_on()
    assert task.result == 0


def test_a_retry_adopts_a_running_batch(operator, deferrable, a, clocked):
    a.takes = 600
    first = started(Task(operator(deferrable=True, retries=2), try_number=1), clocked)
    assert first.deferral is not None  # and its process is lost
    second = Task(operator(deferrable=deferrable, retries=2), try_number=2)
    assert second.run() == 0
    assert len(a.asked("POST")) == 1


def test_a_retry_adopts_a_batch_on_any_server(operator, endpoint, a, b, clocked):
    a.takes = 600
    started(Task(operator(deferrable=True, retries=2), try_number=1), clocked)
    endpoint.servers = [b, a]
    assert Task(operator(deferrable=False, retries=2), try_number=2).run() == 0
    assert b.posted() == []


def test_a_retry_finds_a_batch_that_its_first_search_misses(operator, deferrable, endpoint, a, b, clocked):
    """All connections of the search lead to the other one of two servers: 1 in 32."""
    a.takes = b.takes = 600
    started(Task(operator(deferrable=True, retries=2), try_number=1), clocked)
    to_the_other, in_turn = [b] * 5, endpoint._next
    endpoint.servers = [a, b]
    endpoint._next = lambda: to_the_other.pop() if to_the_other else in_turn()
    assert Task(operator(deferrable=deferrable, retries=2), try_number=2).run() == 0
    assert (len(a.posted()), len(b.posted())) == (1, 0)


@pytest.mark.parametrize("remembered", [{}, None], ids=["Airflow 3.3", "before"])
def test_a_retry_finds_a_batch_that_livy_registers_late(operator, deferrable, a, clocked, monkeypatch, remembered):
    """The process of the first try is lost in its POST, which takes effect after the retry has begun."""
    a.takes = 600
    sent = []

    def lost(_hook: Any, body: Any) -> Any:
        sent.append(json.dumps(body).encode())
        raise Terminated

    first = Task(operator(deferrable=True, retries=2), try_number=1, remembered=remembered)
    with monkeypatch.context() as patch:
        patch.setattr(LivyBatchHook, "submit", lost)
        patch.setattr(LivyBatchWithStaticIpOperator, "undo", lambda *_: None)
        with pytest.raises(Terminated):
            first.start()
    clocked.clock.call_later(30, lambda: a.answer("POST", "/batches", {}, sent[0]), name="Livy registers the batch")
    assert Task(operator(deferrable=deferrable, retries=2), try_number=2, remembered=remembered).run() == 0
    assert [body["name"] for body in a.posted()] == [first.ti.xcoms["batch_name"]]


@pytest.mark.parametrize(("remembered", "seconds"), [({}, 0), (None, 60)], ids=["Airflow 3.3", "before"])
@pytest.mark.parametrize("failure", ["the batch is lost", "nothing was posted"])
def test_a_retry_searches_once_if_it_knows_that_no_batch_is_left(
    operator, a, clocked, now, failure, remembered, seconds
):
    def attempt(number: int) -> Task:
        return Task(operator(deferrable=True, retries=2), try_number=number, remembered=remembered)

    if failure == "nothing was posted":
        a.after["GET"] = [503] * 7
        with pytest.raises(LivyUnavailableError):
            attempt(1).run()
    else:
        task = started(attempt(1), clocked)
        a.restart()
        task.go_on()
        assert isinstance(task.error, BatchLostError)
    begun = now()
    started(attempt(2), clocked)
    assert a.batches[0]["since"] - begun == pytest.approx(seconds)


def test_a_retry_does_not_trust_what_a_try_before_the_previous_one_remembered(operator, a, clocked, now):
    remembered = {"eip_livy_left_none": 1}
    begun = now()
    started(Task(operator(deferrable=True, retries=2), try_number=3, remembered=remembered), clocked)
    assert a.batches[0]["since"] - begun == pytest.approx(60)


def test_a_try_that_ends_before_it_has_searched_does_not_say_that_no_batch_is_left(operator, a, clocked):
    remembered: dict[str, Any] = {}
    a.after["GET"] = [503] * 7
    with pytest.raises(LivyUnavailableError):
        Task(operator(deferrable=False, retries=2), try_number=2, remembered=remembered).run()
    assert remembered == {}


def test_a_retry_searches_for_a_minute_once(operator, a, clocked, now):
    usual, begun = a.answer, now()
    refusals = [(400, {"msg": "Rejected, too many sessions are being created!"})]
    posts: list[float] = []

    def busy(method: str, *request: Any) -> Any:
        if method == "POST":
            posts.append(now() - begun)
        return refusals.pop() if method == "POST" and refusals else usual(method, *request)

    a.answer = busy  # type: ignore[method-assign]
    assert Task(operator(deferrable=True, retries=2), try_number=2).run() == 0
    assert posts[0] == pytest.approx(60)
    assert posts[1] < 60 + 60


def test_a_retry_that_is_killed_while_it_searches_posts_nothing(operator, a, clocked):
    task = Task(operator(deferrable=False, retries=2), try_number=2)

    def killed() -> None:
        task.operator.on_kill()

    clocked.clock.call_later(25, killed, name="the task is killed")
    with pytest.raises(KilledError):
        task.run()
    assert a.asked("POST") == []


def test_a_retry_returns_the_success_of_the_earlier_try(operator, a, clocked):
    started(Task(operator(deferrable=True, retries=2), try_number=1), clocked)
    clocked.clock.advance(300)
    assert Task(operator(deferrable=False, retries=2), try_number=2).run() == 0
    assert len(a.posted()) == 1


def test_a_task_that_was_cleared_runs_its_batch_again(operator, a, clocked):
    Task(operator(deferrable=False, retries=1), try_number=1).run()
    assert Task(operator(deferrable=False, retries=1), try_number=2, max_tries=2).run() == 1
    assert len(a.posted()) == 2


def test_a_retry_after_a_failure_submits_another_at_once(operator, a, clocked, now):
    a.ends = "dead"
    failing = Task(operator(deferrable=False, retries=1), try_number=1)
    with pytest.raises(BatchFailedError):
        failing.run()
    a.batches[0]["state"], a.ends = "dead", "success"
    failed_at = now()
    assert Task(operator(deferrable=False, retries=1), try_number=2).run() == 1
    assert a.batches[1]["since"] == failed_at, "the batch of the failed try is shown, so none can appear later"


def test_a_kill_deletes_the_batch_by_its_name_on_any_server(operator, endpoint, a, b, clocked):
    a.takes = 600
    task = started(Task(operator(deferrable=True)), clocked)
    b.add(name="somebody else's")
    endpoint.servers = [b, a]
    kill(operator, task)
    assert a.batches == {}
    assert [batch["name"] for batch in b.batches.values()] == ["somebody else's"]
    assert not any(path.rpartition("/")[2].isdigit() for path in a.asked("DELETE") + b.asked("DELETE"))


def test_a_kill_deletes_the_batch_when_livy_is_unavailable_for_seconds(operator, a, clocked):
    a.takes = 600
    task = started(Task(operator(deferrable=True)), clocked)
    a.after["DELETE"] = [503, 503]
    kill(operator, task)
    assert a.batches == {}


def test_a_kill_that_cannot_delete_the_batch_names_it(operator, a, clocked, now, logged):
    a.takes = 600
    task = started(Task(operator(deferrable=True)), clocked)
    a.after["DELETE"], begun = [503] * 100, now()
    kill(operator, task)
    assert now() - begun == pytest.approx(20)
    (batch,) = a.batches.values()
    text = logged()
    assert f"Livy batch {batch['name']} on the host of connection 'livy_default' may still run" in text
    assert "airflow-eip reap" not in text


class Terminated(BaseException):
    """What Airflow 2 raises in the task when it is killed, after on_kill."""


@pytest.fixture
def killed_while_posting(operator: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Task]:
    """Kill a task during its POST, whose answer it does not get."""

    def run(then: Callable[[bytes], object]) -> Task:
        task = Task(operator(deferrable=False))

        def killed(_hook: Any, body: Any) -> Any:
            then(json.dumps(body).encode())
            task.operator.on_kill()
            raise Terminated

        monkeypatch.setattr(LivyBatchHook, "submit", killed)
        with pytest.raises(Terminated):
            task.start()
        return task

    return run


def test_a_kill_during_the_post_deletes_a_batch_that_livy_registers_later(killed_while_posting, a, clocked):
    """Before the process ends, 60 s after the kill in Airflow 2."""
    registered = []

    def register_later(body: bytes) -> None:
        clocked.clock.call_later(
            5, lambda: registered.append(a.answer("POST", "/batches", {}, body)), name="Livy registers the batch"
        )

    killed_while_posting(register_later)
    assert [status for status, _ in registered] == [201]
    assert a.batches == {}


def test_a_kill_during_a_post_that_livy_never_gets_ends_soon(killed_while_posting, a, clocked, now, logged):
    begun = now()
    task = killed_while_posting(lambda _: None)
    assert now() - begun == pytest.approx(2 * 20), (
        "on_kill and the failure that follows it; they run at the same time in Airflow 2"
    )
    name = task.ti.xcoms["batch_name"]
    assert f"Livy has not answered the POST and does not show its batch. Livy batch {name} on the host" in logged()


def test_a_deferral_that_times_out_deletes_the_batch(operator, a, clocked):
    a.takes = 6000
    task = started(Task(operator(deferrable=True)), clocked)
    task.fail_deferral()
    assert a.batches == {}


def test_killing_the_trigger_deletes_only_a_running_batch(operator, a, clocked):
    a.takes = 600
    trigger = started(Task(operator(deferrable=True)), clocked).trigger()
    name = trigger.batch_name
    a.batches[0]["state"] = "success"
    trigger.undo_now(*trigger.undo, spare_handed_over=False)
    assert [batch["name"] for batch in a.batches.values()] == [name]
    a.batches[0]["state"] = None
    trigger.undo_now(*trigger.undo, spare_handed_over=False)
    assert a.batches == {}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_killing_the_trigger_deletes_the_batch_when_livy_is_unavailable_for_seconds(operator, a, clocked, method):
    a.takes = 600
    trigger = started(Task(operator(deferrable=True)), clocked).trigger()
    a.after[method] = [503, 503]
    trigger.undo_now(*trigger.undo, spare_handed_over=False)
    assert a.batches == {}


def test_killing_the_trigger_names_a_batch_that_it_cannot_delete(operator, a, clocked, now, logged):
    """Before the 30 s are over that Airflow gives on_kill of a trigger."""
    a.takes = 600
    trigger = started(Task(operator(deferrable=True)), clocked).trigger()
    a.after["GET"], begun = [503] * 100, now()
    with pytest.raises(LivyUnavailableError):
        trigger.undo_now(*trigger.undo, spare_handed_over=False)
    assert now() - begun == pytest.approx(20)
    assert f"Livy batch {trigger.batch_name} on the host of connection 'livy_default' may still run" in logged()


@pytest.mark.parametrize("bound", ["batch_timeout", "execution_timeout"])
def test_a_batch_that_takes_too_long_is_deleted(operator, a, clocked, bound):
    a.takes = 6000
    with pytest.raises((WaitTimeoutError, AirflowTaskTimeout)):
        Task(operator(deferrable=True, **{bound: timedelta(minutes=10)})).run()
    assert a.batches == {}


def test_a_password_change_does_not_fail_the_task(operator, a, endpoint, clocked, monkeypatch):
    a.takes = 600
    task = started(Task(operator(deferrable=True)), clocked)
    looked = a.answer

    def change(*request: Any) -> Any:
        if len(a.requests) > 6:
            monkeypatch.setenv("AIRFLOW_CONN_LIVY_DEFAULT", connection(endpoint, login="new", password="other"))
        if len(a.requests) > 4:
            a.user = f"Basic {base64.b64encode(b'new:other').decode()}"
        return looked(*request)

    a.answer = change  # type: ignore[method-assign]
    task.go_on()
    assert task.result == 0
    assert a.requests[-1][2]["Authorization"] == a.user


def test_no_secret_is_in_logs_errors_or_xcoms(operator, deferrable, a, endpoint, clocked, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    a.user = "nobody"
    header = {"X-Token": "t0ken-of-livy"}
    task = Task(operator(deferrable=deferrable, extra_headers=header))
    with pytest.raises(AirflowFailException) as refused:
        task.run()
    a.user = None
    done = Task(operator(deferrable=deferrable, extra_headers=header, conf={"spark.password": "spark-s3cret"}))
    done.run()
    endpoint.close()
    with pytest.raises(LivyUnavailableError) as gone:
        LivyBatchHook(extra_headers=header).find("batch", looks=1)
    xcoms = json.dumps([task.ti.xcoms, done.ti.xcoms])
    seen = [caplog.text, *capsys.readouterr(), repr(refused.value), repr(gone.value), xcoms]
    for text in seen:
        for secret in (SECRET, "t0ken-of-livy", "spark-s3cret", "YWlyZmxvdzpz"):
            assert secret not in text
    assert a.requests[-1][2]["X-Token"] == "t0ken-of-livy"


def test_authentication_prefix_and_headers_are_used_in_the_trigger_too(operator, a, clocked):
    a.user = "Custom airflow"
    task = Task(
        operator(
            deferrable=True,
            livy_conn_auth_type=Auth,
            livy_endpoint_prefix="gateway/livy",
            extra_headers={"X-Requested-By": "airflow"},
        )
    )
    assert task.run() == 0
    assert task.deferrals == ["LivyBatchTrigger"]
    for _, path, headers in a.requests:
        assert path.startswith("/gateway/livy/batches")
        assert headers["X-Requested-By"] == "airflow"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"polling_interval": 0}, "nothing would notice the end of the batch"),
        ({"durable": False}, "runs it twice"),
        ({"allocation_id": "eipalloc-0123456789abcdef0"}, "without job_flow_id"),
        ({"job_flow_id": "daily"}, "this is not the ID of an EMR cluster"),
        ({"server_url": "http://me:pass@10.0.1.5:8998"}, "not an http:// or https:// URL of a server without a user"),
        ({"lost_after": 30}, "this is not a timedelta"),
        ({"extra_options": {"cert": object()}, "deferrable": True}, "they are not JSON"),
        ({"args": [object()]}, "List of strings expected"),
        ({"driver_memory": "much"}, "Invalid java size format"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_parameters_are_refused_before_anything_is_posted(operator, a, clocked, given, said):
    with pytest.raises(AirflowFailException, match=said) as refused:
        Task(operator(**given)).run()
    assert a.requests == []
    assert "pass@" not in str(refused.value)


def test_a_server_that_does_not_return_names_is_refused(operator, a, clocked):
    a.names = False
    with pytest.raises(AirflowFailException, match=r"Livy 0\.7 or later"):
        Task(operator(deferrable=False)).run()
    assert a.batches == {}, "it does not run on unseen"


def test_every_parameter_of_the_stock_operator_is_accepted(operator):
    stock = inspect.signature(LivyOperator.__init__).parameters
    given = {
        name: parameter.default
        for name, parameter in stock.items()
        if name not in {"self", "file", "polling_interval", "kwargs"}
    }
    assert {"durable", "retry_args", "livy_endpoint_prefix"} & given.keys()
    operator(**given)


def test_without_the_extra_the_import_error_names_it():
    """Modules that do not need the extra can be imported."""
    code = """
import sys
sys.modules["airflow.providers.apache.livy.hooks.livy"] = None
import airflow_eip_provider.hooks.livy
import airflow_eip_provider.triggers.livy
print("imported")
import airflow_eip_provider.operators.livy
"""
    failed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert failed.stdout.splitlines()[-1] == "imported"
    assert "pip install 'airflow-eip-provider[livy]'" in failed.stderr.splitlines()[-1]
