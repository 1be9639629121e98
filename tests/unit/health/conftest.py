"""A small HTTP server that answers like the services of a primary node."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


class Services:
    """
    What the server says.

    :ivar answers: status and body by path without its query; a status of 0 is no answer at all.
    :ivar asked: the paths and the Authorization headers that came.
    """

    def __init__(self) -> None:
        self.port = 0
        self.server: Any = None
        self.asked: list[tuple[str, str | None]] = []
        self.release = threading.Event()
        self.answers: dict[str, tuple[int, Any]] = {
            "/ws/v1/cluster/info": (200, {"clusterInfo": {"state": "STARTED", "haState": "ACTIVE"}}),
            "/jmx": (200, {"beans": [{"name": "JvmMetrics"}, {"name": "FSNamesystemState", "FSState": "Operational"}]}),
            "/batches": (200, {"from": 0, "total": 0, "sessions": []}),
        }


@pytest.fixture
def services() -> Iterator[Services]:
    said = Services()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said.asked.append((self.path, self.headers.get("Authorization")))
            status, body = said.answers.get(self.path.partition("?")[0], (404, "no such page"))
            if status == 0:
                said.release.wait(30)
                return
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            if status == 302:
                self.send_header("Location", "/batches")
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    said.port, said.server = server.server_port, server
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield said
    said.release.set()
    server.shutdown()
    server.server_close()
    thread.join()
