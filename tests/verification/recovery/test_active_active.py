"""The active-active plan: two clusters in two zones behind one load balancer, and one of them is stopped."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")

if TYPE_CHECKING:
    from tests.verification.recovery.conftest import Scenes
    from tests.verification.recovery.stage import Run, Stage

pytestmark = pytest.mark.airflow
PLAN = "active-active"
AT_ONCE = 4
MOST_ROUNDS = 6


def end_of_all(runs: list[Run]) -> list[str]:
    with ThreadPoolExecutor(len(runs)) as pool:
        return list(pool.map(lambda run: run.end(), runs))


def clusters_of(stage: Stage, runs: list[Run]) -> list[str]:
    """Return the cluster on which each run's batch succeeded; a server accepts the name of a batch only once."""
    succeeded = {event["name"]: event["job_flow_id"] for event in stage.batches(state="success")}
    return [succeeded[run.batch_name] for run in runs]


def moment(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["time"])


def test_batches_land_on_both_clusters_and_when_one_is_stopped_all_succeed_on_the_other(scenes: Scenes) -> None:
    stage, plan = scenes.stage, scenes.active_active

    # Both clusters run batches, and both connect from the address of the NAT gateway.
    first: list[Run] = []
    while set(clusters_of(stage, first)) != set(plan.clusters):
        assert len(first) < MOST_ROUNDS * AT_ONCE, "the load balancer leads to one cluster only"
        batches = [stage.run("balanced") for _ in range(AT_ONCE)]
        assert end_of_all(batches) == ["success"] * AT_ONCE
        first += batches
    seen = {(event["job_flow_id"], event["from_ip"]) for event in stage.aws.events.read(kind="connection")}
    assert seen == {(cluster, plan.public_ip) for cluster in plan.clusters}

    # One cluster is stopped while a batch runs on it.
    long = stage.run("balanced_long")
    (running,) = stage.wait(
        "running batch", lambda: [each for each in stage.batches(state="running") if each["name"] not in names(first)]
    )
    stopped = running["job_flow_id"]
    (other,) = set(plan.clusters) - {stopped}
    at = stage.aws.clock.now()
    before = stage.aws.events.last
    stage.client("emr").terminate_job_flows(JobFlowIds=[stopped])

    # All further batches succeed, including those that come before the load balancer has noticed.
    further = [stage.run("balanced") for _ in range(AT_ONCE)]
    assert end_of_all([*further, long]) == ["success"] * (AT_ONCE + 1)
    assert clusters_of(stage, [*further, long]) == [other] * (AT_ONCE + 1)
    later = [stage.run("balanced") for _ in range(AT_ONCE)]
    assert end_of_all(later) == ["success"] * AT_ONCE
    assert clusters_of(stage, later) == [other] * AT_ONCE
    assert {run.tasks()["batch"].try_number for run in later} == {1}

    # No task reports the end of another batch: as many batches as runs succeeded.
    runs = [*first, *further, *later, long]
    assert sorted(event["name"] for event in stage.batches(state="success")) == sorted(names(runs))

    events = stage.aws.events.read(after=before)
    taken = next(event for event in events if event["kind"] == "batch" and event["job_flow_id"] == other)
    out = next(event for event in events if event["kind"] == "target" and event["state"] == "unhealthy")
    again = next(event for event in events if event["kind"] == "batch" and event["name"] == long.batch_name)
    for what, event in {
        "the next batch is taken": taken,
        "the load balancer leaves the stopped cluster out": out,
        "the batch that ran there runs again (lost_after=30 s)": again,
    }.items():
        scenes.measured(PLAN, what, (moment(event) - at).total_seconds())


def names(runs: list[Run]) -> set[str]:
    return {run.batch_name for run in runs}
