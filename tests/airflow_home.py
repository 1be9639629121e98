"""An Airflow home of a test, and commands in it that are quicker than those of a new Python: see ``tests.forked``."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

from harness.airflow import sqlite_url
from tests.forked import forked_python

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.forked import ForkedPython

# What a command imports, and what `DAG.test` builds for its first task: the app of the execution API, by its first
# request. `begin` is what Airflow does when it is imported, again, with the command's own environment.
_PREPARATION = """
import airflow.cli.utils
import airflow.models.dagbag
from airflow import settings
from airflow.cli import cli_parser

cli_parser.get_parser()
import airflow_eip_provider.cli.commands
import airflow_eip_provider.cli.session
import airflow_eip_provider.operators.emr
import airflow_eip_provider.sensors.eip
import airflow_eip_provider.task_groups.emr
import airflow_eip_provider.ui.plugin
from sqlalchemy.orm import configure_mappers

configure_mappers()
try:
    from airflow.sdk.execution_time.supervisor import in_process_api_server
except ImportError:  # Airflow 2
    pass
else:
    import asyncio
    import httpx

    async def first_request():
        transport = httpx.ASGITransport(in_process_api_server().app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
            await client.get("/health")

    asyncio.run(first_request())


def begin():
    settings.dispose_orm()
    settings.initialize()
"""


class AirflowHome:
    """
    A metadata database in SQLite, a folder for DAGs, and commands.

    :ivar dags: the folder for DAGs.
    """

    def __init__(self, home: Path, python: ForkedPython, variables: Mapping[str, str]) -> None:
        self._home = home
        self._python = python
        self._variables = variables
        self.dags = home / "dags"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a command: this process's own, but for what is Airflow's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        settings = {
            **_settings(self._home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": sqlite_url(self._home / "airflow.db"),
        }
        return {**kept, **settings, **self._variables}

    def run(self, *arguments: str | Path, status: int = 0, cwd: Path | None = None, **variables: str) -> str:
        """
        Run a command: a script, or ``-m`` and a module; return what it printed.

        :param status: what it must end with; of an error, what it printed about it is returned as well.
        """
        done = self._python.run(*arguments, env={**self.environment, **variables}, cwd=cwd)
        assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout + (done.stderr if status == 1 else "")


def _settings(home: Path) -> dict[str, str]:
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }


@contextlib.contextmanager
def quick_airflow(home: Path) -> Iterator[ForkedPython]:
    """Start a Python that has imported Airflow and the provider; each command says which home is its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AIRFLOW", "AWS_"))}
    with forked_python(_PREPARATION, env={**kept, **_settings(home)}) as python:
        yield python
