"""A phase is a child of the task's span; without a trace nothing is recorded."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from airflow_eip_provider import spans


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(spans.trace, "get_tracer", provider.get_tracer)
    return exporter


def test_a_phase_is_a_child_of_the_span_of_its_task_and_ends_now(recorded):
    with spans.trace.get_tracer("airflow").start_as_current_span("worker.create") as task:
        spans.record("eip.queue", 90.0, {"allocation_id": "eipalloc-1"})
    phase, worker = recorded.get_finished_spans()
    assert (phase.name, worker.name) == ("eip.queue", "worker.create")
    assert phase.parent.span_id == task.get_span_context().span_id
    assert phase.context.trace_id == worker.context.trace_id
    assert phase.end_time - phase.start_time == 90 * 10**9
    assert phase.attributes == {"allocation_id": "eipalloc-1"}


def test_without_a_trace_there_is_no_span(recorded):
    spans.record("eip.queue", 90.0, {})
    assert recorded.get_finished_spans() == ()


def test_a_span_that_cannot_be_recorded_fails_nothing(recorded, monkeypatch, caplog):
    def broken(name: str) -> None:
        raise RuntimeError("no exporter")

    with spans.trace.get_tracer("airflow").start_as_current_span("worker.create"):
        monkeypatch.setattr(spans.trace, "get_tracer", broken)
        spans.record("eip.queue", 90.0, {})
    assert "could not be recorded" in caplog.text
