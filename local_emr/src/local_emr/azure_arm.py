"""The part of Azure Resource Manager that real clients use to manage firewall rules of the Azure SQL stand-in.

It is served at the local EMR's own URL. Any bearer token is accepted. To deny an action, call
``LocalAws.deny("Microsoft.Sql/servers/firewallRules/write")``. Faults of the kinds ``throttle`` and ``error`` use the
same operation names.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Protocol

from werkzeug.wrappers import Request, Response

from local_emr.azure_sql.firewall import Rule
from local_emr.errors import AwsError

if TYPE_CHECKING:
    from threading import RLock

    from local_emr.azure_sql import AzureSqlServer
    from local_emr.calls import Environ
    from local_emr.clock import Clock
    from local_emr.durations import Durations
    from local_emr.events import EventLog
    from local_emr.faults import Faults

SUBSCRIPTION_ID = "00000000-0000-4000-8000-000000000001"
RESOURCE_GROUP = "local"
RETRY_AFTER_SECONDS = 1

_TYPE = "Microsoft.Sql/servers/firewallRules"
_PATH = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)/providers/Microsoft\.Sql"
    r"/servers/(?P<server>[^/]+)/firewallRules(?:/(?P<rule>[^/]+))?",
    re.IGNORECASE,
)
_ACTIONS = {"GET": "read", "PUT": "write", "DELETE": "delete"}


class Services(Protocol):
    """The services that the rules belong to."""

    azure_sql: AzureSqlServer | None
    clock: Clock
    durations: Durations
    events: EventLog
    faults: Faults
    lock: RLock


def server_id(name: str) -> str:
    """Return the resource id of the stand-in with this name."""
    return f"/subscriptions/{SUBSCRIPTION_ID}/resourceGroups/{RESOURCE_GROUP}/providers/Microsoft.Sql/servers/{name}"


class AzureResourceManager:
    """Answers Azure's API of firewall rules (``Microsoft.Sql/servers/firewallRules``)."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def handles(self, environ: Environ) -> bool:
        """Return whether a request is for Azure: AWS clients send no bearer token, so no bucket name is blocked."""
        bearer = str(environ.get("HTTP_AUTHORIZATION", "")).startswith("Bearer ")
        return bearer and str(environ.get("PATH_INFO", "")).lower().startswith("/subscriptions/")

    def answer(self, environ: Environ) -> Response:
        """Answer in ARM's JSON format, including errors."""
        request = Request(environ)
        action = _ACTIONS.get(request.method)
        operation = f"{_TYPE}/{action}"
        request.get_data()  # before the lock is taken, so that a slow client does not block others
        with self._services.lock:
            try:
                status, body = self._answer(request, operation)
                code = None
            except AwsError as error:
                status, code = error.status, error.code
                body = {"error": {"code": error.code, "message": error.message}}
            self._services.events.append(
                "call",
                service="azure",
                operation=operation,
                request={"path": request.path},
                status=status,
                error_code=code,
            )
        headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if code == "TooManyRequests" else {}
        if body is None:
            return Response(status=status)
        return Response(json.dumps(body), status=status, content_type="application/json", headers=headers)

    def _answer(self, request: Request, operation: str) -> tuple[int, dict[str, Any] | None]:
        fault = self._services.faults.take(operation)
        if fault is not None and fault.kind == "throttle":
            raise AwsError("TooManyRequests", "The request is being throttled.", status=429)
        if fault is not None:
            raise AwsError(fault.code, fault.message, status=fault.status)
        sql, name = self._find(request.path, operation)
        if request.method == "PUT" and name:
            return self._put(sql, name, request)
        if request.method == "DELETE" and name:
            return (200 if sql.firewall.delete(name) else 204), None
        if request.method == "GET":
            return 200, self._read(sql, name)
        raise AwsError("MethodNotAllowed", f"{request.method} is not simulated here.", status=405)

    def _find(self, path: str, operation: str) -> tuple[AzureSqlServer, str | None]:
        """Check the path in ARM's order: subscription, permission, resource group, server."""
        found = _PATH.fullmatch(path)
        if found is None:
            raise AwsError("InvalidResourceType", f"{path} is not simulated; firewall rules are.", status=404)
        if found["subscription"].lower() != SUBSCRIPTION_ID:
            text = f"The subscription '{found['subscription']}' could not be found."
            raise AwsError("SubscriptionNotFound", text, status=404)
        if self._services.faults.is_denied(operation):
            text = (
                "The client 'local' with object id 'local' does not have authorization to perform action "
                f"'{operation}' over scope '{path}' or the scope is invalid. If access was recently granted, please "
                "refresh your credentials."
            )
            raise AwsError("AuthorizationFailed", text, status=403)
        if found["group"].lower() != RESOURCE_GROUP:
            text = f"Resource group '{found['group']}' could not be found."
            raise AwsError("ResourceGroupNotFound", text, status=404)
        sql = self._services.azure_sql
        if sql is None or found["server"].lower() != sql.name.lower():
            text = (
                f"The Resource 'Microsoft.Sql/servers/{found['server']}' under resource group '{found['group']}' was "
                "not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            )
            raise AwsError("ResourceNotFound", text, status=404)
        return sql, found["rule"]

    def _read(self, sql: AzureSqlServer, name: str | None) -> dict[str, Any]:
        rules = {rule.name: _view(sql, rule) for rule in sql.firewall.rules()}
        if name is None:
            return {"value": list(rules.values())}
        if name not in rules:
            text = f"The requested resource of type '{_TYPE}' with name '{name}' was not found."
            raise AwsError("ResourceNotFound", text, status=404)
        return rules[name]

    def _put(self, sql: AzureSqlServer, name: str, request: Request) -> tuple[int, dict[str, Any]]:
        """Create or replace a rule: it is listed at once and takes effect later."""
        try:
            properties = json.loads(request.get_data())["properties"]
            rule = Rule(name, properties["startIpAddress"], properties["endIpAddress"])
        except (ValueError, KeyError, TypeError) as error:
            raise AwsError("InvalidFirewallRule", f"Firewall rule '{name}': {error}", status=400) from error
        known = {known.name: known for known in sql.firewall.rules()}
        if known.get(name) == rule:
            return 200, _view(sql, rule)
        sql.firewall.put(rule, in_force=False)
        self._services.clock.call_later(
            self._services.durations.firewall_rule,
            lambda: sql.firewall.enforce(rule),
            name=f"firewall rule {name} admits",
        )
        return (200 if name in known else 201), _view(sql, rule)


def _view(sql: AzureSqlServer, rule: Rule) -> dict[str, Any]:
    return {
        "id": f"{server_id(sql.name)}/firewallRules/{rule.name}",
        "name": rule.name,
        "type": _TYPE,
        "properties": {"startIpAddress": rule.start_ip_address, "endIpAddress": rule.end_ip_address},
    }
