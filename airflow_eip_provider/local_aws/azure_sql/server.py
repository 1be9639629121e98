"""The stand-in's server: logins through the firewall, batches, or a real SQL Server behind the same firewall."""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.local_aws.azure_sql import tds
from airflow_eip_provider.local_aws.azure_sql.database import Database, SqlError
from airflow_eip_provider.local_aws.azure_sql.firewall import Firewall, refusal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from airflow_eip_provider.local_aws.azure_sql.database import Table
    from airflow_eip_provider.local_aws.outside import Caller

log = logging.getLogger(__name__)

LOGIN_FAILED, NO_SUCH_DATABASE, NOT_ADMITTED = 18456, 4060, 40615
_LOGIN_SEVERITY, _SERVER_SEVERITY, _STATEMENT_SEVERITY = 14, 11, 15
_CHUNK = 65536


class AzureSqlServer:
    """
    An Azure SQL server with any number of databases, each made when the administrator first names it.

    :param port: 0 takes any free one.
    :param name: the server's name in Azure's messages.
    :param who: says who is behind a connection: its remote address and our port → caller.
    :param record: takes an event's kind and fields.
    :param directory: where the databases are kept; in memory unless given.
    :param upstream: host and port of a real SQL Server, to which admitted connections are passed on untouched.
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
        self._upstream = upstream
        self._databases: dict[str, Database] = {}
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, Caller] = {}
        self._listener = socket.create_server((host, port))
        self.host, self.port = self._listener.getsockname()[:2]
        self._thread = threading.Thread(target=self._accept, name="azure-sql", daemon=True)

    def start(self) -> None:
        """Serve, on threads of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Cut every connection and stop."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._thread.is_alive():
            self._thread.join()
        self.reset_connections()
        self.reset()

    def reset(self) -> None:
        """Forget rules and databases; those on disk stay there."""
        for rule in self.firewall.rules():
            self.firewall.delete(rule.name)
        with self._lock:
            for database in self._databases.values():
                database.close()
            self._databases.clear()

    def execute(self, sql: str, *, database: str) -> list[Table]:
        """
        Run a batch as the administrator, who needs no firewall rule; the database is made if there is none.

        :raises SqlError: as SQL Server words it.
        """
        with self._lock:
            if database not in self._databases:
                # DuckDB names the catalog after the file, which must not be the name of a schema in it.
                path = self._directory / f"database-{database}.duckdb" if self._directory else None
                self._databases[database] = Database(database, path=path)
        return self._databases[database].execute(sql)

    def reset_connections(self, job_flow_id: str | None = None) -> None:
        """Cut the connections of a cluster, as when its node's address changes, or all of them."""
        with self._lock:
            cut = [c for c, who in self._connections.items() if job_flow_id in (None, who.job_flow_id)]
        for connection in cut:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                connection, peer = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection, peer[:2]), name="azure-sql", daemon=True).start()

    def _serve(self, connection: socket.socket, peer: tuple[str, int]) -> None:
        with connection:
            caller = self._who(peer, self.port)
            if caller.ip is None:
                # No way to the internet: AWS would let the packets vanish; the client is spared the wait.
                self._note(caller, admitted=False, error_code=None)
                return
            with self._lock:
                self._connections[connection] = caller
            try:
                if self._upstream is not None and self.firewall.admits(caller.ip):
                    self._note(caller, admitted=True, error_code=None)
                    self._pass_on(connection, self._upstream)
                else:
                    self._converse(connection, caller)
            except (OSError, tds.ProtocolError) as error:
                log.info("connection of %s ends: %s", caller, error)
            finally:
                with self._lock:
                    self._connections.pop(connection, None)

    def _note(self, caller: Caller, *, admitted: bool, error_code: int | None) -> None:
        self._record(
            "connection",
            service="azure_sql",
            from_ip=caller.ip,
            step_id=caller.step_id,
            job_flow_id=caller.job_flow_id,
            admitted=admitted,
            error_code=error_code,
        )

    def _converse(self, connection: socket.socket, caller: Caller) -> None:
        database: Database | None = None
        while (message := tds.receive(connection)) is not None:
            kind, data = message
            if kind == tds.PRELOGIN:
                tds.send(connection, tds.prelogin_answer())
            elif kind == tds.LOGIN7:
                database = self._log_in(connection, tds.parse_login(data), caller)
                if database is None:
                    return
            elif database is None:
                raise tds.ProtocolError("a request before the login")
            elif kind == tds.ATTENTION:
                tds.send(connection, tds.attention_answer())
            elif kind == tds.TRANSACTION:
                tds.send(connection, tds.transaction_answer(data))
            else:
                tds.send(connection, self._answer(database, kind, data))

    def _log_in(self, connection: socket.socket, login: tds.Login, caller: Caller) -> Database | None:
        """Firewall first, then the password, as Azure does: error 18456 shows that the firewall was passed."""
        named = login.server.split(".")[0]
        server = self.name if not named or named.isdigit() or named == "localhost" else named
        if not self.firewall.admits(str(caller.ip)):
            problem = NOT_ADMITTED, refusal(server=server, ip=str(caller.ip)), _LOGIN_SEVERITY
        else:
            with self._lock:
                database = self._databases.get(login.database)
            if database is None:
                text = f"Cannot open database '{login.database}' requested by the login. The login failed."
                problem = NO_SUCH_DATABASE, text, _SERVER_SEVERITY
            elif not database.knows(login.user, login.password):
                problem = LOGIN_FAILED, f"Login failed for user '{login.user}'.", _LOGIN_SEVERITY
            else:
                self._note(caller, admitted=True, error_code=None)
                tds.send(connection, tds.login_answer(login, database=database.name))
                return database
        number, message, severity = problem
        self._note(caller, admitted=number != NOT_ADMITTED, error_code=number)
        tds.send(connection, tds.error(number, message, server=self.name, severity=severity))
        return None

    def _answer(self, database: Database, kind: int, data: bytes) -> bytes:
        try:
            if kind == tds.SQL_BATCH:
                return tds.results(database.execute(tds.batch_text(data)))
            statement, parameters = tds.rpc_statement(data)
            return tds.results(database.execute(statement, parameters=parameters))
        except SqlError as error:
            return tds.error(error.number, error.message, server=self.name, severity=_STATEMENT_SEVERITY)
        except tds.ProtocolError as error:
            return tds.error(50000, str(error), server=self.name, severity=_STATEMENT_SEVERITY)

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
