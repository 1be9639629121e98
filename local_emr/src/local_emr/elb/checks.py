"""
One health check of one target.

Services of the local EMR's nodes are checked by a direct call, as simulated time must not pass during a check. Other
addresses are checked over the network.
"""

from __future__ import annotations

import http.client
import socket
from typing import TYPE_CHECKING, Literal

from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

if TYPE_CHECKING:
    from local_emr.services.loopback import LoopbackNetwork
    from local_emr.services.ports import Ports
    from local_emr.services.primaries import PrimaryServices

Outcome = Literal["good", "bad", "silent"]
USER_AGENT = "ELB-HealthChecker/2.0"
_REAL_SECONDS = 1.0


class Checker:
    """Checks whether targets answer."""

    def __init__(self, *, loopback: LoopbackNetwork, ports: Ports, services: PrimaryServices) -> None:
        self._loopback = loopback
        self._ports = ports
        self._services = services

    def check(self, address: str, port: int, *, path: str | None, codes: str) -> Outcome:
        """
        Check an address; the caller holds the lock.

        :param path: path of an HTTP check; ``None`` for a TCP check.
        :param codes: the healthy status codes, e.g. ``200-399`` or ``200,202``.
        """
        if not self._loopback.has(address):
            return _check_outside(address, port, path=path, codes=codes)
        mode = self._ports.mode_at(address, port)
        if mode is None:
            return "bad"
        if mode == "lost" or (mode == "hangs" and path is not None):
            return "silent"
        return "good" if path is None else self._ask(address, port, path, codes)

    def _ask(self, address: str, port: int, path: str, codes: str) -> Outcome:
        request = Request(EnvironBuilder(path=path, headers=[("User-Agent", USER_AGENT)]).get_environ())
        try:
            response = self._services.answer(address, port, request)
        except (ConnectionAbortedError, LookupError):  # not the port of a node's service
            return "bad"
        if response is None:
            return "silent"
        return "good" if _is_expected(response.status_code, codes) else "bad"


def _check_outside(address: str, port: int, *, path: str | None, codes: str) -> Outcome:
    try:
        if path is None:
            socket.create_connection((address, port), timeout=_REAL_SECONDS).close()
            return "good"
        connection = http.client.HTTPConnection(address, port, timeout=_REAL_SECONDS)
        connection.request("GET", path, headers={"User-Agent": USER_AGENT})
        status = connection.getresponse().status
        connection.close()
    except TimeoutError:
        return "silent"
    except (OSError, http.client.HTTPException):
        return "bad"
    return "good" if _is_expected(status, codes) else "bad"


def _is_expected(status: int, codes: str) -> bool:
    for part in codes.split(","):
        low, _, high = part.strip().partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False
