"""Hooks for processes outside of tasks: commands, and Airflow's web server."""

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
    Read an Airflow connection, including those in the metadata database.

    :raises MissingConnectionError: if it does not exist.
    """
    try:
        return Connection.get_connection_from_secrets(conn_id)  # noqa: AIR311 - the one that sees the database
    except AirflowNotFoundException as error:
        otherwise = ", or give no connection to use boto3's default credentials"
        raise MissingConnectionError(conn_id, otherwise=otherwise) from error


class _StoredConnection:
    """Reads connections of the metadata database, which hooks outside of tasks do not see since Airflow 3.2."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Read a connection with :func:`stored_connection`."""
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
    """The hooks for a process outside of tasks."""

    eip_class = _StoredElasticIpHook
    emr_class = _StoredEmrClusterHook
    store_class = _StoredLockStoreHook
    logs_class = _StoredStepLogHook
    balancer_class = _StoredElasticLoadBalancingHook
