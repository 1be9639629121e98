"""Tests of the checks of the exit scenarios: each of them can fail."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from airflow_eip_provider.lease.record import EndedLease, Record
from tests import event_log
from tests.verification.exits.evidence import Evidence, problems_of

ADDRESS = "eipalloc-1"
FIRST, NEXT = "daily", "daily_next"


class Log(event_log.Log):
    """An event log with the tags and user agents that the evidence is read from."""

    def started(self, name: str, *, dag_id: str = FIRST, token: int = 1) -> Log:
        tags = {"allocation_id": ADDRESS, "owner_name": f"exits/{dag_id}/run/create/-1", "token": str(token)}
        return self.launch(name, who=agent(dag_id), **tags)

    def bound(self, name: str, change: str) -> Log:
        return self.address(name, change, allocation_id=ADDRESS)

    def correct_period(self, name: str, *, by: str = FIRST, **launch: Any) -> Log:
        """Add a correct lease period."""
        self.started(name, **launch).bound(name, "associated").step(name, "RUNNING", "COMPLETED")
        self.cluster(name, "TERMINATING", message="Terminated by user request")
        self.call(agent(by), "TerminateJobFlows", request={"JobFlowIds": [name]})
        return self.bound(name, "disassociated").cluster(name, "TERMINATED")

    def evidence(self) -> Evidence:
        return Evidence(self.events, allocation_id=ADDRESS, dag_ids=(FIRST, NEXT))

    def problems(self, *resource_ids: str) -> list[str]:
        history = [EndedLease(k, "", resource_id, 0, 0, "") for k, resource_id in enumerate(resource_ids or ("j-1",))]
        return problems_of(self.evidence(), Record(history=tuple(history)))


def agent(dag_id: str) -> str:
    """Return the user agent of a DAG's calls; of the triggerer's for ""."""
    return f"Boto3 DagRunKey/{uuid.uuid5(uuid.NAMESPACE_OID, dag_id) if dag_id else uuid.UUID(int=0)}"


@pytest.fixture
def log() -> Log:
    return Log()


def test_two_correct_lease_periods_have_no_problems(log):
    log.correct_period("j-1")
    log.correct_period("j-2", dag_id=NEXT, by=NEXT, token=2)
    assert log.problems("j-1", "j-2") == []


def test_a_cluster_that_does_not_end_is_a_problem(log):
    log.started("j-1")
    assert any("is left STARTING" in problem for problem in log.problems())


def test_two_clusters_at_work_are_a_problem_and_one_that_is_ending_is_not(log):
    log.started("j-1")
    log.started("j-2")
    assert any("at the same time" in problem for problem in log.problems())
    log.events.insert(2, {**Log().cluster("j-1", "TERMINATING").events[0], "seq": 2.5})
    assert not any("at the same time" in problem for problem in log.problems())


def test_a_step_without_the_address_is_a_problem(log):
    log.started("j-1").step("j-1", "RUNNING")
    assert any("s-j-1 started" in problem for problem in log.problems())


def test_an_address_that_stays_associated_is_a_problem(log):
    log.started("j-1")
    log.bound("j-1", "associated")
    assert any("is left on j-1" in problem for problem in log.problems())


def test_an_address_that_was_never_associated_is_a_problem(log):
    assert any("never associated" in problem for problem in log.started("j-1").problems())


def test_an_association_that_is_not_in_the_record_is_a_problem(log):
    log.correct_period("j-1")
    assert any("is not in the record" in problem for problem in log.problems("j-other"))


@pytest.mark.parametrize(
    ("by", "ended_by"),
    [(FIRST, "its own DAG"), (NEXT, "the other DAG"), ("", "the triggerer"), ("x", "an unknown client")],
)
def test_who_ended_a_cluster_is_read_from_its_call_of_terminate_job_flows(log, by, ended_by):
    log.correct_period("j-1", by=by)
    assert log.evidence().clusters[0].ended_by == ended_by


def test_a_cluster_that_its_idle_timeout_ended_counts_as_idle_termination(log):
    log.started("j-1")
    log.cluster("j-1", "TERMINATING", message="Terminated by the auto-termination policy: idle for too long")
    assert log.evidence().clusters[0].ended_by == "idle termination"
