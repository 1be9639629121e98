"""A failover that fails or is killed: its old cluster keeps the service, and no other owner gets the address."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.aws.addresses import read_address
from airflow_eip_provider.exceptions import LaunchUnclearError
from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.lease_client import reads
from airflow_eip_provider.lease_client.client import LeaseWorld
from airflow_eip_provider.operators.failover.operator import EmrFailoverOperator
from airflow_eip_provider.operators.launch import Launcher
from airflow_eip_provider.triggers.undo import undo_stored
from harness.life import Task
from tests.integration.operators.aws_state import STORE, read_record
from tests.integration.operators.failover_stage import after_call, before_call, vanish_after
from tests.integration.operators.past import Past
from tests.load_balancer import ZONES

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_pause")

CONNECTION = {"aws_conn_id": None, "region_name": None, "verify": None, "config": None}
STORES = pytest.mark.parametrize("store", [True, False], ids=["store", "no store"])


def fail(*_: Any) -> None:
    raise RuntimeError("a part of the failover fails")


def failed(task: Task) -> Task:
    task.start()
    if not task.ended:
        task.go_on()
    assert task.error is not None
    return task


def failed_at_association(monkeypatch: pytest.MonkeyPatch, task: Task) -> Task:
    """Run a failover that fails when the address is to be associated with the new cluster."""
    with monkeypatch.context() as patch:
        patch.setattr("airflow_eip_provider.operators.bindings.primary_node.PrimaryNode.bind", fail)
        return failed(task)


def check_old_serves(stage: Any, lease: Any) -> None:
    """Check that the old cluster has address and lease, and that no other cluster of the failover is live."""
    assert stage.holder() == stage.aws.cluster(stage.old).primary.id
    assert stage.live() == {stage.old, stage.standby} - {""}
    if stage.lock_store:
        assert (lease().phase, lease().resource_id) == (Phase.ACTIVE, stage.old)


def test_a_failover_whose_tries_are_throttled_keeps_the_lease_for_its_retry(clocked, staged, leased, queue, lease):
    stage = staged()
    other = leased("other")
    other.start()
    clocked.faults.add(operation="AssociateAddress", kind="throttle", times=1000)
    failed(stage.failover(force=True))
    assert stage.holder() is None
    assert lease().phase is Phase.ACQUIRED
    clocked.faults.clear()
    clocked.clock.advance(120)
    assert stage.failover(force=True, try_number=2).run() == stage.standby
    assert not other.ended
    assert stage.holder() == clocked.cluster(stage.standby).primary.id
    assert lease().resource_id == stage.standby


@STORES
@pytest.mark.parametrize("try_number", [1, 3])
def test_an_address_that_was_disassociated_returns_to_the_old_cluster(
    clocked, staged, monkeypatch, lease, store, try_number
):
    stage = staged(store=store)
    failed_at_association(monkeypatch, stage.failover(force=True, try_number=try_number))
    assert clocked.events.calls("DisassociateAddress")
    check_old_serves(stage, lease)


@STORES
def test_a_launch_that_is_refused_leaves_the_old_cluster_its_address_and_its_lease(
    clocked, staged, steps_operator, lease, store
):
    stage = staged(warm=False, store=store)
    clocked.faults.add(
        operation="RunJobFlow", kind="error", code="ValidationException", message="no", status=400, times=1000
    )
    for try_number in (1, 2, 3):
        failed(stage.failover(force=True, try_number=try_number, **stage.cold()))
        check_old_serves(stage, lease)
    clocked.faults.clear()
    steps = Task(steps_operator(stage.old, lock_store=STORE if store else None), dag_id="service")
    steps.start()
    assert steps.error is None


@STORES
def test_a_launched_cluster_is_terminated_after_the_old_one_has_the_lease_again(
    clocked, staged, monkeypatch, lease, store
):
    stage = staged(warm=False, store=store)
    task = stage.failover(force=True, **stage.cold())
    with monkeypatch.context() as patch:
        patch.setattr("airflow_eip_provider.operators.bindings.primary_node.PrimaryNode.bind", fail)
        task.start()
        while not task.ended:
            task.go_on()
    assert isinstance(task.error, RuntimeError)
    clocked.clock.advance(300)
    check_old_serves(stage, lease)


@STORES
def test_the_last_try_gives_back_what_an_earlier_one_has_moved(clocked, staged, monkeypatch, lease, store):
    stage = staged(store=store)
    vanish_after(monkeypatch, stage.failover(force=True), "AssociateAddress")
    last = stage.failover(force=True, try_number=3)

    with monkeypatch.context() as patch:
        patch.setattr(EmrFailoverOperator, "_end_steps", fail)
        patch.setattr(EmrFailoverOperator, "_decide", lambda *_: None)
        failed(last)
    check_old_serves(stage, lease)


def test_a_last_try_that_fails_before_it_has_the_lease_gives_it_back(clocked, staged, monkeypatch, lease):
    stage = staged()
    vanish_after(monkeypatch, stage.failover(force=True), "DisassociateAddress")
    last = stage.failover(
        force=True, try_number=3, standby_job_flow_id=None, standby_tags={"role": "none"}, job_flow_overrides=None
    )
    failed(last)
    check_old_serves(stage, lease)


def test_a_failover_that_is_killed_while_it_waits_gives_the_lease_back(clocked, staged, lease):
    stage = staged(warm=False)
    task = stage.failover(force=True, **stage.cold())
    task.start()
    assert lease().phase is Phase.ACQUIRED
    kind, what = task.trigger().undo
    undo_stored(kind, what, connection=CONNECTION, spare_handed_over=True)
    undo_stored(kind, what, connection=CONNECTION, spare_handed_over=True)
    clocked.clock.advance(300)
    check_old_serves(stage, lease)


def test_a_killed_failover_does_not_undo_what_its_retry_does(clocked, staged, monkeypatch, lease):
    stage = staged()
    killed = stage.failover(force=True)

    def kill() -> None:
        retry = stage.failover(force=True, try_number=2)
        retry.run()
        assert retry.result == stage.standby
        killed.operator.on_kill()

    after_call(monkeypatch, "DisassociateAddress", kill)
    killed.start()
    assert stage.holder() == clocked.cluster(stage.standby).primary.id
    assert lease().resource_id == stage.standby


def test_after_the_end_of_the_old_cluster_a_retry_continues_with_the_lease(clocked, staged, leased, queue, lease):
    stage = staged()
    other = leased("other")
    other.start()
    clocked.faults.add(operation="AssociateAddress", kind="throttle", times=1000)
    stage.boto("emr").terminate_job_flows(JobFlowIds=[stage.old])
    clocked.clock.advance(60)
    failed(stage.failover(force=True))
    assert lease().phase is Phase.ACQUIRED
    clocked.faults.clear()
    clocked.clock.advance(120)
    assert stage.failover(force=True, try_number=2).run() == stage.standby
    assert not other.ended
    assert stage.holder() == clocked.cluster(stage.standby).primary.id


def test_after_the_end_of_the_old_cluster_the_last_try_releases_the_lease(clocked, staged, lease):
    stage = staged()
    clocked.faults.add(operation="AssociateAddress", kind="throttle", times=1000)
    stage.boto("emr").terminate_job_flows(JobFlowIds=[stage.old])
    clocked.clock.advance(60)
    failed(stage.failover(force=True, try_number=3))
    assert lease() is None
    assert stage.holder() is None


def test_a_failover_that_is_killed_in_the_queue_leaves_it(clocked, staged, leased, boto, allocation_id):
    stage = staged()
    task = stage.failover(force=True, job_flow_id="j-UNKNOWN000000")
    task.start()
    assert [entry.attempt.try_number for entry in read_record(boto, allocation_id).queue] == [1]
    kind, what = task.trigger().undo
    undo_stored(kind, what, connection=CONNECTION)
    assert read_record(boto, allocation_id).queue == ()


def test_a_failover_is_made_again_after_it_was_given_back(clocked, staged, lease):
    stage = staged()
    clocked.faults.add(
        operation="AssociateAddress", kind="error", code="Unsupported", message="no", status=400, times=1
    )
    failed(stage.failover(force=True))
    check_old_serves(stage, lease)
    token = lease().token
    assert stage.failover(force=True, try_number=2).run() == stage.standby
    assert lease().token == token + 1
    clocked.clock.advance(300)
    stage.check_moved_to(stage.standby)


def killing(task: Task) -> Callable[[], None]:
    """Return a function that kills the process in which the task runs at that moment."""

    def kill() -> None:
        task.operator.on_kill()  # another operator after each deferral

    return kill


def ended(task: Task) -> Task:
    task.start()
    while not task.ended:
        task.go_on()
    return task


def test_a_kill_while_run_job_flow_is_in_flight_leaves_no_second_cluster(clocked, staged, monkeypatch, lease):
    stage = staged(warm=False)
    task = stage.failover(force=True, **stage.cold())
    before_call(monkeypatch, "RunJobFlow", killing(task))
    task.start()
    clocked.clock.advance(300)
    check_old_serves(stage, lease)


def test_an_old_answer_of_ec2_does_not_give_the_lease_back_without_the_address(
    clocked, staged, monkeypatch, lease, boto, allocation_id
):
    """The address is on the new cluster, and EC2 shows it on the old one for half a minute."""
    stage = staged(warm=False)
    task = stage.failover(force=True, **stage.cold())
    past = Past(clocked, monkeypatch)
    monkeypatch.setattr(reads, "read_address", past._read_address)
    was = read_address(boto("ec2"), allocation_id)

    def kill() -> None:
        past.show_address(was, seconds=30)
        task.operator.on_kill()

    after_call(monkeypatch, "AssociateAddress", kill)
    ended(task)
    assert past.stale_answers
    clocked.clock.advance(300)
    check_old_serves(stage, lease)


@pytest.mark.parametrize("has_replaced", [True, False], ids=["after a fallback", "the first candidate"])
def test_a_kill_after_the_association_gives_the_service_back(clocked, staged, monkeypatch, lease, has_replaced):
    stage = staged(warm=False)
    if has_replaced:
        clocked.limit_capacity(ZONES[1])
    elsewhere = [{"Instances": {"Ec2SubnetId": stage.subnet(ZONES[0])["SubnetId"]}}]
    task = stage.failover(force=True, **stage.cold(), fallbacks=elsewhere)
    after_call(monkeypatch, "AssociateAddress", killing(task))
    ended(task)
    clocked.clock.advance(300)
    check_old_serves(stage, lease)


def test_a_retry_terminates_the_cluster_of_a_launch_whose_answer_was_lost(clocked, staged, monkeypatch, lease):
    """EMR shows that cluster only after the first try has moved the lease back."""
    stage = staged(warm=False)

    def unclear(*_: Any, **__: Any) -> str:
        raise LaunchUnclearError("livy", owner="failover", problem="no answer")

    with monkeypatch.context() as patch:
        patch.setattr(Launcher, "_search", unclear)
        patch.setattr(LeaseWorld, "find_clusters", lambda *_: ())
        clocked.faults.add(operation="RunJobFlow", kind="lost_response", times=1)
        failed(stage.failover(force=True, **stage.cold()))
    clocked.clock.advance(300)
    new = stage.failover(force=True, try_number=2, **stage.cold()).run()
    clocked.clock.advance(600)
    assert stage.live() == {new}


def test_a_last_try_that_cannot_give_the_address_back_terminates_its_cluster(clocked, staged, lease):
    """The address was released from the account meanwhile."""
    stage, code = staged(warm=False), "InvalidAllocationID.NotFound"
    clocked.faults.add(operation="AssociateAddress", kind="error", code=code, message="no", status=400, times=1000)
    ended(stage.failover(force=True, try_number=3, **stage.cold()))
    clocked.clock.advance(300)
    assert stage.live() == {stage.old}
    assert lease() is None
