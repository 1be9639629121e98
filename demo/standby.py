"""The scenario with a standby: the primary node of a long-running cluster is lost, and the standby runs its batches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from demo.aws import ACTIVE_STATES
from demo.seed import BUCKET
from harness.judge import CLUSTER_ENDED, calls
from harness.network import SERVICES, LoadBalancer, create_load_balancer, default_subnets

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from demo.aws import AwsClient
    from demo.runs import Runs
    from harness.judge import Event

START, WATCH = "emr_standby_start", "emr_standby"
LOST, AFTER = "batch_of_lost_primary", "batch_after_failover"
LIVY = "emr_livy_batch"
DAGS = (START, WATCH, LOST, AFTER, LIVY)
JOB = Path(__file__).resolve().parent / "jobs" / "short_batch.py"


def prepare(aws: AwsClient) -> tuple[LoadBalancer, list[str]]:
    """Upload the job, and create a load balancer in two zones; return that and the subnets."""
    aws.client("s3").upload_file(str(JOB), BUCKET, f"jobs/{JOB.name}")
    subnets = default_subnets(aws.client("ec2"))[:2]
    balancer = create_load_balancer(aws.client, "standby", subnets=subnets, services=list(SERVICES))
    return balancer, [subnet["SubnetId"] for subnet in subnets]


class Standby:
    """
    Launches a pair, loses the primary node while a batch runs on it, and ends the pair when the batches have succeeded.

    :param may_begin: whether it can start without disturbing other scenarios.
    :param may_read: whether the batch with its own cluster can start. It reads with Spark, which must not run in
        parallel with the Spark jobs of other scenarios.
    :ivar standby_state: of the cluster that took over, before the demo ended it.
    """

    def __init__(
        self, *, aws: AwsClient, runs: Runs, may_begin: Callable[[], bool], may_read: Callable[[], bool]
    ) -> None:
        self._aws = aws
        self._emr = aws.client("emr")
        self._runs = runs
        self._may_begin = may_begin
        self._may_read = may_read
        self._started: set[str] = set()
        self._is_over = False
        self.lost_at: datetime | None = None
        self.standby_state = ""

    def advance(self, events: list[Event]) -> None:
        """Take the actions that are due."""
        if START in self._started and LIVY not in self._started and self._may_read():
            self._start(LIVY)
        if START not in self._started:
            if self._may_begin():
                self._start(START)
        elif self._has_failed() or self._runs.have_ended(LOST, AFTER):
            self._end(clusters(events))
        else:
            self._start_next(events)

    def _start_next(self, events: list[Event]) -> None:
        if WATCH not in self._started:
            if self._state_of(START, "create") == "success":
                self._runs.unpause(WATCH)
                self._start(WATCH)
        elif LOST not in self._started:
            if self._is_watched() and _are_ready(events):
                self._start(LOST)
        elif self.lost_at is None:
            if running := [event for event in batches(events, LOST) if event["state"] == "running"]:
                self.lost_at = self._aws.time()
                self._aws.lose_primary(running[0]["job_flow_id"])
        elif AFTER not in self._started and self._runs.have_ended(WATCH):
            self._start(AFTER)

    def _start(self, dag_id: str) -> None:
        self._started.add(dag_id)
        self._runs.start(dag_id)

    def _state_of(self, dag_id: str, task_id: str) -> str | None:
        return next((task.state for task in self._runs.tasks_of(dag_id) if task.task_id == task_id), None)

    def _is_watched(self) -> bool:
        return self._state_of(WATCH, "watch") == "deferred" and self._runs.have_ended(START)

    def _has_failed(self) -> bool:
        return any(self._runs.states.get(dag_id) == "failed" for dag_id in (START, WATCH, LOST, AFTER))

    def _end(self, pair: Sequence[str]) -> None:
        """Terminate the clusters of the pair that are left, and check whether both have ended."""
        pages = self._emr.get_paginator("list_clusters").paginate(ClusterStates=ACTIVE_STATES)
        left = {
            each["Id"]: each["Status"]["State"] for page in pages for each in page["Clusters"] if each["Id"] in pair
        }
        if not self.standby_state and len(pair) > 1:
            self.standby_state = str(left.get(pair[1], "gone"))
        if ending := [each for each, state in left.items() if state != "TERMINATING"]:
            self._emr.terminate_job_flows(JobFlowIds=ending)
        self._is_over = not left

    def is_over(self) -> bool:
        """Whether the batches have ended, and the pair."""
        return self._is_over and self._runs.have_ended(LIVY)

    def waits_for(self) -> str:
        """Return the service if it has no node now."""
        return "" if self.lost_at is None or self._is_over else "the service of the lost primary node"


def clusters(events: Sequence[Event]) -> list[str]:
    """Return the clusters of the pair, in the order of their launches."""
    return [
        str(call["response"]["JobFlowId"])
        for call in calls(events, "RunJobFlow")
        if call["request"].get("Name") == WATCH and not call.get("error_code")
    ]


def _are_ready(events: Sequence[Event]) -> bool:
    """Whether both clusters of the pair are WAITING."""
    pair = clusters(events)
    states = {event["job_flow_id"]: event["to"] for event in events if event["kind"] == "cluster"}
    return len(pair) > 1 and all(states.get(each) == "WAITING" for each in pair)


def batches(events: Sequence[Event], dag_id: str) -> list[Event]:
    """Return the events of the batches of a DAG, whose names begin with its id."""
    return [event for event in events if event["kind"] == "batch" and str(event["name"]).startswith(f"{dag_id}-")]


def has_ended(events: Sequence[Event], job_flow_id: str) -> bool:
    """Whether a cluster has ended, or is ending."""
    return any(
        event["to"] in {*CLUSTER_ENDED, "TERMINATING"}
        for event in events
        if event["kind"] == "cluster" and event["job_flow_id"] == job_flow_id
    )
