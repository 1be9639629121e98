"""Concurrent failovers: a stale one changes nothing after another one has put a cluster in charge."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider import metrics
from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import ClusterEndedError, LeaseLostError
from airflow_eip_provider.operators.emr import EmrTerminateWithStaticIpOperator
from airflow_eip_provider.operators.failover.operator import EmrFailoverOperator
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.triggers import emr as emr_triggers
from airflow_eip_provider.triggers.undo import undo_stored
from airflow_eip_provider.triggers.verdict import Verdict
from harness.life import Task, first_event
from tests.integration.operators.failover_stage import after_call, vanish_after

pytestmark = pytest.mark.usefixtures("no_pause")

CONNECTION = {"aws_conn_id": None, "region_name": None, "verify": None, "config": None}


def test_a_stalled_failover_leaves_the_address_on_the_standby_that_another_one_put_in_charge(
    clocked, staged, monkeypatch
):
    stage = staged()
    stalled, other = stage.failover(dag_id="stalled", force=True), stage.failover(dag_id="other", force=True)
    after_call(monkeypatch, "AssociateAddress", other.run)
    stalled.start()
    stalled.go_on()
    assert other.result == stage.standby
    assert isinstance(stalled.error, LeaseLostError)
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


@pytest.mark.parametrize("address", [True, False], ids=["address", "no address"])
def test_killing_one_of_two_failovers_does_not_terminate_the_cluster_that_the_other_one_made_primary(
    clocked, staged, address
):
    stage = staged(store=False, warm=False, address=address)
    one, other = (stage.failover(dag_id=name, force=True, **stage.cold()) for name in ("one", "other"))
    one.start()
    new = other.run()
    kind, what = one.trigger().undo
    undo_stored(kind, what, connection=CONNECTION)
    clocked.clock.advance(600)
    stage.check_moved_to(new)


def test_a_cluster_that_a_service_has_left_is_not_its_successor(clocked, staged):
    stage = staged(store=False)
    stage.failover(force=True, old_cluster="keep").run()
    clocked.clock.advance(60)
    stage.failover(
        dag_id="back", job_flow_id=stage.standby, standby_job_flow_id=stage.old, force=True, old_cluster="keep"
    ).run()
    clocked.clock.advance(60)
    third = stage.failover(dag_id="third", force=True, **stage.cold())
    new = third.run()
    assert new != stage.standby
    clocked.clock.advance(600)
    assert stage.live() == {new, stage.standby}
    assert stage.holder() == clocked.cluster(new).primary.id


def test_two_failovers_make_one_also_when_the_lease_was_free(clocked, staged):
    stage = staged(warm=False)
    first = stage.failover(force=True, **stage.cold())
    first.start()
    first.fail_deferral()
    clocked.clock.advance(120)
    retry, other = (
        stage.failover(try_number=2, force=True, **stage.cold()),
        stage.failover(dag_id="other", force=True, **stage.cold()),
    )
    for task in (retry, other):
        task.start()
    for _ in range(40):
        for task in (retry, other):
            if not task.ended:
                task.resume(asyncio.run(first_event(task.trigger())))
    assert (retry.error, other.error) == (None, None)
    assert retry.result == other.result
    clocked.clock.advance(600)
    stage.check_moved_to(retry.result)


def test_a_failover_whose_lease_was_ended_leaves_the_old_cluster_its_address(clocked, staged, monkeypatch, leased):
    stage = staged()
    task = stage.failover(force=True, steps_timeout=timedelta(minutes=10))
    with monkeypatch.context() as patch:
        pending = Verdict("pending", "has steps", {"step_ids": []})
        patch.setattr(emr_triggers, "judge_no_step_runs", lambda *_, **__: pending)
        patch.setattr("airflow_eip_provider.hooks.emr.EmrClusterHook.cancel_steps", lambda *_, **__: None)
        task.start()
    assert task.deferrals == ["EmrStepsEndedTrigger"]
    clocked.clock.advance(1000)
    waiter = leased("waiter", lock_store=stage.lock_store, job_flow_overrides=stage.cold()["job_flow_overrides"])
    waiter.start()
    task.go_on()
    assert isinstance(task.error, LeaseLostError)
    assert stage.holder() == clocked.cluster(stage.old).primary.id


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_launch_whose_hint_is_lost_leaves_no_cluster(clocked, staged, store):
    stage = staged(store=store, warm=False)
    task = stage.failover(force=True, **stage.cold())
    task.start()
    task.fail_deferral()
    clocked.clock.advance(900)
    assert stage.live() == {stage.old}


def test_a_last_try_that_fails_early_moves_the_address_back_from_the_standby_of_the_try_before(
    clocked, staged, monkeypatch
):
    stage = staged()
    vanish_after(monkeypatch, stage.failover(force=True), "AssociateAddress")
    retry = stage.failover(force=True, try_number=3)

    def fail(*_: Any) -> None:
        raise RuntimeError("between the lease and the address")

    with monkeypatch.context() as patch:
        patch.setattr(EmrFailoverOperator, "_end_steps", fail)
        retry.start()
        retry.go_on()
    assert isinstance(retry.error, RuntimeError)
    assert stage.holder() == clocked.cluster(stage.old).primary.id


@pytest.mark.parametrize("nothing", ["None", ""])
def test_an_empty_allocation_id_is_refused_for_a_cluster_with_an_address(clocked, staged, nothing):
    stage = staged()
    task = stage.failover(force=True, allocation_id=nothing)
    task.start()
    task.go_on()
    assert task.error is not None
    assert stage.holder() == clocked.cluster(stage.old).primary.id


def test_a_first_failover_that_is_cleared_after_a_second_one_changes_nothing(clocked, staged):
    stage = staged(address=False, store=False, balanced=True)
    stage.failover(force=True, old_cluster="keep").run()
    clocked.clock.advance(60)
    second = stage.failover(dag_id="second", job_flow_id=stage.standby, force=True, old_cluster="keep", **stage.cold())
    new = second.run()
    clocked.clock.advance(120)
    seen = clocked.events.last
    assert stage.failover(force=True, old_cluster="keep", try_number=2).run() == new
    assert stage.changes(after=seen) == []


@pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])
def test_a_standby_that_ends_before_it_has_the_address_leaves_it_to_the_old_cluster(
    clocked, staged, monkeypatch, store
):
    stage = staged(store=store)

    def end_standby() -> None:
        stage.boto("emr").terminate_job_flows(JobFlowIds=[stage.standby])
        clocked.clock.advance(300)

    after_call(monkeypatch, "AddTags", end_standby)
    task = stage.failover(force=True)
    task.start()
    task.go_on()
    assert isinstance(task.error, ClusterEndedError)
    assert stage.holder() == clocked.cluster(stage.old).primary.id


@pytest.mark.parametrize("lasts", [True, False], ids=["this try has moved it", "an earlier try has"])
def test_the_last_try_releases_the_lease_of_a_standby_that_has_ended(clocked, staged, monkeypatch, lasts):
    stage = staged()
    awaited = EmrFailoverOperator._await_health

    def end_first(operator: Any, *arguments: Any) -> Any:
        stage.boto("emr").terminate_job_flows(JobFlowIds=[stage.standby])
        clocked.clock.advance(300)
        return awaited(operator, *arguments)

    record = open_store(stage.lock_store, lambda service, _: stage.boto(service))
    with monkeypatch.context() as patch:
        patch.setattr(EmrFailoverOperator, "_await_health", end_first)
        first = stage.failover(force=True, try_number=3 if lasts else 1)
        first.start()
        first.go_on()
    assert isinstance(first.error, ClusterEndedError)
    if not lasts:
        lease = record.read(stage.allocation_id).record.lease
        assert lease is not None, "the retry goes on with it"
        assert lease.resource_id == stage.standby
        last = stage.failover(force=True, try_number=3)
        last.start()
        assert "name one that is RUNNING or WAITING" in str(last.error)
    assert record.read(stage.allocation_id).record.lease is None
    assert stage.holder() is None


@pytest.mark.parametrize("operation", ["PutItem", "DisassociateAddress", "AssociateAddress"])
def test_the_teardown_of_the_old_cluster_leaves_the_new_one_its_address(clocked, staged, monkeypatch, operation):
    stage = staged()
    parameters = {"allocation_id": stage.allocation_id, "lock_store": stage.lock_store, "aws_conn_id": None}
    teardown = EmrTerminateWithStaticIpOperator(
        task_id="terminate", job_flow_id=stage.old, deferrable=True, **parameters
    )
    down, task = Task(teardown, dag_id="service"), stage.failover(force=True)
    after_call(monkeypatch, operation, down.run)
    assert task.run() == stage.standby
    assert down.error is None
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


def test_a_failover_that_is_cleared_after_its_end_is_not_counted_again(staged, monkeypatch):
    stage, sent, kept = staged(), [], {}
    monkeypatch.setattr(metrics, "_send", lambda metric, *_: sent.append(metric))
    for number in (1, 2):
        stage.failover(force=True, remembered=kept, try_number=number).run()
    assert sent.count(metrics.FAILOVERS) == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda _: {"steps_timeout": timedelta(minutes=11)}, "steps_timeout"),
        (lambda stage: {"standby_job_flow_id": stage.old}, "the same cluster"),
        (lambda _: {"standby_job_flow_id": "standby"}, "not the ID of an EMR cluster"),
        (lambda _: {"standby_tags": ["role"]}, "standby_tags"),
        (lambda _: {"job_flow_overrides": "no JSON"}, "job_flow_overrides"),
        (lambda stage: {"job_flow_overrides": stage.overrides, "fallbacks": [7]}, "fallbacks"),
        (lambda _: {"target_groups": [{"group": "livy"}]}, "checking target group"),
        (lambda _: {"on_multi_node": "never"}, "on_multi_node"),
        (lambda _: {"checks": "abc"}, "checks"),
        (lambda _: {"checks": [{"name": "x"}]}, "'x'"),
        (lambda _: {"unhealthy_after": "4/3"}, "unhealthy_after"),
        (lambda _: {"host": "None"}, "checking host 'None'"),
        (lambda _: {"host": None}, "checking host None"),
        (lambda _: {"host": "{privte_ip}"}, "checking host"),
        (lambda _: {"force": "False"}, "force 'False'"),
        (lambda stage: {"job_flow_overrides": {**stage.overrides, "Name": 20261130}}, "the Name 20261130"),
        (lambda _: {"deferrable": "False"}, "deferrable 'False'"),
    ],
)
@pytest.mark.parametrize("force", [False, True], ids=["healthy", "forced"])
def test_wrong_parameters_are_refused_before_anything_is_changed(clocked, staged, given, said, force):
    """Also while the cluster is healthy and the failover does nothing, so that no parameter fails in an emergency."""
    stage = staged()
    seen = clocked.events.last
    with pytest.raises(AirflowFailException, match=said):
        stage.failover(**{"force": force, **given(stage)}).run()
    assert stage.changes(after=seen) == []
