"""
Records the phases of a lease as spans in Airflow's trace of the task.

Since Airflow 3.2 a task runs inside a span, so OpenTelemetry's API is sufficient. Before that there is no parent span,
and nothing is recorded. A phase may be longer than its parent span: a deferred task has a span for each part of its
run, all in one trace.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow_eip_provider import clock

if TYPE_CHECKING:
    from collections.abc import Mapping

try:
    from opentelemetry import trace
except ImportError:  # an optional part of Airflow 2
    trace = None  # type: ignore[assignment]

log = logging.getLogger(__name__)

_NANOSECONDS = 1_000_000_000


def record(name: str, seconds: float, attributes: Mapping[str, str]) -> None:
    """
    Record a phase that ends now, if the task is traced. Errors are only logged.

    :param seconds: the duration of the phase.
    """
    try:
        if trace is None or not trace.get_current_span().is_recording():
            return
        end = int(clock.time() * _NANOSECONDS)
        tracer = trace.get_tracer("airflow_eip_provider")
        start = end - int(max(seconds, 0.0) * _NANOSECONDS)
        tracer.start_span(name, start_time=start, attributes=dict(attributes)).end(end)
    except Exception:
        log.warning("Span %s could not be recorded", name, exc_info=True)
