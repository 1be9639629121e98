"""
The active-passive plan: dags/emr_standby.py keeps a pair of clusters, whose primary node fails in different ways.

Each test begins with a pair that is ready, and ends with another one, after the DAG has replaced the standby and has
started to watch again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")

from tests.verification.recovery.stage import Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.verification.recovery.conftest import Scenes

pytestmark = pytest.mark.airflow
DAG = "emr_standby"
SETTLED = timedelta(minutes=2)
ENDING = {"TERMINATING", "TERMINATED", "TERMINATED_WITH_ERRORS"}


@dataclass(frozen=True)
class Pair:
    """The clusters of a run of the DAG."""

    run: Run
    primary: str
    standby: str


def ready_pair(scenes: Scenes) -> Pair:
    """Wait until a run watches the primary, and another cluster is ready."""
    stage, rest = scenes.stage, scenes.stage.airflow.rest

    def watched() -> Pair | None:
        for run_id in rest.run_ids(DAG, state="running"):
            if rest.is_watched(DAG, run_id, "watch"):
                run = Run(stage, DAG, run_id)
                primary, standby = run.xcom("primary")["job_flow_id"], run.xcom("standby")["job_flow_id"]
                both = [stage.aws.cluster(each) for each in (primary, standby)]
                # Failures in the first two minutes of a cluster do not count.
                settled = both[0].ready is not None and stage.aws.clock.now() - both[0].ready > SETTLED
                if settled and {str(each.state) for each in both} == {"WAITING"}:
                    return Pair(run, primary, standby)
        return None

    pair: Pair = stage.wait("pair that is watched", watched)
    return pair


def kill(scenes: Scenes, pair: Pair) -> None:
    scenes.stage.aws.lose_primary(pair.primary, emr_notices_after=1800)


def hang_livy(scenes: Scenes, pair: Pair) -> None:
    scenes.stage.aws.trouble_service(pair.primary, "livy", "hangs")


def cut_zone(scenes: Scenes, pair: Pair) -> None:
    scenes.stage.aws.cut_zone(scenes.stage.zone_of(pair.primary))


@pytest.mark.parametrize(
    ("happens", "kind"),
    [(kill, "warm"), (hang_livy, "warm"), (cut_zone, "warm"), (kill, "cold")],
)
def test_the_service_moves_batches_go_on_and_the_next_standby_is_launched(
    scenes: Scenes, happens: Callable[[Scenes, Pair], None], kind: str
) -> None:
    stage, plan = scenes.stage, scenes.active_passive
    pair = ready_pair(scenes)
    if kind == "cold":
        stage.client("emr").terminate_job_flows(JobFlowIds=[pair.standby])
        stage.wait("end of the standby", lambda: stage.aws.cluster(pair.standby).state in ENDING)
    earlier = {event["name"] for event in stage.aws.events.read(kind="batch")}
    long = stage.run("served_long")
    (lost,) = stage.wait(
        "batch", lambda: [each for each in stage.batches(state="running") if each["name"] not in earlier]
    )
    assert lost["job_flow_id"] == pair.primary

    before, at = stage.aws.events.last, stage.aws.clock.now()
    happens(scenes, pair)
    meanwhile = stage.run("served")
    assert pair.run.end() == "success"
    moved = pair.run.xcom("fail_over", "failover")
    new = pair.run.xcom("fail_over")
    assert (moved["moved"], moved["kind"], moved["from"], moved["to"]) == (True, kind, pair.primary, new)
    assert new == pair.standby if kind == "warm" else new not in {pair.primary, pair.standby}
    assert stage.zone_of(new) != stage.zone_of(pair.primary)

    # There is one live primary: it has the address, it is the only target of every group, and the old cluster ends.
    (address,) = stage.client("ec2").describe_addresses(AllocationIds=[plan.allocation_id])["Addresses"]
    assert address["InstanceId"] == stage.instance_of(new)
    assert [stage.healthy(group) for group in plan.balancer.groups.values()] == [{stage.address_of(new)}] * 3
    stage.wait("end of the old cluster", lambda: stage.aws.cluster(pair.primary).state in ENDING)

    # Every batch succeeds, that of the lost primary on the new one; no task reports the end of another batch.
    later = stage.run("served")
    runs = [long, meanwhile, later]
    assert [run.end() for run in runs] == ["success"] * 3
    ended = {event["name"]: event for event in stage.batches(state="success")}
    assert {ended[run.batch_name]["job_flow_id"] for run in runs} == {new}
    assert later.tasks()["batch"].try_number == 1
    seen = [event for event in stage.aws.events.read(after=before, kind="connection") if event["job_flow_id"] == new]
    assert {event["from_ip"] for event in seen} == {plan.public_ip}

    scenes.stage.aws.restore_zone(stage.zone_of(pair.primary))
    again = ready_pair(scenes)
    assert again.primary == new
    assert again.standby not in {pair.primary, new}
    assert stage.zone_of(again.standby) != stage.zone_of(new)

    _measure(scenes, f"{happens.__name__.replace('_', ' ')}, {kind}", at, moved=moved, first=_first(stage, new, before))


def _first(stage: Any, job_flow_id: str, after: int) -> datetime:
    events = stage.aws.events.read(after=after, kind="batch")
    return datetime.fromisoformat(next(each["time"] for each in events if each["job_flow_id"] == job_flow_id))


def _measure(scenes: Scenes, what: str, at: datetime, *, moved: dict[str, Any], first: datetime) -> None:
    times = {name: datetime.fromisoformat(time) for name, time in moved["times"].items()}
    for name, moment in {**times, "a batch runs": first}.items():
        scenes.measured(what, name, (moment - at).total_seconds())
