"""Tests of the contract of ``lease.store``; the test class of a store provides the fixture ``subject``."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings

from airflow_eip_provider.exceptions import (
    CorruptRecordError,
    LockStoreError,
    LockStoreUnavailableError,
    NewerRecordError,
)
from airflow_eip_provider.lease.codec import SCHEMA, encode
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Conflict, Snapshot, Unknown
from tests.unit.lease.records import FULL, records

FIRST, SECOND, THIRD = Record(issued=1), Record(issued=2), Record(issued=3)
WRITERS, ROUNDS = 6, 5
MANY = 50  # more than any client retries
GARBAGE = [
    "",
    "not JSON",
    "[]",
    "7",
    '"text"',
    "{}",
    '{"schema": 1}',
    '{"schema": 1, "issued": NaN}',
    json.dumps({**encode(FULL), "issued": "four"}),
    json.dumps({name: value for name, value in encode(FULL).items() if name != "queue"}),
    json.dumps({**encode(FULL), "lease": {"token": 1}}),
    "[" * 100_000,
]


def written(outcome: object) -> Snapshot:
    assert isinstance(outcome, Snapshot), outcome
    return outcome


class StoreContract:
    """The guarantees of every store."""

    def test_the_check_of_a_good_store_passes_and_changes_nothing(self, subject):
        subject.store.check()
        assert subject.read() == Snapshot(Record(), None, subject.read().now)

    def test_a_record_that_was_never_written_is_empty(self, subject):
        snapshot = subject.read("never")
        assert (snapshot.record, snapshot.version) == (Record(), None)

    def test_a_write_returns_what_the_next_read_returns(self, subject):
        outcome = written(subject.write(FULL))
        snapshot = subject.read()
        assert (snapshot.record, snapshot.version) == (FULL, outcome.version)
        assert outcome.record == FULL
        assert outcome.now <= snapshot.now

    def test_every_record_is_read_as_it_was_written(self, subject):
        keys = map("k{}".format, count())

        @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(records)
        def is_read_back(record: Record) -> None:
            key = next(keys)
            written(subject.write(record, key=key))
            assert subject.read(key).record == record

        is_read_back()

    def test_the_same_record_again_is_a_new_version(self, subject):
        versions: list[str | None] = [None]
        for _ in range(3):
            versions.append(written(subject.write(FIRST, versions[-1])).version)
        assert len(set(versions)) == 4
        assert all(isinstance(subject.write(SECOND, old), Conflict) for old in versions[:-1])

    def test_a_write_from_an_old_version_changes_nothing(self, subject):
        first = written(subject.write(FIRST))
        second = written(subject.write(SECOND, first.version))
        stored = subject.read_raw("k")
        for stale in (None, first.version, "no version at all"):
            outcome = subject.write(THIRD, stale)
            assert isinstance(outcome, Conflict)
            if subject.conflict_has_record:
                assert outcome.snapshot == Snapshot(SECOND, second.version, subject.read().now)
            else:
                assert outcome.snapshot is None
        assert subject.read_raw("k") == stored

    def test_a_version_of_a_missing_record_conflicts(self, subject):
        assert isinstance(subject.write(FIRST, "some version"), Conflict)
        assert subject.read().version is None

    def test_of_several_writers_with_one_version_exactly_one_succeeds(self, subject):
        snapshot = subject.read()
        with ThreadPoolExecutor(WRITERS) as threads:
            for turn in range(ROUNDS):
                tries = [Record(issued=turn * 10 + writer) for writer in range(WRITERS)]
                outcomes = list(
                    threads.map(lambda record, version=snapshot.version: subject.write(record, version), tries)
                )
                [winner] = [outcome for outcome in outcomes if isinstance(outcome, Snapshot)]
                assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == WRITERS - 1
                snapshot = subject.read()
                assert (snapshot.record, snapshot.version) == (winner.record, winner.version)

    def test_two_keys_are_independent(self, subject):
        one = written(subject.write(FIRST, key="one"))
        other = written(subject.write(SECOND, key="other"))
        written(subject.write(THIRD, one.version, key="one"))
        assert subject.read("other") == Snapshot(SECOND, other.version, subject.read("other").now)

    @pytest.mark.parametrize("text", GARBAGE, ids=lambda text: text[:24] or "nothing")
    def test_a_corrupt_record_is_an_error_and_is_not_overwritten(self, subject, text):
        subject.write_raw("k", text)
        stored = subject.read_raw("k")
        with pytest.raises(CorruptRecordError, match=r"k.*not a lease record"):
            subject.read()
        with suppress(CorruptRecordError):
            assert isinstance(subject.write(FIRST), Conflict)
        assert subject.read_raw("k") == stored

    def test_a_newer_record_is_an_error_and_is_not_overwritten(self, subject):
        subject.write_raw("k", json.dumps({"schema": SCHEMA + 1, "lanes": []}))
        stored = subject.read_raw("k")
        with pytest.raises(NewerRecordError, match="upgrade"):
            subject.read()
        with suppress(NewerRecordError):
            assert isinstance(subject.write(FIRST), Conflict)
        assert subject.read_raw("k") == stored

    def test_every_answer_has_the_time_of_the_store(self, subject):
        answers = [subject.read(), subject.write(FIRST), subject.read()]
        assert all(abs(subject.time() - answer.now) < 3 for answer in answers)


class RemoteContract(StoreContract):
    """Further guarantees of the stores behind a network."""

    def test_time_is_that_of_the_store_and_not_of_the_worker(self, subject):
        subject.aws.clock.advance(86_400)
        outcome = written(subject.write(FIRST))
        conflict = subject.write(FIRST)
        now = int(subject.time())
        assert (outcome.now, subject.read().now, subject.read("never").now) == (now, now, now)
        assert conflict.snapshot is None or conflict.snapshot.now == now

    def test_threads_of_the_triggerer_read_the_same(self, subject):
        async def read() -> list[Snapshot]:
            return await asyncio.gather(*(asyncio.to_thread(subject.read, key) for key in ("k", "never")))

        subject.write(FULL)
        assert asyncio.run(read()) == [subject.read(), subject.read("never")]

    def test_a_write_whose_answer_is_lost_is_unknown_and_the_next_read_shows_it(self, subject):
        first = written(subject.write(FIRST))
        subject.aws.faults.add(operation=subject.write_operation, kind="lost_response", times=MANY)
        assert isinstance(subject.write(SECOND, first.version), Unknown)
        subject.aws.faults.clear()
        snapshot = subject.read()
        assert snapshot.record == SECOND
        written(subject.write(THIRD, snapshot.version))

    def test_a_write_that_the_server_failed_is_unknown_and_the_next_read_shows_nothing_of_it(self, subject):
        first = written(subject.write(FIRST))
        subject.aws.faults.add(operation=subject.write_operation, kind="error", status=500, times=MANY)
        assert isinstance(subject.write(SECOND, first.version), Unknown)
        subject.aws.faults.clear()
        assert subject.read().record == FIRST
        written(subject.write(THIRD, first.version))

    @pytest.mark.parametrize("expected", [False, True], ids=["first", "next"])
    def test_a_write_that_botocore_sends_twice_does_not_conflict_with_itself(self, subject, expected):
        version = written(subject.write(FIRST)).version if expected else None
        subject.aws.faults.add(operation=subject.write_operation, kind="lost_response")
        outcome = subject.write(SECOND, version)
        snapshot = subject.read()
        assert snapshot.record == SECOND
        assert outcome == snapshot if subject.retry_outcome_is_known else isinstance(outcome, Unknown)

    def test_a_write_that_botocore_sends_twice_and_another_overwrites_between_is_unknown(self, subject):
        """The write had its effect before the other one, so a conflict ("nothing was written") would be wrong."""
        first = written(subject.write(FIRST))
        others: list[Snapshot] = []

        def write_between(**_: object) -> None:
            if not others:
                others.append(subject.read())
                others.append(written(subject.write(THIRD, others[0].version)))

        events = subject.clients[subject.service].meta.events
        events.register_first(f"needs-retry.{subject.service}.{subject.write_operation}", write_between)
        subject.aws.faults.add(operation=subject.write_operation, kind="lost_response")
        assert isinstance(subject.write(SECOND, first.version), Unknown)
        assert [other.record for other in others] == [SECOND, THIRD]
        assert subject.read().record == THIRD

    @pytest.mark.parametrize("kind", ["throttle", "error", "lost_response"])
    def test_a_store_that_is_down_for_a_while(self, subject, kind):
        for operation in (subject.read_operation, subject.write_operation, subject.check_operation):
            subject.aws.faults.add(operation=operation, kind=kind, times=MANY)
        with pytest.raises(LockStoreUnavailableError, match="does not respond"):
            subject.read()
        with pytest.raises(LockStoreUnavailableError):
            subject.store.check()
        assert isinstance(subject.write(FIRST), Unknown)
        subject.aws.faults.clear()
        subject.store.check()
        assert subject.read().record == (FIRST if kind == "lost_response" else Record())

    def test_a_short_throttling_is_retried(self, subject):
        for operation in (subject.read_operation, subject.write_operation):
            subject.aws.faults.add(operation=operation, kind="throttle")
        assert written(subject.write(FIRST)) == subject.read()

    def test_a_missing_permission_is_named(self, subject):
        for operation, use in (
            (subject.read_operation, subject.read),
            (subject.write_operation, lambda: subject.write(FIRST)),
            (subject.check_operation, subject.store.check),
        ):
            subject.aws.deny(operation)
            with pytest.raises(LockStoreError, match=subject.actions[operation]):
                use()

    def test_an_unknown_error_is_raised_unchanged(self, subject):
        for operation, use in (
            (subject.read_operation, subject.read),
            (subject.write_operation, lambda: subject.write(FIRST)),
        ):
            subject.aws.faults.add(operation=operation, kind="error", code="Unforeseen", status=400)
            with pytest.raises(Exception, match="Unforeseen") as refusal:
                use()
            assert not isinstance(refusal.value, LockStoreError)
