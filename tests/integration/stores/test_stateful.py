"""Three owners write one record over a network that loses answers; each store behaves like the one in memory."""

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
from airflow_eip_provider.lease.store import Conflict, Snapshot, Unknown
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
from tests.integration.stores.stores_under_test import dynamodb_store, s3_store
from tests.unit.lease.law import Ledger

if TYPE_CHECKING:
    from airflow_eip_provider.lease.transitions import Event
    from tests.integration.stores.stores_under_test import RemoteStoreUnderTest

LIMITS = Limits(grace=60, surface=300, history=3)
EFFORT = settings(
    max_examples=30, stateful_step_count=30, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
OWNERS = ("a", "b", "c")
MANY = 50
keys = map("k{}".format, count())

owners = st.sampled_from(OWNERS)
# The fault of a write: none; its answer is lost in each of botocore's tries; in the first one only; or the server fails
# without having written.
faults = st.sampled_from(("none", "none", "none", "lost", "sent twice", "failed"))


class Owners(RuleBasedStateMachine):
    """
    Owners read and write a record; each knows only what it read last, so writes may conflict.

    The same writes go to a store in memory, whose outcomes are the expected ones.
    """

    subject: RemoteStoreUnderTest

    @initialize()
    def begin(self) -> None:
        self.key = next(keys)
        self.model = MemoryStore(lambda: 0.0)
        self.model_versions: dict[str | None, str | None] = {None: None}
        self.tries = dict.fromkeys(OWNERS, 1)
        self.ledger = Ledger()
        self.last = self._read_model().record
        first = self.subject.read(self.key)
        self.known = dict.fromkeys(OWNERS, first)

    @rule(owner=owners, what=st.sampled_from(("reads", "is retried", 1, 60, 400)))
    def meanwhile(self, owner: str, what: str | int) -> None:
        if what == "reads":
            self.known[owner] = self._read()
        elif what == "is retried":
            self.tries[owner] += 1
        else:
            self.subject.aws.clock.advance(what)

    @rule(owner=owners, fault=faults, data=st.data())
    def change(self, owner: str, fault: str, data: st.DataObject) -> None:
        snapshot = self.known[owner]
        steps = [step(snapshot.record, event, snapshot.now, LIMITS) for event in self._events(owner, snapshot.record)]
        records = [after for after in steps if not isinstance(after, Refused) and after != snapshot.record]
        if not records:
            self.known[owner] = self._read()
            return
        outcome = self._write(snapshot, data.draw(st.sampled_from(records)), fault)
        if isinstance(outcome, Snapshot):
            self.known[owner] = outcome
        elif isinstance(outcome, Conflict) and outcome.snapshot is not None:
            self.known[owner] = outcome.snapshot
        else:
            self.known[owner] = self._read()

    @invariant()
    def the_store_has_what_was_written_last(self) -> None:
        self._read()

    def _write(self, snapshot: Snapshot, after: Record, fault: str) -> Snapshot | Conflict | Unknown:
        operation = self.subject.write_operation
        if fault == "lost":
            self.subject.aws.faults.add(operation=operation, kind="lost_response", times=MANY)
        elif fault == "sent twice":
            self.subject.aws.faults.add(operation=operation, kind="lost_response")
        elif fault == "failed":
            self.subject.aws.faults.add(operation=operation, kind="error", status=500, times=MANY)
        outcome = self.subject.write(after, snapshot.version, self.key)
        self.subject.aws.faults.clear()
        if fault == "failed":
            assert isinstance(outcome, Unknown)
            return outcome
        expected = self.model.write(self.key, after, expected_version=self.model_versions[snapshot.version])
        if fault == "lost" or (
            fault == "sent twice" and not (isinstance(expected, Snapshot) and self.subject.retry_outcome_is_known)
        ):
            assert isinstance(outcome, Unknown)
        else:
            assert type(outcome) is type(expected)
        if isinstance(expected, Snapshot):
            self.ledger.enter(self.last, after)
            self.last = after
            if isinstance(outcome, Snapshot):
                assert outcome.version not in self.model_versions, "no version is used twice"
                self.model_versions[outcome.version] = expected.version
        return outcome

    def _read(self) -> Snapshot:
        snapshot, expected = self.subject.read(self.key), self._read_model()
        assert snapshot.record == expected.record
        assert self.model_versions.setdefault(snapshot.version, expected.version) == expected.version
        return snapshot

    def _read_model(self) -> Snapshot:
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


def test_dynamodb_behaves_like_the_store_in_memory(local_aws, boto):
    run(dynamodb_store(local_aws, boto))


def test_s3_behaves_like_the_store_in_memory(local_aws, boto):
    run(s3_store(local_aws, boto))


def run(subject: RemoteStoreUnderTest) -> None:
    machine = type("OwnersOf" + subject.service.title(), (Owners,), {"subject": subject})
    run_state_machine_as_test(machine, settings=EFFORT)
