"""
What the lock's programs ask of the world, and what they are told.

A *program* is a generator: it yields a request, is sent the answer, and returns its outcome. Workers perform programs
with AWS (``operators.tenancy``); the model checker performs the same ones with an imagined world.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, Union

if TYPE_CHECKING:
    from typing import TypeAlias

    from airflow_eip_provider.lock.model import Record

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mark:
    """
    Whose a cluster is, by its tags: the token alone would do if no store ever broke its word or was begun anew.

    :param owner: the owner's digest.
    """

    token: int
    owner: str


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where the address is.

    :param association_id: ``None`` when nothing carries it.
    :param carriers: the ids of what carries it: its instance, and that one's cluster.
    :param live: whether that instance is pending or running.
    :param mark: of the lease that its cluster was launched under.
    :param left: what carries it serves nobody any more, and stays until the next to have the lease takes it off; or it
        is on its way out.
    """

    association_id: str | None = None
    carriers: tuple[str, ...] = ()
    live: bool = False
    mark: Mark | None = None
    left: bool = False

    @property
    def is_free(self) -> bool:
        """Whether nothing carries the address."""
        return self.association_id is None


@dataclass(frozen=True, slots=True)
class Carrier:
    """
    A cluster or an instance that carries the address, or may come to.

    :param state: "live", "ending" (on its way to a terminal state) or "ended" (there, or unknown).
    :param mark: from its tags; ``None`` when it was not launched under this lock.
    """

    carrier: str
    state: str
    mark: Mark | None = None

    @property
    def is_live(self) -> bool:
        """Whether nothing has ended it yet."""
        return self.state == "live"


@dataclass(frozen=True, slots=True)
class TooLate:
    """Nothing was launched: the write that announced the launch is too long ago; write it again."""


@dataclass(frozen=True, slots=True)
class Unclear:
    """The launch was sent, and neither its answer nor its cluster came to be seen."""


@dataclass(frozen=True, slots=True)
class ReadRecord:
    """Read the record: answered by :class:`~airflow_eip_provider.lock.store.Seen`."""


@dataclass(frozen=True, slots=True)
class WriteRecord:
    """
    Replace the record of this version: answered by :data:`~airflow_eip_provider.lock.store.Outcome`.

    :param joins: it adds an entry to the queue, and may be refused where the record has grown too large.
    """

    record: Record
    version: str | None
    joins: bool = False


@dataclass(frozen=True, slots=True)
class ReadPlace:
    """
    Look where the address is: answered by a :class:`Place`.

    :param expected: look until the address is there, or EC2 would have to show it there.
    """

    expected: str | None = None


@dataclass(frozen=True, slots=True)
class ReadCarrier:
    """Look at a cluster or an instance: answered by a :class:`Carrier`."""

    carrier: str


@dataclass(frozen=True, slots=True)
class FindCarriers:
    """
    Look for clusters that carry this mark and have not ended: answered by a tuple of :class:`Carrier`.

    :param since: by the store's clock; no cluster with this mark is older. 0 when that is not known.
    """

    mark: Mark
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class ReadSteps:
    """
    Look for steps that run or still may: answered by a tuple of their ids.

    :param guarded: only those that need the address.
    """

    carrier: str
    guarded: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """
    Launch a cluster that carries this token: answered by its id, :class:`TooLate` or :class:`Unclear`.

    :param announced_at: the store's time of the write that this launch relies on; ``Limits.send`` counts from there.
    """

    token: int
    announced_at: float


@dataclass(frozen=True, slots=True)
class Terminate:
    """
    Terminate a cluster, whatever has become of it: answered by ``False`` when EMR does not know it (yet).

    An instance that somebody else made is left as it is.
    """

    carrier: str


@dataclass(frozen=True, slots=True)
class Disassociate:
    """Undo one association, if it still exists."""

    association_id: str


@dataclass(frozen=True, slots=True)
class Pause:
    """
    Wait a little before the next look: another writer was faster, or the answer to a write was lost.

    Who performs it makes the pauses random and longer each time, and raises an error when they have come to minutes.
    """


Request: TypeAlias = Union[
    ReadRecord, WriteRecord, Pause, ReadPlace, ReadCarrier, FindCarriers, ReadSteps, Launch, Terminate, Disassociate
]
Program: TypeAlias = Generator[Request, Any, T]
