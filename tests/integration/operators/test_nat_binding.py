"""binding=NatGateway: all nodes use the address during the session; afterwards everything is restored."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.aws import nat_gateway_changes, route_changes
from airflow_eip_provider.aws.clusters import LIVE_STATES
from airflow_eip_provider.exceptions import GatewayFailedError
from airflow_eip_provider.operators.eip import EipReleaseOperator
from airflow_eip_provider.operators.emr import create
from airflow_eip_provider.preflight import nat as nat_checks
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.triggers.undo import undo_stored
from harness.life import Task
from tests.integration.operators.aws_state import STORE, launched


def made(aws: Any) -> int:
    """Return the number of gateways that were created, each counted once."""
    return len({event["nat_gateway_id"] for event in aws.events.read(kind="nat_gateway")})


def test_a_session_leaves_through_its_gateway_and_leaves_nothing_behind(
    clocked, network, nat, steps_operator, terminate_operator, deferrable, store, ec2
):
    shared = {"lock_store": store, "deferrable": deferrable}
    creating = Task(nat(**shared))
    job_flow_id = creating.run()
    gateway_id = creating.ti.xcoms["static_ip"]["nat_gateway_id"]
    assert network.gateways("available") == [gateway_id]
    assert network.target() == gateway_id
    assert creating.ti.xcoms["static_ip"]["association_id"] == ec2.describe_addresses()["Addresses"][0]["AssociationId"]
    assert creating.ti.xcoms["static_ip"]["job_flow_id"] == job_flow_id
    clocked.clock.advance(600)
    assert Task(steps_operator(job_flow_id, **shared)).run()
    Task(terminate_operator(job_flow_id, **shared)).run()
    clocked.clock.advance(120)
    network.assert_as_before()
    assert made(clocked) == 1


def test_a_route_that_led_to_an_internet_gateway_leads_there_again(clocked, network, nat, terminate_operator):
    target = network.lead_to_internet_gateway()
    job_flow_id = Task(nat()).run()
    assert network.target() == network.gateways()[0]
    Task(terminate_operator(job_flow_id)).run()
    clocked.clock.advance(120)
    network.assert_as_before(target=target)


def test_a_binding_may_be_given_as_a_mapping(clocked, network, nat):
    given = {"public_subnet_id": network.public, "route_table_ids": [network.table]}
    Task(nat(binding=given)).run()
    assert network.target() == network.gateways()[0]


def test_the_gateways_tags_name_its_owner_and_the_former_routes(clocked, network, nat, ec2, monkeypatch):
    monkeypatch.delenv("AIRFLOW__EIP__ENVIRONMENT")  # its default
    task = Task(nat())
    job_flow_id = task.run()
    tags = {tag["Key"]: tag["Value"] for tag in ec2.describe_nat_gateways()["NatGateways"][0]["Tags"]}
    assert tags["airflow-eip:job-flow-id"] == job_flow_id
    assert tags[f"airflow-eip:route:{network.table}"] == "none"
    assert tags["airflow-eip:owner-name"] == "default/azure_daily/run-1/create/-1"


def test_the_sensor_sees_the_address_on_the_cluster(clocked, network, nat, allocation_id):
    job_flow_id = Task(nat()).run()
    sensor = EipAssociationSensor(
        task_id="bound", allocation_id=allocation_id, job_flow_id=job_flow_id, aws_conn_id=None
    )
    assert Task(sensor).run()["job_flow_id"] == job_flow_id


def test_an_early_release_frees_the_address_while_the_cluster_keeps_running(
    clocked, network, nat, allocation_id, emr, store
):
    job_flow_id = Task(nat(lock_store=store)).run()
    release = EipReleaseOperator(
        task_id="release", allocation_id=allocation_id, job_flow_id=job_flow_id, lock_store=store, aws_conn_id=None
    )
    assert Task(release).run() is True
    clocked.clock.advance(120)
    network.assert_as_before()
    assert emr.describe_cluster(ClusterId=job_flow_id)["Cluster"]["Status"]["State"] in LIVE_STATES


def test_steps_are_cancelled_when_the_route_leads_elsewhere(
    clocked, network, nat, steps_operator, step, deferrable, emr, ec2
):
    job_flow_id = Task(nat()).run()
    clocked.clock.advance(600)
    there = network.internet_gateway()

    def steal() -> None:
        ec2.replace_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=there)

    clocked.clock.call_later(120, steal, name="thief")
    task = Task(steps_operator(job_flow_id, steps=[step("--sleep", "3600")], deferrable=deferrable))
    with pytest.raises(AirflowFailException, match=f"{network.private}.*{there}"):
        task.run()
    clocked.clock.advance(60)
    assert [s["Status"]["State"] for s in emr.list_steps(ClusterId=job_flow_id)["Steps"]] == ["CANCELLED"]


def test_no_step_is_submitted_while_the_route_leads_elsewhere(clocked, network, nat, steps_operator, ec2):
    job_flow_id = Task(nat()).run()
    ec2.delete_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0")
    with pytest.raises(AirflowFailException, match=f"{job_flow_id}.*{network.private}.*no longer exists"):
        Task(steps_operator(job_flow_id)).run()
    assert clocked.events.calls("AddJobFlowSteps") == []


def test_a_route_that_somebody_else_changed_is_not_put_back(clocked, network, nat, terminate_operator, ec2):
    job_flow_id = Task(nat()).run()
    there = network.internet_gateway()
    ec2.replace_route(RouteTableId=network.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=there)
    Task(terminate_operator(job_flow_id)).run()
    clocked.clock.advance(120)
    network.assert_as_before(target=there)


def test_a_gateway_that_fails_is_an_error_with_ec2s_reason_and_nothing_is_left(
    clocked, network, nat, deferrable, store, ec2, emr
):
    task = Task(nat(deferrable=deferrable, lock_store=store))
    vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]

    def detach() -> None:
        ec2.detach_internet_gateway(InternetGatewayId=network.internet_gateway(), VpcId=vpc)

    clocked.clock.call_later(5, detach, name="somebody detaches the internet gateway")
    with pytest.raises(GatewayFailedError, match=r"Gateway\.NotAttached"):
        task.run()
    network.assert_as_before()
    assert network.gateways("failed") == []
    assert emr.describe_cluster(ClusterId=launched(clocked)[0])["Cluster"]["Status"]["State"] == "TERMINATING"


def test_a_wait_for_the_gateway_that_fails_leaves_nothing(clocked, network, nat, store, emr):
    task = Task(nat(deferrable=True, lock_store=store))
    task.start()
    assert task.deferrals == ["NatGatewayTrigger"]
    task.fail_deferral()
    clocked.clock.advance(120)
    network.assert_as_before()
    assert emr.describe_cluster(ClusterId=launched(clocked)[0])["Cluster"]["Status"]["State"] != "WAITING"


def test_a_wait_that_is_killed_in_the_triggerer_leaves_nothing(clocked, network, nat, store):
    task = Task(nat(deferrable=True, lock_store=store))
    task.start()
    trigger = task.trigger()
    kind, what = trigger.undo
    began = clocked.clock.now()
    undo_stored(kind, what, connection=trigger._hook_parameters)
    assert (clocked.clock.now() - began).total_seconds() < 5  # a killed task has only seconds
    clocked.clock.advance(120)
    network.assert_as_before()


def test_of_two_that_do_not_know_of_each_other_one_gets_the_address(clocked, network, nat, ended_by_itself):
    first, second = Task(nat(deferrable=True), dag_id="first"), Task(nat(deferrable=True), dag_id="second")
    first.start()
    second.start()
    first.go_on()
    assert network.target() == first.ti.xcoms["static_ip"]["nat_gateway_id"]
    ended_by_itself(first.result, after=400)
    second.go_on()
    assert second.error is None
    assert network.target() == second.ti.xcoms["static_ip"]["nat_gateway_id"]
    assert len(launched(clocked)) == 2


@pytest.fixture
def ended_by_itself(clocked: Any) -> Any:
    """Let a cluster end some seconds later without a teardown."""

    def end(job_flow_id: str, *, after: float) -> None:
        clocked.clock.call_later(after, lambda: clocked.end_cluster(job_flow_id), name="its end")

    return end


@pytest.mark.parametrize("following", ["gateway", "primary"])
def test_the_next_owner_takes_over_what_a_session_left_behind(
    clocked, network, nat, create_operator, terminate_operator, ended_by_itself, store, following
):
    gone = Task(nat(lock_store=store), dag_id="gone").run()
    ended_by_itself(gone, after=300)
    left = network.gateways()
    operator = (nat if following == "gateway" else create_operator)(lock_store=store, deferrable=True)
    following_task = Task(operator, dag_id="following")
    job_flow_id = following_task.run()
    assert left[0] not in network.gateways()
    assert (network.target() is not None) is (following == "gateway")
    Task(terminate_operator(job_flow_id, lock_store=store), dag_id="following").run()
    clocked.clock.advance(120)
    network.assert_as_before()


def test_a_gateway_is_never_taken_from_a_cluster_that_lives(clocked, network, nat, store, queue):
    holder = Task(nat(lock_store=store), dag_id="holder")
    holder.run()
    waiting = Task(nat(lock_store=store, deferrable=True), dag_id="waiting")
    waiting.start()
    queue.pass_time(1800, waiting)
    assert not waiting.ended
    assert network.gateways("available") == [holder.ti.xcoms["static_ip"]["nat_gateway_id"]]
    assert len(launched(clocked)) == 1


class Vanished(BaseException):
    """The process has ended."""


@pytest.mark.parametrize(
    ("where", "name", "after"),
    [
        (nat_gateway_changes, "create_gateway", False),
        (nat_gateway_changes, "create_gateway", True),
        (route_changes, "set_default_route", False),
        (route_changes, "set_default_route", True),
        (create.EmrCreateWithStaticIpOperator, "_publish_bound", True),
    ],
    ids=["before the gateway", "after the gateway", "before the route", "after the route", "after the hand-over"],
)
def test_a_retry_continues_with_the_gateway_wherever_the_previous_try_vanished(
    clocked, network, nat, terminate_operator, store, monkeypatch, where, name, after
):
    real = getattr(where, name)

    def vanish(*args: Any, **kwargs: Any) -> None:
        if after:
            real(*args, **kwargs)
        raise Vanished

    lost = Task(nat(lock_store=store, retries=1))
    lost._pristine.undo = lambda *_: None
    with monkeypatch.context() as patch:
        patch.setattr(where, name, vanish)
        with pytest.raises(Vanished):
            lost.run()
    retry = Task(nat(lock_store=store, retries=1), try_number=2)
    job_flow_id = retry.run()
    assert launched(clocked) == [job_flow_id]
    assert made(clocked) == 1
    assert network.target() == retry.ti.xcoms["static_ip"]["nat_gateway_id"]
    Task(terminate_operator(job_flow_id, lock_store=store)).run()
    clocked.clock.advance(120)
    network.assert_as_before()


def test_a_retry_waits_for_its_gateway_although_ec2_does_not_show_it_yet(clocked, network, nat, store, monkeypatch):
    clocked.remember()
    real = nat_gateway_changes.create_gateway

    def vanish(*args: Any, **kwargs: Any) -> None:
        real(*args, **kwargs)
        raise Vanished

    lost = Task(nat(lock_store=store, retries=1))
    lost._pristine.undo = lambda *_: None
    with monkeypatch.context() as patch:
        patch.setattr(nat_gateway_changes, "create_gateway", vanish)
        with pytest.raises(Vanished):
            lost.run()
    clocked.clock.advance(15)  # EC2 has associated the address with the gateway
    clocked.faults.add(operation="DescribeNatGateways", kind="stale", seconds=40, times=None)
    retry = Task(nat(lock_store=store, retries=1), try_number=2)
    assert launched(clocked) == [retry.run()]
    assert made(clocked) == 1


@pytest.mark.parametrize("operation", ["ReplaceRoute", "DeleteRoute", "DeleteNatGateway"])
def test_a_teardown_that_vanished_continues_where_it_stopped(
    clocked, network, nat, terminate_operator, store, operation
):
    before = network.lead_to_internet_gateway() if operation == "ReplaceRoute" else None
    job_flow_id = Task(nat(lock_store=store)).run()
    clocked.faults.add(operation=operation, kind="error", code="UnauthorizedOperation", status=403, times=1)
    with pytest.raises(Exception, match="UnauthorizedOperation"):
        Task(terminate_operator(job_flow_id, lock_store=store)).run()
    Task(terminate_operator(job_flow_id, lock_store=store), try_number=2).run()
    clocked.clock.advance(120)
    network.assert_as_before(target=before)


def test_a_previous_target_that_ec2_refuses_does_not_keep_the_gateway(
    clocked, network, nat, store, terminate_operator, logged
):
    target = network.lead_to_internet_gateway()
    job_flow_id = Task(nat(lock_store=store)).run()
    message = f"route table {network.table} and network gateway {target} belong to different networks"
    clocked.faults.add(
        operation="ReplaceRoute", kind="error", code="InvalidParameterValue", message=message, status=400, times=None
    )
    Task(terminate_operator(job_flow_id, lock_store=store)).run()
    clocked.clock.advance(120)
    network.assert_as_before()
    assert f"EC2 refuses {target} as the default route of {network.table}" in logged()


@pytest.mark.parametrize("before", ["none", "internet gateway"])
def test_a_teardown_soon_after_the_bind_restores_a_route_that_reads_do_not_show_yet(
    clocked, network, nat, store, terminate_operator, before
):
    target = network.lead_to_internet_gateway() if before != "none" else None
    clocked.remember()
    job_flow_id = Task(nat(lock_store=store)).run()
    clocked.clock.advance(10)
    clocked.faults.add(operation="DescribeRouteTables", kind="stale", seconds=30, times=None)
    Task(terminate_operator(job_flow_id, lock_store=store)).run()
    clocked.clock.advance(120)
    network.assert_as_before(target=target)


def test_so_does_an_undo_right_after_the_route_was_changed(clocked, network, nat, store):
    target = network.lead_to_internet_gateway()
    clocked.remember()
    task = Task(nat(lock_store=store))

    def fail(*_: Any, **__: Any) -> None:
        clocked.faults.add(operation="DescribeRouteTables", kind="stale", seconds=30, times=None)
        raise RuntimeError("the XCom cannot be written")

    task._pristine._publish_bound = fail
    with pytest.raises(RuntimeError):
        task.run()
    clocked.clock.advance(120)
    network.assert_as_before(target=target)


def test_so_does_an_early_release(clocked, network, nat, allocation_id):
    clocked.remember()
    job_flow_id = Task(nat()).run()
    clocked.faults.add(operation="DescribeRouteTables", kind="stale", seconds=30, times=None)
    Task(
        EipReleaseOperator(task_id="release", allocation_id=allocation_id, job_flow_id=job_flow_id, aws_conn_id=None)
    ).run()
    clocked.clock.advance(120)
    network.assert_as_before()


@pytest.mark.parametrize("others", [[], ["eipalloc-0123456789abcdef0"]], ids=["one address", "a pool"])
def test_a_job_queues_although_ec2_does_not_show_the_gateway_of_the_holder_yet(
    clocked, network, nat, store, allocation_id, others
):
    clocked.remember()
    named = [allocation_id, *others]
    Task(nat(lock_store=store, deferrable=True), dag_id="holder").start()
    clocked.clock.advance(15)  # EC2 has associated the address with the new gateway
    clocked.faults.add(operation="DescribeNatGateways", kind="stale", seconds=40, times=1)
    waiting = Task(nat(allocation_id=named, lock_store=store, deferrable=True), dag_id="waiting")
    waiting.start()
    assert waiting.error is None
    assert waiting.deferrals[0].startswith("Eip")


@pytest.mark.parametrize("addresses", ["a pool", "one for each"])
@pytest.mark.parametrize("lag", [None, 40])
def test_of_two_addresses_behind_one_route_table_the_second_does_not_take_the_route_of_the_first(
    clocked, network, nat, two, addresses, lag
):
    network.lead_to_internet_gateway()
    clocked.remember()
    mine, theirs = (two, two) if addresses == "a pool" else two
    first = Task(nat(allocation_id=mine, lock_store=STORE, deferrable=True), dag_id="first")
    second = Task(nat(allocation_id=theirs, lock_store=STORE, deferrable=True), dag_id="second")
    first.start()
    clocked.clock.advance(30)
    second.start()  # the gateway of the first is pending, and its route does not exist yet
    first.go_on()
    if lag:
        clocked.faults.add(operation="DescribeRouteTables", kind="stale", seconds=lag, times=None)
    second.go_on()
    assert isinstance(second.error, AirflowFailException)
    assert f"'{network.table}'" in str(second.error)
    assert f"of cluster '{first.result}' with another Elastic IP" in str(second.error)
    assert network.target() == first.ti.xcoms["static_ip"]["nat_gateway_id"] == network.gateways()[0]
    assert len(network.gateways()) == 1


def test_lost_answers_make_no_second_gateway(clocked, network, nat, deferrable, monkeypatch):
    monkeypatch.setattr(nat_checks, "find_denied_actions", lambda *_, **__: ())  # its calls would meet the faults
    clocked.faults.add(operation="CreateNatGateway", kind="lost_response", times=2)
    clocked.faults.add(operation="CreateRoute", kind="lost_response", times=1)
    Task(nat(deferrable=deferrable)).run()
    assert made(clocked) == 1
    assert network.target() == network.gateways("available")[0]


def test_the_failure_of_a_cluster_with_workers_on_the_primary_binding_names_the_three_ways_out(
    nat, network, overrides, subnet_id
):
    public = network.overrides(overrides)
    public["Instances"]["Ec2SubnetId"] = subnet_id
    with pytest.raises(AirflowFailException) as error:
        Task(nat(binding=None, job_flow_overrides=public)).run()
    for way in ("single-node cluster", "on_multi_node='allow'", "binding=NatGateway"):
        assert way in str(error.value)
