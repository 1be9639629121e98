"""The AWS account, region and lock store that a command uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import CredentialRetrievalError, NoCredentialsError, NoRegionError, ProfileNotFound

from airflow_eip_provider.cli.arguments import reading_arguments
from airflow_eip_provider.cli.output import note, progress
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.hooks.aws import PATIENT, AwsHooks
from airflow_eip_provider.operators.lease_settings import configured_lock_store, with_configured_grace
from airflow_eip_provider.stored_hooks import StoredHooks
from airflow_eip_provider.stores.uri import parse_uri

if TYPE_CHECKING:
    import argparse


@dataclass(frozen=True, slots=True)
class Session:
    """
    The AWS account and region that a command uses.

    :param account: the ID of the account.
    """

    hooks: AwsHooks
    account: str
    region: str

    @property
    def facts(self) -> dict[str, str]:
        """What the JSON result of every command begins with."""
        return {"account": self.account, "region": self.region}


def open_session(options: argparse.Namespace) -> Session:
    """
    Connect to AWS, and print the account and region (sts:GetCallerIdentity).

    :param options: those of ``add_aws_arguments``.
    :raises MissingConnectionError: when the Airflow connection does not exist.
    :raises InvalidInputError: when there is no region, or there are no credentials.
    """
    progress("connecting to AWS")
    hooks = StoredHooks(aws_conn_id=options.aws_conn_id, region_name=options.region, config=PATIENT)
    try:
        session = Session(hooks, region=hooks.eip.conn_region_name, account=str(hooks.eip.account_id))
    except NoRegionError as error:
        raise InvalidInputError("connecting to AWS", problem="no region is set", remedy="give --region") from error
    except (CredentialRetrievalError, NoCredentialsError, ProfileNotFound) as error:
        remedy = "configure credentials as for the AWS CLI, or name an Airflow connection: --aws-conn-id"
        raise InvalidInputError("connecting to AWS", problem=str(error), remedy=remedy) from error
    note(f"AWS account {session.account}, region {session.region}")
    progress("calling AWS")
    return session


def lock_store_of(options: argparse.Namespace) -> str | None:
    """
    Return the lock store of ``--lock-store``, or of airflow.cfg; ``None`` for none.

    :raises UsageError: when ``--lock-store`` is malformed.
    """
    if options.lock_store is None:
        return configured_lock_store()
    if options.lock_store == "none":
        return None
    with reading_arguments("--lock-store"):
        parse_uri(options.lock_store)
    return with_configured_grace(str(options.lock_store))
