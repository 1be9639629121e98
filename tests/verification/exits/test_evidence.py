"""The judge of the exits: each of its checks can fail."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from airflow_eip_provider.lease.record import EndedLease, Record
from tests.verification.exits.evidence import ALLOCATION_TAG, OWNER_TAG, TOKEN_TAG, Evidence, faults

ADDRESS = "eipalloc-1"
FIRST, NEXT = "daily", "daily_next"


class Log:
    """An event log, written by hand."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def add(self, kind: str, **fields: Any) -> None:
        self.events.append({"seq": len(self.events) + 1, "kind": kind, **fields})

    def call(self, operation: str, request: dict[str, Any], *, who: str, **response: Any) -> None:
        agent = f"Boto3 DagRunKey/{uuid.uuid5(uuid.NAMESPACE_OID, who) if who else uuid.UUID(int=0)}"
        self.add("call", operation=operation, request=request, error_code=None, response=response, user_agent=agent)

    def launch(self, name: str, *, dag_id: str = FIRST, token: int = 1) -> None:
        tags = {ALLOCATION_TAG: ADDRESS, OWNER_TAG: f"exits/{dag_id}/run/create/-1", TOKEN_TAG: str(token)}
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        self.call("RunJobFlow", {"Tags": listed}, who=dag_id, JobFlowId=name)
        self.cluster(name, "STARTING")

    def cluster(self, name: str, state: str, message: str = "Terminated by user request") -> None:
        self.add("cluster", job_flow_id=name, to=state, reason={"Message": message})

    def address(self, name: str, change: str) -> None:
        self.add("address", allocation_id=ADDRESS, job_flow_id=name, change=change)

    def step(self, name: str, state: str) -> None:
        self.add("step", job_flow_id=name, step_id=f"s-{name}", state=state)

    def live(self, name: str, *, by: str = FIRST, **launch: Any) -> None:
        """One good tenancy."""
        self.launch(name, **launch)
        self.address(name, "associated")
        self.step(name, "RUNNING")
        self.step(name, "COMPLETED")
        self.cluster(name, "TERMINATING")
        self.call("TerminateJobFlows", {"JobFlowIds": [name]}, who=by)
        self.address(name, "disassociated")
        self.cluster(name, "TERMINATED")

    def evidence(self) -> Evidence:
        return Evidence(self.events, allocation_id=ADDRESS, dag_ids=(FIRST, NEXT))

    def faults(self, *resource_ids: str) -> list[str]:
        history = tuple(
            EndedLease(k, "", resource_id, 0, 0, "") for k, resource_id in enumerate(resource_ids or ("j-1",))
        )
        return faults(self.evidence(), Record(history=history))


@pytest.fixture
def log() -> Log:
    return Log()


def test_two_good_sessions_have_no_faults(log):
    log.live("j-1")
    log.live("j-2", dag_id=NEXT, by=NEXT, token=2)
    assert log.faults("j-1", "j-2") == []


def test_a_cluster_that_lives_on_is_a_fault(log):
    log.launch("j-1")
    assert any("has not ended" in fault for fault in log.faults())


def test_two_clusters_at_work_are_a_fault_and_one_that_is_ending_is_not(log):
    log.launch("j-1")
    log.launch("j-2")
    assert any("at the same time" in fault for fault in log.faults())
    log.events.insert(2, {"seq": 2.5, "kind": "cluster", "job_flow_id": "j-1", "to": "TERMINATING", "reason": {}})
    log.events[2]["reason"] = {"Message": "Terminated by user request"}
    assert not any("at the same time" in fault for fault in log.faults())


@pytest.mark.parametrize("before", ["step", "address"])
def test_a_step_without_its_address_is_a_fault(log, before):
    log.launch("j-1")
    if before == "address":
        log.address("j-1", "associated")
    log.step("j-1", "RUNNING")
    log.address("j-1", "disassociated")
    assert any("step s-j-1 ran" in fault for fault in log.faults())


def test_an_address_that_stays_bound_is_a_fault(log):
    log.launch("j-1")
    log.address("j-1", "associated")
    assert any("not free in the end" in fault for fault in log.faults())


def test_a_binding_that_the_record_does_not_know_is_a_fault(log):
    log.live("j-1")
    assert any("knows nothing" in fault for fault in log.faults("j-other"))


@pytest.mark.parametrize(
    ("by", "ended_by"), [(FIRST, "its own DAG"), (NEXT, "the other DAG"), ("", "the triggerer"), ("x", "a stranger")]
)
def test_who_ended_a_cluster_is_read_from_the_call_that_did(log, by, ended_by):
    log.live("j-1", by=by)
    assert log.evidence().clusters[0].ended_by == ended_by


def test_a_cluster_that_emr_ended_for_idleness_was_ended_by_nobody_else(log):
    log.launch("j-1")
    log.cluster("j-1", "TERMINATING", "Terminated by the auto-termination policy: idle for too long")
    assert log.evidence().clusters[0].ended_by == "idle termination"
