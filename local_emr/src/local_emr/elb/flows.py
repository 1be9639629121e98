"""The connections through a load balancer: each forwards between a client and a target."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable

_CONNECT_SECONDS = 30.0
_HALF_CLOSED_SECONDS = 30.0
_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)
Key = tuple[str, str, int]
"""A target group, and a target in it."""


class Flows:
    """The connections of one local EMR's load balancers."""

    def __init__(self) -> None:
        self._flows: dict[Key, set[socket.socket]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def begin(self, client: socket.socket, choose: Callable[[], tuple[Key, tuple[str, int]] | None]) -> None:
        """
        Forward a connection, on its own thread.

        :param choose: returns the target and its address; the connection is reset if it returns none.
        """
        threading.Thread(target=self._begin, args=(client, choose), name="local-aws-flow", daemon=True).start()

    def reset(self, key: Key) -> None:
        """Reset every connection to a target."""
        with self._lock:
            for client in self._flows.pop(key, ()):
                _shut(client)

    def close(self) -> None:
        """Reset all."""
        self._closed = True
        for key in list(self._flows):
            self.reset(key)

    def _begin(self, client: socket.socket, choose: Callable[[], tuple[Key, tuple[str, int]] | None]) -> None:
        chosen = choose()
        if chosen is None:
            reset(client)
        else:
            self._forward(client, *chosen)

    def _forward(self, client: socket.socket, key: Key, address: tuple[str, int]) -> None:
        with self._lock:
            if not self._closed:
                self._flows.setdefault(key, set()).add(client)
        try:
            with socket.create_connection(address, timeout=_CONNECT_SECONDS) as target:
                target.settimeout(None)
                _pump(client, target)
        except OSError:
            reset(client)
        finally:
            with self._lock:
                self._flows.get(key, set()).discard(client)
            client.close()


def reset(connection: socket.socket) -> None:
    """Close a connection with a TCP reset (tcp(7), socket(7): SO_LINGER)."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    connection.close()


def _shut(client: socket.socket) -> None:
    """Wake the thread that reads from a connection, which then resets it."""
    with contextlib.suppress(OSError):
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        client.shutdown(socket.SHUT_RD)


def _pump(client: socket.socket, target: socket.socket) -> None:
    """Forward data in both directions until both sides have closed or one fails."""
    other = {client: target, target: client}
    with selectors.DefaultSelector() as selector:
        for each in other:
            selector.register(each, selectors.EVENT_READ)
        while selector.get_map():
            both = len(selector.get_map()) == len(other)
            ready = selector.select(None if both else _HALF_CLOSED_SECONDS)
            if not ready:  # the other end is closed
                return
            for key, _ in ready:
                side = cast("socket.socket", key.fileobj)
                data = side.recv(_CHUNK)
                if data:
                    other[side].sendall(data)
                    continue
                if side is client and client.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER):
                    raise ConnectionResetError
                selector.unregister(side)
                with contextlib.suppress(OSError):
                    other[side].shutdown(socket.SHUT_WR)
