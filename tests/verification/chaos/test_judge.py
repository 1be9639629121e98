"""Each check of a lease period can fail."""

from __future__ import annotations

from collections import Counter

import pytest

from airflow_eip_provider.lease.record import Attempt, EndedLease, Entry, Lease, Phase, Record
from tests.event_log import Log
from tests.verification.chaos.faults import KINDS, Boundary, points, sample
from tests.verification.chaos.judge import Evidence, problems
from tests.verification.chaos.scheduler import Tries

ATTEMPT = Attempt("A", "A", 1, "A1")
TASKS = {name: Tries("succeeded", 1) for name in ("create", "steps", "release", "terminate")}


GOOD = tuple(
    Log()
    .cluster("j-1", "STARTING")
    .associate(AllowReassociation=False, NetworkInterfaceId="eni-1")
    .address("j-1", "associated")
    .step("j-1", "RUNNING", "COMPLETED")
    .address("j-1", "disassociated")
    .cluster("j-1", "TERMINATING", "TERMINATED", message="Terminated by user request")
    .events
)


def judged(*events, kind="throttled", tasks=TASKS, record=None):
    return " / ".join(problems(Evidence(kind, events, tasks, [] if record is None else [record])))


def test_a_good_session_is_good():
    record = Record(issued=1, history=(EndedLease(1, "A", "j-1", 0.0, 1.0, "terminated"),))
    assert judged(*GOOD, record=record) == ""


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        (GOOD[:-1], "j-1 is left TERMINATING"),
        ((*GOOD[:-1], {**GOOD[-2], "reason": {"Message": "idle for too long"}}, GOOD[-1]), "only because it was idle"),
        ((*GOOD[:5], *GOOD[6:]), "the address is left on j-1"),
        ((GOOD[0], *GOOD[3:5], *GOOD[6:]), "s-j-1 started on j-1 while nobody had the address"),
        ((*GOOD, *Log().associate(AllowReassociation=True).events), "AssociateAddress was sent with"),
        ((*GOOD[:4], *GOOD[5:]), "the step was completed 0 times"),
        ((*GOOD[:5], *GOOD[3:]), "the step was completed 2 times"),
        (Log().add("nat_gateway", nat_gateway_id="nat-1", client_token="t", state="available").events, "is left"),
    ],
)
def test_what_is_left_or_overlaps_is_noticed(events, problem):
    assert problem in judged(*events)


def test_a_task_that_failed_is_noticed_unless_its_cluster_was_taken_from_it():
    tasks = {**TASKS, "steps": Tries("failed", 1), "release": Tries()}
    assert "steps, release did not succeed" in judged(*GOOD, tasks=tasks)
    assert judged(*GOOD, tasks=tasks, kind="cluster dies") == ""


def test_a_run_whose_cluster_died_must_not_call_itself_a_success_without_its_step():
    assert "its step was completed 0 times" in judged(*GOOD[:4], *GOOD[5:], kind="cluster dies")


def test_a_teardown_that_failed_is_noticed_whatever_happened():
    tasks = {**TASKS, "terminate": Tries("failed", 4)}
    assert "the teardown terminate did not succeed" in judged(*GOOD, tasks=tasks, kind="cluster dies")


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"lease": Lease(1, ATTEMPT, Phase.ACTIVE, 0, 0, 0, "chaos", "j-1")}, "the record still has A"),
        ({"queue": (Entry(1, ATTEMPT, 0, "chaos", 0),)}, "the record still has A"),
        ({"history": (EndedLease(1, "A", "j-9", 0.0, 1.0, "terminated"),)}, "says that j-9 had the address"),
    ],
)
def test_a_record_that_disagrees_with_ec2_is_noticed(record, problem):
    assert problem in judged(*GOOD, record=Record(issued=1, **record))


def test_a_step_that_was_started_twice_is_noticed_when_nothing_was_taken_away():
    again = (*GOOD[:4], {**GOOD[4], "state": "CANCELLED"}, *GOOD[3:])
    assert "the step was started 2 times" in judged(*again, kind="held")
    assert judged(*again, kind="throttled") == "", "it may have lost its address"


def test_a_sample_has_points_of_every_kind_and_not_the_same_ones_of_each_plan():
    calls = ("ListSteps", "AddJobFlowSteps", "PutItem") * 40
    found = list(points([Boundary(number, "steps try 1", name) for number, name in enumerate(calls, start=1)]))
    counts = Counter(point.kind for point in found)
    samples = [sample(found, 8, begin=begin) for begin in range(8)]
    for chosen in samples:
        taken = Counter(point.kind for point in chosen)
        assert taken.keys() == counts.keys()
        assert all(abs(taken[kind] - counts[kind] / 8) <= 1 for kind in counts)
    assert set().union(*samples) == set(found)


def test_faults_meet_the_calls_that_they_can_meet():
    calls = ("DescribeAddresses", "RunJobFlow", "DescribeCluster", "AssociateAddress", "TerminateJobFlows", "PutItem")
    boundaries = [Boundary(number, "create try 1", name) for number, name in enumerate(calls, start=1)]
    found = {(point.kind, point.boundary.operation) for point in points(boundaries)}
    assert {kind for kind, _ in found} == set(KINDS)
    assert ("killed after", "DescribeCluster") not in found, "a read has no effect"
    assert ("killed after", "PutItem") in found
    assert ("cluster dies", "RunJobFlow") not in found, "there is none yet"
    assert ("cluster dies", "AssociateAddress") in found
    assert ("unknown id", "DescribeCluster") in found
    assert ("unknown id", "DescribeAddresses") not in found
    assert ("stale", "DescribeAddresses") in found
    assert ("stale", "PutItem") not in found
    assert ("answer lost, seen late", "RunJobFlow") in found
    assert ("throttled by rate", "DescribeAddresses") not in found
