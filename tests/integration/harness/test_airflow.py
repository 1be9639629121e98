"""The time for which the processes of a small Airflow wait for each other's lock of its SQLite file."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy
from sqlalchemy.exc import OperationalError

from harness.airflow import settings, sqlite_url
from tests.airflow_version import AIRFLOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.airflow_home import AirflowHome

# Reads the settings of every connection of Airflow: for requests, tasks and parsing, and since Airflow 3 an
# asynchronous one.
_ASK = """
import asyncio, json
from airflow import settings
from sqlalchemy import text

def ask(connection):
    pragmas = "busy_timeout", "journal_mode"
    return {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in pragmas}

async def ask_asynchronously():
    async with settings.async_engine.connect() as connection:
        answer = await connection.run_sync(ask)
    await settings.async_engine.dispose()
    return answer

with settings.engine.connect() as connection:
    answers = [ask(connection)]
if getattr(settings, "async_engine", None) is not None:
    answers.append(asyncio.run(ask_asynchronously()))
print(json.dumps(answers))
"""
_WRITE = "INSERT INTO runs VALUES ('a run')"


def waits(airflow: AirflowHome, folder: Path, **variables: str) -> list[dict[str, object]]:
    (folder / "ask.py").write_text(_ASK)
    answers: list[dict[str, object]] = json.loads(airflow.run(folder / "ask.py", **variables).splitlines()[-1])
    return answers


def test_every_connection_of_a_test_waits_a_minute_for_another_one(
    tmp_path: Path, airflow_home: Callable[..., AirflowHome]
) -> None:
    assert {answer["busy_timeout"] for answer in waits(airflow_home(tmp_path), tmp_path)} == {60_000}


@pytest.mark.skipif(AIRFLOW < (3,), reason="Airflow 2 refuses LocalExecutor on SQLite")
def test_every_connection_of_the_demo_waits_a_minute_and_lets_others_read(
    tmp_path: Path, airflow_home: Callable[..., AirflowHome]
) -> None:
    """Airflow sets write-ahead logging (WAL), which is stored in the file."""
    airflow = airflow_home(tmp_path, **settings(home=tmp_path, dags=tmp_path / "dags", port=1))

    assert waits(airflow, tmp_path) == [{"busy_timeout": 60_000, "journal_mode": "wal"}] * 2


def test_without_the_setting_it_is_5_seconds(tmp_path: Path, airflow_home: Callable[..., AirflowHome]) -> None:
    airflow = airflow_home(tmp_path)
    plain = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db"}

    assert {answer["busy_timeout"] for answer in waits(airflow, tmp_path, **plain)} == {5000}


def test_a_write_waits_for_the_end_of_another_one(tmp_path: Path) -> None:
    engine = sqlalchemy.create_engine(sqlite_url(tmp_path / "airflow.db"))
    impatient = sqlalchemy.create_engine(f"sqlite:///{tmp_path}/airflow.db?timeout=0")
    with closing(sqlite3.connect(tmp_path / "airflow.db", isolation_level=None)) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("CREATE TABLE runs (id)")
        other.execute("BEGIN IMMEDIATE")
        with impatient.begin() as connection, pytest.raises(OperationalError, match="database is locked"):
            connection.exec_driver_sql(_WRITE)
        connecting = threading.Event()

        def write() -> None:
            with engine.begin() as connection:
                connecting.set()
                connection.exec_driver_sql(_WRITE)

        writer = threading.Thread(target=write)
        writer.start()
        connecting.wait()
        writer.join(timeout=0.2)
        assert writer.is_alive()
        other.execute("COMMIT")
        writer.join()
        assert other.execute("SELECT id FROM runs").fetchall() == [("a run",)]
    engine.dispose()
    impatient.dispose()
