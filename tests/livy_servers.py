"""Small Livy servers that answer like Livy 0.7, and a load balancer that selects one of them for each connection."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

ENDED = ("success", "dead", "killed", "error")
REDIRECTS = (301, 302, 307, 308)


@dataclass
class Livy:
    """
    One server.

    :param now: returns the time.
    :param takes: seconds after which a batch ends.
    :param ends: the final state of batches.
    :param names: whether answers have the names of batches.
    :param user: the Authorization header that is required; None for none.
    :ivar requests: method, path and headers of each request.
    :ivar after: for each method, the planned statuses of the next answers in order; None for a normal answer. A request
        with an error status has no effect; 0 means that it has its effect and its answer is lost.
    """

    now: Callable[[], float]
    takes: float = 60.0
    ends: str = "success"
    names: bool = True
    user: str | None = None
    batches: dict[int, dict[str, Any]] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    after: dict[str, list[Any]] = field(default_factory=dict)
    next_id: int = 0

    def add(self, **known: Any) -> dict[str, Any]:
        """Add a batch, as the POST of another client does."""
        made = {"id": self.next_id, "name": None, "state": None, "since": self.now(), "body": {}, **known}
        self.batches[self.next_id] = made
        self.next_id += 1
        return made

    def restart(self) -> None:
        """Remove all batches, as a server without recovery does: the ids begin at 0 again."""
        self.batches, self.next_id = {}, 0

    def asked(self, method: str) -> list[str]:
        """Return the paths of the requests of a method."""
        return [path for verb, path, _ in self.requests if verb == method]

    def posted(self) -> list[dict[str, Any]]:
        """Return the bodies of the batches that were posted."""
        return [batch["body"] for batch in self.batches.values() if batch["body"]]

    def answer(self, method: str, target: str, headers: dict[str, str], body: bytes) -> tuple[int, Any]:
        """Answer like Livy; a status of 0 means that the answer is lost."""
        url = urlsplit(target)
        self.requests.append((method, unquote(url.path), headers))
        if self.user is not None and self.user != headers.get("Authorization"):
            return 401, {"msg": f"Unauthorized: {headers.get('Authorization')}"}
        planned = self.after.get(method, [])
        plan = planned.pop(0) if planned else None
        if isinstance(plan, int) and plan:
            return plan, {"msg": "planned"}
        query = {key: int(values[0]) for key, values in parse_qs(url.query).items()}
        status, found = self._route(method, unquote(url.path), query, body)
        return (0, None) if plan == 0 else (status, found)

    def _route(self, method: str, path: str, query: dict[str, int], body: bytes) -> tuple[int, Any]:
        _, _, rest = path.partition("/batches")
        key, _, what = rest.strip("/").partition("/")
        if not key and method == "POST":
            return self._post(json.loads(body))
        if not key:
            shown = [self._view(batch) for batch in self.batches.values()]
            start, size = query.get("from", 0), query.get("size", 100)
            return 200, {"from": start, "total": len(shown), "sessions": shown[start : start + size]}
        batch = self._find(key)
        if batch is None:
            return 404, {"msg": f"Session '{key}' not found."}
        if method == "DELETE":
            del self.batches[batch["id"]]
            return 200, {"msg": "deleted"}
        if what == "log":
            lines = [f"line {number} of {batch['name']}" for number in range(3)]
            start, size = query.get("from", 0), query.get("size", 100)
            return 200, {"id": batch["id"], "from": start, "total": 3, "log": lines[start : start + size]}
        view = self._view(batch)
        return 200, {"id": view["id"], "state": view["state"]} if what == "state" else view

    def _post(self, body: dict[str, Any]) -> tuple[int, Any]:
        name = body.get("name")
        if name is not None and any(batch["name"] == name for batch in self.batches.values()):
            self.next_id += 1
            return 400, {"msg": f"Duplicate session name: Some({name})"}
        return 201, self._view(self.add(name=name, body=body))

    def _find(self, key: str) -> dict[str, Any] | None:
        if key.isdigit():
            return self.batches.get(int(key))
        return next((batch for batch in self.batches.values() if batch["name"] == key), None)

    def _view(self, batch: dict[str, Any]) -> dict[str, Any]:
        passed = self.now() - batch["since"]
        state = batch["state"] or (self.ends if passed >= self.takes else "running" if passed >= 10 else "starting")
        app_id = None if state == "starting" else f"application_{id(self) % 1000}_{batch['id']:04d}"
        links = {"driverLogUrl": f"http://node/logs/{app_id}", "sparkUiUrl": f"http://node/proxy/{app_id}/"}
        shown = {"id": batch["id"], "name": batch["name"], "state": state, "appId": app_id, "log": []}
        shown["appInfo"] = links if app_id else {"driverLogUrl": None, "sparkUiUrl": None}
        if not self.names:
            del shown["name"]
        return shown


class Endpoint:
    """
    A port that forwards each request to the next of several servers, like a Network Load Balancer.

    The answer to a request with a status of a redirect is its location.

    :ivar servers: used in turn; a request is not answered while there are none.
    """

    def __init__(self, *servers: Livy) -> None:
        self.servers = list(servers)
        self._turn = 0
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                status, found = endpoint._next().answer(self.command, self.path, dict(self.headers), body)
                if status == 0:
                    self.connection.close()
                    return
                data = json.dumps(found).encode()
                self.send_response(status)
                if status in REDIRECTS:
                    self.send_header("Location", found)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_DELETE = _any  # noqa: N815 - http.server calls these

            def log_message(self, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # the client got no answer on purpose

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def _next(self) -> Livy:
        self._turn += 1
        return self.servers[self._turn % len(self.servers)]

    def close(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


def connection(endpoint: Endpoint, **known: Any) -> str:
    """Return an Airflow connection to an endpoint as JSON, with a password that must not be shown anywhere."""
    shown = {"conn_type": "livy", "host": "127.0.0.1", "port": endpoint.port}
    return json.dumps({**shown, "login": "airflow", "password": "s3cr3t-of-livy", **known})
