"""
What the provider tells Airflow's own statistics: StatsD, DogStatsD or OpenTelemetry, as Airflow is configured.

A metric is sent when something has happened, by the task or the triggerer that knows of it, and never fails what it
measures. ``docs/reference/metrics.md`` lists the metrics; a test compares it with :data:`METRICS`.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Literal

from airflow_eip_provider.airflow_compat import conf, flush_statistics, statistics

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import EndedLease, Record

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Metric:
    """
    One metric.

    :param name: Airflow puts its prefix before it, "airflow" by default.
    :param kind: of a timing, Airflow chooses the unit in which its backend gets it.
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
# Those that end when they are measured, in the task whose time they are: spans of its trace, too.
PHASES = (QUEUE_SECONDS, BIND_SECONDS, STEP_SECONDS)
TAGS = ("allocation_id", "dag_id", "environment")

# What StatsD's line format, its tags included, takes of a value.
_NOT_IN_TAGS = re.compile(r"[^A-Za-z0-9_.\-]")
_UNNAMED_ENVIRONMENT = "default"
_to_flush: set[str] = set()  # what was sent since the last flush
_OWNER_PARTS = 5  # environment, DAG, run, task, map index


def send(metric: Metric, value: float = 1, *, allocation_id: str, dag_id: str | None = None) -> None:
    """
    Send one value; whatever goes wrong is logged.

    :param value: seconds, of a timing.
    :param allocation_id: empty where only a load balancer leads to the clusters; the tag is left out then.
    :param dag_id: left out of the tags where there is none: on the command line, and of what is about no DAG.
    """
    try:
        tags = tags_of(allocation_id, dag_id)
        # Who has no backend can count these lines. A triggerer would write the gauge at every look.
        level = logging.DEBUG if metric.kind == "gauge" else logging.INFO
        log.log(level, "Metric %s %g %s", metric.name, value, " ".join(f"{n}={tags.get(n, '-')}" for n in TAGS))
        _send(metric, value, tags)
        _to_flush.add(metric.name)
    except Exception:
        log.warning("Metric %s could not be sent", metric.name, exc_info=True)


def flush() -> None:
    """Send what OpenTelemetry keeps of this process's metrics; a task's process may end before it would."""
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
    Sends what a lease client reports: its ``lease_client.interface.LeaseEvents``.

    :ivar dag_id: of the task that works with the lease, if one does.
    """

    dag_id: str | None = None

    def __init__(self, allocation_id: str) -> None:
        self._allocation_id = allocation_id
        self._terminated: set[str] = set()

    def written(self, before: Record | None, after: Record) -> None:
        """Send the length of the queue when it has changed, and the duration of a lease that has ended."""
        if before is None or len(before.queue) != len(after.queue):
            send_queue_length(self._allocation_id, after)
        if before is not None and after.history and after.history[-1:] != before.history[-1:]:
            self._ended(after.history[-1])

    def _ended(self, ended: EndedLease) -> None:
        seconds = ended.ended_at - ended.acquired_at
        send(LEASE_SECONDS, seconds, allocation_id=self._allocation_id, dag_id=dag_of_owner(ended.owner))

    def orphan_terminated(self, job_flow_id: str) -> None:
        """Count a cluster, once."""
        if job_flow_id not in self._terminated:
            self._terminated.add(job_flow_id)
            send(ORPHANS_TERMINATED, allocation_id=self._allocation_id, dag_id=self.dag_id)


def send_queue_length(allocation_id: str, record: Record) -> None:
    """Send how many owners wait for an address; that is of no DAG."""
    send(QUEUE_LENGTH, len(record.queue), allocation_id=allocation_id)


def dag_of_owner(name: str) -> str | None:
    """Return the DAG of an owner; ``None`` of one that is no task, or whose name more slashes make ambiguous."""
    parts = name.split("/")
    return parts[1] if len(parts) == _OWNER_PARTS else None
