"""
Metrics, sent through Airflow's statistics: StatsD, DogStatsD or OpenTelemetry, as Airflow is configured.

The task or triggerer that observes an event sends its metric; a failure to send one is only logged.
``docs/reference/metrics.md`` lists the metrics; a test compares it with :data:`METRICS`.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from airflow_eip_provider.airflow_compat import conf, flush_statistics, statistics

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Metric:
    """
    A metric.

    :param name: without Airflow's prefix, which is "airflow" by default.
    :param kind: for a timing, Airflow chooses the unit that its backend expects.
    """

    name: str
    kind: Literal["gauge", "timing", "counter"]


QUEUE_LENGTH = Metric("eip.queue.length", "gauge")
QUEUE_SECONDS = Metric("eip.queue.seconds", "timing")
LEASE_SECONDS = Metric("eip.lease.seconds", "timing")
START_SECONDS = Metric("eip.start.seconds", "timing")
BIND_SECONDS = Metric("eip.bind.seconds", "timing")
STEP_SECONDS = Metric("eip.step.seconds", "timing")
LOST = Metric("eip.lost", "counter")
ORPHANS_TERMINATED = Metric("eip.orphans.terminated", "counter")
FAILOVERS = Metric("eip.failovers", "counter")
METRICS = (
    QUEUE_LENGTH,
    QUEUE_SECONDS,
    LEASE_SECONDS,
    START_SECONDS,
    BIND_SECONDS,
    STEP_SECONDS,
    LOST,
    ORPHANS_TERMINATED,
    FAILOVERS,
)
# Measured at their end, in the task itself; so they are also spans of its trace.
PHASES = (QUEUE_SECONDS, BIND_SECONDS, STEP_SECONDS)
TAGS = ("allocation_id", "dag_id", "environment")

# Characters that StatsD's line format does not allow in tags.
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.\-]")
_UNNAMED_ENVIRONMENT = "default"
_to_flush: set[str] = set()  # the metrics that were sent since the last flush
_OWNER_PARTS = 5  # environment, DAG, run, task, map index


def send(metric: Metric, value: float = 1, *, allocation_id: str, dag_id: str | None = None) -> None:
    """
    Send one value. Errors are only logged.

    :param value: in seconds for a timing.
    :param allocation_id: empty for clusters without an address, behind a load balancer; then there is no such tag.
    :param dag_id: ``None`` on the command line and for metrics of no DAG; then there is no such tag.
    """
    try:
        tags = tags_of(allocation_id, dag_id)
        # For users without a metrics backend. A triggerer would log the gauge at every poll.
        level = logging.DEBUG if metric.kind == "gauge" else logging.INFO
        log.log(level, "Metric %s %g %s", metric.name, value, " ".join(f"{n}={tags.get(n, '-')}" for n in TAGS))
        _send(metric, value, tags)
        _to_flush.add(metric.name)
    except Exception:
        log.warning("Metric %s could not be sent", metric.name, exc_info=True)


def flush() -> None:
    """Let OpenTelemetry send the collected metrics now, because the process of a task may end before it does."""
    if not _to_flush:
        return
    _to_flush.clear()
    try:
        flush_statistics()
    except Exception:
        log.warning("The metrics of this task could not be sent", exc_info=True)


def _send(metric: Metric, value: float, tags: dict[str, str]) -> None:
    stats = statistics()
    if metric.kind == "gauge":
        stats.gauge(metric.name, value, tags=tags)
    elif metric.kind == "timing":
        stats.timing(metric.name, timedelta(seconds=max(value, 0.0)), tags=tags)
    else:
        stats.incr(metric.name, int(value), tags=tags)


def tags_of(allocation_id: str, dag_id: str | None) -> dict[str, str]:
    """Return the tags of a metric, and the attributes of a span."""
    environment = conf.get("eip", "environment", fallback=None) or _UNNAMED_ENVIRONMENT
    given = {"allocation_id": allocation_id, "dag_id": dag_id, "environment": environment}
    return {name: _NOT_IN_TAGS.sub("_", value) for name, value in given.items() if value}


class LeaseMetrics:
    """
    Sends the metrics of a lease client, as its ``lease_client.interface.LeaseEvents``.

    :ivar dag_id: of the task that uses the lease client, if there is one.
    """

    dag_id: str | None = None

    def __init__(self, allocation_id: str) -> None:
        self._allocation_id = allocation_id
        self._terminated: set[str] = set()

    def written(self, before: Record | None, after: Record) -> None:
        """Send the length of the queue if it has changed, and the duration of a lease that has ended."""
        if before is None or len(before.queue) != len(after.queue):
            send_queue_length(self._allocation_id, after)
        if before is not None and after.history and after.history[-1:] != before.history[-1:]:
            ended = after.history[-1]
            seconds = ended.ended_at - ended.acquired_at
            send(LEASE_SECONDS, seconds, allocation_id=self._allocation_id, dag_id=dag_of_owner(ended.owner))

    def orphan_terminated(self, job_flow_id: str) -> None:
        """Count a cluster as terminated, once."""
        if job_flow_id not in self._terminated:
            self._terminated.add(job_flow_id)
            send(ORPHANS_TERMINATED, allocation_id=self._allocation_id, dag_id=self.dag_id)


def send_queue_length(allocation_id: str, record: Record) -> None:
    """Send the number of owners that wait for an address."""
    send(QUEUE_LENGTH, len(record.queue), allocation_id=allocation_id)


def dag_of_owner(name: str) -> str | None:
    """Return the DAG of an owner; ``None`` if it is not a task, or if further slashes make its name ambiguous."""
    parts = name.split("/")
    return parts[1] if len(parts) == _OWNER_PARTS else None
