"""The checks of the scenario with three nodes pass for a correct run, and fail for each kind of wrong run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from demo import node_checks
from demo.nodes import GATEWAY, PRIMARY, Network, private_network, rows
from local_emr.testing import ANYWHERE
from tests.unit.demo.event_log import EIP, Log

if TYPE_CHECKING:
    from demo.checks import Check

ELSEWHERE = ("198.51.100.20", "198.51.100.21")
CLUSTERS = {PRIMARY: "j-1", GATEWAY: "j-2"}
BEFORE = Network(routes={"rtb-1": {"172.31.0.0/16": "local"}}, gateways=(), association_id=None)


@pytest.fixture
def log() -> Log:
    """Return the log of a driver that is admitted, of two executors that are refused, and of three admitted nodes."""
    log = Log()
    log.connection(1, "j-1")
    for number, address in enumerate(ELSEWHERE, 2):
        log.connection(2, "j-1", from_ip=address, error_code=40615, instance_id=f"i-{number}")
    log.call(3, "CreateRoute", {"NatGatewayId": "nat-1", "DestinationCidrBlock": ANYWHERE})
    for number in (4, 5, 6):
        log.connection(4, "j-2", instance_id=f"i-{number}")
    return log


def refused(log: Log, **changes: Any) -> Check:
    given = {"job_flow_id": "j-1", "public_ip": EIP, "state": "failed", **changes}
    return node_checks.executors_refused(log.events, **given)


def admitted(log: Log, **changes: Any) -> Check:
    given = {"job_flow_id": "j-2", "public_ip": EIP, "state": "success", **changes}
    return node_checks.every_node_admitted(log.events, **given)


def as_before(log: Log, *, after: Network = BEFORE, clusters: dict[str, str] = CLUSTERS) -> Check:
    return node_checks.as_before(BEFORE, after, events=log.events, clusters=clusters)


def test_refused_executors_and_an_admitted_driver_pass(log: Log):
    assert refused(log).passed
    assert "2 core nodes were refused, 2 times" in refused(log).detail


@pytest.mark.parametrize("changes", [{"state": "success"}, {"state": ""}, {"job_flow_id": "j-2"}, {"job_flow_id": ""}])
def test_a_run_in_which_nothing_was_refused_fails(log: Log, changes: dict[str, str]):
    assert not refused(log, **changes).passed


@pytest.mark.parametrize(
    "wrong",
    [
        {"from_ip": EIP, "error_code": 40615, "instance_id": "i-3"},
        {"from_ip": ELSEWHERE[0], "instance_id": "i-3"},
    ],
    ids=["the address is refused", "another address is admitted"],
)
def test_a_firewall_that_judges_otherwise_fails(log: Log, wrong: dict[str, Any]):
    log.connection(2, "j-1", **wrong)
    assert not refused(log).passed


def test_a_driver_that_is_refused_itself_fails(log: Log):
    del log.events[0]
    assert "never admitted" in refused(log).detail


def test_nodes_that_all_leave_from_the_address_pass(log: Log):
    assert admitted(log).passed
    assert "3 connections of 3 nodes" in admitted(log).detail


@pytest.mark.parametrize("changes", [{"state": "failed"}, {"job_flow_id": "j-1"}, {"job_flow_id": "j-3"}])
def test_nodes_of_which_one_did_not_fail(log: Log, changes: dict[str, str]):
    assert not admitted(log, **changes).passed


def test_one_node_alone_shows_nothing(log: Log):
    log.connection(1, "j-3")
    assert not admitted(log, job_flow_id="j-3").passed


def test_a_network_as_before_passes(log: Log):
    assert as_before(log).passed


@pytest.mark.parametrize(
    "after",
    [
        replace(BEFORE, routes={"rtb-1": {"172.31.0.0/16": "local", ANYWHERE: "nat-1"}}),
        replace(BEFORE, gateways=("nat-1",)),
        replace(BEFORE, association_id="eipassoc-1"),
    ],
)
def test_a_network_that_is_not_as_before_fails(log: Log, after: Network):
    assert not as_before(log, after=after).passed


def test_a_network_that_was_never_changed_shows_nothing(log: Log):
    assert not as_before(log, clusters={PRIMARY: "j-1", GATEWAY: ""}).passed
    log.events = [event for event in log.events if event["kind"] != "call"]
    assert "no route ever led" in as_before(log).detail


def test_what_the_database_saw_is_a_row_for_each_address(log: Log):
    assert rows(log.events, CLUSTERS) == [
        (PRIMARY, EIP, "admitted", "1", "1"),
        (PRIMARY, ELSEWHERE[0], "refused (40615)", "1", "1"),
        (PRIMARY, ELSEWHERE[1], "refused (40615)", "1", "1"),
        (GATEWAY, EIP, "admitted", "3", "3"),
    ]


def test_the_network_is_read_with_the_private_subnets_route_table(ec2: Any):
    allocation_id = ec2.allocate_address(Domain="vpc")["AllocationId"]
    made = private_network(ec2)
    before = Network.read(ec2, allocation_id=allocation_id)
    assert ANYWHERE not in before.routes[made["route_table_id"]]
    assert any(target.startswith("vpce-") for target in before.routes[made["route_table_id"]].values())
    gateway = ec2.create_nat_gateway(SubnetId=made["public_subnet_id"], AllocationId=allocation_id)
    gateway_id = gateway["NatGateway"]["NatGatewayId"]
    ec2.create_route(RouteTableId=made["route_table_id"], DestinationCidrBlock=ANYWHERE, NatGatewayId=gateway_id)
    after = Network.read(ec2, allocation_id=allocation_id)
    assert after.routes[made["route_table_id"]][ANYWHERE] == gateway_id
    assert after.gateways == (gateway_id,)
    assert after != before
