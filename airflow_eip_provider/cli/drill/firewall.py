"""The check of Azure's firewall: it admits the address that moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.cli.drill.finding import NotApplicable
from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook, checked_servers
from airflow_eip_provider.preflight.finding import error
from airflow_eip_provider.stored_hooks import stored_connection
from airflow_eip_provider.triggers.azure import judge_admission

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from airflow_eip_provider.cli.drill.resources import Resources
    from airflow_eip_provider.preflight import Finding


class _StoredAzureHook(AzureSqlFirewallHook):
    """The hook on a connection that Airflow stores, which hooks do not see outside of tasks."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Read an Airflow connection."""
        return stored_connection(conn_id)


def find_firewall_problems(resources: Resources) -> Iterator[Finding]:
    """Check that each server has a rule that admits the address."""
    if not resources.plan.servers:
        raise NotApplicable("no server is named")
    if resources.address is None:
        return
    with _StoredAzureHook(resources.plan.azure_conn_id) as azure:
        for server in checked_servers(list(resources.plan.servers)):
            verdict = judge_admission(azure, [server], resources.address.public_ip)
            if verdict.status != "done":
                yield error(
                    f"Azure SQL server '{server.name}'",
                    what=verdict.message,
                    why="jobs on the standby would be refused (error 40615), as those on the primary are",
                    remedy="add the rule: AzureSqlFirewallRuleOperator, or az sql server firewall-rule create",
                )
