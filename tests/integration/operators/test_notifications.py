"""Notifiers of a long wait, a lost address and a failover are called once, by a task, in both modes."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws.lag import READS_LAG_SECONDS
from airflow_eip_provider.exceptions import AddressBusyError, InvalidInputError
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger
from harness.life import Task
from tests.integration.operators.aws_state import STORE, dynamodb_only, free_address

try:  # Airflow >= 3.1
    from airflow.sdk import BaseNotifier
except ImportError:  # Airflow 2.11 and 3.0
    from airflow.notifications.basenotifier import BaseNotifier


A = "eu-west-1a"


class Told(list[dict[str, Any]]):
    """A notifier that keeps the facts that it was called with, and refuses to be called by a trigger."""

    judging = threading.local()

    def __call__(self, context: Any) -> None:
        assert not getattr(self.judging, "now", False), "a trigger only reads"
        assert context["ti"].task_id
        self.append(context["eip"])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told()
    run = WatchTrigger.run

    async def running(trigger: WatchTrigger) -> Any:
        told.judging.now = True
        try:
            async for event in run(trigger):
                yield event
        finally:
            told.judging.now = False

    monkeypatch.setattr(WatchTrigger, "run", running)
    return told


def test_a_long_wait_notifies_once_and_continues(
    clocked, occupied, told, create_operator, store, deferrable, allocation_id
):
    clocked.clock.call_later(1800, occupied, name="the address is free")
    task = Task(
        create_operator(
            lock_store=store, deferrable=deferrable, on_queued_longer_than=(timedelta(minutes=10), told), prewarm=False
        )
    )
    assert task.run().startswith("j-")
    assert len(told) == 1
    assert told[0]["event"] == "queued"
    assert told[0]["allocation_id"] == allocation_id
    assert 600 <= told[0]["waited_seconds"] < 640
    assert told[0]["holder"]


def test_a_short_wait_does_not_notify(clocked, occupied, told, create_operator):
    task = Task(create_operator(lock_store=None, deferrable=True, on_queued_longer_than=(timedelta(minutes=10), told)))
    task.start()
    clocked.clock.advance(60)
    occupied()
    task.go_on()
    assert task.error is None
    assert told == []


def test_a_wait_that_ends_before_its_notification_fails_as_usual(clocked, occupied, told, create_operator, deferrable):
    limits = {"lock_timeout": timedelta(minutes=5), "on_queued_longer_than": (timedelta(minutes=10), told)}
    with pytest.raises(AddressBusyError):
        Task(create_operator(lock_store=None, deferrable=deferrable, **limits)).run()
    assert told == []


def test_a_wait_that_has_notified_still_ends(clocked, occupied, told, create_operator, deferrable):
    limits = {"lock_timeout": timedelta(minutes=15), "on_queued_longer_than": (timedelta(minutes=10), told)}
    with pytest.raises(AddressBusyError):
        Task(create_operator(lock_store=None, deferrable=deferrable, **limits)).run()
    assert len(told) == 1


@dynamodb_only
def test_a_notification_from_a_queue_has_the_place(clocked, leased, queue, told):
    leased("holder").run()
    waits = leased("waits", prewarm=False, on_queued_longer_than=(timedelta(minutes=10), told))
    waits.start()
    queue.pass_time(580, waits)
    assert told == []
    clocked.clock.advance(30)
    while not told:  # the trigger's own deadline
        waits.resume({"status": "timeout", "message": "", "data": {}, "hint": waits.trigger().hint})
    assert not waits.ended, "it waits on"
    assert (told[0]["place"], told[0]["waiting"]) == (1, 1)
    assert "holder" in told[0]["holder"]
    queue.pass_time(600, waits)
    assert len(told) == 1


@pytest.mark.parametrize(
    ("remembered", "retries", "max_tries", "calls"),
    [({}, 1, (1, 1), 1), (None, 1, (1, 1), 2), ({}, 0, (0, 1), 2)],
    ids=["Airflow 3.3", "before", "after a clear"],
)
@dynamodb_only
def test_a_retry_notifies_again_only_before_airflow_3_3_or_after_a_clear(
    clocked, leased, create_operator, told, remembered, retries, max_tries, calls
):
    leased("holder").run()
    limit = (timedelta(minutes=1), told)
    given = {"lock_store": STORE, "deferrable": True, "prewarm": False, "on_queued_longer_than": limit}
    for number, most in enumerate(max_tries, start=1):
        operator = create_operator(retries=retries, **given)
        waits = Task(operator, dag_id="waits", try_number=number, max_tries=most, remembered=remembered)
        waits.start()
        clocked.clock.advance(61)
        if (trigger := waits.trigger()).deadline <= clocked.clock.now().timestamp():
            waits.resume(trigger.payload(Verdict("pending", "")))
        assert not waits.ended, waits.error
    assert len(told) == calls


def test_each_failover_notifies_once_with_what_did_not_start(
    clocked, told, create_operator, overrides, subnets, to_b, deferrable
):
    overrides["Instances"]["Ec2SubnetId"] = subnets[A]
    clocked.limit_capacity(A)
    task = Task(create_operator(fallbacks=[to_b], lock_store=None, deferrable=deferrable, on_failover=told))
    task.run()
    assert [(one["event"], one["candidate"], one["zone"]) for one in told] == [("failover", 1, A)]
    assert told[0]["outcome"] == "INTERNAL_ERROR_EC2_INSUFFICIENT_CAPACITY_AZ"
    assert told[0]["job_flow_id"].startswith("j-")


def test_a_lost_address_notifies_once_after_the_steps_are_cancelled(
    clocked, told, ec2, create_operator, steps_operator, step, deferrable
):
    job_flow_id = Task(create_operator(lock_store=None, deferrable=True)).run()

    def cancelled(context: Any) -> None:
        assert clocked.events.calls("CancelSteps")
        told(context)

    steps = [step("--sleep", "3600")]
    task = Task(steps_operator(job_flow_id, steps=steps, lock_store=None, deferrable=True, on_lost=cancelled))
    task.start()
    clocked.clock.advance(READS_LAG_SECONDS + 1)
    free_address(ec2)
    task.go_on()
    assert isinstance(task.error, AirflowFailException)
    assert [one["event"] for one in told] == ["lost"]
    assert "left the cluster" in told[0]["message"]


def test_a_notifier_that_fails_is_logged_and_fails_nothing(clocked, occupied, create_operator, logged):
    def broken(context: Any) -> None:
        raise AirflowFailException("the chat is down")

    limit = (timedelta(minutes=1), broken)
    task = Task(create_operator(lock_store=None, deferrable=True, on_queued_longer_than=limit))
    task.start()
    clocked.clock.advance(90)
    task.resume({"status": "timeout", "message": "", "data": {}, "hint": task.trigger().hint})
    assert not task.ended
    assert "The notifier for 'queued' failed" in logged()


def test_a_notifier_of_airflows_renders_its_templates_each_time(clocked, create_operator, occupied):
    said: list[str] = []

    class Notifier(BaseNotifier):  # noqa: AIR301 - where Airflow has it
        template_fields = ("text",)

        def __init__(self) -> None:
            super().__init__()
            self.text = "{{ eip.allocation_id }} after {{ eip.waited_seconds }} s"

        def notify(self, context: Any) -> None:
            said.append(self.text)

    notifier = Notifier()
    operator = create_operator(lock_store=None, on_queued_longer_than=(timedelta(minutes=1), notifier))
    operator.notify({"ti": Task(operator).ti, "dag": None}, notifier, "queued", once="queued", waited_seconds=61)
    assert said == [f"{operator.allocation_id} after 61 s"]
    assert notifier.text.startswith("{{")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"on_lost": "mail"}, "on_lost 'mail'"),
        ({"on_failover": 3}, "on_failover 3"),
        ({"on_lost": Told}, "on_lost"),
        ({"on_queued_longer_than": timedelta(1)}, "not a pair"),
        ({"on_queued_longer_than": (timedelta(0), print)}, "not a positive duration"),
        ({"on_queued_longer_than": (60, print)}, "not a positive duration"),
        ({"on_queued_longer_than": (timedelta(1), None)}, "no notifier"),
        ({"on_queued_longer_than": (timedelta(1), "mail")}, "not callable"),
    ],
)
def test_what_is_no_notifier_is_refused_when_the_task_is_made(wrong, said):
    with pytest.raises(InvalidInputError, match=said):
        EmrCreateWithStaticIpOperator(task_id="create", allocation_id="eipalloc-1", **wrong)
