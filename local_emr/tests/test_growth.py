"""What a call costs stays the same while clusters and events become many: ratios of two costs, measured in turn."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from local_emr.clock import ManualClock
from local_emr.emr.cluster import new_id
from local_emr.events import EventLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr import LocalAws

AT_MOST = 2.0
ROUNDS = 15


def ratio(few: Callable[[], object], many: Callable[[], object], *, times: int) -> float:
    """How much more CPU time the second takes; the least of many rounds, as others may disturb any of them."""
    least = [float("inf"), float("inf")]
    for _ in range(ROUNDS):
        for place, call in enumerate((few, many)):
            began = time.thread_time()
            for _ in range(times):
                call()
            least[place] = min(least[place], time.thread_time() - began)
    return least[1] / least[0]


def grow(aws: LocalAws, job_flow_id: str, *, to: int) -> None:
    """Let there be so many clusters like one that there is, without the time that launching them takes."""
    life = aws.emr.life
    for _ in range(to - len(life.clusters)):
        copy = replace(aws.cluster(job_flow_id), id=new_id("j-"))
        life._clusters[copy.id] = copy


@pytest.mark.parametrize("request_", [{}, {"ClusterStates": ["STARTING"]}, {"CreatedAfter": 0}], ids=str)
def test_a_page_of_clusters_takes_as_long_among_a_thousand(
    local_emr: LocalAws, start_cluster: Any, request_: dict[str, Any]
) -> None:
    job_flow_id = start_cluster()
    life = local_emr.emr.life
    grow(local_emr, job_flow_id, to=51)
    few = dict(life._clusters)
    grow(local_emr, job_flow_id, to=1000)
    many = dict(life._clusters)

    def listing(clusters: dict[str, Any]) -> Callable[[], None]:
        def call() -> None:
            life._clusters = clusters
            answer = local_emr.emr.answer("ListClusters", request_)
            assert len(answer["Clusters"]) == 50
            assert answer["Marker"]

        return call

    assert ratio(listing(few), listing(many), times=5) < AT_MOST


@pytest.mark.parametrize("kind", [None, "call", "step"])
def test_a_page_of_events_takes_as_long_after_a_hundred_thousand(kind: str | None) -> None:
    short, long = EventLog(ManualClock()), EventLog(ManualClock())
    for log, count in ((short, 1_000), (long, 100_000)):
        for number in range(count):
            log.append("step" if number % 4 == 0 else "call")

    def reading(log: EventLog) -> Callable[[], None]:
        def call() -> None:
            assert len(log.read(after=log.last - 400, kind=kind, limit=100)) == 100

        return call

    assert ratio(reading(short), reading(long), times=200) < AT_MOST
