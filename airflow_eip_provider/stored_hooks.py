"""Hooks for processes that are no tasks: commands, and Airflow's web server."""

from __future__ import annotations

from typing import Any

from airflow.models import Connection

from airflow_eip_provider.airflow_compat import AirflowNotFoundException
from airflow_eip_provider.exceptions import MissingConnectionError
from airflow_eip_provider.hooks.aws import AwsHooks
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.elbv2 import ElasticLoadBalancingHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.lock_store import LockStoreHook
from airflow_eip_provider.hooks.step_logs import StepLogHook


def stored_connection(conn_id: str) -> Any:
    """
    Read an Airflow connection, from wherever Airflow keeps them.

    :raises MissingConnectionError: when it does not exist.
    """
    try:
        return Connection.get_connection_from_secrets(conn_id)  # noqa: AIR311 - the one that sees the database
    except AirflowNotFoundException as error:
        otherwise = ", or name no connection to use boto3's default credentials"
        raise MissingConnectionError(conn_id, otherwise=otherwise) from error


class _StoredConnection:
    """From Airflow 3.2 on, hooks see no connections of the metadata database outside tasks; this does."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """
        Read an Airflow connection.

        :raises MissingConnectionError: when it does not exist.
        """
        return stored_connection(conn_id)


class _StoredElasticIpHook(_StoredConnection, ElasticIpHook):
    pass


class _StoredEmrClusterHook(_StoredConnection, EmrClusterHook):
    pass


class _StoredLockStoreHook(_StoredConnection, LockStoreHook):
    pass


class _StoredStepLogHook(_StoredConnection, StepLogHook):
    pass


class _StoredElasticLoadBalancingHook(_StoredConnection, ElasticLoadBalancingHook):
    pass


class StoredHooks(AwsHooks):
    """The same hooks, for a process that is no task."""

    eip_class = _StoredElasticIpHook
    emr_class = _StoredEmrClusterHook
    store_class = _StoredLockStoreHook
    logs_class = _StoredStepLogHook

    @property
    def load_balancers(self) -> ElasticLoadBalancingHook:
        """The hook for the targets of load balancers."""
        if "targets" not in self._made:
            self._made["targets"] = _StoredElasticLoadBalancingHook(**self.shared)
        return self._made["targets"]  # type: ignore[no-any-return]
