"""The progress of a failover."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_eip_provider.operators.emr.next_candidate import CreateState


@dataclass(slots=True)
class FailoverState(CreateState):
    """
    The progress of a failover; ``job_flow_id`` is the new cluster, to which the service moves.

    :param detected_at: when the failover was decided, in seconds since the epoch; ``bound_at`` and ``healthy_at`` are
        the times of the next stages, or 0.
    :param why: what is wrong with the old cluster.
    :param was_healthy: the old cluster is healthy; the failover is forced.
    :param is_movable: the old cluster's address is on its primary node, so it can be moved.
    :param standby: the standby that was found; it is used if its targets can be registered.
    :param lost: the cluster to which an earlier try moved the service, and which has ended since.
    :param launched: this owner launched the new cluster; otherwise it is a standby.
    :param leased: this try has the lease.
    :param keeps: the new cluster has the address, so from then on nothing is undone.
    :param steps_by: the deadline for the end of the old cluster's fenced steps; ``is_quiet``: they have ended, or the
        deadline has passed.
    :param is_started: the new cluster is RUNNING or WAITING.
    :param may_be_bound: this try may have associated the address with the new cluster.
    :param was_freed: the old cluster had the address when this failover took it off; ``None`` when that is not known,
        because it ``continues`` another try or another failover, which may have done that.
    :param handed_over: the address is on the new cluster, and the lease is active.
    :param healthy_by: the deadline for the new cluster to be healthy.
    :param serves: the new cluster's own checks pass; its targets may not be healthy yet.
    :param members: the new cluster's targets, once they are registered.
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
    was_freed: bool | None = None
    continues: bool = False
    handed_over: bool = False
    bound_at: float = 0.0
    healthy_by: float = 0.0
    serves: bool = False
    healthy_at: float = 0.0
    members: list[dict[str, Any]] | None = None
    left: list[dict[str, Any]] | None = None


def moved_facts(state: FailoverState, *, old: str, old_cluster: str) -> dict[str, Any]:
    """Return the content of the XCom ``failover``: what was moved, and how long it took."""
    times = {"detected": state.detected_at, "bound": state.bound_at, "healthy": state.healthy_at}
    return {
        "moved": True,
        "why": state.why,
        "from": old,
        "to": state.job_flow_id,
        "kind": "cold" if state.launched else "warm",
        "token": state.token,
        "targets": state.members,
        "old": "terminated" if old_cluster == "terminate" else "kept",
        "times": {name: moment(at) for name, at in times.items()},
        "seconds": {name: round(at - state.detected_at, 1) for name, at in times.items()},
    }


def moment(seconds: float) -> str:
    """Return seconds since the epoch as an ISO 8601 time, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
