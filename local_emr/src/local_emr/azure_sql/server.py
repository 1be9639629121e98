"""The stand-in's server: firewall, logins and batches, or a real SQL Server behind the same firewall."""

from __future__ import annotations

import contextlib
import logging
import re
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Any

from local_emr.azure_sql import tds
from local_emr.azure_sql.database import Database
from local_emr.azure_sql.firewall import Firewall, refusal
from local_emr.azure_sql.requests import Requests
from local_emr.azure_sql.results import SqlError
from local_emr.outside import drop_packets

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from local_emr.azure_sql.results import Table
    from local_emr.azure_sql.session import Session
    from local_emr.outside import Caller

log = logging.getLogger(__name__)

LOGIN_FAILED, NO_SUCH_DATABASE, NOT_ADMITTED = 18456, 4060, 40615
_CHUNK = 65536
_DATABASE_NAME = re.compile(r"[\w-]{1,128}")  # it becomes part of a file name
_GOODBYE_SECONDS = 5.0


class AzureSqlServer:
    """
    An Azure SQL server; a database is created when the administrator first names it.

    :param port: 0 for any free port.
    :param name: the server's name in error messages.
    :param who: finds the caller of a connection: its remote address and our port → caller.
    :param record: records an event, given its kind and fields.
    :param directory: directory of the databases; in memory if not given.
    :param upstream: host and port of a real SQL Server, to which admitted connections are forwarded unchanged; a
        change applies to new connections.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        name: str = "local-sql",
        who: Callable[[tuple[str, int], int], Caller],
        record: Callable[..., Any],
        directory: Path | None = None,
        upstream: tuple[str, int] | None = None,
    ) -> None:
        self.name = name
        self.firewall = Firewall(on_change=record)
        self._who = who
        self._record = record
        self._directory = directory
        self.upstream = upstream
        self._databases: dict[str, Database] = {}
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, Caller] = {}
        self._moves = 0
        self._workers: set[threading.Thread] = set()
        self._listener = socket.create_server((host, port))
        self.host, self.port = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, name="azure-sql", daemon=True)

    def start(self) -> None:
        """Start to serve, on its own threads."""
        self._thread.start()

    def stop(self) -> None:
        """Reset every connection and stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join()
        self.reset()
        for worker in list(self._workers):
            worker.join(_GOODBYE_SECONDS)

    def reset(self) -> None:
        """Reset every connection, and drop rules and databases; files on disk are kept."""
        self.reset_connections()
        for rule in self.firewall.rules():
            self.firewall.delete(rule.name)
        with self._lock:
            for database in self._databases.values():
                database.close()
            self._databases.clear()

    def execute(self, sql: str, *, database: str) -> list[Table]:
        """
        Run a batch as the administrator, who needs no firewall rule; the database is created if it does not exist.

        :raises SqlError: as SQL Server words it.
        """
        found = self._database(database, make=True)
        if found is None:
            raise SqlError(5133, f"Database name '{database}' is not valid; use letters, digits, '_' and '-'.")
        return found.execute(sql)

    def reset_connections(self, has_moved: Callable[[Caller], bool] = lambda _: True) -> None:
        """Reset the connections of callers whose address changes, or all connections."""
        with self._lock:
            self._moves += 1
            connections = list(self._connections.items())
        for connection, caller in connections:
            if has_moved(caller):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            worker = threading.Thread(target=self._serve, args=(connection, peer[:2]), name="azure-sql", daemon=True)
            self._workers.add(worker)
            worker.start()

    def _serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        with connection:
            caller, upstream = self._identify(connection, peer), self.upstream
            try:
                if caller.ip is None:
                    self._note(caller, admitted=False, error_code=None)
                    drop_packets(connection)
                elif upstream is not None and self.firewall.admits(caller.ip):
                    self._note(caller, admitted=True, error_code=None)
                    self._pass_on(connection, upstream)
                else:
                    self._converse(connection, caller)
            except (OSError, tds.ProtocolError) as error:
                log.info("connection of %s ends: %s", caller, error)
            finally:
                with self._lock:
                    self._connections.pop(connection, None)
                self._workers.discard(threading.current_thread())

    def _identify(self, connection: socket.socket, peer: tuple[str, int]) -> Caller:
        """Identify the caller and register the connection, which is reset when the caller's address changes."""
        while True:
            moves = self._moves
            caller = self._who(peer, self.port)
            with self._lock:
                if moves == self._moves:  # otherwise the address may be the one before the change
                    self._connections[connection] = caller
                    return caller

    def _note(self, caller: Caller, *, admitted: bool, error_code: int | None) -> None:
        self._record(
            "connection",
            service="azure_sql",
            from_ip=caller.ip,
            step_id=caller.step_id,
            job_flow_id=caller.job_flow_id,
            instance_id=caller.instance_id,
            admitted=admitted,
            error_code=error_code,
        )

    def _converse(self, connection: socket.socket, caller: Caller) -> None:
        with contextlib.ExitStack() as stack:
            requests: Requests | None = None
            while (message := tds.receive(connection)) is not None:
                kind, data = message
                if kind == tds.PRELOGIN:
                    tds.send(connection, tds.prelogin_answer())
                elif requests is not None:
                    tds.send(connection, requests.answer(kind, data))
                elif kind == tds.LOGIN7:
                    session = self._log_in(connection, tds.parse_login(data), caller)
                    if session is None:
                        return
                    requests = Requests(stack.enter_context(contextlib.closing(session)), server=self.name)
                else:
                    raise tds.ProtocolError("a request before the login")

    def _log_in(self, connection: socket.socket, login: tds.Login, caller: Caller) -> Session | None:
        try:
            session = self._session(login, ip=str(caller.ip))
        except SqlError as error:
            self._note(caller, admitted=error.number != NOT_ADMITTED, error_code=error.number)
            tds.send(connection, tds.refusal(error, server=self.name))
            return None
        self._note(caller, admitted=True, error_code=None)
        tds.send(connection, tds.login_answer(login, database=session.database))
        return session

    def _session(self, login: tds.Login, *, ip: str) -> Session:
        """Check the firewall first and then the password, as Azure does: 18456 means that the firewall was passed."""
        named = login.server.split(".")[0]
        server = self.name if not named or named.isdigit() or named == "localhost" else named
        if self.upstream is not None or not self.firewall.admits(ip):
            raise SqlError(NOT_ADMITTED, refusal(server=server, ip=ip))
        database = self._database(login.database)
        if database is None:
            text = f"Cannot open database '{login.database}' requested by the login. The login failed."
            raise SqlError(NO_SUCH_DATABASE, text)
        if not database.knows(login.user, login.password):
            raise SqlError(LOGIN_FAILED, f"Login failed for user '{login.user}'.")
        return database.session(user=login.user)

    def _database(self, name: str, *, make: bool = False) -> Database | None:
        """Find a database, also on disk; names are not case-sensitive."""
        if not _DATABASE_NAME.fullmatch(name):
            return None
        key = name.lower()
        # DuckDB names the catalog after the file, which must not be the name of a schema in it.
        path = self._directory / f"database-{key}.duckdb" if self._directory else None
        with self._lock:
            if key not in self._databases and (make or (path is not None and path.exists())):
                self._databases[key] = Database(name, path=path)
            return self._databases.get(key)

    def _pass_on(self, connection: socket.socket, upstream: tuple[str, int]) -> None:
        with socket.create_connection(upstream) as other, selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ, other)
            selector.register(other, selectors.EVENT_READ, connection)
            while True:
                for key, _ in selector.select():
                    source: Any = key.fileobj
                    data = source.recv(_CHUNK)
                    if not data:
                        return
                    key.data.sendall(data)
