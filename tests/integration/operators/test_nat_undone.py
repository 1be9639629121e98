"""Undoing a launch behind a NAT gateway so early that AWS does not show the cluster or the gateway yet."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from airflow_eip_provider.triggers.undo import undo_stored
from harness.life import Task
from tests.integration.operators.aws_state import cluster_state, launched


@pytest.mark.parametrize("how", ["killed in the triggerer", "trigger failed"])
@pytest.mark.parametrize(
    ("stale", "seconds"),
    [("DescribeCluster", 0), ("DescribeCluster", 5), ("DescribeNatGateways", 5), ("DescribeNatGateways", 20)],
)
def test_a_gateway_that_is_not_shown_yet_is_removed(clocked, network, nat, store, emr, stale, seconds, how):
    clocked.remember()
    task = Task(nat(deferrable=True, lock_store=store))
    clocked.faults.add(operation=stale, kind="stale", seconds=50, times=None)
    task.start()
    assert task.deferrals == ["NatGatewayTrigger"]
    clocked.clock.advance(seconds)
    if how == "trigger failed":
        task.fail_deferral()
    else:
        trigger = task.trigger()
        kind, what = trigger.undo
        undo_stored(kind, what, connection=trigger._hook_parameters)
    clocked.clock.advance(120)
    clocked.faults.clear()
    clocked.clock.advance(24 * 3600)
    assert cluster_state(emr, launched(clocked)[0]) == "TERMINATED"
    network.assert_as_before()


def test_a_kill_in_the_triggerer_takes_seconds_although_the_gateway_is_available(clocked, network, nat, store):
    task = Task(nat(deferrable=True, lock_store=store))
    task.start()
    clocked.clock.advance(100)
    assert network.gateways("available")
    trigger = task.trigger()
    kind, what = trigger.undo
    began = clocked.clock.now()
    undo_stored(kind, what, connection=trigger._hook_parameters)
    assert (clocked.clock.now() - began).total_seconds() < 5
    clocked.clock.advance(120)
    network.assert_as_before()


def test_the_default_binding_looks_for_no_gateway(clocked, create_operator, store, monkeypatch):
    """Also if EMR does not know the cluster yet, so that its tags are not known."""

    def fail(*_: Any) -> None:
        raise RuntimeError

    clocked.remember()
    clocked.faults.add(operation="DescribeCluster", kind="stale", seconds=50, times=None)
    monkeypatch.setattr(EmrCreateWithStaticIpOperator, "_site", fail)
    with pytest.raises(RuntimeError):
        Task(create_operator(lock_store=store)).run()
    assert clocked.events.calls("DescribeNatGateways") == []
