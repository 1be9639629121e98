"""The lock of one Elastic IP as a task uses it: the lock's programs, performed with AWS."""

from __future__ import annotations

import logging
import random
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_eip_provider.exceptions import (
    LaunchUnclearError,
    LockStoreUnavailableError,
    QueueFullError,
    RecordContendedError,
)
from airflow_eip_provider.hooks.endings import disassociate, end
from airflow_eip_provider.hooks.nat import remove_gateway
from airflow_eip_provider.lock.model import LIMITS
from airflow_eip_provider.lock.requests import (
    Disassociate,
    FindCarriers,
    Launch,
    Pause,
    ReadCarrier,
    ReadPlace,
    ReadRecord,
    Terminate,
    TooLate,
    Unclear,
    WriteRecord,
)
from airflow_eip_provider.lock.store import Seen, Unknown
from airflow_eip_provider.readings.gateways import is_gateway, read_gateway
from airflow_eip_provider.readings.lag import READS_LAG_SECONDS, SECOND_LOOK_SECONDS
from airflow_eip_provider.readings.lock import answer_to, is_cluster
from airflow_eip_provider.stores.records import to_text
from airflow_eip_provider.stores.uri import open_store, parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eip_provider.lock.model import Record
    from airflow_eip_provider.lock.requests import Carrier, Mark, Place, Program
    from airflow_eip_provider.lock.store import Outcome

T = TypeVar("T")
log = logging.getLogger(__name__)

_CHANGES = (WriteRecord, Launch, Terminate, Disassociate)
# So many writes in a row without an answer, each sent by botocore more than once, are no accident any more.
_MOST_UNANSWERED = 4
# Nobody joins the queue of a record that this would make larger. DynamoDB keeps 400 KB in an item ("Quotas in Amazon
# DynamoDB"); the rest is for the writes of those who are in the record already, which are never refused: a hand-over, a
# release, and what they add to history and suspects. S3 has no such limit; one rule is enough.
MOST_BYTES_TO_JOIN = 300_000
# The pauses after a write that met another: random, on average doubling from half a second to ten seconds, five minutes
# in all. Much longer than a call of the store takes: then fifty writers at a time need three writes each, not ten.
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 20.0
_MOST_PAUSES_SECONDS = 300.0


def pause_seconds(number: int, chance: float) -> float:
    """
    Return the pause before the next look at a record that others change.

    :param number: how many there were before.
    :param chance: random, from 0 to 1: of many writers, each pauses for another time.
    """
    return chance * min(_FIRST_PAUSE_SECONDS * float(2 ** min(number, 16)), _LONGEST_PAUSE_SECONDS)


class Tenancy:
    """
    The lock of one address, for one task in one process.

    :param uri: the lock store's.
    :param ec2: a boto3 client, or what is like one; ``emr`` too.
    :param client_for: makes the boto3 client of a lock store, by service and region.
    :param check_alive: raises after a kill; asked before every change, but for those that undo.
    :param remembered: names a cluster that may be the lease's, whatever ListClusters says.
    :ivar patience_seconds: for how long one program pauses, in all, because others change the record.
    """

    def __init__(
        self,
        uri: str,
        *,
        allocation_id: str,
        ec2: Any,
        emr: Any,
        client_for: Callable[[str, str | None], Any],
        check_alive: Callable[[], None],
        remembered: Callable[[], str | None] = lambda: None,
    ) -> None:
        where = parse_uri(uri)
        client = client_for(where.kind, where.region)
        self.uri = uri
        self.limits = replace(LIMITS, grace=where.grace or LIMITS.grace)
        self.store = open_store(uri, lambda *_: client)
        self._allocation_id = allocation_id
        self._ec2 = ec2
        self._emr = emr
        self._clients: dict[str, Any] = {"ec2": ec2, "emr": emr, where.kind: client}
        self._check_alive = check_alive
        self._remembered = remembered
        self._clock: tuple[float, float] | None = None
        self.patience_seconds = _MOST_PAUSES_SECONDS
        self._unanswered = 0
        self._pauses, self._paused = 0, 0.0

    def read(self) -> Seen:
        """Return the record as it is now."""
        seen: Seen = self._read(ReadRecord())
        return seen

    def perform(self, program: Program[T], *, launch: Callable[[int], str] | None = None, undoing: bool = False) -> T:
        """
        Perform one of the lock's programs.

        :param launch: launches a cluster that carries a token, and returns its id.
        :param undoing: go on after a kill.
        :raises LockStoreUnavailableError: when the store does not answer, or leaves one write after the other open.
        :raises QueueFullError: when the queue is too long for one more.
        :raises RecordContendedError: when others change the record before each write of this task, for minutes.
        """
        self._unanswered, self._pauses, self._paused = 0, 0, 0.0
        try:
            request = next(program)
            while True:
                request = program.send(self._answer(request, launch, undoing=undoing))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _answer(self, request: Any, launch: Callable[[int], str] | None, *, undoing: bool) -> Any:
        started = time.monotonic()
        if isinstance(request, Pause):
            return self._pause()
        if isinstance(request, _CHANGES):
            if not undoing:
                self._check_alive()
            answer = self._change(request, launch)
        elif isinstance(request, FindCarriers):
            answer = self._with_remembered(self._read(request), request.mark)
        elif isinstance(request, ReadPlace) and request.expected is not None:
            answer = self._settled_place(request)
        else:
            answer = self._read(request)
        if isinstance(answer, Seen):
            self._clock = (answer.now, started)
        return answer

    def _read(self, request: Any) -> Any:
        return answer_to(request, store=self.store, allocation_id=self._allocation_id, clients=self._clients)

    def _settled_place(self, request: ReadPlace) -> Place:
        """Look until the address is where it is expected, or EC2 would have to show it there: its answers may lag."""
        for _ in range(READS_LAG_SECONDS // SECOND_LOOK_SECONDS):
            place: Place = self._read(request)
            if request.expected in place.carriers:
                return place
            time.sleep(SECOND_LOOK_SECONDS)
        last: Place = self._read(request)
        return last

    def _with_remembered(self, found: tuple[Carrier, ...], mark: Mark) -> tuple[Carrier, ...]:
        """Add the cluster that an earlier try remembers, if it is of the same lease: ListClusters may lag behind."""
        name = self._remembered()
        if name is None or any(carrier.carrier == name for carrier in found):
            return found
        there: Carrier = self._read(ReadCarrier(name))
        return (*found, there) if there.mark == mark and there.state != "ended" else found

    def _change(self, request: Any, launch: Callable[[int], str] | None) -> Any:
        if isinstance(request, WriteRecord):
            return self._write(request)
        if isinstance(request, Launch):
            return self._launch(request.token, request.announced_at, launch)
        if isinstance(request, Terminate):
            return self._terminate(request.carrier)
        return self._disassociate(request.association_id)

    def _write(self, request: WriteRecord) -> Outcome:
        if request.joins:
            self._check_room(request.record)
        outcome = self.store.write(self._allocation_id, request.record, expected_version=request.version)
        if not isinstance(outcome, Unknown):
            self._unanswered = 0
            return outcome
        self._unanswered += 1
        if self._unanswered == _MOST_UNANSWERED:
            raise LockStoreUnavailableError(self.uri, problem=outcome.problem)
        return outcome

    def _check_room(self, record: Record) -> None:
        size = len(to_text(record))
        if size > MOST_BYTES_TO_JOIN:
            raise QueueFullError(self.uri, waiting=len(record.queue) - 1, size=size, most=MOST_BYTES_TO_JOIN)

    def _pause(self) -> None:
        """Pause, longer each time and not as long as others do: of many writers one is always the first."""
        if self._paused >= self.patience_seconds:
            raise RecordContendedError(self.uri, writes=self._pauses, seconds=self._paused)
        seconds = pause_seconds(self._pauses, random.random())  # noqa: S311 - not a secret
        self._pauses += 1
        self._paused += seconds
        time.sleep(seconds)

    def _launch(self, token: int, announced_at: float, launch: Callable[[int], str] | None) -> str | TooLate | Unclear:
        if launch is None:
            raise TypeError("this task launches nothing")
        if self._clock is None or self._now() - announced_at > LIMITS.send:
            return TooLate()
        try:
            return launch(token)
        except LaunchUnclearError as error:
            log.warning("%s", error)
            return Unclear()

    def _disassociate(self, association_id: str) -> bool:
        if not is_gateway(association_id):
            return disassociate(self._ec2, association_id)
        gateway = read_gateway(self._clients["ec2"], association_id)
        if gateway is not None:
            remove_gateway(self._ec2, gateway)
        return gateway is not None

    def _now(self) -> float:
        """Return the store's time, never too early: its last answer, and what has passed here since it was asked."""
        if self._clock is None:
            raise TypeError("the store has not answered yet")
        said, asked = self._clock
        return said + time.monotonic() - asked

    def _terminate(self, carrier: str) -> bool:
        return end(self._emr, carrier) if is_cluster(carrier) else True
