"""
Firewall rules of Azure SQL servers, through Azure Resource Manager with Airflow's Azure connection.

Needs the extra ``azure``; without it this module can be imported, and says so when it is used.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn, Self

from airflow_eip_provider.airflow_compat import AirflowNotFoundException, BaseHook
from airflow_eip_provider.exceptions import (
    AddressNotFoundError,
    AzureRefusedError,
    AzureUnavailableError,
    InvalidInputError,
    MissingConnectionError,
    MissingExtraError,
)
from airflow_eip_provider.hooks.address_pool import read_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from airflow_eip_provider.hooks.aws import AwsHooks

_SERVER_ID = re.compile(
    r"/subscriptions/(?P<subscription_id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})"
    r"/resourceGroups/(?P<resource_group>[\w.()-]{1,90})/providers/Microsoft\.Sql/servers/(?P<name>[a-z0-9-]{1,63})/?",
    re.IGNORECASE,
)
# Azure's clouds as AzureBaseHook's connections name them, and where their Resource Manager is.
_CLOUDS = {
    "AzurePublicCloud": "https://management.azure.com",
    "AzureUSGovernment": "https://management.usgovcloudapi.net",
    "AzureChinaCloud": "https://management.chinacloudapi.cn",
}
_NOT_ROUTED = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # among them the rule that means all of Azure
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "224.0.0.0/3",
        ),
    )
)
_AZURE_SERVICES = "0.0.0.0"  # a rule from and to this admits Azure's own services, nobody else
_THROTTLED, _SERVER_ERROR = 429, 500
_REMEDIES = {
    "SubscriptionNotFound": "check the subscription in the server's resource id, and the tenant of azure_conn_id",
    "InvalidSubscriptionId": "check the subscription in the server's resource id",
    "AuthorizationFailed": "give the principal behind azure_conn_id a role with Microsoft.Sql/servers/firewallRules/* "
    "on the server, such as 'SQL Security Manager'",
    "ResourceGroupNotFound": "check the resource group in the server's resource id",
    "ResourceNotFound": "check the server's name in its resource id ('az sql server show --query id')",
    "ParentResourceNotFound": "check the server's name in its resource id ('az sql server show --query id')",
    "ScopeLocked": "remove the lock from the server, or have its keeper change the rule",
}
_OTHER_REMEDY = "fix what Azure names"


@dataclass(frozen=True, slots=True)
class SqlServer:
    """A logical Azure SQL server."""

    subscription_id: str
    resource_group: str
    name: str

    @classmethod
    def parse(cls, resource_id: object) -> Self:
        """
        Read ``/subscriptions/…/resourceGroups/…/providers/Microsoft.Sql/servers/…``.

        :raises InvalidInputError: when it is something else.
        """
        found = _SERVER_ID.fullmatch(resource_id.strip()) if isinstance(resource_id, str) else None
        if found is None:
            raise InvalidInputError(
                f"checking Azure SQL server {resource_id!r}",
                problem="this is not the resource id of one",
                remedy="give /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.Sql/servers/NAME, as "
                "'az sql server show --query id' prints it",
            )
        return cls(**found.groupdict())

    @property
    def resource_id(self) -> str:
        """The resource id, as Azure writes it."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.Sql/servers/{self.name}"
        )


@dataclass(frozen=True, slots=True)
class FirewallRule:
    """A server-level IP firewall rule: a range of IPv4 addresses, both ends included."""

    name: str
    start: str
    end: str

    def admits(self, public_ip: str) -> bool:
        """Whether the rule lets an address in."""
        if self.start == _AZURE_SERVICES == self.end:
            return False
        address = ipaddress.IPv4Address(public_ip)
        return ipaddress.IPv4Address(self.start) <= address <= ipaddress.IPv4Address(self.end)

    @property
    def range(self) -> str:
        """What it admits, for people."""
        if self.start == _AZURE_SERVICES == self.end:
            return "Azure's own services"
        return self.start if self.start == self.end else f"{self.start} to {self.end}"

    def __str__(self) -> str:
        return f"'{self.name}' ({self.range})"


def checked_servers(resource_ids: object) -> list[SqlServer]:
    """
    Read the servers that an operator or a sensor is given: a list of resource ids, or one.

    :raises InvalidInputError: when there is none, or one that is malformed.
    """
    given = [resource_ids] if isinstance(resource_ids, str) else resource_ids
    if not isinstance(given, (list, tuple)) or not given:
        raise InvalidInputError(
            "checking servers", problem=f"{resource_ids!r} names none", remedy="give a list of resource ids"
        )
    return list(dict.fromkeys(map(SqlServer.parse, given)))


def checked_public_ips(aws: Callable[[], AwsHooks], *, allocation_id: Any, public_ip: str | None) -> list[str]:
    """
    Return the addresses that are to be registered: the one given, or of the Elastic IPs (ec2:DescribeAddresses).

    :param aws: makes the hooks; called only for an ``allocation_id``.
    :param allocation_id: one, or several, as in ``EmrCreateWithStaticIpOperator``.
    :raises InvalidInputError: when not exactly one of the two is given, or what is given is no public IPv4 address.
    :raises AddressNotFoundError: when there is no such Elastic IP in this account and region.
    """
    from airflow_eip_provider.aws.addresses import read_addresses

    if bool(allocation_id) == bool(public_ip):
        raise InvalidInputError(
            "checking the address",
            problem=f"allocation_id is {allocation_id!r} and public_ip is {public_ip!r}",
            remedy="give exactly one of them",
        )
    if allocation_id:
        hooks = aws()
        named = read_pool(allocation_id, hooks)
        several = [named] if isinstance(named, str) else list(named)
        found = read_addresses(hooks.eip.conn, several)
        for one in several:
            if one not in found:
                raise AddressNotFoundError(one, region=hooks.eip.conn_region_name)
        return [found[one].public_ip for one in several]
    try:
        parsed = ipaddress.IPv4Address(str(public_ip).strip())
    except ValueError:
        parsed = None
    if parsed is None or any(parsed in network for network in _NOT_ROUTED):
        raise InvalidInputError(
            f"checking public_ip {public_ip!r}",
            problem="this is no single public IPv4 address",
            remedy="give the Elastic IP itself, such as 52.31.7.20, or its allocation_id",
        )
    return [str(parsed)]


def admitting(rules: Iterable[FirewallRule], public_ip: str) -> list[FirewallRule]:
    """Return the rules that let an address in."""
    return [rule for rule in rules if rule.admits(public_ip)]


class AzureSqlFirewallHook(BaseHook):
    """
    Read and make firewall rules of Azure SQL servers.

    Microsoft.Sql/servers/firewallRules/read, …/write and …/delete are the permissions that it needs.

    :param azure_conn_id: an Airflow connection of the type Azure: a service principal (login, password, extra
        ``tenantId``), or else azure-identity's default credentials with the extras ``managed_identity_client_id`` and
        ``workload_identity_tenant_id``. The extra ``cloud_environment`` names another cloud than Azure's public one.
        The extra ``arm_endpoint`` names another Resource Manager; one at ``http://`` is sent a token only if the extra
        ``enforce_https`` is false, which is for one on this machine.
    """

    def __init__(self, azure_conn_id: str = "azure_default") -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.azure_conn_id = azure_conn_id
        self._clients: dict[str, Any] = {}

    def list_rules(self, server: SqlServer) -> list[FirewallRule]:
        """
        Return the rules of a server.

        :raises AzureRefusedError: when a retry does not help: an unknown subscription, group or server, no permission.
        :raises AzureUnavailableError: when Azure gives no answer, or throttles for long.
        """
        found = self._call(
            f"reading the firewall rules of Azure SQL server '{server.name}'",
            server,
            lambda operations, options: list(operations.list_by_server(server.resource_group, server.name, **options)),
        )
        return [FirewallRule(rule.name, rule.start_ip_address, rule.end_ip_address) for rule in found]

    def put_rule(self, server: SqlServer, rule: FirewallRule) -> None:
        """
        Make a rule; it may take Azure up to five minutes to follow it.

        Azure replaces a rule of the same name without a word: look before, with :meth:`list_rules`.

        :raises AzureRefusedError: as :meth:`list_rules` does.
        :raises AzureUnavailableError: as :meth:`list_rules` does.
        """
        body = {"properties": {"startIpAddress": rule.start, "endIpAddress": rule.end}}
        self._call(
            f"creating firewall rule {rule} of Azure SQL server '{server.name}'",
            server,
            lambda operations, options: operations.create_or_update(
                server.resource_group, server.name, rule.name, body, **options
            ),
        )

    def delete_rule(self, server: SqlServer, name: str) -> None:
        """
        Remove a rule; one that is gone already is removed.

        :raises AzureRefusedError: as :meth:`list_rules` does.
        :raises AzureUnavailableError: as :meth:`list_rules` does.
        """
        self._call(
            f"removing firewall rule '{name}' of Azure SQL server '{server.name}'",
            server,
            lambda operations, options: operations.delete(server.resource_group, server.name, name, **options),
        )

    def close(self) -> None:
        """Close the connections to Azure."""
        for client, _ in self._clients.values():
            client.close()
        self._clients.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def client_of(self, subscription_id: str) -> tuple[Any, dict[str, Any]]:
        """
        Return azure-mgmt-sql's client of a subscription, kept until :meth:`close`, and the options of its calls.

        :raises MissingExtraError: when the extra is not installed.
        :raises MissingConnectionError: when there is no such Airflow connection.
        """
        if subscription_id not in self._clients:
            self._clients[subscription_id] = self._connect(subscription_id)
        return self._clients[subscription_id]  # type: ignore[no-any-return]

    def _connect(self, subscription_id: str) -> tuple[Any, dict[str, Any]]:
        try:
            from airflow.providers.microsoft.azure.hooks.base_azure import AzureBaseHook  # an extra
            from azure.mgmt.sql import SqlManagementClient  # an extra
        except ImportError as error:
            raise MissingExtraError("azure", doing="connecting to Azure", module=error.name) from error
        try:
            connection = self.get_connection(self.azure_conn_id)
        except AirflowNotFoundException as error:
            raise MissingConnectionError(self.azure_conn_id, otherwise=", of the type Azure") from error
        extra = connection.extra_dejson
        endpoint = self._endpoint(extra)
        # azure-mgmt-sql takes azure-identity's credentials only, which AzureBaseHook hands out when it is asked to.
        wish = {**extra, "use_azure_identity_object": True}
        asking: Any = SimpleNamespace(login=connection.login, password=connection.password, extra_dejson=wish)
        credential: Any = AzureBaseHook(conn_id=self.azure_conn_id).get_credential(conn=asking)
        client = SqlManagementClient(
            credential, subscription_id, base_url=endpoint, credential_scopes=[f"{endpoint}/.default"]
        )
        return client, {"enforce_https": False} if extra.get("enforce_https") is False else {}

    def _endpoint(self, extra: dict[str, Any]) -> str:
        if given := extra.get("arm_endpoint"):
            return str(given).rstrip("/")
        cloud = extra.get("cloud_environment") or "AzurePublicCloud"
        if cloud not in _CLOUDS:
            raise InvalidInputError(
                f"connecting to Azure with connection '{self.azure_conn_id}'",
                problem=f"its cloud_environment is {cloud!r}",
                remedy=f"use one of {', '.join(_CLOUDS)}",
            )
        if extra.get("key_path") or extra.get("key_json"):
            raise InvalidInputError(
                f"connecting to Azure with connection '{self.azure_conn_id}'",
                problem="a key file (key_path, key_json) is of no use to azure-mgmt-sql",
                remedy="put the service principal into login, password and the extra tenantId",
            )
        return _CLOUDS[cloud]

    def _call(self, doing: str, server: SqlServer, call: Callable[[Any, dict[str, Any]], Any]) -> Any:
        """Make one call; azure-core has waited as Retry-After says, and tried again, before it gives up."""
        client, options = self.client_of(server.subscription_id)
        from azure.core.exceptions import AzureError  # an extra, and installed: there is a client

        try:
            return call(client.firewall_rules, options)
        except AzureError as error:
            _explain(doing, error)


def _explain(doing: str, error: Any) -> NoReturn:
    """Say what an error of Azure's client means."""
    from azure.core.exceptions import ClientAuthenticationError, HttpResponseError  # an extra

    status = getattr(error, "status_code", None)
    if isinstance(error, ClientAuthenticationError):
        code, remedy = "Unauthorized", "check login, password and tenantId of azure_conn_id"
    elif isinstance(error, HttpResponseError) and status is not None:
        if status == _THROTTLED or status >= _SERVER_ERROR:
            raise AzureUnavailableError(doing, problem=f"{status} {error.reason}") from error
        code = str(getattr(error.error, "code", None) or status)
        remedy = _REMEDIES.get(code, _OTHER_REMEDY)
    else:
        raise AzureUnavailableError(doing, problem=f"{type(error).__name__}: {error.message}") from error
    said = getattr(getattr(error, "error", None), "message", None) or error.message
    raise AzureRefusedError(doing, code=code, problem=str(said).strip().rstrip("."), remedy=remedy) from error
