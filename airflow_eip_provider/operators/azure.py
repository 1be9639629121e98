"""Registering an Elastic IP with the firewalls of Azure SQL servers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.amazon.aws.operators.base_aws import AwsBaseOperator
from airflow.providers.amazon.aws.utils.mixins import aws_template_fields

from airflow_eip_provider.airflow_compat import AirflowFailException
from airflow_eip_provider.exceptions import FirewallRuleConflictError, InvalidInputError, PermanentError
from airflow_eip_provider.hooks.address_pool import names_pool
from airflow_eip_provider.hooks.azure import (
    AzureSqlFirewallHook,
    FirewallRule,
    admitting,
    checked_public_ips,
    checked_servers,
)
from airflow_eip_provider.hooks.eip import ElasticIpHook
from airflow_eip_provider.rendered import check_choice

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.hooks.azure import SqlServer

# Azure: 1 to 128 characters, none of these, no period at the end (Resource naming rules, Microsoft.Sql).
_RULE_NAME = re.compile(r"[^<>*%&:\\/?\x00-\x1f]{1,127}[^<>*%&:\\/?.\x00-\x1f]|[^<>*%&:\\/?.\x00-\x1f]")
_LONGEST_NAME, _LONGEST_SUFFIX = 128, "-255.255.255.255"


class AzureSqlFirewallRuleOperator(AwsBaseOperator[ElasticIpHook]):
    """
    Register an Elastic IP, or several, with the firewalls of Azure SQL servers, or remove them.

    Each address has a separate rule, which admits only that address. Running it twice changes nothing, and existing
    rules are never changed: a rule of the same name that admits anything else is an error. If another rule already
    admits the address, this is reported, and no rule is created. All servers are read before the first one is changed.

    Returns a list of {server, rule, public_ip, outcome, admitted_by}, one per server and address. ``outcome`` is
    "created", "unchanged", "admitted" (by another rule, so none was created), "removed" or "absent"; ``admitted_by``
    names the rules that admit the address afterwards. After a failure the rules that were created stay, and a retry
    continues. Azure may take up to five minutes to apply a new rule.

    IAM: ec2:DescribeAddresses, for an ``allocation_id``. Azure: Microsoft.Sql/servers/firewallRules/read, …/write or
    …/delete. Needs the extra ``azure``.

    :param servers: resource IDs, ``/subscriptions/…/resourceGroups/…/providers/Microsoft.Sql/servers/…``. (templated)
    :param allocation_id: the Elastic IP, ``eipalloc-…``, or several, as in ``EmrCreateWithStaticIpOperator``.
        (templated)
    :param public_ip: the public IP address, instead of ``allocation_id``. (templated)
    :param rule_name: the name of the rule; "eip-ADDRESS" by default. If ``allocation_id`` is a list or a tag, the rules
        are called "NAME-ADDRESS". (templated)
    :param state: "present" or "absent".
    :param azure_conn_id: see ``AzureSqlFirewallHook``.
    """

    aws_hook_class = ElasticIpHook
    template_fields: Sequence[str] = aws_template_fields(
        "allocation_id", "azure_conn_id", "public_ip", "rule_name", "servers"
    )

    def __init__(
        self,
        *,
        servers: list[str] | str,
        allocation_id: str | Sequence[str] | Mapping[str, str] | None = None,
        public_ip: str | None = None,
        rule_name: str | None = None,
        state: Literal["present", "absent"] = "present",
        azure_conn_id: str = "azure_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.servers = servers
        self.allocation_id = allocation_id
        self.public_ip = public_ip
        self.rule_name = rule_name
        self.state = state
        self.azure_conn_id = azure_conn_id

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Read the rules of all servers, then create or remove rules."""
        try:
            servers, wanted = self._checked()
            with AzureSqlFirewallHook(self.azure_conn_id) as azure:
                rules = {server: azure.list_rules(server) for server in servers}
                for server in servers:
                    for rule in wanted:
                        _check_admits_only(rule, rules[server], server)
                return [self._apply(azure, server, rule, rules[server]) for server in servers for rule in wanted]
        except PermanentError as error:
            raise AirflowFailException(str(error)) from error

    def _checked(self) -> tuple[list[SqlServer], list[FirewallRule]]:
        check_choice("state", self.state, ("present", "absent"))
        # By the form of allocation_id, not by how many it names today: a rule keeps its name when an address is added.
        several = names_pool(self.allocation_id)
        suffix = _LONGEST_SUFFIX if several else ""
        most = _LONGEST_NAME - len(suffix)
        if self.rule_name is not None and not _RULE_NAME.fullmatch(f"{self.rule_name}{suffix}"):
            raise InvalidInputError(
                f"checking rule_name {self.rule_name!r}",
                problem="Azure does not accept this name",
                remedy=rf"use up to {most} characters, none of < > * % & : \ / ? and no period at the end",
            )
        from airflow_eip_provider.hooks.aws import AwsHooks

        servers = checked_servers(self.servers)
        public_ips = checked_public_ips(
            lambda: AwsHooks.of(self), allocation_id=self.allocation_id, public_ip=self.public_ip
        )
        return servers, [FirewallRule(self._name_of(ip, several=several), ip, ip) for ip in dict.fromkeys(public_ips)]

    def _name_of(self, public_ip: str, *, several: bool) -> str:
        if not self.rule_name:
            return f"eip-{public_ip}"
        return f"{self.rule_name}-{public_ip}" if several else self.rule_name

    def _apply(
        self, azure: AzureSqlFirewallHook, server: SqlServer, wanted: FirewallRule, rules: list[FirewallRule]
    ) -> dict[str, Any]:
        """Create or remove the rule of one server, and return the outcome."""
        public_ip = wanted.start
        others = [rule for rule in admitting(rules, public_ip) if not _has_same_name(rule, wanted)]
        exists = any(_has_same_name(rule, wanted) for rule in rules)
        by = f"Azure SQL server '{server.name}' admits {public_ip} by rule {', '.join(map(str, others))}"
        if self.state == "absent":
            if exists:
                azure.delete_rule(server, wanted.name)
                self.log.info("Removed firewall rule %s of Azure SQL server '%s'", wanted, server.name)
            if others:
                self.log.warning("%s still", by)
            outcome, admitted_by = ("removed" if exists else "absent"), others
        elif exists:
            self.log.info("Azure SQL server '%s' has firewall rule %s already", server.name, wanted)
            outcome, admitted_by = "unchanged", [wanted, *others]
        elif others:
            self.log.warning("%s already; no rule is created", by)
            outcome, admitted_by = "admitted", others
        else:
            azure.put_rule(server, wanted)
            self.log.info(
                "Created firewall rule %s of Azure SQL server '%s'; it may take up to five minutes to work",
                wanted,
                server.name,
            )
            outcome, admitted_by = "created", [wanted]
        return {
            "server": server.resource_id,
            "rule": wanted.name,
            "public_ip": public_ip,
            "outcome": outcome,
            "admitted_by": [rule.name for rule in admitted_by],
        }


def _has_same_name(rule: FirewallRule, wanted: FirewallRule) -> bool:
    """Whether both rules have the same name; Azure's names are case-insensitive."""
    return rule.name.lower() == wanted.name.lower()


def _check_admits_only(wanted: FirewallRule, rules: list[FirewallRule], server: SqlServer) -> None:
    """Check that a rule of this name, if it exists, admits only this address."""
    for rule in rules:
        if _has_same_name(rule, wanted) and (rule.start, rule.end) != (wanted.start, wanted.end):
            raise FirewallRuleConflictError(wanted.name, server=server.name, admits=rule.range, public_ip=wanted.start)
