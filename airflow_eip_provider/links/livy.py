"""Links to the Spark UI and to the driver's log of a Livy batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.providers.amazon.aws.links.base_aws import BaseAwsLink

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context


class _LivyLink(BaseAwsLink):
    """A URL that Livy returns. Its host is a node of the cluster, which the browser must be able to reach."""

    format_str = "{url}"

    @classmethod
    def keep(cls, context: Context, url: str | None) -> None:
        """Store the link with the task, if there is one."""
        if url:
            context["ti"].xcom_push(key=cls.key, value={"url": url})


class SparkUiLink(_LivyLink):
    """Opens the Spark UI of the application."""

    name = "Spark UI"
    key = "livy_spark_ui"


class DriverLogLink(_LivyLink):
    """Opens the driver's log in YARN."""

    name = "Driver log"
    key = "livy_driver_log"
