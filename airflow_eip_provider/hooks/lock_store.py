"""The connection of a lock store."""

from __future__ import annotations

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook

from airflow_eip_provider.hooks.eip import StrictConnectionMixin


class LockStoreHook(StrictConnectionMixin, AwsBaseHook):
    """
    The connection of a lock store.

    :param client_type: "dynamodb" or "s3".
    """
