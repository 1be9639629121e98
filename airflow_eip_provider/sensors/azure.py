"""Waiting until an Elastic IP is registered with Azure SQL servers."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.sensors.base_aws import AwsBaseSensor
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider.airflow_compat import (
    DEFAULT_DEFERRABLE,
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
)
from airflow_eip_provider.calls import is_transient, perform
from airflow_eip_provider.exceptions import PermanentError
from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook, checked_public_ip, checked_servers
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.triggers.azure import AzureSqlFirewallRuleTrigger, read_admission

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.hooks.azure import SqlServer

_SHORTEST_DEFERRAL_SECONDS = 10
_DEFERRAL_MARGIN = timedelta(minutes=2)


class AzureSqlFirewallRuleSensor(AwsBaseSensor[ElasticIpHook]):
    """
    Wait until each Azure SQL server has a firewall rule that admits an Elastic IP.

    Returns {public_ip, servers: {resource id: [rule, …]}}. What no waiting mends fails at once: an unknown subscription
    or server, a missing permission, an address that does not exist. A rule that is there may still take Azure up to
    five minutes to follow; the egress probe waits for that.

    IAM: ec2:DescribeAddresses, for an ``allocation_id``. Azure: Microsoft.Sql/servers/firewallRules/read. Needs the
    extra ``azure``.

    :param servers: resource ids, ``/subscriptions/…/resourceGroups/…/providers/Microsoft.Sql/servers/…``. (templated)
    :param allocation_id: the Elastic IP, ``eipalloc-…``; or else (templated)
    :param public_ip: the address itself. (templated)
    :param azure_conn_id: see ``AzureSqlFirewallHook``.
    :param deferrable: wait in the triggerer, looking every ``poke_interval`` seconds (at least 10).
    """

    aws_hook_class = ElasticIpHook
    template_fields: Sequence[str] = aws_template_fields("allocation_id", "azure_conn_id", "public_ip", "servers")

    def __init__(
        self,
        *,
        servers: list[str] | str,
        allocation_id: str | None = None,
        public_ip: str | None = None,
        azure_conn_id: str = "azure_default",
        deferrable: bool = DEFAULT_DEFERRABLE,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.servers = servers
        self.allocation_id = allocation_id
        self.public_ip = public_ip
        self.azure_conn_id = azure_conn_id
        self.deferrable = deferrable

    def execute(self, context: Context) -> Any:
        """Look once, then wait in the way that was chosen; the same result either way."""
        if not self.deferrable:
            super().execute(context)
        elif not self.poke(context):
            servers, public_ip = self._checked()
            self.defer(
                trigger=AzureSqlFirewallRuleTrigger(
                    servers=[server.resource_id for server in servers],
                    public_ip=public_ip,
                    azure_conn_id=self.azure_conn_id,
                    waiter_delay=max(float(self.poke_interval), _SHORTEST_DEFERRAL_SECONDS),
                    deadline=time.time() + float(self.timeout),
                ),
                method_name="execute_complete",
                timeout=timedelta(seconds=float(self.timeout)) + _DEFERRAL_MARGIN,
            )
        return self._found

    def poke(self, context: Context) -> bool:
        """
        Look once.

        :raises AirflowFailException: when what is waited for cannot happen without somebody's doing.
        """
        try:
            servers, public_ip = self._checked()
            with AzureSqlFirewallHook(self.azure_conn_id) as azure:
                verdict = perform(read_admission(servers, public_ip), {"azure": azure})
        except PermanentError as error:
            raise AirflowFailException(str(error)) from error
        except Exception as error:
            if not is_transient(error):
                raise
            self.log.warning("No answer this time: %s", error)
            return False
        self.log.info("%s", verdict.message)
        self._found = verdict.data
        return verdict.status == "done"

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Judge what the triggerer saw."""
        if event["status"] == "timeout":
            message = f"Sensor has timed out; last seen: {event['message']}"
            if self.soft_fail:
                raise AirflowSkipException(message)
            raise AirflowSensorTimeout(message)
        return event["data"]

    def _checked(self) -> tuple[list[SqlServer], str]:
        servers = checked_servers(self.servers)
        address = {"allocation_id": self.allocation_id, "public_ip": self.public_ip}
        return servers, checked_public_ip(lambda: self.hook, **address)
