"""Waiting until Azure SQL servers admit an address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook, SqlServer, admitting
from airflow_eip_provider.triggers.verdict import Verdict
from airflow_eip_provider.triggers.watch import WatchTrigger

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.hooks.azure import FirewallRule
    from airflow_eip_provider.triggers.observed import Observed


def judge_admission(azure: AzureSqlFirewallHook, servers: list[SqlServer], public_ip: str) -> Verdict:
    """Judge whether every server has a rule that admits the address."""
    return _judge_one({server: azure.list_rules(server) for server in servers}, public_ip)


def judge_admissions(azure: AzureSqlFirewallHook, servers: list[SqlServer], public_ips: Sequence[str]) -> Verdict:
    """Judge whether every server has a rule that admits each address; the rules of a server are read once."""
    rules = {server: azure.list_rules(server) for server in servers}
    verdicts = [_judge_one(rules, public_ip) for public_ip in public_ips]
    missing = [verdict.message for verdict in verdicts if verdict.status != "done"]
    admitted = {
        server.resource_id: {
            verdict.data["public_ip"]: verdict.data["servers"][server.resource_id] for verdict in verdicts
        }
        for server in servers
    }
    message = "; ".join(missing or [verdict.message for verdict in verdicts])
    return Verdict("pending" if missing else "done", message, {"public_ips": list(public_ips), "servers": admitted})


def _judge_one(rules: Mapping[SqlServer, list[FirewallRule]], public_ip: str) -> Verdict:
    admitted = {server.resource_id: [str(rule) for rule in admitting(rules[server], public_ip)] for server in rules}
    missing = [server.name for server in rules if not admitted[server.resource_id]]
    data = {"public_ip": public_ip, "servers": admitted}
    if missing:
        return Verdict("pending", f"{public_ip} is not registered with Azure SQL server {', '.join(missing)}", data)
    return Verdict("done", f"{public_ip} is registered with {len(admitted)} Azure SQL servers: {admitted}", data)


@dataclass(frozen=True, slots=True)
class AzureConnection:
    """The Airflow connection to Azure of a wait."""

    azure_conn_id: str

    def content(self) -> object:
        """Return the current content of the Airflow connection."""
        return AzureSqlFirewallHook.get_connection(self.azure_conn_id).get_uri()

    def client(self, service: str, region_name: str | None) -> AzureSqlFirewallHook:
        """Return a hook; "azure" is the only service, and it has no region."""
        if (service, region_name) != ("azure", None):
            raise ValueError(f"no client of {service} in {region_name}")
        return AzureSqlFirewallHook(self.azure_conn_id)


@dataclass(kw_only=True, eq=False, repr=False)
class AzureSqlFirewallRuleTrigger(WatchTrigger):
    """
    Wait until every server has a firewall rule that admits one address, or each of several.

    :param servers: the resource IDs of the servers.
    :param public_ip: the address, or a list of addresses.
    """

    servers: list[str]
    public_ip: str | list[str]
    azure_conn_id: str

    def judge(self, observed: Observed) -> Verdict:
        """Judge the rules of each server."""
        servers = [SqlServer.parse(server) for server in self.servers]
        if isinstance(self.public_ip, str):
            return judge_admission(observed.client("azure"), servers, self.public_ip)
        return judge_admissions(observed.client("azure"), servers, self.public_ip)

    @property
    def connection(self) -> AzureConnection:
        """The connection to Azure."""
        return AzureConnection(self.azure_conn_id)
