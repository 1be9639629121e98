"""How often and how long to wait: a wrong type is refused by its name before anything in AWS changes, in both modes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators import preflight
from airflow_eip_provider.operators.eip import EipAssociateOperator, EipReleaseOperator
from airflow_eip_provider.operators.emr import EmrTerminateWithStaticIpOperator
from harness.life import Task

WRONG = [
    {"waiter_delay": "15s"},
    {"waiter_delay": "None"},
    {"waiter_delay": -1},
    {"waiter_delay": 0},
    {"waiter_delay": "inf"},
    {"waiter_delay": True},
    {"waiter_delay": timedelta(seconds=15)},
    {"waiter_max_attempts": "10.0"},
    {"waiter_max_attempts": ""},
    {"waiter_max_attempts": "0"},
    {"waiter_max_attempts": 2.5},
    {"waiter_max_attempts": 10**12},
    {"lock_timeout": 3600},
    {"lock_timeout": "1h"},
    {"lock_timeout": timedelta(seconds=-1)},
    {"lock_timeout": timedelta.max},
    {"idle_timeout": 3600},
    {"idle_timeout": timedelta(seconds=59)},
    {"idle_timeout": timedelta(days=8)},
]


@pytest.mark.parametrize("given", WRONG, ids=str)
def test_nothing_is_launched(clocked, create_operator, deferrable, given, assert_nothing_changed):
    with pytest.raises(AirflowFailException, match=next(iter(given))):
        Task(create_operator(deferrable=deferrable, **given)).run()
    assert_nothing_changed()


@pytest.mark.parametrize("given", [{"waiter_delay": "15s"}, {"lock_timeout": 3600}], ids=str)
def test_nobody_queues_either(clocked, lock_store, create_operator, given, assert_nothing_changed):
    with pytest.raises(AirflowFailException, match=next(iter(given))):
        Task(create_operator(lock_store=lock_store, **given)).run()
    assert_nothing_changed()
    written = {event["operation"] for event in clocked.events.read(kind="call")} & {
        "PutItem",
        "PutObject",
        "CreateTable",
    }
    assert written == set()


@pytest.mark.parametrize(
    "given", [{"waiter_delay": "15"}, {"waiter_max_attempts": "240"}, {"waiter_delay": 7.5}], ids=str
)
def test_what_a_template_renders_to_is_taken(clocked, create_operator, given):
    assert Task(create_operator(**given)).run()


@pytest.mark.parametrize("given", [g for g in WRONG if "idle_timeout" not in g], ids=str)
def test_an_association_is_not_made(clocked, allocation_id, given, assert_nothing_changed):
    operator = EipAssociateOperator(
        task_id="a", allocation_id=allocation_id, instance_id="i-0123456789abcdef0", aws_conn_id=None, **given
    )
    with pytest.raises(AirflowFailException, match=next(iter(given))):
        Task(operator).run()
    assert_nothing_changed()


def test_steps_are_not_submitted_and_an_address_is_not_released(clocked, steps_operator, assert_nothing_changed):
    release = EipReleaseOperator(
        task_id="r", allocation_id="eipalloc-0123456789abcdef0", job_flow_id="j-1", aws_conn_id=None, waiter_delay="15s"
    )
    for operator in (steps_operator("j-1", waiter_delay="15s", allocation_id="eipalloc-0123456789abcdef0"), release):
        with pytest.raises(AirflowFailException, match="waiter_delay '15s'"):
            Task(operator).run()
    assert_nothing_changed()


def test_a_teardown_with_a_wrong_delay_is_refused_when_the_dag_is_read_and_never_later():
    with pytest.raises(InvalidInputError, match="waiter_delay '15s'"):
        EmrTerminateWithStaticIpOperator(task_id="t", allocation_id="{{ a }}", job_flow_id="j-1", waiter_delay="15s")


def test_the_limits_themselves_are_taken():
    preflight.check_waits("0.5", 1)
    preflight.check_duration("lock_timeout", timedelta(0))
    preflight.check_idle_timeout(timedelta(seconds=60))
    preflight.check_idle_timeout(timedelta(days=7))
    preflight.check_idle_timeout(None)
