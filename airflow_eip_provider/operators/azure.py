"""Registering an Elastic IP with Azure SQL servers."""

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

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.hooks.azure import SqlServer

# Azure: 1 to 128 characters, none of these, no period at the end (Resource naming rules, Microsoft.Sql).
_RULE_NAME = re.compile(r"[^<>*%&:\\/?\x00-\x1f]{1,127}[^<>*%&:\\/?.\x00-\x1f]|[^<>*%&:\\/?.\x00-\x1f]")
_LONGEST_NAME, _LONGEST_SUFFIX = 128, "-255.255.255.255"
_STATES = ("present", "absent")


class AzureSqlFirewallRuleOperator(AwsBaseOperator[ElasticIpHook]):
    """
    Register an Elastic IP, or several, with the firewalls of Azure SQL servers, or remove them.

    Each address has a rule of its own, which admits that one address. Running it twice changes nothing, and no rule of
    somebody else's is ever changed: a rule of the same name that admits anything else is an error. An address that
    another rule admits already is reported, and left at that. Every server is looked at before the first one is
    changed.

    Returns a list of {server, rule, public_ip, outcome, admitted_by}, one a server and address. ``outcome`` is
    "created", "unchanged", "admitted" (by another rule: none was made), "removed" or "absent"; ``admitted_by`` names
    the rules that admit the address afterwards. When it fails half-way, what was made stays, and a retry goes on from
    there. A new rule may take Azure up to five minutes to follow.

    IAM: ec2:DescribeAddresses, for an ``allocation_id``. Azure: Microsoft.Sql/servers/firewallRules/read, …/write or
    …/delete. Needs the extra ``azure``.

    :param servers: resource ids, ``/subscriptions/…/resourceGroups/…/providers/Microsoft.Sql/servers/…``. (templated)
    :param allocation_id: the Elastic IP, ``eipalloc-…``, or several, as in ``EmrCreateWithStaticIpOperator``; or else
        (templated)
    :param public_ip: the address itself. (templated)
    :param rule_name: of the rule; "eip-ADDRESS" unless given. Where ``allocation_id`` is a list or a tag, the rules are
        called "NAME-ADDRESS". (templated)
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
        """Look at every server, then change what is to be changed."""
        try:
            return self._execute()
        except PermanentError as error:
            raise AirflowFailException(str(error)) from error

    def _execute(self) -> list[dict[str, Any]]:
        servers, wanted = self._checked()
        with AzureSqlFirewallHook(self.azure_conn_id) as azure:
            rules = {server: azure.list_rules(server) for server in servers}
            for server in servers:
                for rule in wanted:
                    _check_own(rule, rules[server], server)
            return [self._settle(azure, server, rule, rules[server]) for server in servers for rule in wanted]

    def _checked(self) -> tuple[list[SqlServer], list[FirewallRule]]:
        if self.state not in _STATES:
            raise InvalidInputError(
                f"checking state {self.state!r}", problem="unknown choice", remedy=f"use one of {_STATES}"
            )
        # By what allocation_id is, not by how many it names today: a rule keeps its name when an address is added.
        several = names_pool(self.allocation_id)
        suffix = _LONGEST_SUFFIX if several else ""
        most = _LONGEST_NAME - len(suffix)
        if self.rule_name is not None and not _RULE_NAME.fullmatch(f"{self.rule_name}{suffix}"):
            raise InvalidInputError(
                f"checking rule_name {self.rule_name!r}",
                problem="Azure takes no such name",
                remedy=rf"use up to {most} characters, none of < > * % & : \ / ? and no period at the end",
            )
        from airflow_eip_provider.hooks.aws import AwsHooks

        servers = checked_servers(self.servers)
        public_ips = checked_public_ips(
            lambda: AwsHooks.of(self), allocation_id=self.allocation_id, public_ip=self.public_ip
        )
        names = {public_ip: self._name_of(public_ip, several=several) for public_ip in public_ips}
        return servers, [FirewallRule(name, public_ip, public_ip) for public_ip, name in names.items()]

    def _name_of(self, public_ip: str, *, several: bool) -> str:
        if not self.rule_name:
            return f"eip-{public_ip}"
        return f"{self.rule_name}-{public_ip}" if several else self.rule_name

    def _settle(
        self, azure: AzureSqlFirewallHook, server: SqlServer, wanted: FirewallRule, rules: list[FirewallRule]
    ) -> dict[str, Any]:
        """Make or remove the rule of one server, and say what came of it."""
        public_ip = wanted.start
        others = [rule for rule in admitting(rules, public_ip) if not _same(rule, wanted)]
        exists = any(_same(rule, wanted) for rule in rules)
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


def _same(rule: FirewallRule, wanted: FirewallRule) -> bool:
    """Whether it is the rule of that name; Azure's names are equal whatever their case."""
    return rule.name.lower() == wanted.name.lower()


def _check_own(wanted: FirewallRule, rules: list[FirewallRule], server: SqlServer) -> None:
    """
    Check that the rule of our name, if there is one, is about our address and no other.

    :raises FirewallRuleConflictError: when it is about anything else.
    """
    for rule in rules:
        if _same(rule, wanted) and (rule.start, rule.end) != (wanted.start, wanted.end):
            raise FirewallRuleConflictError(wanted.name, server=server.name, admits=rule.range, public_ip=wanted.start)
