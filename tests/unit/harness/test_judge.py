"""Each check of the judge passes a correct log and fails one that was changed."""

from __future__ import annotations

import pytest

from harness import judge
from tests.event_log import Log

STEAL = {"AllowReassociation": "true", "NetworkInterfaceId": "eni-1"}


def good() -> Log:
    """Return a log of two lease periods, one after the other."""
    log = Log()
    for cluster in ("j-1", "j-2"):
        log.launch(cluster, owner_name=f"test/daily/{cluster}/create/-1", token="1")
        log.associate(AllowReassociation=False, NetworkInterfaceId="eni-1").address(cluster, "associated")
        log.step(cluster, "PENDING", "RUNNING", "COMPLETED").address(cluster, "disassociated")
        log.cluster(cluster, "TERMINATING", "TERMINATED", message="Terminated by user request")
    return log


def with_gateway() -> Log:
    """Return a log of a lease period with a NAT gateway."""
    tag = {"TagSpecification.1.Tag.1.Key": judge.JOB_FLOW_TAG, "TagSpecification.1.Tag.1.Value": "j-1"}
    gateway = {"nat_gateway_id": "nat-1", "client_token": "t"}
    log = Log().cluster("j-1", "STARTING").call("-", "CreateNatGateway", request={"ClientToken": "t", **tag})
    log.add("nat_gateway", **gateway, state="available").address(None, "associated", cause="CreateNatGateway nat-1")
    log.add("route", route_table_id="rtb-1", change="created", target="nat-1").step("j-1", "RUNNING", "COMPLETED")
    log.add("route", route_table_id="rtb-1", change="deleted", target=None)
    log.address(None, "disassociated", cause="DeleteNatGateway nat-1")
    return log.add("nat_gateway", **gateway, state="deleted").cluster("j-1", "TERMINATING", "TERMINATED")


def problems_of(log: Log) -> list[str]:
    """Return the problems that all checks find."""
    events = judge.with_clusters(log.events)
    gateways = judge.gateways(events)
    return [
        *judge.follow(events).problems,
        *judge.address_left(events),
        *judge.clusters_left(events),
        *(f"{name} was idle" for name in judge.idle_endings(events)),
        *judge.unsafe_associations(events),
        *gateways.routeless,
        *gateways.left,
    ]


@pytest.mark.parametrize("log", [good(), with_gateway()], ids=["instances", "gateway"])
def test_a_correct_log_passes_every_check(log):
    assert problems_of(log) == []


def test_launches_name_their_clusters_and_tags_unless_they_were_refused():
    log = good().launch("j-3").call("-", "RunJobFlow", error_code="ThrottlingException", status=400, request={})
    assert [(launch.job_flow_id, launch.owner[1:2]) for launch in judge.launches(log.events)] == [
        ("j-1", ["daily"]),
        ("j-2", ["daily"]),
        ("j-3", []),
    ]


@pytest.mark.parametrize(
    ("log", "problem"),
    [
        (
            Log().address("j-1", "associated").address("j-2", "associated").address("j-2", "disassociated"),
            "2: j-2 got the address while j-1 had it",
        ),
        (
            Log().address("j-1", "associated").address("j-2", "disassociated"),
            "2: j-2 lost the address, which j-1 had",
        ),
        (
            Log().address("j-1", "associated").step("j-2", "RUNNING").address("j-1", "disassociated"),
            "2: s-j-2 started on j-2 while j-1 had the address",
        ),
        (Log().step("j-2", "RUNNING"), "1: s-j-2 started on j-2 while nobody had the address"),
        (
            Log().address("j-1", "associated").step("j-1", "RUNNING").address("j-1", "disassociated"),
            "3: the address left j-1 while s-j-1 ran",
        ),
        (
            Log().address("j-1", "associated").step("j-1", "RUNNING", "CANCEL_PENDING").address("j-1", "disassociated"),
            "4: the address left j-1 while s-j-1 ran",
        ),
        (
            Log()
            .address("j-1", "associated")
            .step("j-1", "RUNNING")
            .address("j-1", "disassociated")
            .address("j-2", "associated")
            .step("j-2", "RUNNING"),
            "5: s-j-2 started on j-2 while a step ran on ['j-1']",
        ),
        (Log().address("j-9", "associated"), "the address is left on j-9"),
        (Log().cluster("j-2", "STARTING", "WAITING"), "j-2 is left WAITING"),
        (Log().cluster("j-2", "TERMINATING"), "j-2 is left TERMINATING"),
        (Log().cluster("j-1", "TERMINATING", "TERMINATED", message="idle for too long"), "j-1 was idle"),
        (Log().associate(**STEAL), f"1: AssociateAddress was sent with {STEAL}"),
        (Log().associate(NetworkInterfaceId="e"), "1: AssociateAddress was sent with {'NetworkInterfaceId': 'e'}"),
        (Log().associate(AllowReassociation=False), "1: AssociateAddress was sent with {'AllowReassociation': False}"),
    ],
)
def test_overlaps_and_leftovers_are_problems(log, problem):
    assert problem in problems_of(log)


def test_an_interrupted_step_does_not_run_any_more():
    log = Log().address("j-1", "associated").step("j-1", "RUNNING", "INTERRUPTED").address("j-1", "disassociated")
    assert problems_of(log) == []


def test_steps_of_clusters_that_need_no_address_are_left_out():
    log = Log().step("j-3", "RUNNING", "COMPLETED")
    assert judge.follow(log.events, clusters={"j-1"}).problems == []
    assert judge.follow(log.events, clusters={"j-3"}).problems != []


@pytest.mark.parametrize(
    ("kind", "change", "problem"),
    [
        ("nat_gateway", {"state": "deleted"}, "NAT gateway nat-1 is left available"),
        ("route", {"change": "deleted"}, "rtb-1 still has a route to nat-1"),
        ("route", {"change": "created"}, "s-j-1 ran on j-1 while no route led to its NAT gateway"),
        ("address", {"change": "disassociated"}, "the address is left on j-1"),
    ],
)
def test_a_gateway_that_is_left_and_a_missing_route_are_problems(kind, change, problem):
    log = with_gateway()
    log.events = [e for e in log.events if not (e["kind"] == kind and change.items() <= e.items())]
    assert problem in problems_of(log)


def test_a_record_that_contradicts_the_log_is_a_problem():
    events = good().events
    assert judge.record_disagrees(events, left=[], ended=["j-1", "j-2"]) == []
    assert judge.record_disagrees(events, left=["daily"], ended=["j-9"]) == [
        "the record still has daily",
        "the history says that j-9 had the address",
    ]
