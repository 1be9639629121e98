"""
Measures the CPU time of parsing dags/azure_sql_daily.py, compared with a DAG file of its size with stock EMR operators.

    python -m bench.parse

Each file is parsed in processes that have already imported Airflow and boto3, like those of a DAG processor. They have
also imported the listener of the OpenLineage provider if that is installed: Airflow loads it as a plugin, and otherwise
it would take most of the time of the smaller file. The least CPU time of several runs is compared, because wall time
depends on how busy the machine is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_RUNS = 8
_MOST_RATIO = 3.0
_OURS = Path(__file__).parent.parent / "dags/azure_sql_daily.py"
_STOCK = """
from datetime import UTC, datetime, timedelta
from airflow.providers.amazon.aws.operators.emr import (
    EmrAddStepsOperator, EmrCreateJobFlowOperator, EmrTerminateJobFlowOperator,
)
from airflow.providers.amazon.aws.sensors.emr import EmrJobFlowSensor
try:
    from airflow.sdk import DAG, TaskGroup
except ImportError:
    from airflow.models import DAG
    from airflow.utils.task_group import TaskGroup

def daily(dag_id):
    with DAG(dag_id, schedule="@daily", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False,
             default_args={"retries": 2, "retry_delay": timedelta(minutes=1)}) as dag, TaskGroup("emr"):
        create = EmrCreateJobFlowOperator(task_id="create", job_flow_overrides={"Name": "{{ dag.dag_id }}"})
        ready = EmrJobFlowSensor(task_id="ready", job_flow_id=create.output, target_states=["WAITING"])
        read = EmrAddStepsOperator(task_id="read", job_flow_id=create.output, steps=[], wait_for_completion=True)
        end = EmrTerminateJobFlowOperator(task_id="end", job_flow_id=create.output)
        create >> ready >> read >> end
    return dag

orders, customers = daily("orders"), daily("customers")
"""
_PARSE = """
import json, sys, time
import airflow.models, asgiref.sync, boto3.s3.transfer, requests, slugify
from airflow.serialization import serialized_objects
try:
    from airflow.sdk import DAG, BaseHook, BaseOperator, BaseSensorOperator, TaskGroup, Variable
except ImportError:
    from airflow.models import DAG
try:
    import airflow.providers.openlineage.plugins.listener
except ImportError:
    pass
source, before, started = sys.stdin.read(), set(sys.modules), time.process_time()
exec(compile(source, "dag.py", "exec"), {"__name__": "dag", "__file__": "dag.py"})
print(json.dumps([time.process_time() - started, sorted(set(sys.modules) - before)]))
"""


def parsed(source: str, *, bytecode: str) -> tuple[float, list[str]]:
    """
    Parse a file in a new process; return the seconds of CPU time, and the modules that it imports.

    :param bytecode: a folder for compiled modules, which are kept from one run to the next as in an installation.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603 - this Python
        [sys.executable, "-W", "ignore", "-c", _PARSE], input=source, capture_output=True, text=True, check=True,
        env={**environment, "PYTHONPYCACHEPREFIX": bytecode},
    )  # fmt: skip
    seconds, modules = json.loads(done.stdout.splitlines()[-1])
    return seconds, modules


def main() -> int:
    """Measure, print the figures, and return 0 if the target is met."""
    sources = {"azure_sql_daily.py": _OURS.read_text("utf-8"), "Airflow's own EMR operators": _STOCK}
    least: dict[str, tuple[float, list[str]]] = {}
    with tempfile.TemporaryDirectory() as bytecode:
        for _ in range(_RUNS):
            for name, source in sources.items():
                least[name] = min(least.get(name, (float("inf"), [])), parsed(source, bytecode=bytecode))
    for name, (seconds, modules) in least.items():
        own = sum(module.startswith("airflow_eip_provider") for module in modules)
        print(f"{name:<28} {seconds:.3f} s  {len(modules)} modules, {own} of them of the provider")  # noqa: T201
    ours, stock = (seconds for seconds, _ in least.values())
    print(f"ratio {ours / stock:.1f}, at most {_MOST_RATIO:g}")  # noqa: T201
    return 0 if ours / stock <= _MOST_RATIO else 1


if __name__ == "__main__":
    sys.exit(main())
