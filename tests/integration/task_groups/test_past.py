"""depends_on_past under Airflow's own rules: after a run that failed, the next one launches nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.airflow_home import AirflowHome

# Runs a DAG on two days. Its tasks do nothing, but the step fails on the days that are named. When a run has begun and
# nothing of it may run, Airflow's dag.test pauses: that is its end here.
RUNS = """
import os, sys, time
from datetime import UTC, datetime
from airflow_eip_provider.operators.emr import (
    EmrAddStepsWithStaticIpOperator, EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator
)
from airflow_eip_provider.sensors.eip import EipAssociationSensor
from airflow_eip_provider.task_groups.emr import StaticIpCluster
from tests.unit.task_groups.conftest import STEP
try:
    from airflow.sdk import DAG
    DATE = "logical_date"
except ImportError:  # Airflow 2
    from airflow.models import DAG
    DATE = "execution_date"

class Blocked(BaseException): pass

def live(self, context):
    print("RAN", context["logical_date"].day, self.task_id, flush=True)
    if self.task_id == "azure.steps" and str(context["logical_date"].day) in sys.argv[1:]:
        raise ValueError("as the arguments say")

for operator in (EmrAddStepsWithStaticIpOperator, EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator):
    operator.pre_execute = lambda self, context: None
for operator in (EmrAddStepsWithStaticIpOperator, EmrCreateWithStaticIpOperator, EmrTerminateWithStaticIpOperator,
                 EipAssociationSensor):
    operator.execute = live

with DAG("past", schedule="@daily", catchup=False, start_date=datetime(2026, 1, 1, tzinfo=UTC),
         default_args={"depends_on_past": True}) as dag:
    with StaticIpCluster("azure", allocation_id="eipalloc-1", job_flow_overrides={}) as cluster:
        cluster.steps([STEP])

def blocked(seconds):
    if sys._getframe(1).f_code.co_name == "test":  # DAG.test; others may sleep
        raise Blocked
    pause(seconds)

if __name__ == "__main__":
    pause, time.sleep = time.sleep, blocked
    for day in (1, 2):
        try:
            dag.test(**{DATE: datetime(2026, 1, day, tzinfo=UTC)})
        except Blocked:
            print("BLOCKED", day, flush=True)
    os._exit(0)  # threads of an unfinished run would never end
"""
GROUP = ["azure.create", "azure.bound", "azure.steps", "azure.terminate"]


@pytest.mark.airflow
@pytest.mark.parametrize("failing", [(), ("1",)], ids=["nothing fails", "the first day fails"])
def test_after_a_failed_run_nothing_is_launched(
    tmp_path: Path, failing: tuple[str, ...], airflow_home: Callable[..., AirflowHome]
) -> None:
    airflow = airflow_home(tmp_path)
    (airflow.dags / "past.py").write_text(RUNS, encoding="utf-8")
    said = [line.split() for line in airflow.run(airflow.dags / "past.py", *failing).splitlines()]
    ran = [(words[1], words[2]) for words in said if words[:1] == ["RAN"]]
    blocked = [words[1] for words in said if words[:1] == ["BLOCKED"]]
    first, second = [("1", name) for name in GROUP], [("2", name) for name in GROUP]
    assert (ran, blocked) == ((first, ["2"]) if failing else (first + second, []))
