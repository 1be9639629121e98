"""The pages of a batch that Livy names: Spark's, and the driver's log in YARN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context


class _LivyLink(BaseAwsLink):
    """A URL as Livy gives it: on a host of the cluster, so it opens where that can be reached."""

    format_str = "{url}"

    @classmethod
    def keep(cls, context: Context, url: str | None) -> None:
        """Keep the link with the task, if there is one."""
        if url:
            context["ti"].xcom_push(key=cls.key, value={"url": url})


class SparkUiLink(_LivyLink):
    """Opens Spark's page of the application."""

    name = "Spark UI"
    key = "livy_spark_ui"


class DriverLogLink(_LivyLink):
    """Opens the driver's log in YARN."""

    name = "Driver log"
    key = "livy_driver_log"
