"""The lock of one Elastic IP as a task uses it: the lock's programs, performed with AWS."""

from __future__ import annotations

import logging
import secrets
import time
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_eip_provider.airflow_compat import conf
from airflow_eip_provider.calls import perform
from airflow_eip_provider.exceptions import InvalidInputError, LaunchUnclearError
from airflow_eip_provider.hooks.lock import is_cluster, reading_of
from airflow_eip_provider.lock.codec import decode, encode
from airflow_eip_provider.lock.model import LIMITS, Speaker
from airflow_eip_provider.lock.requests import (
    Disassociate,
    Launch,
    Terminate,
    TooLate,
    Unclear,
    WriteRecord,
)
from airflow_eip_provider.lock.store import Seen
from airflow_eip_provider.operators.owner import Owner
from airflow_eip_provider.stores.uri import open_store, parse_uri

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook
    from airflow_eip_provider.lock.requests import Program

T = TypeVar("T")
log = logging.getLogger(__name__)


class Unset(Enum):
    """What a parameter is that was not given; ``None`` says something else. An Enum's members survive copying."""

    UNSET = "unset"


UNSET: Any = Unset.UNSET


def configured_lock_store() -> str | None:
    """Return ``[eip] lock_store``; ``None`` when it is not set."""
    return conf.get("eip", "lock_store", fallback=None) or None


def lock_store_uri(given: Any) -> str | None:
    """
    Resolve the lock store: the operator's parameter, else ``[eip] lock_store``; ``None`` is the physical lock alone.

    :raises InvalidInputError: for a malformed URI, and for a store without the name of this environment.
    """
    uri = configured_lock_store() if given is UNSET else given
    if not uri:
        return None
    parse_uri(uri)
    if not conf.get("eip", "environment", fallback=None):
        raise InvalidInputError(
            f"using lock store '{uri}'",
            problem="[eip] environment is not set, and two environments with the same DAGs would be taken for one",
            remedy="set it in airflow.cfg (AIRFLOW__EIP__ENVIRONMENT) to a name that no other environment has",
        )
    return str(uri)


def speaker_of(context: Context, nonce: str | None = None) -> Speaker:
    """
    Return who speaks for a task's owner in this try.

    :param nonce: of the try's process, if it has one already.
    """
    owner = Owner.of(context)
    return Speaker(owner.digest, str(owner), context["ti"].try_number, nonce or secrets.token_hex(8))


def seen_as_hint(seen: Seen) -> dict[str, Any]:
    """Return a record as it was seen, as plain JSON: it spares the next phase a read, and it may be out of date."""
    return {"record": encode(seen.record), "version": seen.version, "now": seen.now}


def seen_of_hint(hint: Mapping[str, Any]) -> Seen:
    """Return what :func:`seen_as_hint` was given."""
    return Seen(decode(hint["record"], where="a deferral's hint"), hint["version"], hint["now"])


class Tenancy:
    """
    The lock of one address, for one task in one process.

    :param uri: the lock store's.
    :param client_for: makes the boto3 client of a lock store, by service and region.
    :param check_alive: raises after a kill; asked before every change, but for those that undo.
    """

    def __init__(
        self,
        uri: str,
        *,
        allocation_id: str,
        eip: ElasticIpHook,
        emr: EmrClusterHook,
        client_for: Callable[[str, str | None], Any],
        check_alive: Callable[[], None],
    ) -> None:
        where = parse_uri(uri)
        client = client_for(where.kind, where.region)
        self.uri = uri
        self.store = open_store(uri, lambda *_: client)
        self._allocation_id = allocation_id
        self._eip = eip
        self._emr = emr
        self._store_client: dict[str, Any] = {where.kind: client}
        self._check_alive = check_alive
        self._clock: tuple[float, float] | None = None

    def perform(self, program: Program[T], *, launch: Callable[[int], str] | None = None, undoing: bool = False) -> T:
        """
        Perform one of the lock's programs.

        :param launch: launches a cluster that carries a token, and returns its id.
        :param undoing: go on after a kill.
        """
        try:
            request = next(program)
            while True:
                request = program.send(self._answer(request, launch, undoing=undoing))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _answer(self, request: Any, launch: Callable[[int], str] | None, *, undoing: bool) -> Any:
        started = time.monotonic()
        match request:
            case WriteRecord() | Launch() | Terminate() | Disassociate():
                if not undoing:
                    self._check_alive()
                answer = self._change(request, launch)
            case _:
                reading = reading_of(request, store=self.store, allocation_id=self._allocation_id)
                clients: dict[str, Any] = {"ec2": self._eip.conn, "emr": self._emr.conn, **self._store_client}
                answer = perform(reading, clients)
        if isinstance(answer, Seen):
            self._clock = (answer.now, started)
        return answer

    def _change(self, request: Any, launch: Callable[[int], str] | None) -> Any:
        match request:
            case WriteRecord(record, version):
                return self.store.write(self._allocation_id, record, expected_version=version)
            case Launch(token, announced_at):
                return self._launch(token, announced_at, launch)
            case Terminate(carrier):
                return self._terminate(carrier)
            case Disassociate(association_id):
                return self._eip.disassociate(association_id)
        raise TypeError(type(request).__name__)

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

    def _now(self) -> float:
        """Return the store's time, never too early: its last answer, and what has passed here since it was asked."""
        if self._clock is None:
            raise TypeError("the store has not answered yet")
        said, asked = self._clock
        return said + time.monotonic() - asked

    def _terminate(self, carrier: str) -> None:
        if not is_cluster(carrier):
            return
        cluster = self._emr.get_cluster(carrier)
        if cluster is not None:
            self._emr.terminate(cluster)
