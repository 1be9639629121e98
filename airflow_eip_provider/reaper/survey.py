"""The result of a survey of one region, and the decision on each cluster. Nothing here calls AWS."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.tags import KEEP_TAG
from airflow_eip_provider.reaper.owners import OwnerState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airflow_eip_provider.aws.clusters import Cluster
    from airflow_eip_provider.reaper.owners import Judgement


class Decision(Enum):
    """The decision on a cluster."""

    KEEP = "keep"
    REAP = "reap"
    UNKNOWN = "unknown"  # keep it; a person should check


@dataclass(frozen=True, slots=True)
class JudgedCluster:
    """
    A live cluster that was launched for an address, with the decision on it.

    :param owner: the owner's name, which may be truncated.
    :param reason: the reason for the decision.
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
class LeftAddress:
    """An address on an instance whose cluster has ended; EC2 disassociates it when the instance has ended."""

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


@dataclass(frozen=True, slots=True)
class LeftGateway:
    """A NAT gateway whose cluster has ended; no task needs it, and it costs money by the hour."""

    allocation_id: str
    nat_gateway_id: str
    job_flow_id: str

    def __str__(self) -> str:
        return (
            f"NAT gateway {self.nat_gateway_id} for Elastic IP {self.allocation_id} exists although its cluster "
            f"{self.job_flow_id} has ended"
        )


@dataclass(frozen=True, slots=True)
class Survey:
    """
    All live clusters in a region that were launched for an address, and what ended clusters left.

    :param findings: addresses on instances of ended clusters.
    :param gateways: NAT gateways that have to be removed.
    :param absent: requested IDs that are not such clusters.
    :param not_known: those of them that EMR does not know.
    """

    clusters: Sequence[JudgedCluster]
    findings: Sequence[LeftAddress]
    gateways: Sequence[LeftGateway] = ()
    absent: Sequence[str] = ()
    not_known: Sequence[str] = ()

    @property
    def to_reap(self) -> list[JudgedCluster]:
        """The clusters that are to be reaped."""
        return [judged for judged in self.clusters if judged.decision is Decision.REAP]

    def facts(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        return {
            "clusters": [judged.facts() for judged in self.clusters],
            "findings": [asdict(address) for address in self.findings],
            "gateways": [asdict(gateway) for gateway in self.gateways],
            "absent": list(self.absent),
            "not_known": list(self.not_known),
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    The facts for the decision on a cluster.

    :param age: ``None`` when EMR does not return when it was created.
    :param owners: the owner of the cluster, and that of its lease if it is another one.
    :param lease: a description of its lease; ``None`` for none, or without a lock store.
    :param busy: steps that are pending or running.
    :param named: it was requested by its ID.
    :param kept: it has the tag of clusters that outlive their DAG run.
    :param in_charge: when a failover moved a service to it; ``None`` if none did.
    """

    age: timedelta | None
    owners: Sequence[Judgement]
    lease: str | None = None
    busy: Sequence[str] = ()
    named: bool = False
    kept: bool = False
    in_charge: str | None = None


def decide(evidence: Evidence, *, min_age: timedelta) -> tuple[Decision, str]:
    """Decide on a cluster; in doubt it is kept."""
    if evidence.age is None or evidence.age < min_age:
        old = "EMR does not say how old it is" if evidence.age is None else f"it is younger than {_span(min_age)}"
        return Decision.KEEP, f"{old}: it may have been launched just now"
    in_use = [owner.why for owner in evidence.owners if owner.state is OwnerState.RUNNING]
    if evidence.kept and not evidence.named:
        in_use.append(f"its tag '{KEEP_TAG}' says that it outlives its DAG run; name its id to reap it")
    if evidence.in_charge and not evidence.named:
        in_use.append(f"since {evidence.in_charge} it has a service that a failover has moved to it")
    if in_use:
        return Decision.KEEP, "; ".join([*in_use, *([evidence.lease] if evidence.lease else [])])
    unknown = [owner.why for owner in evidence.owners if owner.state is OwnerState.UNKNOWN]
    if not unknown:
        return Decision.REAP, "; ".join(owner.why for owner in evidence.owners)
    why = "; ".join(unknown)
    if evidence.busy:
        return Decision.KEEP, f"{why}; it runs {', '.join(evidence.busy)}"
    if evidence.named:
        return Decision.REAP, f"requested by its ID; {why}"
    return (Decision.KEEP, f"{evidence.lease}; {why}") if evidence.lease else (Decision.UNKNOWN, why)


def _span(span: timedelta) -> str:
    minutes = span.total_seconds() / 60
    return f"{minutes:g} minutes" if minutes % 60 else f"{minutes / 60:g} h"
