"""Tests of the soak's checks: logs that must fail, and logs that must pass."""

from __future__ import annotations

import json
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from tests import event_log
from tests.verification.soak import judge
from tests.verification.soak.airflow_api import Run, Try, tries_without_heartbeat
from tests.verification.soak.resource_usage import Sample

DAG = "shared_address_0"
START = datetime(2030, 1, 1, tzinfo=UTC)
TASK = "azure.read"


class Log(event_log.Log):
    """An event log with owners, and with the record in the calls that write it."""

    def launched(self, cluster: str, run_id: str | None) -> Log:
        return self.launch(cluster, **({"owner_name": f"soak/{DAG}/{run_id}/azure.create/-1"} if run_id else {}))

    def write(self, worker: str, **changes) -> Log:
        self._record.update(changes)
        stored = {"Item": {"record": {"S": json.dumps(self._record)}}}
        return super().call(worker, "PutItem", request=stored)

    def lease_period(self, token: int, *, owner: str | None = None) -> Log:
        """Add a lease period; the owner in its history may be wrong."""
        cluster, run_id = f"j-{token}", f"run-{token}"
        self.acquire(token).launched(cluster, run_id).address(cluster, "associated")
        return (
            self.wait(60).address(cluster, "disassociated").end(token, owner or f"soak/{DAG}/{run_id}/azure.create/-1")
        )

    def end(self, token: int, owner: str) -> Log:
        ended = {
            "token": token,
            "owner": owner,
            "carrier": f"j-{token}",
            "taken_at": self.now - 60,
            "ended_at": self.now,
            "why": "terminated",
        }
        return self.write("-", lease=None, history=[*self._record["history"], ended])


def correct_history(log: Log):
    return judge.history_is_correct(log.events, judge.writes(log.events))


def a_try(state: str = "failed", *, since: float = 0, until: float | None = 60, run_id: str = "run-1") -> Try:
    ended = START + timedelta(seconds=until) if until is not None else None
    return Try(DAG, run_id, TASK, 1, state, START + timedelta(seconds=since), ended)


def explained(log: Log, tries: list[Try], *, state: str = "failed"):
    causes = judge.Causes(log.events, dag_ids=[DAG], slack=timedelta(seconds=10))
    return judge.failures_explained([Run(DAG, "run-1", state)], tries, causes)


def kill(log: Log, **changes: str) -> Log:
    return log.add("disruption", **{"what": "task", "dag_id": DAG, "run_id": "run-1", "task_id": TASK, **changes})


def test_an_empty_log_passes_nothing():
    log = Log()
    checks = [judge.no_theft([]), judge.one_owner([]), correct_history(log), judge.no_orphans([]), explained(log, [])]
    assert not any(check.passed for check in checks)
    assert not judge.no_run_stuck([], expected=1, last=None).passed
    assert not judge.triggerer_does_not_grow([]).passed


def test_lease_periods_one_after_the_other_pass():
    log = Log().lease_period(1).lease_period(2)
    assert [check(log.events).problems for check in (judge.one_owner, judge.no_orphans)] == [(), ()]
    assert correct_history(log).problems == ()


def test_an_association_that_forbids_reassociation_passes():
    log = Log().associate(AllowReassociation="false", NetworkInterfaceId="eni-1")
    assert judge.no_theft(log.events).passed


def test_an_association_that_allows_reassociation_fails():
    log = Log().associate(AllowReassociation="false", NetworkInterfaceId="eni-1").associate(NetworkInterfaceId="eni-1")
    assert len(judge.no_theft(log.events).problems) == 1


def test_two_owners_at_once_fail():
    log = Log().launched("j-1", "run-1").launched("j-2", "run-2")
    log.address("j-1", "associated").address("j-2", "associated")
    assert judge.one_owner(log.events).problems == (f"6: {DAG}/run-2 got the address while {DAG}/run-1 had it",)


def test_an_address_on_a_cluster_without_an_owner_fails():
    assert "has no owner" in judge.one_owner(Log().address("j-1", "associated").events).problems[0]


def test_a_history_that_names_another_owner_fails():
    log = Log().lease_period(1, owner="soak/x/run-9/azure.create/-1")
    assert "not soak/x/run-9/azure.create/-1's" in correct_history(log).problems[0]


def test_a_lease_period_that_ended_while_its_cluster_had_the_address_fails():
    log = Log().acquire(1).launched("j-1", "run-1").address("j-1", "associated")
    log.end(1, f"soak/{DAG}/run-1/azure.create/-1")
    assert correct_history(log).problems == ("token 1 ended while j-1 had the address",)


def test_a_lease_period_that_ends_in_the_future_fails():
    log = Log().lease_period(1)
    late = {**log._record["history"][0], "token": 2, "ended_at": log.now + 3600, "carrier": None}
    log.write("-", lease=event_log.lease(2)).write("-", lease=None, history=[*log._record["history"], late])
    assert "token 2: from" in correct_history(log).problems[0]


def test_a_lease_without_a_history_fails():
    log = Log().lease_period(1).acquire(2).write("-", lease=None)
    assert correct_history(log).problems == ("the lease of token 2 is not in the history",)


def test_a_history_without_a_lease_fails():
    log = Log().lease_period(1).end(2, "soak//run-2/-")
    assert correct_history(log).problems[-1] == "the history has token 2, which had no lease"


def test_a_cluster_that_its_idle_timeout_ended_fails():
    log = Log().launched("j-1", "run-1").cluster("j-1", "TERMINATING", message=_IDLE)
    assert judge.no_orphans(log.events).problems == (f"j-1 of {DAG}/run-1 was ended by its idle timeout",)
    assert judge.no_orphans(kill(log).events).passed


def test_a_cluster_without_an_owners_tag_fails():
    assert judge.no_orphans(Log().launched("j-1", None).events).problems == ("j-1 has no owner tag",)


_IDLE = "Terminated by the auto-termination policy: idle for too long"


def submit(log: Log, *, status: int = 200) -> Log:
    return log.call("-", "AddJobFlowSteps", status=status, request={"JobFlowId": "j-1"})


def once(log: Log, *tries: Try):
    return judge.submitted_once(log.events, tries, task_id=TASK)


def test_steps_that_a_try_submitted_once_pass():
    log = submit(submit(Log().launched("j-1", "run-1"), status=400))
    assert once(log, a_try("success")).passed
    assert once(submit(log), a_try("failed"), a_try("success")).passed


def test_steps_that_a_try_submitted_twice_fail():
    log = submit(submit(Log().launched("j-1", "run-1")))
    assert once(log, a_try("success")).problems == (f"{DAG}/run-1 submitted 2 times in 1 tries",)
    assert not once(Log(), a_try("success")).passed


def test_runs_that_all_ended_pass():
    runs = [Run(DAG, "run-1", "success"), Run(DAG, "run-2", "failed")]
    assert judge.no_run_stuck(runs, expected=2, last=Run(DAG, "run-3", "success")).passed


@pytest.mark.parametrize(
    ("state", "expected", "last"), [("running", 1, "success"), ("success", 2, "success"), ("success", 1, "failed")]
)
def test_a_run_that_is_stuck_or_missing_or_a_last_run_that_failed_fails(state, expected, last):
    assert not judge.no_run_stuck([Run(DAG, "run-1", state)], expected=expected, last=Run(DAG, "run-3", last)).passed


def test_a_failure_without_a_cause_fails():
    assert explained(Log(), [a_try()]).problems == (f"{DAG} run-1 {TASK}, try 1, failed without a cause",)
    assert explained(Log(), [a_try("success")]).problems == (f"{DAG} run-1 failed, and no try of it",)


def test_a_failed_try_of_a_run_that_succeeded_needs_a_cause_too():
    assert not explained(Log(), [a_try("up_for_retry")], state="success").passed


def test_a_killed_try_is_explained():
    assert explained(kill(Log().wait(30)), [a_try()]).passed


@pytest.mark.parametrize("change", [{"run_id": "run-2"}, {"dag_id": "shared_address_1"}])
def test_the_kill_of_another_run_explains_nothing(change):
    assert not explained(kill(Log().wait(30), **change), [a_try()]).passed


def test_a_kill_after_the_try_explains_nothing():
    assert not explained(kill(Log().wait(90)), [a_try()]).passed
    assert not explained(kill(Log()), [a_try(since=30, until=40)]).passed


def test_a_failed_cluster_explains_later_failures():
    log = Log().launched("j-1", "run-1").wait(30).cluster("j-1", "TERMINATING", code="INSTANCE_FAILURE")
    assert explained(log, [a_try(), a_try(since=600, until=610)]).passed
    assert not explained(Log().launched("j-1", "run-1").cluster("j-1", "TERMINATING"), [a_try()]).passed


def test_a_failed_call_of_the_same_dag_explains_a_try_at_that_time():
    log = faulty_call(DAG)
    assert explained(log, [a_try()]).passed
    assert not explained(log, [a_try(since=100, until=110)]).passed


def test_a_failed_call_of_another_dag_and_a_late_answer_explain_nothing():
    assert not explained(faulty_call("other"), [a_try()]).passed
    assert not explained(faulty_call(DAG, fault="delay", status=200), [a_try()]).passed


def test_a_try_without_a_heartbeat_is_explained_and_no_other(tmp_path):
    (log := tmp_path / "scheduler.log").write_text(
        "Failing 1 TIs\nDetected a task instance without a heartbeat: bundle_name='dags-folder' "
        "ti=TaskInstance(id=UUID('01a1fe3b-77ce-726f-abdc-95055b1747ee'), task_id='azure.create')\n"
        "Something else about id=UUID('01a1fe3c-0000-7000-8000-000000000000')\n"
    )
    lost = tries_without_heartbeat(log)
    assert lost == {"01a1fe3b-77ce-726f-abdc-95055b1747ee"}
    causes = judge.Causes(Log().events, dag_ids=[DAG], slack=timedelta(seconds=10), lost=lost)
    assert causes.of(replace(a_try(), id="01a1fe3b-77ce-726f-abdc-95055b1747ee"))
    assert not causes.of(replace(a_try(), id="01a1fe3c-0000-7000-8000-000000000000"))
    assert tries_without_heartbeat(tmp_path / "none.log") == frozenset()


def faulty_call(dag_id: str, *, fault: str = "throttle", status: int = 400) -> Log:
    agent = f"Boto3 DagRunKey/{uuid.uuid5(uuid.NAMESPACE_OID, dag_id)}"
    log = Log().wait(30).add("fault", operation="ListSteps", fault=fault)
    return log.add("call", operation="ListSteps", user_agent=agent, status=status)


def samples(*, rss: float = 0.0, handles: float = 0.0, pid: int = 1, count: int = 80) -> list[Sample]:
    """Return the samples of one triggerer; ``rss`` and ``handles`` are the growth per sample."""
    return [Sample(pid, 3.0 * n, 200 + rss * n, int(20 + handles * n), 5) for n in range(count)]


def test_a_triggerer_that_does_not_grow_passes():
    assert judge.triggerer_does_not_grow(samples()).passed
    assert judge.triggerer_does_not_grow(samples(rss=0.1)).passed


def test_a_triggerer_that_grows_fails():
    assert "memory grew from" in judge.triggerer_does_not_grow(samples(rss=1.0)).problems[0]
    assert judge.triggerer_does_not_grow(samples(handles=0.2)).problems == ("file handles grew from 26 to 34",)


def test_only_the_longest_lived_triggerer_is_measured():
    assert judge.triggerer_does_not_grow([*samples(rss=5, count=30, pid=1), *samples(pid=2)]).passed
    assert judge.triggerer_does_not_grow(samples(count=8)).problems == ("too few samples",)
