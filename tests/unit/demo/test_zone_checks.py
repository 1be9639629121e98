"""The checks of the scenario with an empty zone pass on a good run, and fail on each way in which it could be bad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from demo import zone_checks
from demo.zones import DAG, MovedJob, Zones, lanes, tried
from tests.unit.demo.event_log import DAGS, START, Log

if TYPE_CHECKING:
    from demo.checks import Check

ZONES = Zones(empty=("eu-west-1a", "subnet-a"), other=("eu-west-1b", "subnet-b"))


def launch(log: Log, minute: float, job_flow_id: str, *, subnet: str, candidate: str, token: str | None = "1") -> None:
    tags = {"airflow-eip:owner-name": f"demo/{DAG}/run/azure.create/-1", "airflow-eip:candidate": candidate}
    tags |= {"airflow-eip:token": token} if token else {}
    request = {"Tags": [{"Key": k, "Value": v} for k, v in tags.items()], "Instances": {"Ec2SubnetId": subnet}}
    log.call(minute, "RunJobFlow", request, JobFlowId=job_flow_id)
    log.add(minute, "cluster", job_flow_id=job_flow_id, **{"from": None, "to": "STARTING"})


def good_run(**changes: Any) -> Log:
    """A move from the empty zone to the other one; the changes are what goes wrong."""
    log = Log()
    launch(log, 0, "j-1", subnet=changes.get("first_subnet", "subnet-a"), candidate="0")
    ended = changes.get("ended", 1)
    if ended < 1.5:
        log.add(ended, "cluster", job_flow_id="j-1", **{"from": "STARTING", "to": "TERMINATED_WITH_ERRORS"})
    if changes.get("only_one"):
        return log
    launch(log, 1.5, "j-2", subnet=changes.get("subnet", "subnet-b"), candidate="1", token=changes.get("token", "1"))
    log.address(3, "j-2" if not changes.get("first_bound") else "j-1", "associated")
    log.add(5, "cluster", job_flow_id="j-2", **{"from": "STARTING", "to": "RUNNING"})
    log.add(5, "step", job_flow_id="j-2", step_id="s-1", state="RUNNING")
    log.add(6, "step", job_flow_id="j-2", step_id="s-1", state="COMPLETED")
    log.address(6.5, "j-2", "disassociated")
    log.add(7, "cluster", job_flow_id="j-2", **{"from": "TERMINATING", "to": "TERMINATED"})
    return log


def moved(log: Log, *, state: str = "success", tries: int = 1) -> Check:
    found = tried(log.events, ZONES)
    return zone_checks.moved_to_the_other_zone(found, zones=ZONES, state=state, tries=tries)


def test_a_move_to_the_other_zone_passes():
    check = moved(good_run())
    assert check.passed
    assert "eu-west-1a → eu-west-1b; 120 s" in check.detail


@pytest.mark.parametrize(
    "changes",
    [{"first_subnet": "subnet-b"}, {"subnet": "subnet-a"}, {"only_one": True}, {"first_bound": True}, {"ended": 9}],
    ids=str,
)
def test_a_run_that_did_not_move_fails(changes: dict[str, Any]):
    assert not moved(good_run(**changes)).passed


@pytest.mark.parametrize(("state", "tries"), [("failed", 1), ("", 1), ("success", 2)])
def test_a_run_that_failed_or_needed_a_retry_fails(state: str, tries: int):
    assert not moved(good_run(), state=state, tries=tries).passed


def test_no_cluster_at_all_fails_everywhere():
    assert not moved(Log()).passed
    assert not zone_checks.same_lease([]).passed
    assert not zone_checks.one_cluster_at_a_time([], []).passed


@pytest.mark.parametrize(("token", "passed"), [("1", True), ("2", False), (None, False)])
def test_both_clusters_must_have_one_token(token: str | None, passed: bool):  # noqa: FBT001 - a parameter of the test
    assert zone_checks.same_lease(tried(good_run(token=token).events, ZONES)).passed is passed


def test_a_second_cluster_at_the_same_time_fails():
    good, bad = good_run(), good_run(ended=9)
    assert zone_checks.one_cluster_at_a_time(good.events, tried(good.events, ZONES)).passed
    check = zone_checks.one_cluster_at_a_time(bad.events, tried(bad.events, ZONES))
    assert not check.passed
    assert "j-2 was launched while j-1 had not ended" in check.detail


def test_the_timeline_has_a_lane_for_each_zone():
    first, second, _ = lanes(tried(good_run().events, ZONES), wanted_since=START)
    assert first.startswith(f"{DAG} in eu-west-1a  |-")
    assert "=" not in first
    assert "#" in second


class Runs:
    """Runs of which some have ended, and those that were started."""

    def __init__(self, *ended: str) -> None:
        self.ended = ended
        self.started: list[str] = []

    def have_ended(self, dag_id: str) -> bool:
        return dag_id in self.ended

    def start(self, dag_id: str) -> None:
        self.started.append(dag_id)


class Aws:
    def __init__(self) -> None:
        self.emptied: list[tuple[str, str]] = []

    def limit_capacity(self, zone: str, *, instance_type: str) -> None:
        self.emptied.append((zone, instance_type))


@pytest.mark.parametrize("ended", [(), (DAGS[1],)])
def test_the_job_begins_once_when_the_others_have_had_their_address_or_have_ended(ended: tuple[str, ...]):
    log, runs, aws = Log(), Runs(*ended), Aws()
    scenario: Any = MovedJob(aws=aws, runs=runs, zones=ZONES, after=DAGS)  # type: ignore[arg-type]
    scenario.advance(log.events)
    assert runs.started == []
    log.session(0, DAGS[0], "j-1")
    scenario.advance(log.events)
    assert bool(runs.started) is bool(ended)
    log.session(8, DAGS[1], "j-2")
    scenario.advance(log.events)
    scenario.advance(log.events)
    assert runs.started == [DAG]
    assert aws.emptied == [("eu-west-1a", "r5.xlarge")]
