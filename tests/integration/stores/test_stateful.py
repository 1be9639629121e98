"""Three owners, one record, a network that loses answers: the store does what a store in memory does."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from airflow_eip_provider.lease.record import Attempt, Limits, Record
from airflow_eip_provider.lease.store import Conflict, Seen, Unknown
from airflow_eip_provider.lease.transitions import (
    Acquire,
    Activate,
    Leave,
    Prewarm,
    Prewarmed,
    Queue,
    Reenter,
    Refused,
    Release,
    StartRelease,
    step,
)
from airflow_eip_provider.stores.memory import MemoryStore
from tests.integration.stores.kits import dynamodb_kit, s3_kit
from tests.unit.lease.law import Ledger

if TYPE_CHECKING:
    from airflow_eip_provider.lease.transitions import Event
    from tests.integration.stores.kits import RemoteKit

LIMITS = Limits(grace=60, surface=300, history=3)
EFFORT = settings(
    max_examples=30, stateful_step_count=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
OWNERS = ("a", "b", "c")
MANY = 50
keys = map("k{}".format, count())

owners = st.sampled_from(OWNERS)
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

    @rule(owner=owners, what=st.sampled_from(("looks", "is tried again", 1, 60, 400)))
    def meanwhile(self, owner: str, what: str | int) -> None:
        if what == "looks":
            self.known[owner] = self._read()
        elif what == "is tried again":
            self.tries[owner] += 1
        else:
            self.kit.aws.clock.advance(what)

    @rule(owner=owners, day=days, data=st.data())
    def change(self, owner: str, day: str, data: st.DataObject) -> None:
        seen = self.known[owner]
        steps = [step(seen.record, event, seen.now, LIMITS) for event in self._events(owner, seen.record)]
        records = [after for after in steps if not isinstance(after, Refused) and after != seen.record]
        if not records:
            self.known[owner] = self._read()
            return
        outcome = self._write(seen, data.draw(st.sampled_from(records)), day)
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
        return self.model.read(self.key)

    def _events(self, owner: str, record: Record) -> list[Event]:
        attempt = Attempt(owner, f"dag.{owner}", self.tries[owner], "n")
        token = record.lease.token if record.lease else record.issued
        return [
            Acquire(attempt, "daily", 600.0),
            Queue(attempt, "daily", 600.0),
            Reenter(attempt),
            Prewarm(attempt),
            Prewarmed(attempt, "j-2"),
            Activate(attempt, token, "j-1"),
            StartRelease(token),
            Release(token, None, "done", may_have_orphans=True),
            Leave(attempt),
        ]


def test_dynamodb_does_what_memory_does(local_aws, boto):
    run(dynamodb_kit(local_aws, boto))


def test_s3_does_what_memory_does(local_aws, boto):
    run(s3_kit(local_aws, boto))


def run(kit: RemoteKit) -> None:
    machine = type("OwnersOf" + kit.service.title(), (Owners,), {"kit": kit})
    run_state_machine_as_test(machine, settings=EFFORT)
