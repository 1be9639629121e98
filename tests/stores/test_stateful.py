"""Three owners, one record, a network that loses answers: the store does what a store in memory does."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from airflow_eip_provider.calls import perform
from airflow_eip_provider.lock.model import Limits, Record, Speaker
from airflow_eip_provider.lock.store import Conflict, Seen, Unknown
from airflow_eip_provider.lock.transitions import (
    Close,
    HandOver,
    Leave,
    Prewarm,
    Prewarmed,
    Queue,
    Reenter,
    Refused,
    Release,
    Take,
    step,
)
from airflow_eip_provider.stores.memory import MemoryStore
from tests.lock.law import Ledger
from tests.stores.kits import dynamodb_kit, s3_kit

if TYPE_CHECKING:
    from airflow_eip_provider.lock.transitions import Event
    from tests.stores.kits import RemoteKit

LIMITS = Limits(grace=60, surface=300, history=3)
EFFORT = settings(
    max_examples=40, stateful_step_count=40, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
OWNERS = ("a", "b", "c")
MANY = 50
keys = map("k{}".format, count())

owners = st.sampled_from(OWNERS)
kinds = st.sampled_from((Take, Take, Queue, Queue, Reenter, Prewarm, Prewarmed, HandOver, Close, Release, Leave))
# What happens to a write: nothing; its answer is lost for good; the first of botocore's tries loses its answer; the
# server fails without having written.
days = st.sampled_from(("good", "good", "good", "lost", "sent twice", "failed"))


class Owners(RuleBasedStateMachine):
    """
    Owners read, think and write; each knows only what it read last, so they conflict as often as they like.

    The same writes go to a store in memory, which says what must come of them.
    """

    kit: RemoteKit

    @initialize()
    def begin(self) -> None:
        self.key = next(keys)
        self.model = MemoryStore(lambda: 0.0)
        self.model_versions: dict[str | None, str | None] = {None: None}
        self.tries = dict.fromkeys(OWNERS, 1)
        self.ledger = Ledger()
        self.last = self._read_model().record
        first = self.kit.read(self.key)
        self.known = dict.fromkeys(OWNERS, first)

    @rule(owner=owners)
    def look(self, owner: str) -> None:
        self.known[owner] = self._read()

    @rule(owner=owners)
    def retry(self, owner: str) -> None:
        self.tries[owner] += 1

    @rule(seconds=st.sampled_from((1, 60, 400)))
    def time_passes(self, seconds: int) -> None:
        self.kit.aws.clock.advance(seconds)

    @rule(owner=owners, kind=kinds, day=days)
    def change(self, owner: str, kind: type[Event], day: str) -> None:
        seen = self.known[owner]
        after = step(seen.record, self._event(owner, kind, seen.record), seen.now, LIMITS)
        if isinstance(after, Refused) or after == seen.record:
            return
        outcome = self._write(seen, after, day)
        if isinstance(outcome, Seen):
            self.known[owner] = outcome
        elif isinstance(outcome, Conflict) and outcome.seen is not None:
            self.known[owner] = outcome.seen
        else:
            self.known[owner] = self._read()

    @invariant()
    def the_store_shows_what_was_written_last_and_nothing_else(self) -> None:
        self._read()

    def _write(self, seen: Seen, after: Record, day: str) -> Seen | Conflict | Unknown:
        operation = self.kit.write_operation
        if day == "lost":
            self.kit.aws.faults.add(operation=operation, kind="lost_response", times=MANY)
        elif day == "sent twice":
            self.kit.aws.faults.add(operation=operation, kind="lost_response")
        elif day == "failed":
            self.kit.aws.faults.add(operation=operation, kind="error", status=500, times=MANY)
        outcome = self.kit.write(after, seen.version, self.key)
        self.kit.aws.faults.clear()
        if day == "failed":
            assert isinstance(outcome, Unknown)
            return outcome
        must = self.model.write(self.key, after, expected_version=self.model_versions[seen.version])
        if day == "lost" or (day == "sent twice" and not (isinstance(must, Seen) and self.kit.retry_tells)):
            assert isinstance(outcome, Unknown)
        else:
            assert type(outcome) is type(must)
        if isinstance(must, Seen):
            self.ledger.enter(self.last, after)
            self.last = after
            if isinstance(outcome, Seen):
                assert outcome.version not in self.model_versions, "no version ever comes back"
                self.model_versions[outcome.version] = must.version
        return outcome

    def _read(self) -> Seen:
        seen, must = self.kit.read(self.key), self._read_model()
        assert seen.record == must.record
        assert self.model_versions.setdefault(seen.version, must.version) == must.version
        return seen

    def _read_model(self) -> Seen:
        return perform(self.model.reading(self.key), {})

    def _event(self, owner: str, kind: type[Event], record: Record) -> Event:
        speaker = Speaker(owner, f"dag.{owner}", self.tries[owner], "n")
        token = record.lease.token if record.lease else record.issued
        makers: dict[type[Event], Any] = {
            Take: lambda: Take(speaker, "daily", 600.0),
            Queue: lambda: Queue(speaker, "daily", 600.0),
            Reenter: lambda: Reenter(speaker),
            Prewarm: lambda: Prewarm(speaker),
            Prewarmed: lambda: Prewarmed(speaker, "j-2"),
            HandOver: lambda: HandOver(speaker, token, "j-1"),
            Close: lambda: Close(token),
            Release: lambda: Release(token, None, "done", doubtful=True),
            Leave: lambda: Leave(speaker),
        }
        event: Event = makers[kind]()
        return event


def test_dynamodb_does_what_memory_does(local_aws, boto):
    run(dynamodb_kit(local_aws, boto))


def test_s3_does_what_memory_does(local_aws, boto):
    run(s3_kit(local_aws, boto))


def run(kit: RemoteKit) -> None:
    machine = type("OwnersOf" + kit.service.title(), (Owners,), {"kit": kit})
    run_state_machine_as_test(machine, settings=EFFORT)
