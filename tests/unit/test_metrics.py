"""Metrics through Airflow's real StatsD logger and a socket, and which statistics object a process uses."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider import airflow_compat, metrics
from airflow_eip_provider.lease.record import Attempt, EndedLease, Entry, Lease, Phase, Record
from airflow_eip_provider.metrics import LeaseMetrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def receive(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], str]]:
    """Receive what Airflow's statistics send, in the order sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        settings = {
            "METRICS__STATSD_ON": "True",
            "METRICS__STATSD_HOST": "127.0.0.1",
            "METRICS__STATSD_PORT": str(receiver.getsockname()[1]),
            "METRICS__STATSD_INFLUXDB_ENABLED": "True",
            "EIP__ENVIRONMENT": "testing",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"AIRFLOW__{name}", value)
        before = {owner: kept(owner) for owner in owners()}
        yield lambda: receiver.recv(4096).decode()
        for owner, values in before.items():
            for name in kept(owner):
                backend = getattr(vars(owner)[name], "statsd", None)
                if backend is not None:
                    backend.close()
                delete(owner, name)
            for name, value in values.items():
                (type.__setattr__ if isinstance(owner, type) else setattr)(owner, name, value)


def owners() -> list[Any]:
    """Where Airflow keeps the statistics of a process: in a class until 3.2, in its module since."""
    return [owner for stats in airflow_compat._STATS for owner in (stats, sys.modules[stats.__module__])]


def kept(owner: Any) -> dict[str, Any]:
    return {name: vars(owner)[name] for name in ("factory", "instance", "_factory", "_backend") if name in vars(owner)}


def delete(owner: Any, name: str) -> None:
    (type.__delattr__ if isinstance(owner, type) else delattr)(owner, name)


TAGS = "allocation_id=eipalloc-1,dag_id=daily,environment=testing"


@pytest.mark.skipif(len(airflow_compat._STATS) == 1, reason="one for all processes: Airflow reads its options once")
@pytest.mark.parametrize("initialized", [0, 1, None], ids=["the task's", "the triggerer's", "neither, a command"])
def test_values_arrive_whichever_statistics_the_process_has(receive, initialized):
    if initialized is not None:
        airflow_compat._initialize(airflow_compat._STATS[initialized])
    where = {"allocation_id": "eipalloc-1", "dag_id": "daily"}
    metrics.send(metrics.QUEUE_LENGTH, 2, **where)
    metrics.send(metrics.BIND_SECONDS, 1.5, **where)
    metrics.send(metrics.LOST, **where)
    assert receive() == f"airflow.eip.queue.length,{TAGS}:2|g"
    assert receive() == f"airflow.eip.bind.seconds,{TAGS}:1500.000000|ms"
    assert receive() == f"airflow.eip.lost,{TAGS}:1|c"


@pytest.mark.skipif(len(airflow_compat._STATS) > 1, reason="Airflow < 3.2")
def test_values_arrive_from_a_process_of_an_older_airflow(receive):
    code = (
        "from airflow_eip_provider import metrics as m;"
        "m.send(m.BIND_SECONDS, 1.5, allocation_id='eipalloc-1', dag_id='daily')"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    lines = iter(receive, "")  # of Airflow, too
    assert next(line for line in lines if "eip" in line) == f"airflow.eip.bind.seconds,{TAGS}:1500.000000|ms"


def test_without_statistics_nothing_is_sent_and_nothing_fails():
    metrics.send(metrics.LOST, allocation_id="eipalloc-1")
    metrics.flush()


class Sent(list[tuple[Any, ...]]):
    def __getattr__(self, kind: str) -> Any:
        return lambda name, value, tags: self.append((kind, name, value, tags.get("dag_id")))


def entry(name: str) -> Entry:
    return Entry(2, Attempt(name, f"testing/{name}/run/create/-1", 1, "n"), 0.0, "daily", 60.0)


def lease(name: str) -> Lease:
    attempt = Attempt(name, f"testing/{name}/run/create/-1", 1, "n")
    return Lease(1, attempt, Phase.ACTIVE, 100.0, 100.0, 200.0, "daily", "j-1")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (Record(), Record(queue=(entry("b"),)), [("gauge", "eip.queue.length", 1, None)]),
        (Record(queue=(entry("b"),)), Record(lease=lease("b")), [("gauge", "eip.queue.length", 0, None)]),
        (Record(lease=lease("a")), Record(lease=lease("a"), free_since=1.0), []),
        (
            Record(lease=lease("a")),
            Record(history=(EndedLease(1, "testing/a/run/create/-1", "j-1", 100.0, 160.0, "terminated"),)),
            [("timing", "eip.lease.seconds", 60.0, "a")],
        ),
        (None, Record(queue=(entry("b"),)), [("gauge", "eip.queue.length", 1, None)]),
    ],
)
def test_what_a_write_tells(monkeypatch, before, after, told):
    sent = Sent()
    monkeypatch.setattr(metrics, "statistics", lambda: sent)
    LeaseMetrics("eipalloc-1").written(before, after)
    flat = [(kind, name, getattr(value, "total_seconds", lambda v=value: v)(), dag) for kind, name, value, dag in sent]
    assert flat == told


def test_a_cluster_is_counted_once_however_often_its_end_is_asked_for(monkeypatch):
    sent = Sent()
    monkeypatch.setattr(metrics, "statistics", lambda: sent)
    events = LeaseMetrics("eipalloc-1")
    events.dag_id = "daily"
    for job_flow_id in ("j-1", "j-1", "j-2"):
        events.orphan_terminated(job_flow_id)
    assert sent == [("incr", "eip.orphans.terminated", 1, "daily")] * 2


@pytest.mark.parametrize(
    ("name", "dag_id"), [("prod/daily/run-1/create/-1", "daily"), ("prod/cluster/j-1", None), ("a/b/c/d/e/-1", None)]
)
def test_the_dag_of_an_owner(name, dag_id):
    assert metrics.dag_of_owner(name) == dag_id


def test_a_log_line_shows_what_was_sent(monkeypatch, caplog):
    monkeypatch.setattr(metrics, "statistics", Sent)
    monkeypatch.setenv("AIRFLOW__EIP__ENVIRONMENT", "testing")
    with caplog.at_level("INFO", logger="airflow_eip_provider.metrics"):
        metrics.send(metrics.BIND_SECONDS, 1.5, allocation_id="eipalloc-1", dag_id="daily")
        metrics.send(metrics.ORPHANS_TERMINATED, allocation_id="eipalloc-1")
        metrics.send(metrics.QUEUE_LENGTH, 3, allocation_id="eipalloc-1")
    assert [record.getMessage() for record in caplog.records] == [
        "Metric eip.bind.seconds 1.5 allocation_id=eipalloc-1 dag_id=daily environment=testing",
        "Metric eip.orphans.terminated 1 allocation_id=eipalloc-1 dag_id=- environment=testing",
    ]
