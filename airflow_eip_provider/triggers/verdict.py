"""The result of one poll of a wait."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from airflow_eip_provider.exceptions import ClusterEndedError


@dataclass(frozen=True, slots=True)
class Verdict:
    """The result of one poll."""

    status: Literal["pending", "done", "failed"]
    message: str
    data: dict[str, Any] = field(default_factory=dict)


def raise_if_cluster_gone(facts: dict[str, Any]) -> None:
    """Raise ``ClusterEndedError`` if a verdict's data says that the cluster has ended."""
    if facts.get("gone") == "cluster":
        raise ClusterEndedError(facts["job_flow_id"], state=facts["state"], reason=facts["reason"])
