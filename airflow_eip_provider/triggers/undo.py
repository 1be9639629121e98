"""Undoing what a task did when its deferral is killed: the only changes that the triggerer makes."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.kill_flag import KillFlag
from airflow_eip_provider.lease.record import Attempt
from airflow_eip_provider.lease_client.interface import Undo
from airflow_eip_provider.lease_client.reads import is_cluster

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    # As Airflow stores it with the trigger: a kind and its parameters. Every version since 0.1.0 can read it, but 0.1.0
    # not the "cluster" of a failover that may have taken the address off.
    Stored: TypeAlias = tuple[str, dict[str, Any]]

# Airflow gives a trigger's on_kill 30 seconds ([triggerer] on_kill_timeout).
_BOUNDED = {"connect_timeout": 5, "read_timeout": 5, "retries": {"total_max_attempts": 2}}


def as_stored(undo: Undo | None, *, allocation_id: str | Sequence[str] | None, lock_store: str | None) -> Stored | None:
    """
    Return what a trigger stores in case its task is killed; ``None`` when there is nothing to undo.

    :param allocation_id: several addresses while any one of them can be used.
    """
    if undo is None:
        return None
    if undo.step_ids is not None:
        return "steps", {"job_flow_id": undo.resource_id, "step_ids": list(undo.step_ids)}
    addresses = list(allocation_id) if isinstance(allocation_id, (list, tuple)) else allocation_id
    what: dict[str, Any] = {"allocation_id": addresses, "terminate": undo.terminate}
    moved = {} if undo.moved_from is None else {"moved_from": undo.moved_from, "was_freed": undo.was_freed}
    if lock_store is not None:  # the kind and its keys are those of the first version
        what |= {"lock_store": lock_store, "speaker": asdict(undo.attempt)}
        what |= {"launched": undo.resource_id, "token": undo.token}
        return "tenancy", {**what, **moved}
    if undo.resource_id is None or not (undo.launched or moved):
        return None  # a deferred task that neither launches nor moves anything has not associated anything yet
    what |= {"job_flow_id": undo.resource_id, "try_number": undo.attempt.try_number}
    if moved and undo.was_freed is not False:  # only these, as version 0.1.0 refuses other keys
        what |= {**moved, "launched": undo.launched}
    return "cluster", what


def from_stored(kind: str, what: Mapping[str, Any]) -> Undo:
    """Return what a trigger stored."""
    unknown = Attempt("", "", what.get("try_number", 0), "")
    moved = {"moved_from": what.get("moved_from"), "was_freed": what.get("was_freed", False)}
    if kind == "steps":
        return Undo(unknown, resource_id=what["job_flow_id"], step_ids=tuple(what["step_ids"]))
    if kind == "cluster":
        terminate = what.get("terminate", True)
        launched = what.get("launched", True)
        return Undo(
            unknown, what["job_flow_id"], launched=launched, terminate=terminate, may_lag=not terminate, **moved
        )
    if kind != "tenancy":
        raise ValueError(f"there is no undo of kind {kind!r}")
    attempt, resource_id = Attempt(**what["speaker"]), what["launched"]
    launched = resource_id is not None and is_cluster(resource_id)
    return Undo(
        attempt,
        resource_id,
        token=what["token"],
        launched=launched,
        terminate=what["terminate"],
        **moved,
    )


def undo_stored(
    kind: str, what: Mapping[str, Any], *, connection: Mapping[str, Any], spare_handed_over: bool = False
) -> None:
    """
    Undo what a trigger stored, in a thread of the triggerer.

    :param connection: the hooks' ``aws_conn_id``, ``region_name``, ``verify`` and ``config``.
    :param spare_handed_over: keep a cluster or instance that may have been handed over: the tasks that follow use it,
        also after an early release of the address. Steps of a task that has succeeded have ended.
    """
    from airflow_eip_provider.hooks.aws import AwsHooks  # noqa: PLC0415 - only a task's run needs it

    aws = AwsHooks(**{**connection, "config": {**_BOUNDED, **(connection["config"] or {})}})
    undo = from_stored(kind, what)
    if undo.step_ids is not None:
        aws.emr.cancel_steps(str(undo.resource_id), step_ids=undo.step_ids)
        return
    kill = KillFlag(str(what["allocation_id"]))
    kill.is_set = True
    lease_client = aws.lease_queue(what.get("lock_store"), what["allocation_id"], kill=kill)
    lease_client.undo(replace(undo, succeeded=spare_handed_over))
