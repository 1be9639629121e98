"""Every scenario's Airflow DAGs, from the file beside this one; a task's process makes only its own."""

from __future__ import annotations

import json
from pathlib import Path

from tests.verification.exits.daily import daily

try:
    from airflow.sdk import get_parsing_context
except ImportError:  # Airflow 2
    from airflow.utils.dag_parsing_context import get_parsing_context

_WANTED = get_parsing_context().dag_id

for _dag_id, _parameters in json.loads(Path(__file__).with_name("dags.json").read_text(encoding="utf-8")).items():
    if _WANTED in (None, _dag_id):
        globals()[_dag_id] = daily(_dag_id, **_parameters)
