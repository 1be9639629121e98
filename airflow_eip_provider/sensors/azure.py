"""Waiting until an Elastic IP is registered with the firewalls of Azure SQL servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider.airflow_compat import DEFAULT_DEFERRABLE
from airflow_eip_provider.hooks.address_pool import names_pool
from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook, checked_public_ips, checked_servers
from airflow_eip_provider.rendered import check_flags
from airflow_eip_provider.sensors.watching import WatchingSensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.hooks.azure import SqlServer
    from airflow_eip_provider.triggers.azure import AzureSqlFirewallRuleTrigger
    from airflow_eip_provider.triggers.verdict import Verdict


class AzureSqlFirewallRuleSensor(WatchingSensor):
    """
    Wait until each Azure SQL server has a firewall rule that admits an Elastic IP, or each of several.

    Returns {public_ip, servers: {resource id: [rule, …]}}. When ``allocation_id`` names several, it waits until every
    server admits all of them, and returns {public_ips, servers: {resource id: {public_ip: [rule, …]}}}; to check only
    the address of a job, pass that job's ``public_ip``. It fails immediately for an unknown subscription or server, a
    missing permission, or an address that does not exist. Azure may take up to five minutes to apply an existing rule;
    the egress probe waits for that.

    IAM: ec2:DescribeAddresses, for an ``allocation_id``. Azure: Microsoft.Sql/servers/firewallRules/read. Needs the
    extra ``azure``.

    :param servers: resource IDs, ``/subscriptions/…/resourceGroups/…/providers/Microsoft.Sql/servers/…``. (templated)
    :param allocation_id: the Elastic IP, ``eipalloc-…``, or several, as in ``EmrCreateWithStaticIpOperator``.
        (templated)
    :param public_ip: the public IP address, instead of ``allocation_id``. (templated)
    :param azure_conn_id: see ``AzureSqlFirewallHook``.
    :param deferrable: wait in the triggerer, with a poll every ``poke_interval`` seconds (at least 10).
    """

    template_fields: Sequence[str] = aws_template_fields("allocation_id", "azure_conn_id", "public_ip", "servers")

    def __init__(
        self,
        *,
        servers: list[str] | str,
        allocation_id: str | Sequence[str] | Mapping[str, str] | None = None,
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

    def poll(self) -> Verdict:
        """Read the rules once."""
        from airflow_eip_provider.triggers.azure import judge_admission, judge_admissions

        servers, public_ip = self._checked()
        with AzureSqlFirewallHook(self.azure_conn_id) as azure:
            if isinstance(public_ip, str):
                return judge_admission(azure, servers, public_ip)
            return judge_admissions(azure, servers, public_ip)

    def trigger(self, *, waiter_delay: float, deadline: float) -> AzureSqlFirewallRuleTrigger:
        """Return the trigger of the wait."""
        from airflow_eip_provider.triggers.azure import AzureSqlFirewallRuleTrigger

        servers, public_ip = self._checked()
        return AzureSqlFirewallRuleTrigger(
            servers=[server.resource_id for server in servers],
            public_ip=public_ip,
            azure_conn_id=self.azure_conn_id,
            waiter_delay=waiter_delay,
            deadline=deadline,
        )

    def _checked(self) -> tuple[list[SqlServer], str | list[str]]:
        from airflow_eip_provider.hooks.aws import AwsHooks

        check_flags(self, "deferrable")
        servers = checked_servers(self.servers)
        public_ips = checked_public_ips(
            lambda: AwsHooks.of(self), allocation_id=self.allocation_id, public_ip=self.public_ip
        )
        # A list or a tag has the result for several, even if it names one address today.
        return servers, public_ips if names_pool(self.allocation_id) else public_ips[0]
