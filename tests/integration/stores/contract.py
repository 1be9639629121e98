"""The contract of lock.store as tests; a store's own class gives the fixture ``kit``."""

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
from airflow_eip_provider.lease.store import Conflict, Seen, Unknown
from tests.unit.lease.records import FULL, records

FIRST, SECOND, THIRD = Record(issued=1), Record(issued=2), Record(issued=3)
WRITERS, ROUNDS = 6, 5
MANY = 50  # more often than any client tries
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


def written(outcome: object) -> Seen:
    assert isinstance(outcome, Seen), outcome
    return outcome


class StoreContract:
    """What every store guarantees."""

    def test_the_check_of_a_good_store_passes_and_changes_nothing(self, kit):
        kit.store.check()
        assert kit.read() == Seen(Record(), None, kit.read().now)

    def test_what_was_never_written_reads_as_empty(self, kit):
        seen = kit.read("never")
        assert (seen.record, seen.version) == (Record(), None)

    def test_a_write_says_what_a_read_then_shows(self, kit):
        outcome = written(kit.write(FULL))
        seen = kit.read()
        assert (seen.record, seen.version) == (FULL, outcome.version)
        assert outcome.record == FULL
        assert outcome.now <= seen.now

    def test_every_record_survives_the_way_there_and_back(self, kit):
        keys = map("k{}".format, count())

        @settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(records)
        def survives(record: Record) -> None:
            key = next(keys)
            written(kit.write(record, key=key))
            assert kit.read(key).record == record

        survives()

    def test_the_same_record_again_is_a_new_version(self, kit):
        versions: list[str | None] = [None]
        for _ in range(3):
            versions.append(written(kit.write(FIRST, versions[-1])).version)
        assert len(set(versions)) == 4
        assert all(isinstance(kit.write(SECOND, old), Conflict) for old in versions[:-1])

    def test_a_write_from_an_old_version_changes_nothing(self, kit):
        first = written(kit.write(FIRST))
        second = written(kit.write(SECOND, first.version))
        stored = kit.stored("k")
        for stale in (None, first.version, "no version at all"):
            outcome = kit.write(THIRD, stale)
            assert isinstance(outcome, Conflict)
            if kit.conflict_tells:
                assert outcome.seen == Seen(SECOND, second.version, kit.read().now)
            else:
                assert outcome.seen is None
        assert kit.stored("k") == stored

    def test_a_version_of_what_is_not_there_conflicts(self, kit):
        assert isinstance(kit.write(FIRST, "some version"), Conflict)
        assert kit.read().version is None

    def test_of_several_writers_with_one_version_exactly_one_succeeds(self, kit):
        seen = kit.read()
        with ThreadPoolExecutor(WRITERS) as threads:
            for turn in range(ROUNDS):
                tries = [Record(issued=turn * 10 + writer) for writer in range(WRITERS)]
                outcomes = list(threads.map(lambda record, version=seen.version: kit.write(record, version), tries))
                [winner] = [outcome for outcome in outcomes if isinstance(outcome, Seen)]
                assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == WRITERS - 1
                seen = kit.read()
                assert (seen.record, seen.version) == (winner.record, winner.version)

    def test_two_keys_do_not_meet(self, kit):
        one = written(kit.write(FIRST, key="one"))
        other = written(kit.write(SECOND, key="other"))
        written(kit.write(THIRD, one.version, key="one"))
        assert kit.read("other") == Seen(SECOND, other.version, kit.read("other").now)

    @pytest.mark.parametrize("text", GARBAGE, ids=lambda text: text[:24] or "nothing")
    def test_what_is_no_record_is_an_error_and_stays(self, kit, text):
        kit.spoil("k", text)
        stored = kit.stored("k")
        with pytest.raises(CorruptRecordError, match=r"k.*not a lease record"):
            kit.read()
        with suppress(CorruptRecordError):
            assert isinstance(kit.write(FIRST), Conflict)
        assert kit.stored("k") == stored

    def test_a_newer_record_is_an_error_and_stays(self, kit):
        kit.spoil("k", json.dumps({"schema": SCHEMA + 1, "lanes": []}))
        stored = kit.stored("k")
        with pytest.raises(NewerRecordError, match="upgrade"):
            kit.read()
        with suppress(NewerRecordError):
            assert isinstance(kit.write(FIRST), Conflict)
        assert kit.stored("k") == stored

    def test_every_answer_carries_the_stores_time(self, kit):
        answers = [kit.read(), kit.write(FIRST), kit.read()]
        assert all(abs(kit.time() - answer.now) < 3 for answer in answers)


class RemoteContract(StoreContract):
    """What the stores behind a network guarantee besides."""

    def test_time_is_the_stores_and_not_the_workers(self, kit):
        kit.aws.clock.advance(86_400)
        outcome = written(kit.write(FIRST))
        conflict = kit.write(FIRST)
        now = int(kit.time())
        assert (outcome.now, kit.read().now, kit.read("never").now) == (now, now, now)
        assert conflict.seen is None or conflict.seen.now == now

    def test_threads_of_the_triggerer_read_the_same(self, kit):
        async def read() -> list[Seen]:
            return await asyncio.gather(*(asyncio.to_thread(kit.read, key) for key in ("k", "never")))

        kit.write(FULL)
        assert asyncio.run(read()) == [kit.read(), kit.read("never")]

    def test_a_write_whose_answer_is_lost_is_unknown_and_the_next_read_shows_it(self, kit):
        first = written(kit.write(FIRST))
        kit.aws.faults.add(operation=kit.write_operation, kind="lost_response", times=MANY)
        assert isinstance(kit.write(SECOND, first.version), Unknown)
        kit.aws.faults.clear()
        seen = kit.read()
        assert seen.record == SECOND
        written(kit.write(THIRD, seen.version))

    def test_a_write_that_the_server_failed_is_unknown_and_the_next_read_shows_nothing_of_it(self, kit):
        first = written(kit.write(FIRST))
        kit.aws.faults.add(operation=kit.write_operation, kind="error", status=500, times=MANY)
        assert isinstance(kit.write(SECOND, first.version), Unknown)
        kit.aws.faults.clear()
        assert kit.read().record == FIRST
        written(kit.write(THIRD, first.version))

    @pytest.mark.parametrize("expected", [False, True], ids=["first", "next"])
    def test_a_write_that_botocore_sends_twice_does_not_conflict_with_itself(self, kit, expected):
        version = written(kit.write(FIRST)).version if expected else None
        kit.aws.faults.add(operation=kit.write_operation, kind="lost_response")
        outcome = kit.write(SECOND, version)
        seen = kit.read()
        assert seen.record == SECOND
        assert outcome == seen if kit.retry_tells else isinstance(outcome, Unknown)

    def test_a_write_that_botocore_sends_twice_and_another_overwrites_between_is_unknown(self, kit):
        """It has taken effect, so "nothing was written" would be wrong, although what is there is the other's."""
        first = written(kit.write(FIRST))
        others: list[Seen] = []

        def write_between(**_: object) -> None:
            if not others:
                others.append(kit.read())
                others.append(written(kit.write(THIRD, others[0].version)))

        events = kit.clients[kit.service].meta.events
        events.register_first(f"needs-retry.{kit.service}.{kit.write_operation}", write_between)
        kit.aws.faults.add(operation=kit.write_operation, kind="lost_response")
        assert isinstance(kit.write(SECOND, first.version), Unknown)
        assert [other.record for other in others] == [SECOND, THIRD]
        assert kit.read().record == THIRD

    @pytest.mark.parametrize("kind", ["throttle", "error", "lost_response"])
    def test_a_store_that_is_down_for_a_while(self, kit, kind):
        for operation in (kit.read_operation, kit.write_operation, kit.check_operation):
            kit.aws.faults.add(operation=operation, kind=kind, times=MANY)
        with pytest.raises(LockStoreUnavailableError, match="does not answer"):
            kit.read()
        with pytest.raises(LockStoreUnavailableError):
            kit.store.check()
        assert isinstance(kit.write(FIRST), Unknown)
        kit.aws.faults.clear()
        kit.store.check()
        assert kit.read().record == (FIRST if kind == "lost_response" else Record())

    def test_a_short_throttling_is_not_noticed(self, kit):
        for operation in (kit.read_operation, kit.write_operation):
            kit.aws.faults.add(operation=operation, kind="throttle")
        assert written(kit.write(FIRST)) == kit.read()

    def test_a_missing_permission_is_named(self, kit):
        for operation, use in (
            (kit.read_operation, kit.read),
            (kit.write_operation, lambda: kit.write(FIRST)),
            (kit.check_operation, kit.store.check),
        ):
            kit.aws.deny(operation)
            with pytest.raises(LockStoreError, match=kit.actions[operation]):
                use()

    def test_a_refusal_that_nobody_foresaw_comes_out_as_it_is(self, kit):
        for operation, use in (
            (kit.read_operation, kit.read),
            (kit.write_operation, lambda: kit.write(FIRST)),
        ):
            kit.aws.faults.add(operation=operation, kind="error", code="Unforeseen", status=400)
            with pytest.raises(Exception, match="Unforeseen") as refusal:
                use()
            assert not isinstance(refusal.value, LockStoreError)
