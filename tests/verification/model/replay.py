"""
A world by replay: a function of the lease protocol that is run again and told the same answers is where it was.

The model must stop a process between any two calls and go on from there more than once, and a running function can be
neither copied nor kept. But it depends on nothing besides its parameters and the answers of its world. So it is run
from its beginning with the answers that it had; the first call that has no answer yet ends the run, and says what is
asked next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.verification.model.requests import (
    At,
    Disassociate,
    FindClusters,
    GiveLeaseTags,
    Launch,
    Pause,
    ReadLocation,
    ReadRecord,
    ReadResource,
    ReadSteps,
    Terminate,
    WriteRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.store import Outcome, Snapshot
    from airflow_eip_provider.lease.world import AddressLocation, LeaseTags, Resource, TooLate, Unclear

_NOTHING = object()
_READ_RECORD, _READ_PLACE, _PAUSE = ReadRecord(), ReadLocation(), Pause()


class Asked(BaseException):
    """Something is asked that there is no answer to; not an ``Exception``, which a handler of errors might keep."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


class Replay:
    """A :class:`~airflow_eip_provider.lease.world.World` that gives the answers that there were, in their order."""

    def __init__(self, told: Iterable[Any], address: str = "") -> None:
        self._told = iter(told)
        self._address = address

    def at(self, address: str) -> Replay:
        """Return the world of one address of several; all of them have the same answers before them."""
        return type(self)(self._told, address)

    def read_record(self) -> Snapshot:
        return self._answer(_READ_RECORD)

    def read_location(self) -> AddressLocation:
        return self._answer(_READ_PLACE)

    def settled_location(self, expected: str) -> AddressLocation:
        return self._answer(ReadLocation(expected))

    def read_resource(self, resource_id: str) -> Resource:
        return self._answer(ReadResource(resource_id))

    def find_clusters(self, lease_tags: LeaseTags, since: float) -> tuple[Resource, ...]:
        return self._answer(FindClusters(lease_tags, since))

    def active_steps(self, resource_id: str, *, guarded: bool) -> tuple[str, ...]:
        return self._answer(ReadSteps(resource_id, guarded))

    def write_record(self, record: Record, version: str | None, *, joins: bool = False) -> Outcome:
        return self._answer(WriteRecord(record, version, joins))

    def pause(self) -> None:
        """Do nothing: in the model others may go on at any moment."""

    def launch(self, token: int, announced_at: float) -> str | TooLate | Unclear:
        return self._answer(Launch(token, announced_at))

    def give_lease_tags(self, resource_id: str, token: int) -> None:
        self._answer(GiveLeaseTags(resource_id, token))

    def terminate(self, resource_id: str) -> bool:
        return self._answer(Terminate(resource_id))

    def disassociate(self, association_id: str) -> None:
        self._answer(Disassociate(association_id))

    def _answer(self, request: Any) -> Any:
        answer = next(self._told, _NOTHING)
        if answer is _NOTHING:
            raise Asked(At(self._address, request) if self._address else request)
        return answer


class PausingReplay(Replay):
    """The same, where a pause is a request like the others; its answer is ``None``."""

    def pause(self) -> None:
        self._answer(_PAUSE)


def run(function: Callable[[Any], Any], world: Replay) -> tuple[Any, Any]:
    """
    Run a function of the protocol as far as the answers go.

    :return: what it asks next, or ``None`` and what it returned.
    """
    try:
        return None, function(world)
    except Asked as asked:
        return asked.request, None
