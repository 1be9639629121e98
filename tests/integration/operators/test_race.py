"""Two creating tasks race for one address; EC2's refusal decides, and no task loses an address that it has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from airflow_eip_provider.triggers.observed import Observed
from harness.life import Task

ROUNDS = 50


def look(task: Task, clients: dict[str, Any]) -> dict[str, Any] | None:
    trigger = task.trigger()
    verdict = trigger.judge(Observed(lambda service, _: clients[service]))
    return None if verdict.status == "pending" else {**trigger.payload(verdict)}


@pytest.mark.parametrize("number", range(ROUNDS))
def test_one_binds_and_the_other_waits_and_binds_after_it(
    clocked, create_operator, terminate_operator, number, ec2, emr, allocation_id
):
    tasks = [Task(create_operator(name, deferrable=True)) for name in ("left", "right")]
    clients = {"ec2": ec2, "emr": emr}
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(Task.start, tasks))
        winner: Task | None = None
        for _ in range(200):
            if all(task.ended for task in tasks):
                break
            clocked.clock.advance(15)
            decided = [(t, event) for t in tasks if not t.ended and (event := look(t, clients))]
            list(threads.map(lambda pair: pair[0].resume(pair[1]), decided))
            bound = [task for task in tasks if task.ended]
            if winner is None and bound:
                assert len(bound) == 1, "one binds"
                winner = bound[0]
                loser = next(task for task in tasks if task is not winner)
                assert "static_ip" not in loser.ti.xcoms
                Task(terminate_operator(winner.result)).run()
    assert [task.error for task in tasks] == [None, None]

    changes = [e for e in clocked.events.read(kind="address") if e["allocation_id"] == allocation_id]
    assert [(e["change"], e["job_flow_id"]) for e in changes] == [
        ("associated", winner.result),
        ("disassociated", winner.result),
        ("associated", loser.result),
    ]
    refusals = {e["error_code"] for e in clocked.events.calls("AssociateAddress")} - {None, "DryRunOperation"}
    assert refusals <= {"Resource.AlreadyAssociated"}
