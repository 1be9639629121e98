"""The reaper in a real Airflow with a metadata database: its command line, the console script, and the DAG."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from tests.airflow_version import AIRFLOW
from tests.integration.cli.conftest import last_event
from tests.integration.cli.test_reap import state_of
from tests.integration.dags.conftest import DAGS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.airflow_home import AirflowHome

pytestmark = pytest.mark.airflow

SUBJECT = """
from datetime import UTC, datetime
from airflow_eip_provider.airflow_compat import EmptyOperator
try:
    from airflow.sdk import DAG
except ImportError:  # Airflow 2
    from airflow.models import DAG
with DAG("subject", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
    EmptyOperator(task_id="create")
if __name__ == "__main__":
    run = dag.test()
    print("RUN", run.run_id, flush=True)
"""
REAPER = """
import json, os, sys
sys.path.append(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
from eip_reaper import dag
run = dag.test(run_conf=json.loads(sys.argv[1]))
print("STATE", run.state, flush=True)
"""
# `airflow connections add` imports the hooks of all providers, to know the types of connections.
STORE = """
from airflow.models import Connection
from airflow.utils.session import create_session
with create_session() as session:
    session.add(Connection(conn_id="stored", conn_type="aws", extra={"region_name": "eu-west-1"}))
"""
PARSE = """
import runpy, socket, sys
def refuse(*arguments, **options):
    raise AssertionError(f"network at parse time: {arguments}")
socket.socket.connect = refuse
socket.getaddrinfo = refuse
print(runpy.run_path(sys.argv[1])["dag"].dag_id)
"""
COMMANDS = [
    pytest.param(["-m", "airflow_eip_provider.cli"], id="airflow-eip"),
    pytest.param(
        ["-m", "airflow", "eip"],
        id="airflow eip",
        marks=pytest.mark.skipif(AIRFLOW < (3, 2), reason="Airflow takes commands of providers from 3.2 on"),
    ),
]


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory, airflow_home: Callable[..., AirflowHome]) -> AirflowHome:
    """An Airflow with a metadata database that has a connection."""
    settings = {"AIRFLOW__EIP__ENVIRONMENT": "testing", "AIRFLOW_CONN_AWS_DEFAULT": json.dumps({"conn_type": "aws"})}
    made = airflow_home(tmp_path_factory.mktemp("airflow"), **settings)
    (made.dags / "subject.py").write_text(SUBJECT)
    (made.dags / "eip_reaper.py").write_text((DAGS / "eip_reaper.py").read_text())
    (made.dags.parent / "run_reaper.py").write_text(REAPER)
    (made.dags.parent / "store.py").write_text(STORE)
    made.run(made.dags.parent / "store.py")
    return made


@pytest.fixture(scope="module")
def run_id(airflow: AirflowHome) -> str:
    """A DAG run that has finished."""
    found = re.search(r"^RUN (\S+)$", airflow.run(airflow.dags / "subject.py"), flags=re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture
def clusters(run_id: str, left: Callable[..., str], ec2: Any) -> dict[str, str]:
    """One cluster of a DAG run that has finished, and one of an unknown DAG run."""
    other = str(ec2.allocate_address(Domain="vpc")["AllocationId"])
    return {
        "over": left("testing", dag_id="subject", run_id=run_id),
        "unknown": left("testing", dag_id="subject", run_id="another", allocation_id=other),
    }


@pytest.mark.parametrize("command", COMMANDS)
def test_command_judges_by_dag_runs_through_a_stored_connection(airflow, clusters, emr, command, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    arguments = ["reap", "--json", "--aws-conn-id", "stored"]
    listed = json.loads(airflow.run(*command, *arguments, status=3))
    decisions = {found["job_flow_id"]: found["decision"] for found in listed["clusters"]}
    assert listed["region"] == "eu-west-1"
    assert decisions == {clusters["over"]: "reap", clusters["unknown"]: "unknown"}
    assert {state_of(emr, job_flow_id) for job_flow_id in decisions} == {"WAITING"}

    reaped = json.loads(airflow.run(*command, *arguments, "--yes"))
    assert [outcome["job_flow_id"] for outcome in reaped["outcomes"]] == [clusters["over"]]
    assert state_of(emr, clusters["over"]) in {"TERMINATING", "TERMINATED"}
    assert state_of(emr, clusters["unknown"]) == "WAITING"


@pytest.mark.parametrize("command", COMMANDS)
def test_command_refuses_a_connection_that_does_not_exist(airflow, local_aws, command):
    said = airflow.run(*command, "reap", "--aws-conn-id", "nowhere", status=1)
    assert "reading Airflow connection 'nowhere': it does not exist" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_the_commands(airflow, command):
    new = [sys.executable, *command, "--help"]
    done = subprocess.run(new, env=airflow.environment, capture_output=True, text=True, check=True)
    assert "terminate clusters whose owner has finished" in done.stdout
    assert "--environment NAME" in airflow.run(*command, "reap", "--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_command_to_import_follows_two_dashes(airflow, command):
    if find_spec("awscli") is None:
        pytest.skip("the extra import is not installed")
    options = ["--dag", "--allocation-id", "eipalloc-0123456789abcdef0", "--"]
    imported = (
        "aws emr create-cluster --name daily --region eu-west-1 --release-label emr-7.5.0 --instance-type m5.xlarge"
    )
    said = airflow.run(*command, "import-cluster", *options, *imported.split())
    assert '        "daily",\n        schedule=None,\n' in said


def test_the_dag_only_lists_by_default_and_reaps_on_request(airflow, clusters, clocked, emr, only_looked):
    script = airflow.dags.parent / "run_reaper.py"
    before = last_event(clocked)
    said = airflow.run(script, "{}")
    only_looked(before)
    assert re.search(r"^STATE \S*success$", said, flags=re.MULTILINE | re.IGNORECASE)
    assert state_of(emr, clusters["over"]) == "WAITING"

    airflow.run(script, json.dumps({"dry_run": False}))
    assert state_of(emr, clusters["over"]) in {"TERMINATING", "TERMINATED"}
    assert state_of(emr, clusters["unknown"]) == "WAITING"


def test_dag_parses_without_connections_or_network(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PARSE, str(DAGS / "eip_reaper.py")],
        env={"AIRFLOW_HOME": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split()[-1:] == ["eip_reaper"], done.stderr
