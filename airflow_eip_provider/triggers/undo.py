"""Undoing what a task did when its deferral is killed: all that the triggerer ever changes."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.lock_store import LockStoreHook
from airflow_eip_provider.hooks.teardown import address_on_cluster, cancel_steps, end_cluster, remove_gateways_of_ending
from airflow_eip_provider.lease.protocol import undo
from airflow_eip_provider.lease.record import Attempt, Phase
from airflow_eip_provider.lease_client.client import LeaseClient

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

# Airflow gives a trigger's on_kill 30 seconds ([triggerer] on_kill_timeout).
_BOUNDED = {"connect_timeout": 5, "read_timeout": 5, "retries": {"total_max_attempts": 2}}


def perform_undo(
    kind: str, what: Mapping[str, Any], *, connection: Mapping[str, Any], spare_handed_over: bool = False
) -> None:
    """
    Undo, from a thread of the triggerer.

    :param kind: "tenancy" (with a lock store), "cluster" (without) or "steps".
    :param what: the parameters of that kind. "tenancy": allocation_id, lock_store, speaker (the fields of
        :class:`~airflow_eip_provider.lease.record.Attempt`), launched, token, terminate; "cluster": those of
        :func:`~airflow_eip_provider.hooks.teardown.end_cluster`; "steps": job_flow_id, step_ids.
    :param connection: the hooks' ``aws_conn_id``, ``region_name``, ``verify`` and ``config``.
    :param spare_handed_over: leave alone what carries the address already: the tasks that follow use it.
    """
    bounded = {**connection, "config": {**_BOUNDED, **(connection["config"] or {})}}
    _KINDS[kind](what, bounded, spare_handed_over=spare_handed_over)


def _lease_client(what: Mapping[str, Any], connection: dict[str, Any], *, spare_handed_over: bool) -> None:
    def client(service: str, region_name: str | None) -> Any:
        here = {"region_name": region_name} if region_name else {}
        return LockStoreHook(client_type=service, **{**connection, **here}).conn

    eip, emr = ElasticIpHook(**connection), EmrClusterHook(**connection, emr_conn_id=None)
    lease_client = LeaseClient(
        what["lock_store"],
        allocation_id=what["allocation_id"],
        ec2=eip.conn,
        emr=emr.conn,
        client_for=client,
        check_alive=lambda: None,
    )
    attempt = Attempt(**what["speaker"])
    lease = lease_client.read().record.lease if spare_handed_over else None
    if lease is not None and lease.attempt == attempt and lease.phase is Phase.ACTIVE:
        log.info("%s was handed over, and is left alone", lease.resource_id)
        return
    world = lease_client.world(undoing=True)
    undo(world, attempt, launched=what["launched"], token=what["token"], terminate=what["terminate"])
    allocation_id, launched = what["allocation_id"], what["launched"]
    remove_gateways_of_ending(emr, eip, allocation_id=allocation_id, job_flow_id=launched)


def _cluster(what: Mapping[str, Any], connection: dict[str, Any], *, spare_handed_over: bool) -> None:
    eip = ElasticIpHook(**connection)
    place = {name: what[name] for name in ("allocation_id", "job_flow_id")}
    if spare_handed_over and address_on_cluster(eip, **place) is not None:
        log.info("Cluster %s carries the address, and is left alone", what["job_flow_id"])
        return
    end_cluster(EmrClusterHook(**connection, emr_conn_id=None), eip, **what)


def _steps(what: Mapping[str, Any], connection: dict[str, Any], *, spare_handed_over: bool) -> None:
    cancel_steps(EmrClusterHook(**connection, emr_conn_id=None), **what)


_KINDS: Mapping[str, Callable[..., None]] = {
    "tenancy": _lease_client,
    "cluster": _cluster,
    "steps": _steps,
}
