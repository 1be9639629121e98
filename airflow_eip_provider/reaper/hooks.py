"""The hooks for one account and region, patient with throttling: a survey describes every cluster there."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

from botocore.config import Config

from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.lock_store import LockStoreHook
from airflow_eip_provider.lease_client.client import LeaseClient

_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 10})


class Hooks:
    """
    What an Airflow connection gives access to.

    :param aws_conn_id: ``None`` for boto3's own credentials.
    :param region_name: ``None`` for the connection's, or boto3's own.
    """

    eip_class: ClassVar[type[ElasticIpHook]] = ElasticIpHook
    emr_class: ClassVar[type[EmrClusterHook]] = EmrClusterHook
    store_class: ClassVar[type[LockStoreHook]] = LockStoreHook

    def __init__(self, *, aws_conn_id: str | None, region_name: str | None) -> None:
        self._shared: dict[str, Any] = {"aws_conn_id": aws_conn_id, "region_name": region_name, "config": _PATIENT}

    @functools.cached_property
    def eip(self) -> ElasticIpHook:
        """The hook for addresses."""
        return self.eip_class(**self._shared)

    @functools.cached_property
    def emr(self) -> EmrClusterHook:
        """The hook for clusters."""
        return self.emr_class(**self._shared, emr_conn_id=None)

    @functools.cache  # noqa: B019 - these hooks live as long as their process
    def store_client(self, service: str, region_name: str | None) -> Any:
        """Return the boto3 client of a lock store; ``None`` is the connection's own region."""
        here = {"region_name": region_name} if region_name else {}
        return self.store_class(client_type=service, **{**self._shared, **here}).conn

    def client_for(self, service: str, region_name: str | None) -> Any:
        """Return the boto3 client of a service; of a lock store's, in any region."""
        if service in {"ec2", "emr"} and region_name is None:
            return (self.eip if service == "ec2" else self.emr).conn
        return self.store_client(service, region_name)

    def lease_client(self, lock_store: str, allocation_id: str) -> LeaseClient:
        """Return the lock of an address, for a process that is no task."""
        return LeaseClient(
            lock_store,
            allocation_id=allocation_id,
            ec2=self.eip.conn,
            emr=self.emr.conn,
            client_for=self.store_client,
            check_alive=lambda: None,
        )
