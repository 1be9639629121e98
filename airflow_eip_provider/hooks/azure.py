"""
The hook for firewall rules of Azure SQL servers, through Azure Resource Manager with Airflow's Azure connection.

It needs the extra ``azure``. Without it this module can be imported, and raises an error when it is used.
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
# Azure's clouds by their names in AzureBaseHook's connections, with the URLs of their Resource Manager.
_CLOUDS = {
    "AzurePublicCloud": "https://management.azure.com",
    "AzureUSGovernment": "https://management.usgovcloudapi.net",
    "AzureChinaCloud": "https://management.chinacloudapi.cn",
}
_NOT_ROUTED = [
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # includes the address of the rule that admits all of Azure
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "224.0.0.0/3",
    )
]
_AZURE_SERVICES = "0.0.0.0"  # a rule from and to this address admits only Azure's own services
_THROTTLED, _SERVER_ERROR = 429, 500
_ENTRA_CODE = re.compile(r"\bAADSTS\d+")
_REMEDIES = {
    "SubscriptionNotFound": "check the subscription in the server's resource ID, and the tenant of azure_conn_id",
    "InvalidSubscriptionId": "check the subscription in the server's resource ID",
    "AuthorizationFailed": "give the principal of azure_conn_id a role with Microsoft.Sql/servers/firewallRules/* "
    "on the server, such as 'SQL Security Manager'",
    "ResourceGroupNotFound": "check the resource group in the server's resource ID",
    "ResourceNotFound": "check the server's name in its resource ID ('az sql server show --query id')",
    "ParentResourceNotFound": "check the server's name in its resource ID ('az sql server show --query id')",
    "ScopeLocked": "remove the lock from the server, or ask its administrator to change the rule",
}
_OTHER_REMEDY = "fix the problem that Azure reports"


@dataclass(frozen=True, slots=True)
class SqlServer:
    """A logical Azure SQL server."""

    subscription_id: str
    resource_group: str
    name: str

    @classmethod
    def parse(cls, resource_id: object) -> Self:
        """
        Parse ``/subscriptions/…/resourceGroups/…/providers/Microsoft.Sql/servers/…``.

        :raises InvalidInputError: for anything else.
        """
        match = _SERVER_ID.fullmatch(resource_id.strip()) if isinstance(resource_id, str) else None
        if match is None:
            raise InvalidInputError(
                f"checking Azure SQL server {resource_id!r}",
                problem="this is not the resource ID of one",
                remedy="give /subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.Sql/servers/NAME, as "
                "'az sql server show --query id' prints it",
            )
        return cls(**match.groupdict())

    @property
    def resource_id(self) -> str:
        """The resource ID, in Azure's format."""
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
        """Return whether the rule admits an address."""
        if self.start == _AZURE_SERVICES == self.end:
            return False
        address = ipaddress.IPv4Address(public_ip)
        return ipaddress.IPv4Address(self.start) <= address <= ipaddress.IPv4Address(self.end)

    @property
    def range(self) -> str:
        """The admitted addresses, as a text."""
        if self.start == _AZURE_SERVICES == self.end:
            return "Azure's own services"
        return self.start if self.start == self.end else f"{self.start} to {self.end}"

    def __str__(self) -> str:
        return f"'{self.name}' ({self.range})"


def checked_servers(resource_ids: object) -> list[SqlServer]:
    """
    Validate the servers of an operator or a sensor: one resource ID, or a list of them.

    :raises InvalidInputError: when there is none, or one is malformed.
    """
    listed = [resource_ids] if isinstance(resource_ids, str) else resource_ids
    if not isinstance(listed, (list, tuple)) or not listed:
        raise InvalidInputError(
            "checking servers", problem=f"{resource_ids!r} names none", remedy="give a list of resource IDs"
        )
    return list(dict.fromkeys(map(SqlServer.parse, listed)))


def checked_public_ips(aws: Callable[[], AwsHooks], *, allocation_id: Any, public_ip: str | None) -> list[str]:
    """
    Return the public addresses: the given one, or those of the Elastic IPs (ec2:DescribeAddresses).

    :param aws: creates the hooks; called only for an ``allocation_id``.
    :param allocation_id: one or several, as in ``EmrCreateWithStaticIpOperator``.
    :raises InvalidInputError: unless exactly one of the two is given, and ``public_ip`` is a public IPv4 address.
    :raises AddressNotFoundError: when an Elastic IP does not exist in this account and region.
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
        pool = read_pool(allocation_id, hooks)
        allocation_ids = [pool] if isinstance(pool, str) else list(pool)
        addresses = read_addresses(hooks.eip.conn, allocation_ids)
        for missing in (name for name in allocation_ids if name not in addresses):
            raise AddressNotFoundError(missing, region=hooks.eip.conn_region_name)
        return [addresses[name].public_ip for name in allocation_ids]
    try:
        address = ipaddress.IPv4Address(str(public_ip).strip())
    except ValueError:
        address = None
    if address is None or any(address in network for network in _NOT_ROUTED):
        raise InvalidInputError(
            f"checking public_ip {public_ip!r}",
            problem="this is not a single public IPv4 address",
            remedy="give the Elastic IP itself, such as 52.31.7.20, or its allocation_id",
        )
    return [str(address)]


def admitting(rules: Iterable[FirewallRule], public_ip: str) -> list[FirewallRule]:
    """Return the rules that admit an address."""
    return [rule for rule in rules if rule.admits(public_ip)]


class AzureSqlFirewallHook(BaseHook):
    """
    Lists, creates and deletes firewall rules of Azure SQL servers.

    It needs the permissions Microsoft.Sql/servers/firewallRules/read, …/write and …/delete.

    :param azure_conn_id: an Airflow connection of the type Azure: a service principal (login, password, extra
        ``tenantId``), or azure-identity's default credentials with the extras ``managed_identity_client_id`` and
        ``workload_identity_tenant_id``. The extra ``cloud_environment`` selects a cloud other than Azure's public one.
        The extra ``arm_endpoint`` is the URL of another Resource Manager. With ``http://`` a token is sent only if the
        extra ``enforce_https`` is false; use this only on the local machine.
    """

    def __init__(self, azure_conn_id: str = "azure_default") -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.azure_conn_id = azure_conn_id
        self._clients: dict[str, Any] = {}

    def list_rules(self, server: SqlServer) -> list[FirewallRule]:
        """
        Return the rules of a server.

        :raises AzureRefusedError: for permanent errors: an unknown subscription, group or server, no permission.
        :raises AzureUnavailableError: when Azure does not answer, or throttles for long.
        """
        rules = self._call(
            f"reading the firewall rules of Azure SQL server '{server.name}'",
            server,
            lambda operations, options: list(operations.list_by_server(server.resource_group, server.name, **options)),
        )
        return [FirewallRule(rule.name, rule.start_ip_address, rule.end_ip_address) for rule in rules]

    def put_rule(self, server: SqlServer, rule: FirewallRule) -> None:
        """
        Create a rule, which may take up to five minutes to be effective.

        Azure replaces a rule of the same name without an error, so call :meth:`list_rules` first.

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
        Delete a rule; succeeds if it does not exist.

        :raises AzureRefusedError: as :meth:`list_rules` does.
        :raises AzureUnavailableError: as :meth:`list_rules` does.
        """
        self._call(
            f"deleting firewall rule '{name}' of Azure SQL server '{server.name}'",
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
        Return azure-mgmt-sql's client for a subscription, cached until :meth:`close`, and the options of its calls.

        :raises MissingExtraError: when the extra is not installed.
        :raises MissingConnectionError: when the Airflow connection does not exist.
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
        # azure-mgmt-sql accepts only azure-identity's credentials, which AzureBaseHook returns with this option.
        options = {**extra, "use_azure_identity_object": True}
        changed: Any = SimpleNamespace(login=connection.login, password=connection.password, extra_dejson=options)
        credential: Any = AzureBaseHook(conn_id=self.azure_conn_id).get_credential(conn=changed)
        client = SqlManagementClient(
            credential, subscription_id, base_url=endpoint, credential_scopes=[f"{endpoint}/.default"]
        )
        return client, {"enforce_https": False} if extra.get("enforce_https") is False else {}

    def _endpoint(self, extra: dict[str, Any]) -> str:
        if endpoint := extra.get("arm_endpoint"):
            return str(endpoint).rstrip("/")
        doing = f"connecting to Azure with connection '{self.azure_conn_id}'"
        cloud = extra.get("cloud_environment") or "AzurePublicCloud"
        if cloud not in _CLOUDS:
            remedy = f"use one of {', '.join(_CLOUDS)}"
            raise InvalidInputError(doing, problem=f"its cloud_environment is {cloud!r}", remedy=remedy)
        if extra.get("key_path") or extra.get("key_json"):
            problem = "azure-mgmt-sql does not support a key file (key_path, key_json)"
            remedy = "put the service principal into login, password and the extra tenantId"
            raise InvalidInputError(doing, problem=problem, remedy=remedy)
        return _CLOUDS[cloud]

    def _call(self, doing: str, server: SqlServer, call: Callable[[Any, dict[str, Any]], Any]) -> Any:
        """Make one call; azure-core retries it, and respects Retry-After."""
        client, options = self.client_of(server.subscription_id)
        from azure.core.exceptions import AzureError  # an extra, and installed: there is a client

        try:
            return call(client.firewall_rules, options)
        except AzureError as error:
            _raise_error(doing, error)


def _raise_error(doing: str, error: Any) -> NoReturn:
    """Raise this package's error for an error of Azure's client."""
    from azure.core.exceptions import ClientAuthenticationError  # an extra

    status = getattr(error, "status_code", None)
    # azure-identity's errors often have no response. Microsoft Entra ID's own refusals have a code in their text.
    is_refused = isinstance(error, ClientAuthenticationError) and _ENTRA_CODE.search(error.message) is not None
    if status is None and not is_refused:
        # Also when there is no token, for example while the endpoint of managed identities does not respond.
        problem = f"{type(error).__name__}: {' '.join(error.message.split())}"
        raise AzureUnavailableError(doing, problem=problem) from error
    if status is not None and (status == _THROTTLED or status >= _SERVER_ERROR):
        raise AzureUnavailableError(doing, problem=f"{status} {error.reason}") from error
    if isinstance(error, ClientAuthenticationError):
        code, remedy = "Unauthorized", "check login, password and tenantId of azure_conn_id"
    else:
        code = str(getattr(error.error, "code", None) or status)
        remedy = _REMEDIES.get(code, _OTHER_REMEDY)
    message = getattr(error.error, "message", None) or error.message
    raise AzureRefusedError(doing, code=code, problem=str(message).strip().rstrip("."), remedy=remedy) from error
