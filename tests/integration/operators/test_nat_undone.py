"""Undoing a launch behind a NAT gateway so early that AWS does not show the cluster or the gateway yet."""

from __future__ import annotations

import pytest

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
