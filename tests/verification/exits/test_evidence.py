"""The judge of the exits: each of its checks can fail."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from airflow_eip_provider.lease.record import EndedLease, Record
from tests import event_log
from tests.verification.exits.evidence import Evidence, faults

ADDRESS = "eipalloc-1"
FIRST, NEXT = "daily", "daily_next"


class Log(event_log.Log):
    """An event log, with what the exits read of it."""

    def started(self, name: str, *, dag_id: str = FIRST, token: int = 1) -> Log:
        tags = {"allocation_id": ADDRESS, "owner_name": f"exits/{dag_id}/run/create/-1", "token": str(token)}
        return self.launch(name, who=agent(dag_id), **tags)

    def bound(self, name: str, change: str) -> Log:
        return self.address(name, change, allocation_id=ADDRESS)

    def live(self, name: str, *, by: str = FIRST, **launch: Any) -> Log:
        """One good lease period."""
        self.started(name, **launch).bound(name, "associated").step(name, "RUNNING", "COMPLETED")
        self.cluster(name, "TERMINATING", message="Terminated by user request")
        self.call(agent(by), "TerminateJobFlows", request={"JobFlowIds": [name]})
        return self.bound(name, "disassociated").cluster(name, "TERMINATED")

    def evidence(self) -> Evidence:
        return Evidence(self.events, allocation_id=ADDRESS, dag_ids=(FIRST, NEXT))

    def faults(self, *resource_ids: str) -> list[str]:
        history = tuple(
            EndedLease(k, "", resource_id, 0, 0, "") for k, resource_id in enumerate(resource_ids or ("j-1",))
        )
        return faults(self.evidence(), Record(history=history))


def agent(who: str) -> str:
    return f"Boto3 DagRunKey/{uuid.uuid5(uuid.NAMESPACE_OID, who) if who else uuid.UUID(int=0)}"


@pytest.fixture
def log() -> Log:
    return Log()


def test_two_good_sessions_have_no_faults(log):
    log.live("j-1")
    log.live("j-2", dag_id=NEXT, by=NEXT, token=2)
    assert log.faults("j-1", "j-2") == []


def test_a_cluster_that_lives_on_is_a_fault(log):
    log.started("j-1")
    assert any("is left STARTING" in fault for fault in log.faults())


def test_two_clusters_at_work_are_a_fault_and_one_that_is_ending_is_not(log):
    log.started("j-1")
    log.started("j-2")
    assert any("at the same time" in fault for fault in log.faults())
    log.events.insert(2, {**Log().cluster("j-1", "TERMINATING").events[0], "seq": 2.5})
    assert not any("at the same time" in fault for fault in log.faults())


def test_a_step_without_its_address_is_a_fault(log):
    log.started("j-1").step("j-1", "RUNNING")
    assert any("s-j-1 started" in fault for fault in log.faults())


def test_an_address_that_stays_bound_is_a_fault(log):
    log.started("j-1")
    log.bound("j-1", "associated")
    assert any("is left on j-1" in fault for fault in log.faults())


def test_an_address_that_was_never_bound_is_a_fault(log):
    assert any("never associated" in fault for fault in log.started("j-1").faults())


def test_a_binding_that_the_record_does_not_know_is_a_fault(log):
    log.live("j-1")
    assert any("does not have" in fault for fault in log.faults("j-other"))


@pytest.mark.parametrize(
    ("by", "ended_by"), [(FIRST, "its own DAG"), (NEXT, "the other DAG"), ("", "the triggerer"), ("x", "a stranger")]
)
def test_who_ended_a_cluster_is_read_from_the_call_that_did(log, by, ended_by):
    log.live("j-1", by=by)
    assert log.evidence().clusters[0].ended_by == ended_by


def test_a_cluster_that_emr_ended_for_idleness_was_ended_by_nobody_else(log):
    log.started("j-1")
    log.cluster("j-1", "TERMINATING", message="Terminated by the auto-termination policy: idle for too long")
    assert log.evidence().clusters[0].ended_by == "idle termination"
