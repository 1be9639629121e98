"""The DAGs of every scenario, from the file dags.json in this folder; the process of a task makes only its DAG."""

from __future__ import annotations

import json
from pathlib import Path

from tests.verification.exits.scenario_dag import scenario_dag

try:
    from airflow.sdk import get_parsing_context
except ImportError:  # Airflow 2
    from airflow.utils.dag_parsing_context import get_parsing_context

_WANTED = get_parsing_context().dag_id

for _dag_id, _parameters in json.loads(Path(__file__).with_name("dags.json").read_text(encoding="utf-8")).items():
    if _WANTED in (None, _dag_id):
        globals()[_dag_id] = scenario_dag(_dag_id, **_parameters)
