"""EipAssociateOperator and EipReleaseOperator: for existing clusters and instances."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws.addresses import read_address
from airflow_eip_provider.exceptions import AddressBusyError, ClusterEndedError, TransientError
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.lease.record import LIMITS
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.operators.binder import Binder
from harness.leases import vanish
from harness.life import Task
from tests.integration.operators.aws_state import associated_instance, dynamodb_only, run_instance
from tests.integration.operators.failover_stage import before_call
from tests.integration.operators.past import Past


@pytest.fixture
def job_flow_id(clocked: Any, emr: Any, overrides: dict[str, Any]) -> str:
    """A cluster that was launched elsewhere."""
    return str(emr.run_job_flow(**overrides)["JobFlowId"])


def test_the_primary_of_a_cluster_made_elsewhere_is_bound_the_same_way_in_both_modes(
    clocked, job_flow_id, associate, deferrable, ec2
):
    task = Task(associate(job_flow_id=job_flow_id, deferrable=deferrable))
    facts = task.run()
    assert facts == task.ti.xcoms["static_ip"]
    assert facts["job_flow_id"] == job_flow_id
    assert facts["instance_id"] == associated_instance(ec2)


def test_an_instance_is_bound_once_it_runs(clocked, associate, deferrable, ec2):
    launched = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)
    instance_id = launched["Instances"][0]["InstanceId"]
    assert Task(associate(instance_id=instance_id, deferrable=deferrable)).run()["instance_id"] == instance_id


def test_binding_twice_finds_the_same_association(clocked, job_flow_id, associate):
    first = Task(associate(job_flow_id=job_flow_id)).run()
    assert Task(associate(job_flow_id=job_flow_id)).run() == first


def test_an_address_of_another_is_waited_for_and_never_taken(clocked, job_flow_id, associate, create_operator, ec2):
    holder = Task(create_operator()).run()
    before = associated_instance(ec2)
    with pytest.raises(AddressBusyError, match=holder):
        Task(associate(job_flow_id=job_flow_id, lock_timeout=timedelta(minutes=3))).run()
    assert associated_instance(ec2) == before


def test_a_cluster_that_ends_meanwhile_fails_the_wait(clocked, job_flow_id, associate, deferrable, emr):
    emr.terminate_job_flows(JobFlowIds=[job_flow_id])
    with pytest.raises(ClusterEndedError, match=job_flow_id):
        Task(associate(job_flow_id=job_flow_id, deferrable=deferrable)).run()


def test_release_disassociates_the_address_and_reports_it_once(
    clocked, job_flow_id, associate, release, deferrable, ec2
):
    Task(associate(job_flow_id=job_flow_id)).run()
    assert Task(release(job_flow_id=job_flow_id, deferrable=deferrable)).run() is True
    assert associated_instance(ec2) is None
    assert Task(release(job_flow_id=job_flow_id, deferrable=deferrable)).run() is False


def test_release_leaves_the_address_of_another_alone(clocked, job_flow_id, release, create_operator, ec2):
    Task(create_operator()).run()
    before = associated_instance(ec2)
    assert Task(release(job_flow_id=job_flow_id)).run() is False
    assert associated_instance(ec2) == before


def test_release_waits_for_a_fenced_step_and_not_for_others(
    clocked, job_flow_id, associate, release, steps_operator, step, deferrable, emr
):
    Task(associate(job_flow_id=job_flow_id)).run()
    clocked.clock.advance(600)
    fenced = Task(steps_operator(job_flow_id, steps=[step("--sleep", "300")], deferrable=True))
    fenced.start()
    emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=[step("--sleep", "9000", name="other work")])
    assert Task(release(job_flow_id=job_flow_id, deferrable=deferrable)).run() is True
    states = {s["Name"].split()[0]: s["Status"]["State"] for s in emr.list_steps(ClusterId=job_flow_id)["Steps"]}
    assert states["read"] == "COMPLETED"
    assert states["other"] in {"PENDING", "RUNNING"}


@pytest.mark.parametrize("target", [{}, {"job_flow_id": "j-1", "instance_id": "i-1"}])
def test_exactly_one_target(clocked, associate, release, target, assert_nothing_changed):
    for operator in (associate(**target), release(**target)):
        with pytest.raises(AirflowFailException, match="exactly one"):
            Task(operator).run()
    assert_nothing_changed()


@pytest.fixture
def primary_interface(clocked: Any, job_flow_id: str, emr: Any) -> str:
    """The network interface of that cluster's primary node."""
    clocked.clock.advance(900)
    return str(clocked.cluster(job_flow_id).primary.nics[0].id)


class SignalledError(Exception):
    """What Airflow 2 raises in a task that gets a SIGTERM."""


def signal_in(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, *, after: bool) -> list[Any]:
    """Interrupt a method before or after its call; return what it returned."""
    real, returned = getattr(owner, name), []

    def signalled(self: Any, *args: Any, **options: Any) -> None:
        if after:
            returned.append(real(self, *args, **options))
        raise SignalledError

    monkeypatch.setattr(owner, name, signalled)
    return returned


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "with a lock store"])
def test_a_signal_before_the_answer_of_associate_address_leaves_no_association(
    clocked, job_flow_id, associate, lock_store, record, shared, ec2, monkeypatch
):
    made = signal_in(monkeypatch, ElasticIpHook, "associate", after=True)
    with pytest.raises(SignalledError):
        Task(associate(job_flow_id=job_flow_id, lock_store=lock_store if shared else None)).run()
    assert len(made) == 1
    assert associated_instance(ec2) is None
    assert not shared or record().lease is None


def test_an_address_that_the_target_has_already_is_leased_in_its_turn(
    clocked, job_flow_id, primary_interface, associate, allocation_id, leased, queue, record, lock_store, ec2
):
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=primary_interface, AllowReassociation=False)
    other, task = leased("other"), Task(associate(job_flow_id=job_flow_id, lock_store=lock_store, deferrable=True))
    other.start()
    task.start()
    assert "held by no owner, but the address is on" in other.ti.xcoms["queue"]["holder"]
    waited = queue.until(lambda: task.ended, other, task)
    assert task.error is None
    assert waited <= 2 * LIMITS.grace
    assert record().lease.resource_id == job_flow_id
    queue.pass_time(60, other)
    assert [entry.attempt.name.split("/")[1] for entry in record().queue] == ["other"], "passed over, it queues again"


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "with a lock store"])
def test_an_address_on_another_interface_of_the_target_is_refused_and_stays_there(
    clocked, job_flow_id, primary_interface, associate, allocation_id, record, lock_store, shared, ec2
):
    primary = clocked.cluster(job_flow_id).primary
    interface = ec2.create_network_interface(SubnetId=primary.subnet_id)["NetworkInterface"]["NetworkInterfaceId"]
    ec2.attach_network_interface(NetworkInterfaceId=interface, InstanceId=primary.id, DeviceIndex=1)
    ec2.associate_address(AllocationId=allocation_id, NetworkInterfaceId=interface, AllowReassociation=False)
    with pytest.raises(AirflowFailException, match=f"interface '{interface}' of .* has it.*airflow-eip release"):
        Task(associate(job_flow_id=job_flow_id, lock_store=lock_store if shared else None)).run()
    assert ec2.describe_addresses()["Addresses"][0]["NetworkInterfaceId"] == interface
    assert not shared or record().lease is None


@pytest.mark.parametrize("shared", [False, True], ids=["alone", "with a lock store"])
def test_an_instance_that_has_another_address_is_refused_at_once(
    clocked, associate, allocation_id, record, lock_store, shared, ec2
):
    """A private address can have one Elastic IP; a wait would end after lock_timeout, with the address free."""
    instance = run_instance(ec2, clocked)
    other = ec2.allocate_address(Domain="vpc")["AllocationId"]
    ec2.associate_address(AllocationId=other, InstanceId=instance)
    began = clocked.clock.now()
    with pytest.raises(TransientError, match=f"Elastic IP '{other}'.* is there.*disassociate that one"):
        Task(associate(instance_id=instance, lock_store=lock_store if shared else None)).run()
    assert (clocked.clock.now() - began).total_seconds() < 60
    placed = {found["AllocationId"]: found.get("InstanceId") for found in ec2.describe_addresses()["Addresses"]}
    assert placed == {allocation_id: None, other: instance}
    assert not shared or record().lease is None


def test_a_lost_answer_and_an_old_read_do_not_make_the_own_address_another_one(
    clocked, associate, allocation_id, ec2, monkeypatch
):
    """The answer is lost after it took effect, botocore asks again and is refused, and the next read is old."""
    instance = run_instance(ec2, clocked)
    Past(clocked, monkeypatch).show_address(read_address(ec2, allocation_id), seconds=30)

    def lose_answer() -> None:
        clocked.faults.add(operation="AssociateAddress", kind="lost_response", times=1)
        refusal = {"code": "Resource.AlreadyAssociated", "message": "there", "status": 400}
        clocked.faults.add(operation="AssociateAddress", kind="error", times=1, **refusal)

    before_call(monkeypatch, "AssociateAddress", lose_answer)
    Task(associate(instance_id=instance)).run()
    assert associated_instance(ec2) == instance


def test_a_retry_after_a_try_that_vanished_before_the_hand_over_continues_even_without_the_lease(
    clocked, job_flow_id, primary_interface, associate, leased, queue, record, lock_store, monkeypatch
):
    operator = associate(job_flow_id=job_flow_id, lock_store=lock_store, deferrable=True)
    vanish(monkeypatch, Task(operator), "write_record", after=False, nth=2)
    other = leased("other")
    other.start()
    queue.pass_time(2 * LIMITS.surface, other)
    assert record().lease is None
    assert record().history[-1].why == "taken over: it was never handed over"
    again = Task(associate(job_flow_id=job_flow_id, lock_store=lock_store, deferrable=True), try_number=2)
    again.start()
    queue.until(lambda: again.ended, other, again)
    assert again.error is None
    assert record().lease.resource_id == job_flow_id
    assert not other.ended


def test_what_fails_before_the_hand_over_takes_its_address_off_a_cluster_that_works_on_something_else(
    clocked, job_flow_id, primary_interface, associate, record, lock_store, step, emr, ec2, monkeypatch
):
    emr.add_job_flow_steps(JobFlowId=job_flow_id, Steps=[step("--sleep", "100000")])
    clocked.clock.advance(60)
    signal_in(monkeypatch, StoreLeaseClient, "hand_over", after=False)
    with pytest.raises(SignalledError):
        Task(associate(job_flow_id=job_flow_id, lock_store=lock_store)).run()
    assert associated_instance(ec2) is None
    assert record().lease is None


@pytest.fixture
def running_instance(clocked: Any, ec2: Any) -> str:
    """A running instance that was launched elsewhere."""
    return run_instance(ec2, clocked)


@pytest.mark.parametrize("answered", [True, False], ids=["its id is known", "its answer was lost"])
def test_an_association_that_ec2_does_not_show_yet_is_undone_before_the_lease_ends(
    clocked, running_instance, associate, lock_store, record, answered, ec2, monkeypatch
):
    clocked.faults.add(operation="DescribeAddresses", kind="stale", seconds=30, times=None)
    owner, name = (StoreLeaseClient, "hand_over") if answered else (ElasticIpHook, "associate")
    signal_in(monkeypatch, owner, name, after=not answered)
    with pytest.raises(SignalledError):
        Task(associate(instance_id=running_instance, lock_store=lock_store)).run()
    clocked.faults.clear()
    clocked.clock.advance(60)
    assert associated_instance(ec2) is None
    assert record().lease is None


def test_without_a_lock_store_an_association_that_ec2_does_not_show_yet_is_undone_too(
    clocked, running_instance, associate, ec2, monkeypatch
):
    clocked.faults.add(operation="DescribeAddresses", kind="stale", seconds=30, times=None)
    signal_in(monkeypatch, ElasticIpHook, "associate", after=True)
    with pytest.raises(SignalledError):
        Task(associate(instance_id=running_instance)).run()
    clocked.faults.clear()
    assert associated_instance(ec2) is None


@pytest.mark.parametrize("lost", [1, 7], ids=["botocore asks again", "this try asks again"])
def test_an_association_whose_answer_was_lost_is_found_although_ec2_shows_it_late(
    clocked, running_instance, associate, deferrable, lost, ec2
):
    """EC2 gives the same association to who asks again for the same interface."""
    clocked.faults.add(operation="AssociateAddress", kind="lost_response", times=lost)
    clocked.faults.add(operation="DescribeAddresses", kind="stale", seconds=50, times=None)
    facts = Task(associate(instance_id=running_instance, deferrable=deferrable)).run()
    clocked.faults.clear()
    assert associated_instance(ec2) == running_instance
    assert facts["association_id"] == ec2.describe_addresses()["Addresses"][0]["AssociationId"]


def test_an_association_that_somebody_else_made_on_the_target_meanwhile_stays_there(
    clocked, running_instance, associate, ec2, monkeypatch
):
    bind = Binder.bind

    def taken_first(self: Any, **where: Any) -> None:
        ec2.associate_address(AllocationId=self._allocation_id, InstanceId=running_instance, AllowReassociation=False)
        bind(self, **where)
        raise SignalledError

    monkeypatch.setattr(Binder, "bind", taken_first)
    with pytest.raises(SignalledError):
        Task(associate(instance_id=running_instance)).run()
    assert associated_instance(ec2) == running_instance


@dynamodb_only
def test_a_hand_over_and_an_undo_without_the_lock_store_do_not_change_another_owners_association(
    clocked, running_instance, associate, allocation_id, lock_store, deferrable, record, logged, ec2, monkeypatch
):
    hand_over, thieves = StoreLeaseClient.hand_over, []

    def store_goes_down(self: Any, *attempt: Any, **given: Any) -> None:
        if not thieves:
            clocked.faults.add(operation="GetItem", kind="error", status=503, times=None)
            thieves.append(clocked.steal(allocation_id))
        hand_over(self, *attempt, **given)

    monkeypatch.setattr(StoreLeaseClient, "hand_over", store_goes_down)
    given = {"lock_store": lock_store, "lock_timeout": timedelta(minutes=30)}
    task = Task(associate(instance_id=running_instance, deferrable=deferrable, **given))
    with pytest.raises(AddressBusyError):
        task.run()
    assert associated_instance(ec2) == thieves[0], "nothing but an association of this try's own id was undone"
    assert f"may still be on '{running_instance}'" in " ".join(logged().split())
    clocked.faults.clear()
    assert record().lease.resource_id is None, "never handed over: the next in the queue ends it"


def test_one_old_answer_does_not_hide_the_association_from_a_release(
    clocked, create_operator, release, allocation_id, ec2
):
    clocked.remember()
    job_flow_id = Task(create_operator()).run()
    clocked.clock.advance(20)
    clocked.faults.add(operation="DescribeAddresses", kind="stale", seconds=45, times=1)
    assert Task(release(job_flow_id=job_flow_id)).run() is True
    assert "AssociationId" not in ec2.describe_addresses(AllocationIds=[allocation_id])["Addresses"][0]
