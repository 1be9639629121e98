"""``airflow-eip associate``, ``release``, ``status`` and ``wait`` with a lock store: one queue with Airflow's tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.cli.command import INTERRUPTED
from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.operators.emr import EmrTerminateWithStaticIpOperator
from harness.life import Task

if TYPE_CHECKING:
    from collections.abc import Callable


# Both kinds of store give the same answers; tests/integration/stores shows that.
pytestmark = [
    pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True),
    pytest.mark.usefixtures("with_lock_store"),
]


@pytest.fixture
def teardown(allocation_id: str) -> Callable[[str], None]:
    def end(job_flow_id: str) -> None:
        operator = EmrTerminateWithStaticIpOperator(
            task_id="terminate", allocation_id=allocation_id, job_flow_id=job_flow_id, aws_conn_id=None
        )
        Task(operator).run()

    return end


def test_the_lease_is_the_clusters_own_and_handed_over(elsewhere, record):
    job_flow_id = elsewhere.launch()
    said = elsewhere.associate()
    lease = record().lease
    assert said.result["token"] == lease.token == 1
    assert lease.attempt.name == f"testing/cluster/{job_flow_id}"
    assert (lease.phase, lease.resource_id) == (Phase.ACTIVE, job_flow_id)
    assert elsewhere.associate().result == said.result
    assert record().lease == lease


def test_without_the_lock_no_lease_is_taken(elsewhere, record):
    elsewhere.launch()
    said = elsewhere.associate("--lock-store", "none")
    assert said.result["token"] is None
    assert elsewhere.aws.events.calls("PutItem") == []


def test_an_address_that_is_there_without_a_lease_gets_one(elsewhere, record):
    job_flow_id = elsewhere.launch()
    before = elsewhere.associate("--lock-store", "none").result
    said = elsewhere.associate()
    assert said.status == 0, said.err
    assert said.result == {**before, "token": 1}, "it is the same association"
    assert (record().lease.phase, record().lease.resource_id) == (Phase.ACTIVE, job_flow_id)


def test_an_airflow_job_and_a_cluster_by_hand_queue_behind_each_other(
    elsewhere, record, queue, create_operator, teardown
):
    first = Task(create_operator(), dag_id="first").run()
    by_hand = elsewhere.launch()
    elsewhere.meanwhile(600, lambda: teardown(first))
    said = elsewhere.associate("--wait", "1h")
    assert said.status == 0, said.err
    assert "waiting: Elastic IP" in said.err
    assert "held by 'testing/first/run-1/create/-1'" in said.err
    assert elsewhere.cluster_of_address() == by_hand
    second = Task(create_operator(deferrable=True), dag_id="second")
    second.start()
    queue.pass_time(600, second)
    assert not second.ended
    assert elsewhere.about("release").result["released"] is True
    queue.until(lambda: second.ended, second)
    assert second.error is None
    assert [(t.owner, t.resource_id) for t in record().history] == [
        ("testing/first/run-1/create/-1", first),
        (f"testing/cluster/{by_hand}", by_hand),
    ]
    assert elsewhere.cluster_of_address() == second.result


def test_a_cluster_that_ends_gives_its_lease_to_the_next(elsewhere, record, queue, create_operator):
    job_flow_id = elsewhere.launch()
    elsewhere.associate()
    following = Task(create_operator(deferrable=True), dag_id="following")
    following.start()
    elsewhere.emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    queue.until(lambda: following.ended, following)
    assert following.error is None
    assert record().history[-1].why == f"taken over: {job_flow_id} has ended"


def test_no_turn_in_time_leaves_the_queue(elsewhere, record, create_operator):
    first = Task(create_operator(), dag_id="first").run()
    elsewhere.launch()
    said = elsewhere.associate("--wait", "2m")
    assert said.status == 1
    assert "held by 'testing/first/run-1/create/-1' on" in said.err
    assert record().queue == ()
    assert record().lease.resource_id == first


def test_a_later_command_for_the_cluster_continues_a_lost_one(elsewhere, record, monkeypatch):
    from airflow_eip_provider.lease_client.client import StoreLeaseClient  # noqa: PLC0415

    job_flow_id = elsewhere.launch()
    with monkeypatch.context() as patch:
        patch.setattr(StoreLeaseClient, "hand_over", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        patch.setattr(StoreLeaseClient, "undo", lambda *_, **__: None)
        assert elsewhere.associate().status == INTERRUPTED
    assert (record().lease.phase, record().lease.resource_id) == (Phase.ACQUIRED, None)
    assert elsewhere.associate().status == 0
    lease = record().lease
    assert (lease.phase, lease.resource_id, lease.attempt.try_number) == (Phase.ACTIVE, job_flow_id, 2)


def test_release_closes_waits_for_steps_and_frees(elsewhere, record, step):
    job_flow_id = elsewhere.launch()
    elsewhere.associate()
    (step_id,) = elsewhere.emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=[step("--sleep", "1000000")])["StepIds"]
    elsewhere.aws.clock.advance(60)
    before = record()
    said = elsewhere.about("release")
    assert said.status == 1
    assert f"steps are running: {step_id}; nothing was changed; --wait 2h waits for them" in said.err
    assert record() == before
    cancel = lambda: elsewhere.emr.cancel_steps(  # noqa: E731
        ClusterId=job_flow_id, StepIds=[step_id], StepCancellationOption="TERMINATE_PROCESS"
    )
    elsewhere.meanwhile(100, cancel)
    assert elsewhere.about("release", "--wait", "1h").result["released"] is True
    assert record().lease is None
    assert record().history[-1].why == "released by hand"
    assert elsewhere.cluster_of_address() is None
    again = elsewhere.about("release")
    assert (again.status, again.result["released"]) == (0, False)


def test_release_continues_a_lost_one(elsewhere, record, ec2):
    elsewhere.launch()
    association = elsewhere.associate().result["association_id"]
    ec2.disassociate_address(AssociationId=association)
    assert elsewhere.about("release").result["released"] is True
    assert record().lease is None


def test_release_of_what_a_task_has_needs_the_clusters_name(elsewhere, record, create_operator):
    job_flow_id = Task(create_operator(), dag_id="daily").run()
    before = record()
    said = elsewhere.about("release")
    assert said.status == 1
    assert "it is leased to 'testing/daily/run-1/create/-1'" in said.err
    assert f"--job-flow-id {job_flow_id}" in said.err
    assert record() == before
    assert elsewhere.about("release", "--job-flow-id", job_flow_id).result["released"] is True
    assert record().lease is None


def test_release_from_a_cluster_without_the_lease_needs_its_name(elsewhere, record, create_operator, ec2):
    leased = Task(create_operator(), dag_id="daily").run()
    address = ec2.describe_addresses(AllocationIds=[elsewhere.allocation_id])["Addresses"][0]
    ec2.disassociate_address(AssociationId=address["AssociationId"])
    by_hand = elsewhere.launch()
    elsewhere.associate("--lock-store", "none")
    assert elsewhere.about("release").status == 1
    assert elsewhere.about("release", "--job-flow-id", by_hand).result["released"] is True
    assert record().lease.resource_id == leased


def test_status_shows_holder_queue_and_history(elsewhere, queue, create_operator):
    job_flow_id = elsewhere.launch()
    elsewhere.associate()
    elsewhere.about("release")
    elsewhere.associate()
    waiting = Task(create_operator(deferrable=True), dag_id="daily")
    waiting.start()
    owner = f"testing/cluster/{job_flow_id}"
    facts = elsewhere.about("status").result
    assert (facts["job_flow_id"], facts["free"], facts["cluster"]["state"]) == (job_flow_id, False, "WAITING")
    assert facts["lease"].items() >= {"owner": owner, "phase": "held", "standing": "alive", "token": 2}.items()
    assert [(entry["owner"], entry["passed"]) for entry in facts["queue"]] == [("testing/daily/run-1/create/-1", 0)]
    assert facts["grace"] == 120
    assert [(t["token"], t["owner"], t["why"]) for t in facts["history"]] == [(1, owner, "released by hand")]
    said = elsewhere.about("status", json=False)
    assert said.status == 0
    lines = said.out.splitlines()
    assert f"cluster     {job_flow_id} (daily) is WAITING" in lines
    assert "grace       120 s, doubled for an owner that was passed over" in lines
    assert "steps       none is running or pending" in lines
    assert any(line.startswith(f"lease       held by '{owner}' on {job_flow_id} since ") for line in lines)
    assert any(line.startswith("1      20") and line.endswith("testing/daily/run-1/create/-1") for line in lines)


def test_status_shows_that_the_lease_of_an_ended_cluster_is_over(elsewhere):
    job_flow_id = elsewhere.launch()
    elsewhere.associate()
    elsewhere.emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    elsewhere.aws.clock.advance(900)
    assert "so the next owner takes over at once" in elsewhere.about("status", json=False).out
    before = elsewhere.mark()
    assert elsewhere.about("wait", "--free", "--timeout", "0").status == 0
    assert elsewhere.changes(before) == []


def test_wait_for_a_free_address_waits_for_the_lease_too(elsewhere, ec2):
    elsewhere.launch()
    association = elsewhere.associate().result["association_id"]
    assert elsewhere.about("wait", "--free", "--timeout", "5m").status == 1
    ec2.disassociate_address(AssociationId=association)
    said = elsewhere.about("wait", "--free", "--timeout", "5m")
    assert said.status == 1
    assert "is free, and its lease is held by 'testing/cluster/" in said.err
    elsewhere.meanwhile(100, lambda: main(["release", "--parameters", elsewhere.parameters()]))
    assert elsewhere.about("wait", "--free").status == 0


def test_an_address_that_somebody_bound_by_hand_is_released_only_from_a_named_cluster(elsewhere):
    job_flow_id = elsewhere.launch()
    elsewhere.associate()
    elsewhere.about("release")
    elsewhere.associate("--lock-store", "none")
    before = elsewhere.mark()
    said = elsewhere.about("release")
    assert said.status == 1
    assert "without a lease, so somebody bound it by hand" in said.err
    assert f"name it: --job-flow-id {job_flow_id}" in said.err
    assert elsewhere.changes(before) == []
    shown = elsewhere.about("status", json=False).out
    assert f"lease       none; the address is on {job_flow_id} / i-" in shown
    assert " without a lease\n" in shown
    assert elsewhere.about("release", "--job-flow-id", job_flow_id).status == 0
    assert elsewhere.cluster_of_address() is None
