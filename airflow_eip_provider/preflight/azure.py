"""The check that the firewalls of databases allow an address."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.hooks.azure import admitting
from airflow_eip_provider.preflight.address import usable
from airflow_eip_provider.preflight.finding import Check, Finding, error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_eip_provider.hooks.azure import FirewallRule, SqlServer
    from airflow_eip_provider.preflight.setup import Setup


def admitted_by(rules: Mapping[SqlServer, Sequence[FirewallRule]]) -> Check:
    """
    Return the check that every Azure SQL server has a firewall rule for the address.

    :param rules: by server, read once for all addresses.
    """

    @partial(Check, "azure", "every Azure SQL server has a firewall rule that allows the address", needs=(usable,))
    def is_allowed(setup: Setup) -> Iterator[Finding]:
        address = setup.reads.address
        if address is None:
            return
        for server, server_rules in rules.items():
            if not admitting(server_rules, address.public_ip):
                yield error(
                    f"Elastic IP '{setup.allocation_id}' ({address.public_ip})",
                    what=f"Azure SQL server '{server.name}' has no firewall rule that allows it",
                    why="that server would refuse the job (error 40615)",
                    remedy="add the rule with AzureSqlFirewallRuleOperator, or with az sql server firewall-rule create",
                )

    return is_allowed
