"""``airflow-eip associate`` without an answer, a lease or an address: it waits until its deadline, and prints why."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.aws.tags import ALLOCATION_TAG, JOB_FLOW_TAG, as_items
from airflow_eip_provider.cli import associate
from airflow_eip_provider.exceptions import LeaseLostError, LockStoreUnavailableError, NotKnownYetError
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.lease.record import Phase
from airflow_eip_provider.lease_client.client import StoreLeaseClient
from airflow_eip_provider.operators.binder import Binder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.cli.elsewhere import Elsewhere

pytestmark = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)

UNAVAILABLE = LockStoreUnavailableError("dynamodb://leases", problem="503")
SERVER_ERROR = ClientError(
    {"Error": {"Code": "Unavailable"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "AssociateAddress"
)
NOT_KNOWN = NotKnownYetError("eni-0123456789abcdef0")
# More than the polls of the longest wait here, so that a loop without a pause ends, too.
_MOST = 100


@pytest.fixture(params=[False, True], ids=["without a lock", "with a lock"])
def arguments(request: pytest.FixtureRequest, lock_store: str) -> list[str]:
    return ["--lock-store", lock_store if request.param else "none"]


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Count the calls of a method; replace the first ones, or all."""

    def watch(cls: type, name: str, instead: Callable[[], Any] | None = None, *, times: int = _MOST) -> list[int]:
        method, made = getattr(cls, name), []

        def call(*given: Any, **named: Any) -> Any:
            made.append(len(made))
            if len(made) > _MOST:
                pytest.fail(f"{name} again and again")
            return instead() if instead and len(made) <= times else method(*given, **named)

        monkeypatch.setattr(cls, name, call)
        return made

    return watch


def failing(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def core_node(elsewhere: Elsewhere, job_flow_id: str) -> dict[str, Any]:
    filters = {
        "tag:aws:elasticmapreduce:job-flow-id": job_flow_id,
        "tag:aws:elasticmapreduce:instance-group-role": "CORE",
    }
    described = elsewhere.ec2.describe_instances(Filters=[{"Name": k, "Values": [v]} for k, v in filters.items()])
    return described["Reservations"][0]["Instances"][0]


@pytest.fixture
def with_core(elsewhere: Elsewhere) -> tuple[str, dict[str, Any]]:
    """A cluster and its core node."""
    groups = elsewhere.overrides["Instances"]["InstanceGroups"]
    groups.append({"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": 1})
    job_flow_id = elsewhere.launch()
    return job_flow_id, core_node(elsewhere, job_flow_id)


def test_an_address_that_a_core_node_got_during_the_wait_is_not_moved(
    elsewhere, attempts, with_core, lock_store, record
):
    job_flow_id, core = with_core

    def taken() -> None:
        interface = core["NetworkInterfaces"][0]["NetworkInterfaceId"]
        elsewhere.ec2.associate_address(AllocationId=elsewhere.allocation_id, NetworkInterfaceId=interface)

    attempts(Binder, "bind", taken)
    said = elsewhere.associate("--lock-store", lock_store)
    assert said.status == 1
    assert f"(instance '{core['InstanceId']}') has it" in said.err
    assert elsewhere.cluster_of_address() == job_flow_id
    assert record().lease is None


@pytest.mark.parametrize("wait", ["0", "5m"])
def test_an_address_on_a_core_node_of_the_cluster_is_refused_at_once(elsewhere, attempts, with_core, arguments, wait):
    job_flow_id, core = with_core
    interface = core["NetworkInterfaces"][0]["NetworkInterfaceId"]
    elsewhere.ec2.associate_address(AllocationId=elsewhere.allocation_id, NetworkInterfaceId=interface)
    attempts(Binder, "bind")
    before, began = elsewhere.mark(), elsewhere.aws.clock.now()
    said = elsewhere.associate(*arguments, "--wait", wait)
    assert said.status == 1
    assert f"interface '{interface}' of cluster '{job_flow_id}' (instance '{core['InstanceId']}') has it" in said.err
    assert f"airflow-eip release --allocation-id {elsewhere.allocation_id} --job-flow-id {job_flow_id}" in said.err
    assert elsewhere.changes(before) == []
    assert elsewhere.aws.clock.now() == began
    assert elsewhere.about("release", "--job-flow-id", job_flow_id).result["released"] is True
    assert elsewhere.associate(*arguments, "--wait", wait).status == 0


def test_an_address_on_the_clusters_own_gateway_is_refused_until_that_is_being_deleted(
    elsewhere, attempts, arguments, subnet_id
):
    job_flow_id = elsewhere.launch()
    tags = {JOB_FLOW_TAG: job_flow_id, ALLOCATION_TAG: elsewhere.allocation_id}
    gateway_id = elsewhere.ec2.create_nat_gateway(
        SubnetId=subnet_id,
        AllocationId=elsewhere.allocation_id,
        TagSpecifications=[{"ResourceType": "natgateway", "Tags": as_items(tags)}],
    )["NatGateway"]["NatGatewayId"]
    elsewhere.aws.clock.advance(300)
    attempts(Binder, "bind")
    before = elsewhere.mark()
    said = elsewhere.associate(*arguments)
    assert said.status == 1
    assert f"of cluster '{job_flow_id}' (NAT gateway '{gateway_id}') has it" in said.err
    assert elsewhere.changes(before) == []
    elsewhere.ec2.delete_nat_gateway(NatGatewayId=gateway_id)
    assert elsewhere.associate(*arguments).status == 0
    assert elsewhere.cluster_of_address() == job_flow_id


@pytest.mark.parametrize(("wait", "most"), [("0", 2), ("2m", 10)])
def test_an_address_that_looks_free_and_cannot_be_bound_is_tried_for_until_the_deadline(
    elsewhere, attempts, arguments, wait, most
):
    elsewhere.launch()
    made = attempts(Binder, "bind", lambda: None)
    said = elsewhere.associate(*arguments, "--wait", wait)
    assert said.status == 1
    assert "it is held by nobody now;" in said.err
    assert 2 <= len(made) <= most


@pytest.mark.parametrize(("wait", "most"), [("0", 2), ("2m", 10)])
def test_a_store_that_refuses_every_write_ends_with_the_deadline(elsewhere, attempts, lock_store, wait, most):
    elsewhere.launch()
    elsewhere.aws.faults.add(
        operation="PutItem", kind="error", code="ConditionalCheckFailedException", status=400, times=100_000
    )
    made = attempts(StoreLeaseClient, "enter")
    said = elsewhere.associate("--lock-store", lock_store, "--wait", wait)
    assert said.status == 1
    assert f"writing to lock store '{lock_store}': other tasks changed the record before each of" in said.err
    assert 1 <= len(made) <= most
    assert elsewhere.cluster_of_address() is None


@pytest.mark.parametrize(
    ("cls", "name", "error"),
    [
        (StoreLeaseClient, "enter", UNAVAILABLE),
        (Binder, "bind", SERVER_ERROR),
        (Binder, "bind", NOT_KNOWN),
        (StoreLeaseClient, "hand_over", UNAVAILABLE),
    ],
)
def test_no_answer_for_a_while_undoes_nothing(elsewhere, attempts, record, lock_store, cls, name, error):
    job_flow_id = elsewhere.launch()
    attempts(cls, name, failing(error), times=3)
    undone = attempts(StoreLeaseClient, "undo")
    said = elsewhere.associate("--lock-store", lock_store)
    assert said.status == 0, said.err
    assert f"trying again: {error}" in said.err
    assert undone == []
    assert (record().lease.phase, record().lease.resource_id) == (Phase.ACTIVE, job_flow_id)
    assert elsewhere.cluster_of_address() == job_flow_id


def test_no_answer_at_the_turn_after_a_wait_undoes_nothing(elsewhere, attempts, record, lock_store):
    holding, waiting = elsewhere.launch("Other"), elsewhere.launch()
    elsewhere.associate("--lock-store", lock_store, "--job-flow-id", holding)

    def end() -> None:
        elsewhere.emr.terminate_job_flows(JobFlowIds=[holding])
        attempts(StoreLeaseClient, "enter", failing(UNAVAILABLE), times=3)

    elsewhere.meanwhile(600, end)
    said = elsewhere.associate("--lock-store", lock_store, "--wait", "2h")
    assert said.status == 0, said.err
    assert f"trying again: {UNAVAILABLE}" in said.err
    assert record().lease.resource_id == waiting


def test_a_missing_answer_to_the_hand_over_is_retried_longer_than_the_wait_but_not_forever(
    elsewhere, attempts, record, lock_store
):
    elsewhere.launch()
    attempts(StoreLeaseClient, "hand_over", failing(UNAVAILABLE), times=2)
    assert elsewhere.associate("--lock-store", lock_store, "--wait", "0").status == 0
    elsewhere.about("release", "--lock-store", lock_store)
    made = attempts(StoreLeaseClient, "hand_over", failing(UNAVAILABLE))
    began = elsewhere.aws.clock.now()
    said = elsewhere.associate("--lock-store", lock_store, "--wait", "0")
    assert said.status == 1
    assert f"error: {UNAVAILABLE}" in said.err
    assert 300 <= (elsewhere.aws.clock.now() - began).total_seconds() < 600
    assert len(made) > 2
    assert record().lease is None
    assert elsewhere.cluster_of_address() is None


def test_an_interface_that_is_unknown_because_its_cluster_has_ended_is_not_tried_again(
    elsewhere, attempts, lock_store, record
):
    job_flow_id = elsewhere.launch()

    def gone() -> None:
        elsewhere.emr.terminate_job_flows(JobFlowIds=[job_flow_id])
        elsewhere.aws.clock.advance(900)
        raise NOT_KNOWN

    made = attempts(Binder, "bind", gone)
    said = elsewhere.associate("--lock-store", lock_store)
    assert said.status == 1
    assert f"using cluster '{job_flow_id}': it is TERMINATED" in said.err
    assert len(made) == 1
    assert record().lease is None


def test_what_could_not_be_undone_is_reported_in_addition_to_the_error(elsewhere, attempts, record, lock_store):
    job_flow_id = elsewhere.launch()
    lost = LeaseLostError(elsewhere.allocation_id, problem="it cannot be written")
    attempts(StoreLeaseClient, "hand_over", failing(lost), times=1)
    attempts(StoreLeaseClient, "undo", failing(UNAVAILABLE), times=1)
    said = elsewhere.associate("--lock-store", lock_store)
    assert said.status == 1
    assert f"error: {lost}" in said.err
    assert f"undoing the changes failed, too: {UNAVAILABLE}" in said.err
    again = elsewhere.associate("--lock-store", lock_store)
    assert (again.status, record().lease.resource_id) == (0, job_flow_id)


@pytest.mark.parametrize("answered", [True, False], ids=["its id is known", "its answer was lost"])
def test_an_association_that_ec2_does_not_show_yet_is_undone(elsewhere, arguments, answered, record, monkeypatch):
    elsewhere.launch()
    elsewhere.aws.faults.add(operation="DescribeAddresses", kind="stale", seconds=45, times=None)
    owner, name = (associate._Association, "_bind") if answered else (ElasticIpHook, "associate")
    act = getattr(owner, name)

    def interrupted(*given: Any, **named: Any) -> None:
        act(*given, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, interrupted)
    if answered and "none" in arguments:
        pytest.skip("without a lock nothing follows the binding")
    assert elsewhere.associate(*arguments).status != 0
    elsewhere.aws.faults.clear()
    assert elsewhere.cluster_of_address() is None
    assert "none" in arguments or record().lease is None


def test_an_interrupt_of_a_wait_for_the_address_does_not_look_for_an_association(elsewhere, arguments, monkeypatch):
    elsewhere.launch()
    thief = elsewhere.aws.steal(elsewhere.allocation_id)
    before = elsewhere.aws.clock.now()

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(associate._Association, "_busy", interrupted)
    assert elsewhere.associate(*arguments, "--wait", "0").status != 0
    assert (elsewhere.aws.clock.now() - before).total_seconds() < 60
    assert elsewhere.ec2.describe_addresses()["Addresses"][0]["InstanceId"] == thief


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_undo_of_an_error_does_not_interrupt_it(elsewhere, record, lock_store, monkeypatch, number):
    """Nor does it hide the error."""
    elsewhere.launch()
    undo = StoreLeaseClient.undo

    def undo_with_signal(*arguments: Any, **more: Any) -> None:
        os.kill(os.getpid(), number)
        undo(*arguments, **more)

    lost = LeaseLostError(elsewhere.allocation_id, problem="another task has it")
    monkeypatch.setattr(StoreLeaseClient, "hand_over", lambda *_, **__: failing(lost)())
    monkeypatch.setattr(StoreLeaseClient, "undo", undo_with_signal)
    said = elsewhere.associate("--lock-store", lock_store)
    assert said.status == 1
    assert "another task has it" in said.err
    assert elsewhere.cluster_of_address() is None
    assert record().lease is None
