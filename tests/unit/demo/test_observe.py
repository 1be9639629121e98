from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING

from setproctitle import setproctitle

from demo.observe import count_descendants, process_owners, settled
from harness.processes import task_of_title
from tests.unit.demo.event_log import task

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

TASK_ID = "01a1fc0a-6047-7320-9b5b-15139225ce08"


def test_processes_of_a_task_are_known_by_their_title():
    assert task_of_title(f"airflow worker -- {TASK_ID}") == TASK_ID
    assert task_of_title(f"airflow worker -- LocalExecutor: {TASK_ID}   ") == TASK_ID


def test_idle_workers_are_no_tasks():
    assert task_of_title("airflow worker -- LocalExecutor: <idle>") is None
    assert task_of_title("airflow serve-logs") is None


def _run_a_task(ready: Event, end: Event) -> None:
    setproctitle(f"airflow worker -- {TASK_ID}")
    ready.set()
    end.wait(60)


def test_a_running_task_is_seen_below_its_scheduler():
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    process = context.Process(target=_run_a_task, args=(ready, end))
    process.start()
    try:
        assert ready.wait(60)
        assert TASK_ID in process_owners(os.getpid())
        assert count_descendants(os.getpid()) >= 1
    finally:
        end.set()
        process.join()
    assert TASK_ID not in process_owners(os.getpid())


def test_a_task_that_changed_between_two_looks_is_left_out():
    waiting, other = task(), task("second_daily")
    assert settled([waiting, other], [task(state="scheduled"), other]) == (other,)


def test_a_task_that_came_back_to_another_wait_is_left_out():
    assert settled([task(since=0)], [task(since=1)]) == ()
