"""The account and region that a command works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow.models import Connection
from botocore.exceptions import CredentialRetrievalError, NoCredentialsError, NoRegionError, ProfileNotFound

from airflow_eip_provider.airflow_compat import AirflowNotFoundException
from airflow_eip_provider.cli.output import progress
from airflow_eip_provider.cli.usage import reading_arguments
from airflow_eip_provider.exceptions import InvalidInputError, MissingConnectionError
from airflow_eip_provider.hooks.aws import PATIENT, AwsHooks
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.hooks.emr import EmrClusterHook
from airflow_eip_provider.hooks.lock_store import LockStoreHook
from airflow_eip_provider.hooks.step_logs import StepLogHook
from airflow_eip_provider.operators.lease_settings import configured_lock_store, with_configured_grace
from airflow_eip_provider.stores.uri import parse_uri

if TYPE_CHECKING:
    import argparse


class _StoredConnection:
    """From Airflow 3.2 on, hooks see no connections of the metadata database outside tasks; this does."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """
        Read an Airflow connection, from wherever Airflow keeps them.

        :raises MissingConnectionError: when it does not exist.
        """
        try:
            return Connection.get_connection_from_secrets(conn_id)  # noqa: AIR311 - the one that sees the database
        except AirflowNotFoundException as error:
            otherwise = ", or leave --aws-conn-id out to use boto3's default credentials"
            raise MissingConnectionError(conn_id, otherwise=otherwise) from error


class _StoredElasticIpHook(_StoredConnection, ElasticIpHook):
    pass


class _StoredEmrClusterHook(_StoredConnection, EmrClusterHook):
    pass


class _StoredLockStoreHook(_StoredConnection, LockStoreHook):
    pass


class _StoredStepLogHook(_StoredConnection, StepLogHook):
    pass


class CommandHooks(AwsHooks):
    """The same hooks, for a process that is no task."""

    eip_class = _StoredElasticIpHook
    emr_class = _StoredEmrClusterHook
    store_class = _StoredLockStoreHook
    logs_class = _StoredStepLogHook


@dataclass(frozen=True, slots=True)
class Session:
    """
    Where a command works.

    :param account: the AWS account's number.
    """

    hooks: AwsHooks
    account: str
    region: str

    def __str__(self) -> str:
        return f"AWS account {self.account}, region {self.region}"


def open_session(options: argparse.Namespace) -> Session:
    """
    Connect, and find out where to (sts:GetCallerIdentity).

    :param options: with those of ``add_aws_arguments``.
    :raises MissingConnectionError: when the Airflow connection does not exist.
    :raises InvalidInputError: when there is no region, or there are no credentials.
    """
    progress("connecting to AWS")
    hooks = CommandHooks(aws_conn_id=options.aws_conn_id, region_name=options.region, config=PATIENT)
    try:
        session = Session(hooks, region=hooks.eip.conn_region_name, account=str(hooks.eip.account_id))
    except NoRegionError as error:
        raise InvalidInputError("connecting to AWS", problem="no region is set", remedy="name one: --region") from error
    except (CredentialRetrievalError, NoCredentialsError, ProfileNotFound) as error:
        remedy = "give credentials as to the AWS CLI, or name an Airflow connection: --aws-conn-id"
        raise InvalidInputError("connecting to AWS", problem=str(error), remedy=remedy) from error
    progress("asking AWS")
    return session


def lock_store_of(options: argparse.Namespace) -> str | None:
    """
    Return the lock store that is named, else that of airflow.cfg; ``None`` for none.

    :param options: with that of ``add_lock_store_argument``.
    :raises UsageError: when the one that is named is malformed.
    """
    if options.lock_store is None:
        return configured_lock_store()
    if options.lock_store == "none":
        return None
    with reading_arguments("--lock-store"):
        parse_uri(options.lock_store)
    return with_configured_grace(str(options.lock_store))
