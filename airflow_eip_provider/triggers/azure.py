"""Watching which addresses Azure SQL servers admit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook, SqlServer, admitting
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from airflow_eip_provider.triggers.observed import Observed


def judge_admission(azure: AzureSqlFirewallHook, servers: list[SqlServer], public_ip: str) -> Verdict:
    """Judge whether every server has a rule that admits the address."""
    found: dict[str, list[str]] = {}
    for server in servers:
        rules = azure.list_rules(server)
        found[server.resource_id] = [str(rule) for rule in admitting(rules, public_ip)]
    missing = [SqlServer.parse(resource_id).name for resource_id, rules in found.items() if not rules]
    data = {"public_ip": public_ip, "servers": found}
    if missing:
        return Verdict("pending", f"{public_ip} is not registered with Azure SQL server {', '.join(missing)}", data)
    return Verdict("done", f"{public_ip} is registered with {len(found)} Azure SQL servers: {found}", data)


@dataclass(frozen=True, slots=True)
class AzureConnection:
    """The Airflow connection to Azure that waits look through."""

    azure_conn_id: str

    def content(self) -> object:
        """Return what the Airflow connection says now."""
        return AzureSqlFirewallHook.get_connection(self.azure_conn_id).get_uri()

    def client(self, service: str, region_name: str | None) -> AzureSqlFirewallHook:
        """Return a hook; there is one service, and nothing in it depends on the region."""
        if (service, region_name) != ("azure", None):
            raise ValueError(f"no client of {service} in {region_name}")
        return AzureSqlFirewallHook(self.azure_conn_id)


@dataclass(kw_only=True, eq=False, repr=False)
class AzureSqlFirewallRuleTrigger(WatchTrigger):
    """
    Wait until every server has a firewall rule that admits an address.

    :param servers: their resource ids.
    :param public_ip: the address.
    :param azure_conn_id: the Airflow connection.
    """

    servers: list[str]
    public_ip: str
    azure_conn_id: str

    def judge(self, observed: Observed) -> Verdict:
        """Judge the rules of each server."""
        servers = [SqlServer.parse(server) for server in self.servers]
        return judge_admission(observed.client("azure"), servers, self.public_ip)

    @property
    def connection(self) -> AzureConnection:
        """What this wait looks through."""
        return AzureConnection(self.azure_conn_id)
