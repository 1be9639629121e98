"""How far a failover has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_eip_provider.operators.emr.next_candidate import CreateState


@dataclass(slots=True)
class FailoverState(CreateState):
    """
    How far a failover has come; ``job_flow_id`` is the cluster that takes the service over.

    :param detected_at: when it was decided, in seconds since the epoch; ``bound_at`` and ``healthy_at`` likewise, 0 for
        not yet.
    :param why: what is wrong with the old cluster, in words.
    :param was_healthy: the old cluster works, and is left on purpose.
    :param is_movable: the old cluster's address is on its primary node, so it can be moved.
    :param standby: the cluster that was found to stand by; it takes over when its targets can be registered.
    :param lost: the cluster to which an earlier try moved the service, and which has ended since.
    :param launched: this owner launched the cluster; else it was there.
    :param leased: the lease is this try's.
    :param keeps: the cluster has the address, so nothing is undone any more.
    :param steps_by: until when the old cluster's fenced steps have to have ended; ``is_quiet``: they have, or it is
        over.
    :param is_started: the cluster is RUNNING or WAITING.
    :param may_be_bound: this try may have associated the address with the cluster.
    :param handed_over: the address is on the cluster, and the lease is active.
    :param healthy_by: until when it has to be healthy.
    :param serves: it is, by its own checks; its targets may not be yet.
    :param members: its targets, once they are registered.
    :param left: the old cluster's targets, once they are deregistered.
    """

    detected_at: float = 0.0
    why: str = ""
    was_healthy: bool = False
    is_movable: bool = False
    standby: str | None = None
    lost: str | None = None
    launched: bool = False
    leased: bool = False
    keeps: bool = False
    steps_by: float = 0.0
    is_quiet: bool = False
    is_started: bool = False
    may_be_bound: bool = False
    handed_over: bool = False
    bound_at: float = 0.0
    healthy_by: float = 0.0
    serves: bool = False
    healthy_at: float = 0.0
    members: list[dict[str, Any]] | None = None
    left: list[dict[str, Any]] | None = None


def moved_facts(state: FailoverState, *, old: str, old_cluster: str) -> dict[str, Any]:
    """Return what was moved, and how long that took, for the XCom."""
    times = {"detected": state.detected_at, "bound": state.bound_at, "healthy": state.healthy_at}
    return {
        "moved": True,
        "why": state.why,
        "from": old,
        "to": state.job_flow_id,
        "kind": "cold" if state.launched else "warm",
        "token": state.token,
        "targets": state.members,
        "old": {"terminate": "terminated"}.get(old_cluster, "kept"),
        "times": {name: moment(at) for name, at in times.items()},
        "seconds": {name: round(at - state.detected_at, 1) for name, at in times.items()},
    }


def moment(seconds: float) -> str:
    """Return a moment as people read it, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
