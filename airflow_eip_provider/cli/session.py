"""The account and region that a command works in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import CredentialRetrievalError, NoCredentialsError, NoRegionError, ProfileNotFound

from airflow_eip_provider.cli.output import progress
from airflow_eip_provider.cli.usage import reading_arguments
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.hooks.aws import PATIENT, AwsHooks
from airflow_eip_provider.operators.lease_settings import configured_lock_store, with_configured_grace
from airflow_eip_provider.stored_hooks import StoredHooks as CommandHooks
from airflow_eip_provider.stores.uri import parse_uri

if TYPE_CHECKING:
    import argparse

__all__ = ["CommandHooks", "Session", "lock_store_of", "open_session"]


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
