"""What a survey of one region has found, and the verdict on each cluster. Nothing here calls AWS."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.reaper.owners import OwnerState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.reaper.owners import Judgement


class Decision(Enum):
    """What becomes of a cluster."""

    KEEP = "keep"
    REAP = "reap"
    UNKNOWN = "unknown"  # kept, and a person should look


@dataclass(frozen=True, slots=True)
class Found:
    """
    A cluster that was launched for an address.

    :param owner: for people; it may be cut.
    :param reason: why this decision.
    """

    cluster: Cluster
    allocation_id: str
    owner: str
    decision: Decision
    reason: str

    def __str__(self) -> str:
        cluster = self.cluster
        return f"{self.decision.value} {cluster.job_flow_id} ({cluster.state}) of '{self.owner}': {self.reason}"

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        created = self.cluster.created_at
        return {
            "job_flow_id": self.cluster.job_flow_id,
            "name": self.cluster.name,
            "state": self.cluster.state,
            "created_at": created.isoformat() if created else None,
            "allocation_id": self.allocation_id,
            "owner": self.owner,
            "decision": self.decision.value,
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Finding:
    """An address on an instance whose cluster has ended; EC2 takes it off when the instance is gone."""

    allocation_id: str
    public_ip: str
    instance_id: str
    instance_state: str
    job_flow_id: str

    def __str__(self) -> str:
        return (
            f"Elastic IP {self.allocation_id} ({self.public_ip}) is on instance {self.instance_id}, which is "
            f"{self.instance_state} although its cluster {self.job_flow_id} has ended"
        )

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class LeftGateway:
    """A NAT gateway whose cluster has ended: nobody needs it, and it is paid for by the hour."""

    allocation_id: str
    nat_gateway_id: str
    job_flow_id: str

    def __str__(self) -> str:
        return (
            f"NAT gateway {self.nat_gateway_id} for Elastic IP {self.allocation_id} is there although its cluster "
            f"{self.job_flow_id} has ended"
        )

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Survey:
    """
    Every live cluster of ours in a region, and what was found besides.

    :param gateways: those that are to be removed.
    :param absent: ids that were asked for and are no such clusters (any more).
    """

    clusters: Sequence[Found]
    findings: Sequence[Finding]
    gateways: Sequence[LeftGateway] = ()
    absent: Sequence[str] = ()

    @property
    def to_reap(self) -> list[Found]:
        """The clusters whose owner has finished."""
        return [found for found in self.clusters if found.decision is Decision.REAP]

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        return {
            "clusters": [found.facts() for found in self.clusters],
            "findings": [finding.facts() for finding in self.findings],
            "gateways": [gateway.facts() for gateway in self.gateways],
            "absent": list(self.absent),
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What the verdict on a cluster rests on.

    :param age: ``None`` when EMR does not say when it was created.
    :param owners: of the cluster, and of the lease that it holds when that is another's.
    :param lease: the lease that it holds, in words; ``None`` for none, or when no lock store was asked.
    :param busy: steps that run or still may.
    :param named: it was asked for by its id.
    :param in_charge: since when it has a service that a failover has moved to it.
    """

    age: timedelta | None
    owners: Sequence[Judgement]
    lease: str | None = None
    busy: Sequence[str] = ()
    named: bool = False
    in_charge: str | None = None


def decide(evidence: Evidence, *, min_age: timedelta) -> tuple[Decision, str]:
    """Judge a cluster: in doubt it is kept."""
    if evidence.age is None or evidence.age < min_age:
        old = "EMR does not say how old it is" if evidence.age is None else f"it is younger than {_words(min_age)}"
        return Decision.KEEP, f"{old}: it may have been launched just now"
    at_work = [owner.why for owner in evidence.owners if owner.state is OwnerState.RUNNING]
    if evidence.in_charge and not evidence.named:
        at_work.append(f"since {evidence.in_charge} it has a service that a failover has moved to it")
    if at_work:
        return Decision.KEEP, "; ".join([*at_work, *([evidence.lease] if evidence.lease else [])])
    unknown = [owner.why for owner in evidence.owners if owner.state is OwnerState.UNKNOWN]
    if not unknown:
        return Decision.REAP, "; ".join(owner.why for owner in evidence.owners)
    why = "; ".join(unknown)
    if evidence.busy:
        return Decision.KEEP, f"{why}; it runs {', '.join(evidence.busy)}"
    if evidence.named:
        return Decision.REAP, f"asked for by its id; {why}"
    return (Decision.KEEP, f"{evidence.lease}; {why}") if evidence.lease else (Decision.UNKNOWN, why)


def _words(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes:g} minutes" if minutes % 60 else f"{minutes / 60:g} h"
