"""The local EMR's own HTTP API under /_local/: advances its clock, plans faults and shows events."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from local_emr.azure_sql.database import SqlError, Table
from local_emr.azure_sql.firewall import Rule
from local_emr.clock import ManualClock
from local_emr.errors import AwsError
from local_emr.outside import drop_packets

if TYPE_CHECKING:
    from collections.abc import Callable

    from local_emr.azure_sql import AzureSqlServer
    from local_emr.calls import Environ
    from local_emr.server import LocalAws

PREFIX = "/_local/"
MY_IP = "/my-ip"
_RULES = "azure-sql/firewall-rules/"
_TOKEN_SECONDS = 86400
Answer = dict[str, Any]


class ControlError(Exception):
    """A control request that failed.

    :param status: The HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ControlApi:
    """Routes control requests to the local EMR."""

    def __init__(self, aws: LocalAws) -> None:
        self._aws = aws
        self._routes: dict[tuple[str, str], Callable[[Request], Answer]] = {
            ("GET", "health"): self._health,
            ("POST", "reset"): self._reset,
            ("GET", "events"): self._events,
            ("GET", "clock"): self._clock,
            ("POST", "clock/advance"): self._advance,
            ("POST", "faults"): self._add_fault,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "remember"): self._remember,
            ("POST", "steal"): self._steal,
            ("POST", "deny"): self._deny,
            ("POST", "clusters/fail-next"): partial(_do, aws.fail_next_cluster),
            ("POST", "clusters/end"): partial(_do, aws.end_cluster),
            ("POST", "clusters/interrupt-spot"): partial(_do, aws.interrupt_spot),
            ("POST", "zones/limit"): partial(_do, aws.limit_capacity),
            ("POST", "zones/down"): partial(_do, aws.take_zone_down),
            ("POST", "zones/cut"): partial(_do, aws.cut_zone),
            ("POST", "zones/restore"): partial(_do, aws.restore_zone),
            ("POST", "clusters/lose-primary"): partial(_do, aws.lose_primary),
            ("POST", "instances/impair"): partial(_do, aws.impair),
            ("GET", "services"): self._services,
            ("POST", "services/trouble"): partial(_do, aws.trouble_service),
            ("POST", "services/mend"): partial(_do, aws.mend_service),
            ("POST", "livy/end-batch"): partial(_do, aws.end_batch),
            ("GET", "azure/token"): self._azure_token,
            ("GET", "azure-sql/firewall-rules"): self._firewall_rules,
            ("PUT", "azure-sql/firewall-rules/NAME"): self._put_firewall_rule,
            ("DELETE", "azure-sql/firewall-rules/NAME"): self._delete_firewall_rule,
            ("PUT", "azure-sql/upstream"): self._put_upstream,
            ("POST", "azure-sql/query"): self._query,
        }

    def handles(self, environ: Environ) -> bool:
        """Return whether a request is for the control API: AWS requests are signed, so no bucket name is blocked."""
        path = str(environ.get("PATH_INFO", ""))
        return (path == MY_IP or path.startswith(PREFIX)) and "HTTP_AUTHORIZATION" not in environ

    def answer(self, environ: Environ) -> Response:
        """Answer in JSON, and what-is-my-IP in plain text."""
        request = Request(environ)
        if request.path == MY_IP:
            return self._my_ip(request)
        try:
            return _json(self._route(request)(request))
        except ControlError as error:
            return _json({"error": str(error)}, status=error.status)
        except AwsError as error:
            return _json({"error": error.message, "code": error.code}, status=error.status)

    def _route(self, request: Request) -> Callable[[Request], Answer]:
        path = request.path.removeprefix(PREFIX)
        if path.startswith(_RULES):
            path = f"{_RULES}NAME"
        route = self._routes.get((request.method, path))
        if route is None:
            known = ", ".join(f"{method} {PREFIX}{path}" for method, path in self._routes)
            raise ControlError(404, f"no {request.method} {request.path}; there are: {known}")
        return route

    def _health(self, _: Request) -> Answer:
        return {
            "status": "ok",
            "time": self._aws.clock.now().isoformat(),
            "clock": type(self._aws.clock).__name__,
            "region": self._aws.region,
            "endpoint_url": self._aws.endpoint_url,
            "azure_sql": {"host": sql.host, "port": sql.port, "upstream": sql.upstream}
            if (sql := self._aws.azure_sql)
            else None,
        }

    def _services(self, _: Request) -> Answer:
        with self._aws.lock:
            return {"services": self._aws.services.shown(), "listeners": self._aws.load_balancers.shown()}

    def _my_ip(self, request: Request) -> Response:
        """Return the caller's public address; a request from a node without one is not answered."""
        peer = (str(request.remote_addr), int(request.environ["REMOTE_PORT"]))
        caller = self._aws.outside.caller(peer, local_port=int(request.environ["SERVER_PORT"]))
        self._aws.events.append(
            "connection",
            service="my_ip",
            from_ip=caller.ip,
            step_id=caller.step_id,
            job_flow_id=caller.job_flow_id,
            instance_id=caller.instance_id,
            admitted=caller.ip is not None,
            error_code=None,
        )
        if caller.ip is None:
            drop_packets(request.environ["werkzeug.socket"])
            return Response("no way to the internet\n", status=504, content_type="text/plain")
        return Response(f"{caller.ip}\n", content_type="text/plain")

    @property
    def _azure_sql(self) -> AzureSqlServer:
        if self._aws.azure_sql is None:
            raise ControlError(409, "this local EMR was started without the Azure SQL stand-in")
        return self._aws.azure_sql

    def _azure_token(self, request: Request) -> Answer:
        """
        Return the token of a managed identity, as Azure App Service does: IDENTITY_ENDPOINT is this URL.

        (Docs: Azure App Service, "REST endpoint reference" of managed identities.)
        """
        expires_on = str(int(time.time()) + _TOKEN_SECONDS)  # real time, which azure-identity uses
        resource = request.args.get("resource", "")
        return {"access_token": "local", "token_type": "Bearer", "expires_on": expires_on, "resource": resource}

    def _firewall_rules(self, _: Request) -> Answer:
        return {"rules": [asdict(rule) for rule in self._azure_sql.firewall.rules()]}

    def _put_firewall_rule(self, request: Request) -> Answer:
        name = request.path.removeprefix(PREFIX + _RULES)
        try:
            rule = Rule(name, _field(request, "start_ip_address"), _field(request, "end_ip_address"))
        except ValueError as error:
            raise ControlError(400, f"firewall rule {name!r}: {error}") from error
        self._azure_sql.firewall.put(rule)
        return asdict(rule)

    def _delete_firewall_rule(self, request: Request) -> Answer:
        name = request.path.removeprefix(PREFIX + _RULES)
        if not self._azure_sql.firewall.delete(name):
            raise ControlError(404, f"there is no firewall rule {name!r}")
        return {}

    def _put_upstream(self, request: Request) -> Answer:
        """Put a real SQL Server behind the firewall, or the stand-in again."""
        where = _field(request, "upstream")
        try:
            self._azure_sql.upstream = None if where is None else (str(where["host"]), int(where["port"]))
        except (KeyError, TypeError, ValueError) as error:
            problem = f"'upstream' must be null or have 'host' and 'port', not {where!r}"
            raise ControlError(400, f"{request.path}: {problem}") from error
        return {"upstream": where}

    def _query(self, request: Request) -> Answer:
        """Run a batch as the database's administrator; return the columns and rows of the last result."""
        fields = _fields(request)
        try:
            tables = self._azure_sql.execute(fields["sql"], database=fields["database"])
        except KeyError as error:
            raise ControlError(400, f"{request.path}: {error} is missing in the body") from error
        except SqlError as error:
            raise ControlError(400, str(error)) from error
        last = tables[-1] if tables else Table()
        return {"columns": [column.name for column in last.columns], "rows": [list(row) for row in last.rows]}

    def _reset(self, _: Request) -> Answer:
        self._aws.reset()
        return {}

    def _events(self, request: Request) -> Answer:
        """Return the events, all or up to a limit; the next page begins after the last event's number."""
        log = self._aws.events
        after = request.args.get("after", default=0, type=int)
        limit = request.args.get("limit", type=int)
        if after < 0 or (limit is not None and limit < 1):
            raise ControlError(400, f"{request.path}: 'after' must not be negative, 'limit' must be positive")
        return {
            "log": log.id,
            "last": log.last,
            "events": log.read(after=after, kind=request.args.get("kind"), limit=limit),
        }

    def _clock(self, _: Request) -> Answer:
        return {"time": self._aws.clock.now().isoformat(), "scale": getattr(self._aws.clock, "scale", None)}

    def _advance(self, request: Request) -> Answer:
        if not isinstance(self._aws.clock, ManualClock):
            raise ControlError(409, "this clock runs by itself; start the local EMR with a manual clock to turn it")
        self._aws.clock.advance(float(_field(request, "seconds")))
        return self._clock(request)

    def _add_fault(self, request: Request) -> Answer:
        fields = _fields(request)
        if "during" in fields:
            raise ControlError(400, "planning a fault: 'during' is a function and for Python only")
        try:
            self._aws.faults.add(**fields)
        except (TypeError, ValueError) as error:
            raise ControlError(400, f"planning a fault {fields}: {error}") from error
        return {}

    def _clear_faults(self, _: Request) -> Answer:
        self._aws.faults.clear()
        return {}

    def _remember(self, _: Request) -> Answer:
        self._aws.remember()
        return {}

    def _steal(self, request: Request) -> Answer:
        return {"instance_id": self._aws.steal(_field(request, "allocation_id"))}

    def _deny(self, request: Request) -> Answer:
        self._aws.deny(_field(request, "operation"))
        return {}


def _do(action: Callable[..., None], request: Request) -> Answer:
    """Call a function with the fields of a body."""
    fields = _fields(request)
    try:
        action(**fields)
    except (TypeError, KeyError, ValueError) as error:
        raise ControlError(400, f"{request.path} {fields}: {error}") from error
    return {}


def _fields(request: Request) -> dict[str, Any]:
    try:
        fields = json.loads(request.get_data() or b"{}")
    except ValueError as error:
        raise ControlError(400, f"{request.path}: the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ControlError(400, f"{request.path}: the body must be a JSON object")
    return fields


def _field(request: Request, name: str) -> Any:
    fields = _fields(request)
    if name not in fields:
        raise ControlError(400, f"{request.path}: {name!r} is missing in the body")
    return fields[name]


def _json(answer: Answer, *, status: int = 200) -> Response:
    return Response(json.dumps(answer, default=str), status=status, content_type="application/json")
