"""The AWS calls of one lease period: a fixed number, and a few for each poll while it waits."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_eip_provider.triggers import watch
from harness.life import Task

# Of the tasks, regardless of what they wait for and how long.
MOST_CHANGES = {
    "AssociateAddress": 2,  # the DryRun and the association
    "RunJobFlow": 1,
    "AddJobFlowSteps": 1,
    "TerminateJobFlows": 1,
    "DisassociateAddress": 1,
}
MOST_READS = 24
MOST_READS_A_LOOK = 4


@pytest.mark.parametrize("step_seconds", [30, 1800])
def test_a_session_makes_few_calls_and_each_look_at_most_four(
    clocked, create_operator, steps_operator, terminate_operator, step, step_seconds, monkeypatch
):
    looks: Counter[str] = Counter()
    answered = watch._Polls.answered
    monkeypatch.setattr(
        watch._Polls, "answered", lambda self, found: (looks.update(["look"]), answered(self, found))[1]
    )
    clocked.events.clear()
    job_flow_id = Task(create_operator(deferrable=True)).run()
    Task(steps_operator(job_flow_id, steps=[step("--sleep", str(step_seconds))], deferrable=True)).run()
    Task(terminate_operator(job_flow_id, deferrable=True)).run()

    calls = Counter(event["operation"] for event in clocked.events.calls())
    assert {name: calls.pop(name) for name in MOST_CHANGES} == MOST_CHANGES
    assert all(name.startswith(("Describe", "List")) for name in calls)
    waited = looks["look"]
    assert waited >= step_seconds // 15
    assert calls.total() <= MOST_READS + MOST_READS_A_LOOK * waited
