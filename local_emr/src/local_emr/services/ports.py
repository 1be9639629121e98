"""Listening ports at many addresses, served by one thread."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Literal, cast

if TYPE_CHECKING:
    from collections.abc import Callable

    Serve = Callable[[socket.socket, tuple[str, int]], None]

Mode = Literal["open", "hangs", "lost"]
_BACKLOG = 128
_FILLERS = 3


class Port:
    """
    One listening port.

    ``open`` serves connections. ``hangs`` accepts them and never answers. ``lost`` drops packets: connections are
    neither accepted nor refused, and time out at the client.
    """

    def __init__(self, address: tuple[str, int], serve: Serve) -> None:
        self.address = address
        self.serve = serve
        self.mode: Mode = "open"
        self.listener = socket.socket()
        self._fillers: list[socket.socket] = []
        try:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(address)
            self.listener.listen(_BACKLOG)
        except OSError:
            self.listener.close()
            raise
        self.listener.setblocking(False)

    def lose(self) -> None:
        """Fill the listen queue, so that Linux drops the packets of other connections (listen(2), tcp(7))."""
        self.listener.listen(0)
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.address)
            self._fillers.append(filler)

    def restore(self) -> None:
        """Accept connections again."""
        self._empty()
        self.listener.listen(_BACKLOG)

    def close(self) -> None:
        """Refuse connections."""
        self._empty()
        self.listener.close()

    def _empty(self) -> None:
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()


class Ports:
    """The ports of one local EMR."""

    def __init__(self) -> None:
        self._ports: dict[tuple[str, int], Port] = {}
        self._lock = threading.RLock()
        self._selector: selectors.BaseSelector | None = None
        self._thread: threading.Thread | None = None
        self._wake: socket.socket | None = None

    def open(self, address: str, port: int, serve: Serve) -> Port:
        """
        Listen at an address.

        :param serve: gets each connection and its client's address, and must return at once.
        :raises OSError: when the port is in use or not permitted (usually those below 1024).
        """
        made = Port((address, port), serve)
        with self._lock:
            self._ports[made.address] = made
            self._watch(made)
        return made

    def set_mode(self, port: Port, mode: Mode) -> None:
        """Change the mode of a port."""
        with self._lock:
            if port.mode == mode or port.address not in self._ports:
                return
            was, port.mode = port.mode, mode
            if was == "open":
                self._unwatch(port)
            if was == "lost":
                port.restore()
            if mode == "lost":
                port.lose()
            elif mode == "open":
                self._watch(port)

    def mode_at(self, address: str, port: int) -> Mode | None:
        """Return the mode of a port; ``None`` if it is not listening."""
        with self._lock:
            found = self._ports.get((address, port))
            return found.mode if found else None

    def close(self, port: Port) -> None:
        """Close a port."""
        with self._lock:
            if self._ports.get(port.address) is port:
                del self._ports[port.address]
            if port.mode == "open":
                self._unwatch(port)
            port.close()

    def close_all(self) -> None:
        """Close all ports, and end the thread."""
        with self._lock:
            for port in list(self._ports.values()):
                self.close(port)
            thread, self._thread, self._selector = self._thread, None, None
            if self._wake is not None:
                self._wake.close()
                self._wake = None
        if thread is not None:
            thread.join()

    def _watch(self, port: Port) -> None:
        if self._selector is None:
            self._selector = selectors.DefaultSelector()
            self._wake, woken = socket.socketpair()
            self._selector.register(woken, selectors.EVENT_READ, None)
            self._thread = threading.Thread(
                target=self._run, args=(self._selector,), name="local-aws-ports", daemon=True
            )
            self._thread.start()
        self._selector.register(port.listener, selectors.EVENT_READ, port)

    def _unwatch(self, port: Port) -> None:
        if self._selector is not None:
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(port.listener)

    def _run(self, selector: selectors.BaseSelector) -> None:
        while True:
            for key, _ in selector.select():
                if key.data is None:  # the other end was closed
                    cast("socket.socket", key.fileobj).close()
                    selector.close()
                    return
                self._accept(key.data)

    def _accept(self, port: Port) -> None:
        with self._lock:
            if port.mode != "open":
                return
            try:
                connection, peer = port.listener.accept()
            except OSError:  # closed, or the client has disconnected
                return
        connection.setblocking(True)
        port.serve(connection, peer)
