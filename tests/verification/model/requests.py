"""What the functions of the lease protocol ask of their world, as values that a node of the model can keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.lease.world import LeaseTags


@dataclass(frozen=True, slots=True)
class At:
    """What is asked of one address of several."""

    address: str
    request: Any

    def __str__(self) -> str:
        return f"{self.request} of {self.address}"


def bare(request: Any) -> Any:
    """Return what is asked, of whichever address."""
    return request.request if isinstance(request, At) else request


@dataclass(frozen=True, slots=True)
class ReadRecord:
    pass


@dataclass(frozen=True, slots=True)
class ReadLocation:
    """:param expected: the carrier of an association that was made a moment ago."""

    expected: str | None = None


@dataclass(frozen=True, slots=True)
class ReadResource:
    resource_id: str


@dataclass(frozen=True, slots=True)
class FindClusters:
    lease_tags: LeaseTags
    since: float


@dataclass(frozen=True, slots=True)
class ReadSteps:
    resource_id: str
    guarded: bool


@dataclass(frozen=True, slots=True)
class WriteRecord:
    record: Record
    version: str | None
    joins: bool = False


@dataclass(frozen=True, slots=True)
class Pause:
    pass


@dataclass(frozen=True, slots=True)
class Launch:
    token: int
    announced_at: float


@dataclass(frozen=True, slots=True)
class GiveLeaseTags:
    resource_id: str
    token: int


@dataclass(frozen=True, slots=True)
class Terminate:
    resource_id: str


@dataclass(frozen=True, slots=True)
class Disassociate:
    association_id: str
