"""
On a real Airflow: values arrive from workers and triggerer, spans arrive if Airflow traces tasks, and each notifier is
called once, in both modes.

The tests run on the Airflow of this environment, and on those in the folder that TELEMETRY_VENVS names:
NAME/bin/python, as the matrix creates them (tests/verification/matrix/cells.py).
"""

from __future__ import annotations

import gc
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from airflow_eip_provider.metrics import METRICS, ORPHANS_TERMINATED, PHASES, QUEUE_LENGTH
from harness.processes import Children
from tests.real_airflow import ROOT
from tests.verification.matrix.cells import CELLS
from tests.verification.telemetry.receivers import Collector, StatsD
from tests.verification.telemetry.stage import A, B, Stage

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]
VENVS = Path(os.environ.get("TELEMETRY_VENVS", ROOT.parent / "telemetry-venvs"))
OWN = "this environment's"
OTHERS = [cell.name for cell in CELLS if cell.name != "newest-py3.11"]
HOLD, QUEUE = {"address": 0, "deferrable": True, "step_seconds": 600}, {"address": 0, "step_seconds": 30}
DAGS: dict[str, dict[str, Any]] = {
    "holds": HOLD,
    "queues_deferred": {**QUEUE, "deferrable": True},
    "queues_blocking": {**QUEUE, "deferrable": False},
    "fails_over_deferred": {"address": 1, "deferrable": True, "zones": [A, B]},
    "fails_over_blocking": {"address": 2, "deferrable": False, "zones": [A, B]},
    "loses_deferred": {"address": 3, "deferrable": True, "step_seconds": 36_000},
    "loses_blocking": {"address": 4, "deferrable": False, "step_seconds": 36_000},
}
FEW = {name: DAGS[name] for name in ("holds", "queues_deferred")}


@pytest.fixture(scope="module", params=[OWN, *OTHERS])
def venv(request: pytest.FixtureRequest) -> Path:
    folder = Path(sys.prefix) if request.param == OWN else VENVS / request.param
    if not (folder / "bin" / "python").exists():
        pytest.skip(f"there is no Airflow {request.param} in {VENVS}; TELEMETRY_VENVS names another folder")
    return folder


def run_dags(stage: Stage) -> set[str]:
    """
    Run every DAG to its end: those that queue for the first address, and in parallel those that lose or fail over.

    :return: the DAGs without a retry; Airflow may retry a task for its own reasons.
    """
    rest = stage.airflow.rest
    runs = {"holds": rest.trigger("holds")}
    stage.until("the first DAG has its address", lambda: stage.association_id(0))
    runs |= {name: rest.trigger(name) for name in stage._dags if name != "holds"}
    losing = [name for name in runs if name.startswith("loses")]
    for name in losing:
        stage.until(f"a step of {name} runs", lambda name=name: stage.runs_step(name))
    for name in losing:
        stage.disassociate(stage._dags[name]["address"])
    for name, run_id in runs.items():
        stage.until(f"{name} has ended", lambda n=name, r=run_id: rest.run_state(n, r) in {"success", "failed"})
    states = {name: rest.run_state(name, run_id) for name, run_id in runs.items()}
    assert states == {name: "failed" if name in losing else "success" for name in runs}
    return {name for name, run_id in runs.items() if all(task.try_number <= 1 for task in rest.tasks(name, run_id))}


def test_notifications_and_statsd(venv: Path) -> None:
    with_receiver(StatsD(), venv, DAGS)


def test_opentelemetry(venv: Path) -> None:
    with_receiver(Collector(), venv, FEW)


def with_receiver(receiver: Any, venv: Path, dags: dict[str, Any]) -> None:
    """Run the DAGs and check what has arrived; the logs are kept if a check fails."""
    state = Path(tempfile.mkdtemp(prefix="telemetry-"))
    state.chmod(0o755)  # the user of PostgreSQL must be able to read it
    children = Children(directory=state)
    stage = Stage(children, venv=venv, state=state, settings=receiver.settings, dags=dags)
    try:
        stage.start()
        undisturbed = run_dags(stage)
        check_values(stage, receiver, dags, undisturbed)
        if receiver.is_otel:
            check_spans(stage, receiver, dags, undisturbed)
        check_notifications(stage, dags, undisturbed)
    finally:
        children.stop()
        stage.aws.stop()
        receiver.stop()
        # Collects open connections of boto3's clients here, where ResourceWarning is ignored.
        gc.collect()
    shutil.rmtree(state, ignore_errors=True)


def check_values(stage: Stage, receiver: Any, dags: dict[str, Any], undisturbed: set[str]) -> None:
    """Check that each metric of these DAGs has arrived with its tags, and, if it is sent per DAG, once for each DAG."""
    every_metric = {metric.name for metric in METRICS} - {ORPHANS_TERMINATED.name}
    expected = every_metric if dags is DAGS else every_metric - {"eip.lost", "eip.failovers"}
    stage.until("every metric has arrived", lambda: expected <= {value.name for value in receiver.values})
    values = receiver.values
    assert {value.name for value in values} == expected
    assert {value.tags["environment"] for value in values} == {"telemetry"}
    assert {value.tags["allocation_id"] for value in values} <= set(stage.addresses)
    lengths = [value.value for value in values if value.name == QUEUE_LENGTH.name]
    assert max(lengths) == (2 if dags is DAGS else 1)
    # Each process exports its own values to the collector, in any order; StatsD has all values in order.
    assert 0 in lengths if receiver.is_otel else lengths[-1] == 0
    # Tasks send it when they join or leave the queue, four times with two owners; the triggerer at every poll.
    assert len(lengths) > (6 if dags is DAGS else 3), "the triggerer sends it, too"
    if not receiver.is_otel:  # OpenTelemetry exports totals again and again
        queued = [(value.tags["dag_id"], value.value) for value in values if value.name == "eip.queue.seconds"]
        times = Counter(dag_id for dag_id, _ in queued)
        assert times.keys() == dags.keys()
        assert {name: times[name] for name in undisturbed} == dict.fromkeys(undisturbed, 1)
        assert dict(queued)["queues_deferred"] > 20_000, "StatsD has milliseconds"


def check_spans(stage: Stage, receiver: Collector, dags: dict[str, Any], undisturbed: set[str]) -> None:
    """Check that each phase is one span in the trace of its task; an Airflow that does not trace tasks has no span."""
    if stage.version < (3, 2):
        assert not [span.name for span in receiver.spans if span.name.startswith("eip.")]
        return
    phases = {metric.name.removesuffix(".seconds"): metric for metric in PHASES}
    expected = {(dag_id, name) for dag_id in dags for name in phases}
    stage.until("every span has arrived", lambda: expected <= {_of_dag(span) for span in receiver.spans})
    spans = receiver.spans
    of_phases = [span for span in spans if span.name in phases]
    times = Counter(map(_of_dag, of_phases))
    assert times.keys() == expected
    assert {key: times[key] for key in expected if key[0] in undisturbed} == {
        key: 1 for key in expected if key[0] in undisturbed
    }
    tasks = {(span.trace_id, span.span_id): span.name for span in spans}
    parents = {(span.name, tasks[span.trace_id, span.parent_span_id]) for span in of_phases}
    assert parents == {
        ("eip.queue", "worker.azure.create"),
        ("eip.bind", "worker.azure.create"),
        ("eip.step", "worker.azure.steps"),
    }
    for span in of_phases:
        attributes = {pair.key: pair.value.string_value for pair in span.attributes}
        assert attributes["environment"] == "telemetry"
        assert attributes["allocation_id"] in stage.addresses
    (waited,) = (span for span in of_phases if _of_dag(span) == ("queues_deferred", "eip.queue"))
    assert waited.end_time_unix_nano - waited.start_time_unix_nano > 20 * 10**9


def _of_dag(span: Any) -> tuple[str, str]:
    """Return the DAG and the name of a span."""
    return next((pair.value.string_value for pair in span.attributes if pair.key == "dag_id"), ""), span.name


def check_notifications(stage: Stage, dags: dict[str, Any], undisturbed: set[str]) -> None:
    """Check that each notifier was called once; from Airflow 3.3 on, also if Airflow retried a task."""
    due = {"queues": "queued", "fails": "failover", "loses": "lost"}
    expected = {(name, due[name.partition("_")[0]]): 1 for name in dags if name != "holds"}
    times = Counter((each["dag_id"], each["event"]) for each in stage.notifications)
    assert times.keys() == expected.keys()
    once = {key for key in expected if key[0] in undisturbed or stage.version >= (3, 3)}
    assert {key: times[key] for key in once} == dict.fromkeys(once, 1)
