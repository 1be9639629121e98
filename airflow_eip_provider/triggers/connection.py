"""The AWS connection that waits look through: those that have the same share their clients."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from typing import Any, Protocol

from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.lock_store import LockStoreHook

# Hooks read connections one at a time: the triggerers of Airflow 3.0 and 3.1 have one channel to ask for them.
_ONE_AT_A_TIME = threading.Lock()


class Connection(Protocol):
    """What waits look through; equal ones share a poller."""

    def client(self, service: str, region_name: str | None) -> Any:
        """Return a new client. It is called in a thread, and may read an Airflow connection and assume a role."""

    def __hash__(self) -> int:
        """Return the same for equal ones."""


@dataclass(frozen=True, slots=True)
class AwsConnection:
    """
    An Airflow connection with what the parameters of an operator add to it.

    :param botocore_config: as JSON, with its keys in order.
    """

    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: str

    @classmethod
    def of(
        cls,
        *,
        aws_conn_id: str | None,
        region_name: str | None,
        verify: bool | str | None,
        config: dict[str, Any] | None,
    ) -> AwsConnection:
        """Return the connection of a hook's parameters."""
        return cls(aws_conn_id, region_name, verify, json.dumps(config, sort_keys=True, default=str))

    def client(self, service: str, region_name: str | None) -> Any:
        """Return a new boto3 client; ``None`` is the region of the connection."""
        given: dict[str, Any] = {
            "aws_conn_id": self.aws_conn_id,
            "region_name": region_name or self.region_name,
            "verify": self.verify,
            "config": json.loads(self.botocore_config),
        }
        with _ONE_AT_A_TIME:
            if service == "ec2":
                return ElasticIpHook(**given).conn
            if service == "emr":
                return EmrClusterHook(**given).conn
            return LockStoreHook(client_type=service, **given).conn
