"""The check that a database lets an address in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.hooks.azure import admitting
from airflow_eip_provider.preflight.address import USABLE
from airflow_eip_provider.preflight.finding import Check, Finding, error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_eip_provider.hooks.azure import FirewallRule, SqlServer
    from airflow_eip_provider.preflight.setup import Setup


def admitted_by(rules: Mapping[SqlServer, Sequence[FirewallRule]]) -> Check:
    """
    Return the check that every Azure SQL server has a rule that admits the address.

    :param rules: of each server, read once for all addresses.
    """

    def find(setup: Setup) -> Iterator[Finding]:
        address = setup.address
        if address is None:
            return
        for server, found in rules.items():
            if not admitting(found, address.public_ip):
                yield error(
                    f"Elastic IP '{setup.allocation_id}' ({address.public_ip})",
                    what=f"Azure SQL server '{server.name}' has no firewall rule that admits it",
                    why="that server would refuse the job (error 40615)",
                    mend="add the rule with AzureSqlFirewallRuleOperator, or with az sql server firewall-rule create",
                )

    return Check("azure", "every Azure SQL server has a rule that admits the address", find, needs=(USABLE,))
