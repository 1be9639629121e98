"""When tasks began, asked of a table of task instances."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta

import pytest
from airflow.models import TaskInstance, import_all_models
from sqlalchemy import create_engine, insert
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from airflow_eip_provider.ui.names import TaskName
from airflow_eip_provider.ui.task_starts import read_starts

BEGAN = datetime(2026, 11, 28, 3, tzinfo=UTC)


@pytest.fixture
def add(monkeypatch):
    """Add a task instance to the table; nothing else is in the database."""
    import_all_models()  # the table refers to others
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    table = TaskInstance.__table__
    table.create(engine)

    @contextlib.contextmanager
    def session():
        with Session(engine) as made:
            yield made

    monkeypatch.setattr("airflow.utils.session.create_session", session)

    def put(task: TaskName, start: datetime | None) -> None:
        values = {
            "dag_id": task.dag_id,
            "run_id": task.run_id,
            "task_id": task.task_id,
            "map_index": task.map_index,
            "start_date": start,
            "pool": "default_pool",
            "pool_slots": 1,
        }
        with engine.begin() as connection:
            connection.execute(insert(table).values(values))

    yield put
    engine.dispose()


def task(number: int, map_index: int = -1) -> TaskName:
    return TaskName("prod", f"dag_{number}", "a/run", "group.create", map_index)


def test_each_task_instance_has_its_own_start(add):
    add(task(1), BEGAN)
    add(task(1, map_index=3), BEGAN + timedelta(seconds=5))
    add(task(2), None)
    asked = [task(1), task(1, map_index=3), task(2), task(3)]
    began = BEGAN.timestamp()
    assert read_starts(asked) == {asked[0]: began, asked[1]: began + 5}


def test_many_task_instances_are_queried_in_batches(add):
    many = [task(number) for number in range(450)]
    for found in (many[0], many[199], many[200], many[449]):
        add(found, BEGAN)
    assert set(read_starts(many)) == {many[0], many[199], many[200], many[449]}


def test_no_task_instances_give_no_starts(add):
    assert read_starts([]) == {}
