"""Undoing what a task did when its deferral is killed: all that the triggerer ever changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.lock import LockStoreHook
from airflow_eip_provider.hooks.teardown import cancel_steps, end_cluster
from airflow_eip_provider.hooks.tenancy import Tenancy
from airflow_eip_provider.lock.model import Speaker
from airflow_eip_provider.lock.programs import undo

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Airflow gives a trigger's on_kill 30 seconds ([triggerer] on_kill_timeout).
_BOUNDED = {"connect_timeout": 5, "read_timeout": 5, "retries": {"total_max_attempts": 2}}


def perform_undo(kind: str, what: Mapping[str, Any], *, connection: Mapping[str, Any]) -> None:
    """
    Undo, from a thread of the triggerer.

    :param kind: "tenancy" (with a lock store), "cluster" (without) or "steps".
    :param what: the parameters of that kind. "tenancy": allocation_id, lock_store, speaker (the fields of
        :class:`~airflow_eip_provider.lock.model.Speaker`), launched, token, terminate; "cluster": those of
        :func:`~airflow_eip_provider.hooks.teardown.end_cluster`; "steps": job_flow_id, step_ids.
    :param connection: the hooks' ``aws_conn_id``, ``region_name``, ``verify`` and ``config``.
    """
    _KINDS[kind](what, {**connection, "config": {**_BOUNDED, **(connection["config"] or {})}})


def _tenancy(what: Mapping[str, Any], connection: dict[str, Any]) -> None:
    def client(service: str, region_name: str | None) -> Any:
        here = {"region_name": region_name} if region_name else {}
        return LockStoreHook(client_type=service, **{**connection, **here}).conn

    tenancy = Tenancy(
        what["lock_store"],
        allocation_id=what["allocation_id"],
        eip=ElasticIpHook(**connection),
        emr=EmrClusterHook(**connection, emr_conn_id=None),
        client_for=client,
        check_alive=lambda: None,
    )
    speaker = Speaker(**what["speaker"])
    program = undo(speaker, launched=what["launched"], token=what["token"], terminate=what["terminate"])
    tenancy.perform(program, undoing=True)


def _cluster(what: Mapping[str, Any], connection: dict[str, Any]) -> None:
    end_cluster(EmrClusterHook(**connection, emr_conn_id=None), ElasticIpHook(**connection), **what)


def _steps(what: Mapping[str, Any], connection: dict[str, Any]) -> None:
    cancel_steps(EmrClusterHook(**connection, emr_conn_id=None), **what)


_KINDS: Mapping[str, Callable[[Mapping[str, Any], dict[str, Any]], None]] = {
    "tenancy": _tenancy,
    "cluster": _cluster,
    "steps": _steps,
}
