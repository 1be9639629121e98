"""The batches of a task, and which of them a retry adopts."""

from __future__ import annotations

import pytest

from airflow_eip_provider.hooks.livy import Batch
from airflow_eip_provider.operators.batch_mark import BatchMark

OWNER = "0123456789ab"


def batch(number: int, state: str, *, owner: str = OWNER) -> Batch:
    return Batch(number, BatchMark(owner, number).on("daily"), state)


def adopted(*batches: Batch, try_number: int = 3, first_try: int = 1, has_submitted: bool = False) -> int | None:
    mark = BatchMark(OWNER, try_number)
    found = mark.to_adopt(batches, first_try=first_try, has_submitted=has_submitted)
    return None if found is None else found.batch_id


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("daily", f"daily-eip-{OWNER}-3"),
        ("Täglich: read/write?", f"T-glich-read-write-eip-{OWNER}-3"),
        ("//", f"batch-eip-{OWNER}-3"),
        ("2026", f"2026-eip-{OWNER}-3"),
        ("x" * 200, f"{'x' * 100}-eip-{OWNER}-3"),
    ],
)
def test_a_batch_name_is_valid_in_urls_and_not_a_number(title, name):
    assert BatchMark(OWNER, 3).on(title) == name
    assert BatchMark(OWNER, 3).try_of(name) == 3


def test_batches_of_others_and_of_later_tries_are_not_own():
    mark = BatchMark(OWNER, 3)
    assert not mark.is_own("daily")
    assert not mark.is_own(f"daily-eip-{'f' * 12}-3")
    assert not mark.is_own(BatchMark(OWNER, 4).on("daily"))
    assert mark.is_own(BatchMark(OWNER, 1).on("renamed meanwhile"))


def test_a_running_batch_of_any_try_is_adopted():
    assert adopted(batch(1, "running"), batch(2, "dead")) == 1
    assert adopted(batch(1, "running"), batch(2, "starting")) == 2


def test_a_success_counts_for_the_newest_try_since_the_last_clear():
    assert adopted(batch(1, "dead"), batch(2, "success")) == 2
    assert adopted(batch(1, "success"), batch(2, "dead")) is None
    assert adopted(batch(2, "success"), first_try=3) is None


@pytest.mark.parametrize("state", ["dead", "killed", "error", "shutting_down"])
def test_a_failed_or_ending_batch_is_submitted_again(state):
    assert adopted(batch(2, state)) is None


def test_a_batch_of_this_try_is_adopted_in_any_state():
    assert adopted(batch(3, "dead"), has_submitted=True) == 3
    assert adopted(batch(3, "dead")) is None


def test_batches_of_another_owner_are_not_adopted():
    assert adopted(batch(2, "running", owner="f" * 12)) is None
