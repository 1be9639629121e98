"""Every example DAG file is parsed without connections, Variables or network, and imports only what parsing needs."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.integration.dags.conftest import DAGS

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.airflow

PARSE = """
import json, runpy, socket, sys

def refuse(*arguments, **options):
    raise AssertionError(f"network at parse time: {arguments}")

socket.socket.connect = refuse
socket.getaddrinfo = refuse
found = runpy.run_path(sys.argv[1])
print(json.dumps([found[name].dag_id for name in sys.argv[2:]]))
print(json.dumps(sorted(name for name in sys.modules if name.startswith("airflow_eip_provider."))))
"""
# What only a running task needs: packages and modules, by the part of the name after the package's.
ONLY_AT_RUN_TIME = (
    "audit",
    "aws",
    "cli",
    "health",
    "hooks.aws",
    "hooks.elbv2",
    "iam_policy",
    "lease",
    "lease_client",
    "operators.bindings",
    "operators.run_imports",
    "preflight",
    "reaper",
    "stores",
    "triggers",
    "ui",
)
# The parts of aws that make no request and define no class: error codes, names of tags, how far answers may lag.
NEEDED = {"aws", "aws.errors", "aws.lag", "aws.resource_ids", "aws.tags"}
MOST_MODULES = 48


def parse(file: str, home: Path, *names: str) -> list[list[str]]:
    """Parse a DAG file in a new process; return the ids of the DAGs with these names, and the provider's modules."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PARSE, str(DAGS / file), *names],
        env={"AIRFLOW_HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()[-2:]]


@pytest.mark.parametrize(
    ("file", "dags"),
    [
        ("azure_sql_daily.py", {"orders": "azure_sql_daily", "customers": "azure_sql_daily_customers"}),
        ("emr_failover_drill.py", {"dag": "emr_failover_drill"}),
        ("emr_livy_batch.py", {"dag": "emr_livy_batch"}),
        ("emr_standby.py", {"start": "emr_standby_start", "dag": "emr_standby"}),
    ],
)
def test_dags_parse_without_connections_variables_or_network(file: str, dags: dict[str, str], tmp_path: Path) -> None:
    if file == "emr_livy_batch.py":
        pytest.importorskip("airflow.providers.apache.livy", reason="the extra livy is not installed")
    dag_ids, _ = parse(file, tmp_path, *dags)
    assert dag_ids == list(dags.values())


def test_parsing_imports_nothing_that_only_a_running_task_needs(tmp_path: Path) -> None:
    _, modules = parse("azure_sql_daily.py", tmp_path)
    names = [name.removeprefix("airflow_eip_provider.") for name in modules]
    late = [
        name
        for name in names
        if name not in NEEDED and any(f"{name}.".startswith(f"{part}.") for part in ONLY_AT_RUN_TIME)
    ]
    assert late == [], (
        f"parsing the DAG imports {', '.join(late)}: import it in the function that uses it; "
        "python -X importtime shows which module imports it"
    )
    assert len(names) <= MOST_MODULES, (
        f"parsing the DAG imports {len(names)} modules of the provider, at most {MOST_MODULES} are expected: "
        f"{', '.join(names)}"
    )
