"""
On a real Airflow: values arrive from workers and triggerer, spans where Airflow traces tasks, and each notifier is
called once, in both modes.

The Airflow of this environment is tested, and those in the folder that TELEMETRY_VENVS names: NAME/bin/python, as the
matrix makes them (tests/verification/matrix/cells.py).
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
    found = Path(sys.prefix) if request.param == OWN else VENVS / request.param
    if not (found / "bin" / "python").exists():
        pytest.skip(f"there is no Airflow {request.param} in {VENVS}; TELEMETRY_VENVS names another folder")
    return found


def play(stage: Stage) -> set[str]:
    """
    Run every DAG to its end: the queue of the first address, and beside it what is lost or does not start.

    :return: the DAGs of which no task was retried, which Airflow itself may make necessary.
    """
    rest = stage.airflow.rest
    runs = {"holds": rest.trigger("holds")}
    stage.until("the first DAG has its address", lambda: stage.is_bound(0))
    runs |= {name: rest.trigger(name) for name in stage._dags if name != "holds"}
    losing = [name for name in runs if name.startswith("loses")]
    for name in losing:
        stage.until(f"a step of {name} runs", lambda name=name: stage.runs_step(name))
    for name in losing:
        stage.steal(stage._dags[name]["address"])
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
    """Play and check; the logs of what fails stay."""
    state = Path(tempfile.mkdtemp(prefix="telemetry-"))
    state.chmod(0o755)  # PostgreSQL has a user of its own
    children = Children(directory=state)
    stage = Stage(children, venv=venv, state=state, settings=receiver.settings, dags=dags)
    try:
        stage.start()
        undisturbed = play(stage)
        check_values(stage, receiver, dags, undisturbed)
        if receiver.is_otel:
            check_spans(stage, receiver, dags, undisturbed)
        check_told(stage, dags, undisturbed)
    finally:
        children.stop()
        stage.aws.stop()
        receiver.stop()
        # Open connections of boto3's clients are found here, where ResourceWarning is ignored, and not after all tests.
        gc.collect()
    shutil.rmtree(state, ignore_errors=True)


def check_values(stage: Stage, receiver: Any, dags: dict[str, Any], undisturbed: set[str]) -> None:
    """Each metric that these DAGs cause has arrived, once for each DAG where that is due, and with its tags."""
    all_of_them = {metric.name for metric in METRICS} - {ORPHANS_TERMINATED.name}
    expected = all_of_them if dags is DAGS else all_of_them - {"eip.lost", "eip.failovers"}
    stage.until("every metric has arrived", lambda: expected <= {value.name for value in receiver.values})
    values = receiver.values
    assert {value.name for value in values} == expected
    assert {value.tags["environment"] for value in values} == {"telemetry"}
    assert {value.tags["allocation_id"] for value in values} <= set(stage.addresses)
    lengths = [value.value for value in values if value.name == QUEUE_LENGTH.name]
    assert max(lengths) == (2 if dags is DAGS else 1)
    # Each process exports its own to the collector, not in one order; StatsD has them as they were sent.
    assert 0 in lengths if receiver.is_otel else lengths[-1] == 0
    # The tasks say it when somebody joins or leaves, four times with two who queue; the triggerer at every look.
    assert len(lengths) > (6 if dags is DAGS else 3), "the triggerer says it, too"
    if not receiver.is_otel:  # which repeats what it has counted
        queued = [(value.tags["dag_id"], value.value) for value in values if value.name == "eip.queue.seconds"]
        times = Counter(dag_id for dag_id, _ in queued)
        assert times.keys() == dags.keys()
        assert {name: times[name] for name in undisturbed} == dict.fromkeys(undisturbed, 1)
        assert dict(queued)["queues_deferred"] > 20_000, "StatsD has milliseconds"


def check_spans(stage: Stage, receiver: Collector, dags: dict[str, Any], undisturbed: set[str]) -> None:
    """Each phase is a span of the trace of its task, once; an Airflow that traces no tasks has none of them."""
    if stage.version < (3, 2):
        assert not [span.name for span in receiver.spans if span.name.startswith("eip.")]
        return
    phases = {metric.name.removesuffix(".seconds"): metric for metric in PHASES}
    expected = {(dag_id, name) for dag_id in dags for name in phases}
    stage.until("every span has arrived", lambda: expected <= {_of_dag(span) for span in receiver.spans})
    spans = receiver.spans
    found = [span for span in spans if span.name in phases]
    times = Counter(map(_of_dag, found))
    assert times.keys() == expected
    assert {key: times[key] for key in expected if key[0] in undisturbed} == {
        key: 1 for key in expected if key[0] in undisturbed
    }
    tasks = {(span.trace_id, span.span_id): span.name for span in spans}
    parents = {(span.name, tasks[span.trace_id, span.parent_span_id]) for span in found}
    assert parents == {
        ("eip.queue", "worker.azure.create"),
        ("eip.bind", "worker.azure.create"),
        ("eip.step", "worker.azure.steps"),
    }
    for span in found:
        attributes = {pair.key: pair.value.string_value for pair in span.attributes}
        assert attributes["environment"] == "telemetry"
        assert attributes["allocation_id"] in stage.addresses
    (waited,) = (span for span in found if _of_dag(span) == ("queues_deferred", "eip.queue"))
    assert waited.end_time_unix_nano - waited.start_time_unix_nano > 20 * 10**9


def _of_dag(span: Any) -> tuple[str, str]:
    """Return the DAG and the name of a span."""
    return next((pair.value.string_value for pair in span.attributes if pair.key == "dag_id"), ""), span.name


def check_told(stage: Stage, dags: dict[str, Any], undisturbed: set[str]) -> None:
    """Each notifier was called once; where Airflow 3.3 retried a task, too."""
    due = {"queues": "queued", "fails": "failover", "loses": "lost"}
    expected = {(name, due[name.partition("_")[0]]): 1 for name in dags if name != "holds"}
    times = Counter((told["dag_id"], told["event"]) for told in stage.told)
    assert times.keys() == expected.keys()
    once = {key for key in expected if key[0] in undisturbed or stage.version >= (3, 3)}
    assert {key: times[key] for key in once} == dict.fromkeys(once, 1)
