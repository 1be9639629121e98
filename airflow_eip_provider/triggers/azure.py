"""Watching which addresses Azure SQL servers admit."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from asgiref.sync import sync_to_async

from airflow_eip_provider.calls import Call, Reading
from airflow_eip_provider.hooks.azure import AzureSqlFirewallHook, SqlServer, admitting
from airflow_eip_provider.triggers.watch import Verdict, WatchTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_eip_provider.hooks.azure import FirewallRule


def read_admission(servers: list[SqlServer], public_ip: str) -> Reading[Verdict]:
    """Judge whether every server has a rule that admits the address."""
    found: dict[str, list[str]] = {}
    for server in servers:
        rules = yield Call("azure", "list_rules", {"server": server})
        found[server.resource_id] = [str(rule) for rule in admitting(rules, public_ip)]
    missing = [SqlServer.parse(resource_id).name for resource_id, rules in found.items() if not rules]
    data = {"public_ip": public_ip, "servers": found}
    if missing:
        return Verdict("pending", f"{public_ip} is not registered with Azure SQL server {', '.join(missing)}", data)
    return Verdict("done", f"{public_ip} is registered with {len(found)} Azure SQL servers: {found}", data)


class _HookInThread:
    """The hook as the triggerer can use it: in a thread, and never cancelled inside a connection's fetch."""

    def __init__(self, hook: AzureSqlFirewallHook) -> None:
        self._hook = hook

    async def list_rules(self, server: SqlServer) -> list[FirewallRule]:
        """Return the rules of a server."""
        reading = sync_to_async(self._hook.list_rules, thread_sensitive=False)(server)
        return await asyncio.shield(asyncio.ensure_future(reading))


class AzureSqlFirewallRuleTrigger(WatchTrigger):
    """
    Wait until every server has a firewall rule that admits an address.

    :param servers: their resource ids.
    :param public_ip: the address.
    :param azure_conn_id: the Airflow connection.
    """

    services = ("azure",)
    own_fields = ("servers", "public_ip", "azure_conn_id")

    def __init__(self, *, servers: list[str], public_ip: str, azure_conn_id: str, **watch: Any) -> None:
        super().__init__(**watch)
        self.servers = servers
        self.public_ip = public_ip
        self.azure_conn_id = azure_conn_id

    def look(self) -> Reading[Verdict]:
        """Look at the rules of each server."""
        return read_admission([SqlServer.parse(server) for server in self.servers], self.public_ip)

    async def _connect(self, service: str) -> Any:
        return self._connected()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[_HookInThread]:
        with AzureSqlFirewallHook(self.azure_conn_id) as hook:
            yield _HookInThread(hook)
