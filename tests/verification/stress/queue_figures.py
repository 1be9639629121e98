"""
Figures of the queue: ``python -m tests.verification.stress --queue``.

Three situations: many owners arrive at once, Airflow is slow, and the queue is long. Where the rules of version 0.1.0
differ, their figures are shown, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

from airflow_eip_provider.stores.uri import open_store
from harness.console import Console, table
from local_emr import LocalAws
from tests.verification.stress import arrivals, fairness, queue_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.verification.stress.arrivals import ArrivalResult

_URI = "dynamodb://leases?create=true"


def show(console: Console, *, runs: int) -> bool:
    """
    Measure, print the tables, and return whether no owner gave up, got no place or was passed over too often.

    :param runs: number of runs of each size.
    """
    old = arrivals.rows(lambda n, k: _simulated(n, k, runs, pauses=False), who="simulated, 0.1.0")
    new = arrivals.rows(lambda n, k: _simulated(n, k, runs, pauses=True), who="simulated")
    local = arrivals.rows(lambda n, k: _local(n, k, runs), who="local EMR")
    console.lines("", "Owners that arrive at once", "", *table([*old, *new, *local], header=arrivals.HEADER))
    slow = fairness.rows(runs=runs)
    console.lines("", "20 owners on one address; Airflow resumes each after 0 to 300 s", "")
    console.lines(*table(slow, header=fairness.HEADER))
    console.lines("", "Long queues", "", *table(list(queue_size.rows()), header=queue_size.HEADER))
    return arrivals.are_good([*new, *local]) and fairness.is_good(slow[-1])


def _simulated(owners: int, at_a_time: int, runs: int, *, pauses: bool) -> Iterator[ArrivalResult]:
    for seed in range(runs):
        yield arrivals.simulated(owners, at_a_time=at_a_time, seed=seed, pauses=pauses)


def _local(owners: int, at_a_time: int, runs: int) -> Iterator[ArrivalResult]:
    with LocalAws() as aws:
        config = Config(max_pool_connections=at_a_time + 1)
        session = boto3.Session("testing", "testing", region_name=aws.region)
        client = session.client("dynamodb", endpoint_url=aws.endpoint_url, config=config)
        open_store(_URI, lambda *_: client).check()
        for run in range(runs):
            yield arrivals.real(_URI, client, f"eipalloc-{run}", owners=owners, at_a_time=at_a_time)
