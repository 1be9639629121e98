"""The scenario with a standby: what it starts, when it loses the primary node, and that it leaves nothing behind."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from demo.standby import AFTER, LIVY, LOST, START, WATCH, Standby
from tests.unit.demo.event_log import Log


class Runs:
    """Runs of DAGs whose states a test sets."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.unpaused: list[str] = []
        self.states: dict[str, str] = {}
        self.tasks: dict[str, dict[str, str]] = {}

    def start(self, dag_id: str) -> None:
        self.started.append(dag_id)

    def unpause(self, dag_id: str) -> None:
        self.unpaused.append(dag_id)

    def have_ended(self, *dag_ids: str) -> bool:
        return all(self.states.get(dag_id) in {"success", "failed"} for dag_id in dag_ids)

    def tasks_of(self, dag_id: str) -> list[Any]:
        return [SimpleNamespace(task_id=name, state=state) for name, state in self.tasks.get(dag_id, {}).items()]


class Aws:
    """A local EMR with the clusters that a test names."""

    def __init__(self) -> None:
        self.active: dict[str, str] = {}
        self.lost: list[str] = []
        self.terminated: list[str] = []

    def client(self, _service: str) -> Aws:
        return self

    def get_paginator(self, _operation: str) -> Aws:
        return self

    def paginate(self, **_asked: Any) -> list[dict[str, Any]]:
        return [{"Clusters": [{"Id": name, "Status": {"State": state}} for name, state in self.active.items()]}]

    def terminate_job_flows(self, *, JobFlowIds: list[str]) -> None:  # noqa: N803 - boto3's name
        self.terminated += JobFlowIds

    def time(self) -> datetime:
        return datetime(2026, 11, 20, tzinfo=UTC)

    def lose_primary(self, job_flow_id: str) -> None:
        self.lost.append(job_flow_id)


@pytest.fixture
def runs() -> Runs:
    return Runs()


@pytest.fixture
def aws() -> Aws:
    return Aws()


def scenario(aws: Aws, runs: Runs, *, may_begin: bool = True, may_read: bool = False) -> Standby:
    begin, read = (lambda: may_begin), (lambda: may_read)
    return Standby(aws=aws, runs=runs, may_begin=begin, may_read=read)  # type: ignore[arg-type]


def pair(log: Log) -> None:
    for job_flow_id in ("j-1", "j-2"):
        log.call(0, "RunJobFlow", {"Name": WATCH}, JobFlowId=job_flow_id)
        log.add(1, "cluster", job_flow_id=job_flow_id, **{"from": "RUNNING", "to": "WAITING"})


def test_it_waits_until_it_may_begin(aws, runs):
    scenario(aws, runs, may_begin=False).advance([])
    assert runs.started == []


def test_it_plays_from_the_first_cluster_to_the_end_of_both(aws, runs):
    running, log = scenario(aws, runs), Log()
    running.advance(log.events)
    assert runs.started == [START]

    running.advance(log.events)
    assert WATCH not in runs.started
    runs.tasks[START] = {"create": "success"}
    running.advance(log.events)
    assert (runs.started[-1], runs.unpaused) == (WATCH, [WATCH])

    pair(log)
    runs.tasks[WATCH] = {"watch": "deferred"}
    running.advance(log.events)
    assert LOST not in runs.started, "the first cluster is not registered yet"
    runs.states[START] = "success"
    running.advance(log.events)
    assert runs.started[-1] == LOST

    running.advance(log.events)
    assert aws.lost == []
    log.add(2, "batch", name=f"{LOST}-eip-0-1", job_flow_id="j-1", state="running")
    running.advance(log.events)
    assert aws.lost == ["j-1"]
    assert running.lost_at is not None

    runs.states[WATCH] = "success"
    running.advance(log.events)
    assert runs.started[-1] == AFTER
    aws.active = {"j-2": "WAITING", "j-9": "WAITING"}
    runs.states |= {LOST: "success", AFTER: "success"}
    running.advance(log.events)
    assert (aws.terminated, running.standby_state, running.is_over()) == (["j-2"], "WAITING", False)
    aws.active = {"j-9": "WAITING"}
    running.advance(log.events)
    assert not running.is_over(), "the batch with a cluster of its own has not ended"
    runs.states[LIVY] = "success"
    assert running.is_over()
    assert runs.started == [START, WATCH, LOST, AFTER]


def test_the_batch_with_a_cluster_of_its_own_waits_for_the_others_that_read(aws, runs):
    running = scenario(aws, runs, may_read=True)
    running.advance([])
    running.advance([])
    assert runs.started == [START, LIVY]


def test_a_failed_run_ends_the_scene_and_the_clusters(aws, runs):
    running, log = scenario(aws, runs), Log()
    running.advance(log.events)
    pair(log)
    runs.states[START] = "failed"
    aws.active = {"j-1": "WAITING"}
    running.advance(log.events)
    assert aws.terminated == ["j-1"]
    aws.active = {}
    runs.states[LIVY] = "failed"
    running.advance(log.events)
    assert running.is_over()
