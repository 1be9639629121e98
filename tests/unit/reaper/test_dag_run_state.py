"""What a task of Airflow 3 may ask about other DAG runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_eip_provider.airflow_compat import dag_run_state

exceptions = pytest.importorskip("airflow.sdk.exceptions", reason="Airflow 2 tasks have the database")
comms = pytest.importorskip("airflow.sdk.execution_time.comms")


def refused(status_code: int) -> Any:
    """Return a task instance that is answered as Airflow's supervisor answers for the API server."""
    response = comms.ErrorResponse(error=exceptions.ErrorType.API_SERVER_ERROR, detail={"status_code": status_code})

    def get_dagrun_state(dag_id: str, run_id: str) -> str:
        raise exceptions.AirflowRuntimeError(response)

    return SimpleNamespace(get_dagrun_state=get_dagrun_state)


def test_the_state_is_that_of_the_supervisor():
    ti = SimpleNamespace(get_dagrun_state=lambda dag_id, run_id: f"{dag_id} {run_id}")
    assert dag_run_state("daily", "run-1", ti=ti) == "daily run-1"


def test_a_run_that_airflow_does_not_know_has_no_state():
    assert dag_run_state("daily", "run-1", ti=refused(404)) is None


def test_any_other_answer_is_an_error():
    with pytest.raises(exceptions.AirflowRuntimeError):
        dag_run_state("daily", "run-1", ti=refused(500))
