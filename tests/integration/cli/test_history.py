"""``airflow-eip history`` and ``status --watch``: one read of the record, and its content."""

from __future__ import annotations

import csv
import io
import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider import clock
from airflow_eip_provider.cli.__main__ import main
from airflow_eip_provider.cli.command import INTERRUPTED
from airflow_eip_provider.lease.record import TAKEN_OVER, EndedLease, Record
from airflow_eip_provider.stores.uri import open_store
from airflow_eip_provider.ui import task_starts
from airflow_eip_provider.ui.names import TaskName
from harness.life import clock_of
from tests.terminal import Terminal

if TYPE_CHECKING:
    from tests.integration.cli.elsewhere import Elsewhere

pytestmark = [
    pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True),
    pytest.mark.usefixtures("with_lock_store"),
]
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture
def now(elsewhere: Elsewhere) -> float:
    return float(elsewhere.aws.clock.now().timestamp())


@pytest.fixture
def store(lock_store: str, boto: Any) -> Any:
    made = open_store(lock_store, lambda service, region: boto(service))
    made.check()
    return made


@pytest.fixture
def leases(elsewhere: Elsewhere, store: Any, now: float) -> list[EndedLease]:
    """Three leases that ended nine days, almost a day and an hour ago."""
    made = [
        EndedLease(1, "testing/old/run/create/-1", "j-1", now - 10 * DAY, now - 9 * DAY, "terminated"),
        EndedLease(
            2, "testing/daily/a/b/create/-1", "j-2", now - DAY, now - DAY + HOUR, f"{TAKEN_OVER}: j-2 has ended"
        ),
        EndedLease(3, "other/daily/run/create/-1", None, now - 2 * HOUR, now - HOUR, "released by hand"),
    ]
    store.write(elsewhere.allocation_id, Record(issued=3, history=tuple(made)), expected_version=None)
    return made


@pytest.fixture(autouse=True)
def starts(monkeypatch: pytest.MonkeyPatch) -> dict[TaskName, float]:
    """The starts of tasks, instead of Airflow's metadata database."""
    known: dict[TaskName, float] = {}
    monkeypatch.setattr(
        task_starts, "read_starts", lambda tasks: {task: known[task] for task in tasks if task in known}
    )
    return known


def reads(elsewhere: Elsewhere, after: int) -> int:
    calls = elsewhere.aws.events.read(after=after, kind="call")
    return [call["operation"] for call in calls].count("GetItem")


def test_the_newest_lease_comes_first_and_only_those_of_the_time(elsewhere, leases, starts):
    starts[TaskName("testing", "daily", "a/b", "create", -1)] = leases[1].acquired_at - 300
    before = elsewhere.mark()
    said = elsewhere.about("history")
    assert said.status == 0
    assert reads(elsewhere, before) == 1
    assert elsewhere.changes(before) == []
    assert [lease["token"] for lease in said.result["leases"]] == [3, 2]
    assert [lease["waited_seconds"] for lease in said.result["leases"]] == [None, 300]
    assert said.result["leases"][1]["why"] == f"{TAKEN_OVER}: j-2 has ended"
    assert said.result["leases"][1]["seconds"] == HOUR
    assert [lease["token"] for lease in elsewhere.about("history", "--since", "30d").result["leases"]] == [3, 2, 1]


def test_people_get_a_table_and_spreadsheets_csv(elsewhere, leases):
    table = elsewhere.about("history", json=False).out.splitlines()
    assert table[0].split() == ["TOKEN", "ON", "FROM", "LASTED", "WAITED", "OWNER", "ENDED", "BECAUSE"]
    assert re.fullmatch(r"3 +- +\S+ \S+Z +1 h 00 min +- +other/daily/run/create/-1 +released by hand", table[1])
    rows = list(csv.DictReader(io.StringIO(elsewhere.about("history", "--csv", json=False).out)))
    assert [row["token"] for row in rows] == ["3", "2"]
    assert (rows[1]["owner"], rows[1]["seconds"]) == ("testing/daily/a/b/create/-1", "3600.0")
    assert elsewhere.about("history", "--since", "1m", json=False).out == "no lease ended in that time\n"


def test_a_missing_record_is_reported(elsewhere, store):
    said = elsewhere.about("history")
    assert said.result["leases"] == []
    assert "no record of this address" in said.err


def test_a_full_record_shows_that_older_leases_are_missing(elsewhere, store, now):
    many = tuple(EndedLease(k, "testing/d/r/t/-1", "j-1", now - k, now - k, "terminated") for k in range(50, 0, -1))
    store.write(elsewhere.allocation_id, Record(history=many), expected_version=None)
    assert "keeps the newest 50 leases" in elsewhere.about("history").err


def test_a_missing_database_only_hides_the_waits(elsewhere, leases, monkeypatch):
    def fails(tasks: Any) -> Any:
        raise RuntimeError("no such table")

    monkeypatch.setattr(task_starts, "read_starts", fails)
    said = elsewhere.about("history")
    assert (said.status, len(said.result["leases"])) == (0, 2)
    assert "waits are not known" in said.err


@pytest.mark.parametrize("arguments", [("--csv",), ("--lock-store", "none")])
def test_contradictory_options_are_refused(elsewhere, leases, arguments):
    assert elsewhere.about("history", *arguments).status == 2


@pytest.mark.parametrize("arguments", [("--json",), (), ("--every", "1s")])
def test_watching_needs_a_terminal_and_a_minimum_interval(elsewhere, leases, arguments, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: "--every" in arguments)
    before = elsewhere.mark()
    assert elsewhere.about("status", "--watch", *arguments, json=False).status == 2
    assert reads(elsewhere, before) == 0


def test_watching_reads_the_record_once_each_time_and_ends_by_ctrl_c(elsewhere, leases, store, monkeypatch):
    shown = Terminal()
    before, looks = elsewhere.mark(), [0]

    def sleep(seconds: float) -> None:
        assert seconds == 7
        looks[0] += 1
        if looks[0] == 2:  # another lease ends meanwhile
            seen = store.read(elsewhere.allocation_id)
            last = EndedLease(4, "testing/late/run/create/-1", "j-4", seen.now, seen.now, "terminated")
            ended = Record(issued=4, history=(*seen.record.history, last))
            store.write(elsewhere.allocation_id, ended, expected_version=seen.version)
        if looks[0] == 4:
            raise KeyboardInterrupt

    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(sys, "stdout", shown)
    with clock.used(clock_of(elsewhere.aws, sleep)):
        status = main(["status", "--allocation-id", elsewhere.allocation_id, "--watch", "--every", "7s"])
    monkeypatch.undo()
    assert status == INTERRUPTED
    assert reads(elsewhere, before) == 4 + 1, "one a look, and the test's own"
    text = shown.text
    assert "testing/late/run/create/-1" in text
    assert "every 7 s, until Ctrl-C" in text


def test_status_shows_the_newest_three_leases_and_where_the_others_are(elsewhere, store, now):
    ended = [
        EndedLease(token, "testing/daily/run/create/-1", f"j-{token}", now - DAY, now - HOUR, "terminated")
        for token in range(1, 6)
    ]
    store.write(elsewhere.allocation_id, Record(issued=5, history=tuple(ended)), expected_version=None)
    pairs, table = elsewhere.about("status", json=False).out.split("\n\n")
    assert "5 leases have ended; the newest 3 are below, all: airflow-eip history --allocation-id" in pairs
    header, *rows = table.splitlines()
    assert header.split() == ["TOKEN", "LAST", "ON", "FROM", "TO", "OWNER", "ENDED", "BECAUSE"]
    assert [row.split()[0] for row in rows] == ["5", "4", "3"]
