"""
Fixtures of the provider's tests: the local EMR, and faster commands of Airflow and of the AWS CLI.

Modules that take seconds to import are imported in the fixtures that need them, so that unit tests start at once.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_emr import LocalAws
    from tests.airflow_home import AirflowHome
    from tests.aws_cli import QuickAwsCli


@pytest.fixture(scope="session")
def callers_not_searched() -> Iterator[None]:
    """Omit the operator's name from the user agent: finding it reads the source of every frame of pytest's stack."""
    from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AwsBaseHook, "_get_caller", lambda *_: "Unknown")
        yield


@pytest.fixture(scope="session")
def served_aws(local_emr_server: LocalAws, callers_not_searched: None) -> Iterator[LocalAws]:
    """One server for all tests; a test asks for ``local_aws``, which is reset each time."""
    from harness.in_process import answered_in_process

    with answered_in_process(local_emr_server):
        yield local_emr_server


@pytest.fixture
def local_aws(served_aws: LocalAws, local_emr: LocalAws) -> LocalAws:
    """An empty AWS whose clock the test advances; AWS clients find it through the environment."""
    return local_emr


@pytest.fixture
def clocked(local_aws: LocalAws) -> Iterator[LocalAws]:
    """Return a local EMR whose clock the provider uses."""
    from harness.life import on_clock

    with on_clock(local_aws):
        yield local_aws


@pytest.fixture(params=[False, True], ids=["blocking", "deferrable"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    """Both modes of waiting; every test with this fixture has the same result in both."""
    return bool(request.param)


@pytest.fixture(scope="session")
def quick_aws_cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[QuickAwsCli]:
    pytest.importorskip("awscli", reason="nodes have the AWS CLI: pip install 'airflow-eip-provider[import]'")
    from tests.aws_cli import quick_aws_cli

    with quick_aws_cli(tmp_path_factory.mktemp("aws-cli")) as made:
        yield made


@pytest.fixture(scope="session")
def aws_cli(quick_aws_cli: QuickAwsCli) -> Path:
    """Return a faster AWS CLI, as a program that a script can start."""
    return quick_aws_cli.program


@pytest.fixture
def quick_import(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``import-cluster`` use a Python that has imported the AWS CLI, except in tests marked with ``new_python``."""
    if request.node.get_closest_marker("new_python"):
        return
    python = request.getfixturevalue("quick_aws_cli").python
    executable = SimpleNamespace(executable=str(python))
    monkeypatch.setattr("airflow_eip_provider.awscli_import.aws_cli.sys", executable)


@pytest.fixture(scope="session")
def airflow_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], None]:
    """
    Create a metadata database, in SQLite, in an Airflow home.

    It is migrated once for all processes of a test run, and then copied.
    """
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    migrated = shared / "airflow-database"

    def create(home: Path) -> None:
        with (shared / "airflow-database.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (migrated / "airflow.db").exists():
                settings = {"AIRFLOW_HOME": str(shared / "airflow-migrating"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
                kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
                command = [sys.executable, "-m", "airflow", "db", "migrate"]
                done = subprocess.run(command, env={**kept, **settings}, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
                (shared / "airflow-migrating").rename(migrated)
        shutil.copy(migrated / "airflow.db", home)

    return create


@pytest.fixture(scope="session")
def airflow_home(
    tmp_path_factory: pytest.TempPathFactory, airflow_database: Callable[[Path], None]
) -> Iterator[Callable[..., AirflowHome]]:
    """Create an Airflow home with a metadata database, a folder for DAGs, and faster commands."""
    from tests.airflow_home import AirflowHome, quick_airflow

    with quick_airflow(tmp_path_factory.mktemp("quick-airflow")) as python:

        def make(home: Path, **variables: str) -> AirflowHome:
            airflow_database(home)
            (home / "dags").mkdir()
            return AirflowHome(home, python, variables)

        yield make
