"""The check of Azure's firewall: the address that moves is admitted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook, checked_servers
from airflow_eip_provider.preflight.finding import error
from airflow_eip_provider.stored_hooks import stored_connection
from airflow_eip_provider.triggers.azure import judge_admission

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from airflow_eip_provider.cli.drill.scene import Scene
    from airflow_eip_provider.preflight import Finding


class _StoredAzureHook(AzureSqlFirewallHook):
    """The hook on a connection that Airflow stores, which hooks do not see outside of tasks."""

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """Read an Airflow connection."""
        return stored_connection(conn_id)


def find(scene: Scene) -> Iterator[Finding]:
    """Ask each server for a rule that admits the address."""
    if scene.address is None:
        return
    public_ip = scene.address.public_ip
    with _StoredAzureHook(scene.plan.azure_conn_id) as azure:
        for server in checked_servers(list(scene.plan.servers)):
            found = judge_admission(azure, [server], public_ip)
            if found.status != "done":
                yield error(
                    f"Azure SQL server '{server.name}'",
                    what=found.message,
                    why="jobs on the standby would be refused (error 40615), as those on the primary are",
                    mend="add the rule: AzureSqlFirewallRuleOperator, or az sql server firewall-rule create",
                )
