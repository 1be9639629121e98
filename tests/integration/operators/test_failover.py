"""EmrFailoverOperator: what it moves, in which order, and how long that takes on the simulated clock."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.health import http
from airflow_eip_provider.operators.emr import EmrCreateWithStaticIpOperator
from harness.life import Task
from tests.integration.operators.failover_stage import STANDBY, ZONES, Stage

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "PAUSE_SECONDS", 0.0)


@pytest.fixture
def staged(
    clocked: Any, boto: Any, allocation_id: str, overrides: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Stage]:
    """Make a service, with all that its failovers need."""

    def make(*, store: bool = True, address: bool = True, warm: bool = True, balanced: bool = False) -> Stage:
        monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
        lock_store = "dynamodb://leases?create=true" if store else None
        stage = Stage(clocked, functools.cache(boto), allocation_id if address else None, lock_store, overrides)
        if address:
            operator = EmrCreateWithStaticIpOperator(
                task_id="create",
                allocation_id=allocation_id,
                job_flow_overrides=stage.in_zone(ZONES[0]),
                lock_store=lock_store,
                idle_timeout=None,
                aws_conn_id=None,
                emr_conn_id=None,
            )
            stage.old = Task(operator, dag_id="service").run()
            clocked.clock.advance(900)
        else:
            stage.old = stage.launch(ZONES[0], seconds=900)
        if balanced:
            stage.balance()
        if warm:
            stage.standby = stage.launch(ZONES[1], STANDBY)
        return stage

    return make


def seconds_since(aws: Any, start: Any) -> float:
    return (aws.clock.now() - start).total_seconds()


def test_a_warm_standby_takes_address_and_targets_over_in_this_order(clocked, staged, deferrable):
    stage = staged(balanced=True)
    clocked.trouble_service(stage.old, "livy", "refuses")
    seen, start = clocked.events.last, clocked.clock.now()
    task = stage.failover(deferrable=deferrable)
    assert task.run() == stage.standby
    assert stage.changes(after=seen) == [
        "DisassociateAddress",
        "AssociateAddress",
        "RegisterTargets",
        "DeregisterTargets",
        "TerminateJobFlows",
    ]
    facts = task.ti.xcoms["failover"]
    assert facts["kind"] == "warm"
    assert facts["seconds"]["bound"] <= 30
    assert facts["seconds"]["healthy"] <= 60
    assert seconds_since(clocked, start) <= 3 * 10 + 60
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)
