"""Client requests: batches, calls of system procedures, transactions (MS-TDS 2.2.1)."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from local_emr.azure_sql import tds
from local_emr.azure_sql.parameters import Reader
from local_emr.azure_sql.results import SqlError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from local_emr.azure_sql.results import Table
    from local_emr.azure_sql.session import Session

_NUMBERS = {10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute", 13: "sp_prepexec", 15: "sp_unprepare"}
_NAME_IS_A_NUMBER = 0xFFFF
_BEGIN, _COMMIT, _ROLLBACK = 5, 7, 8
_THEN_BEGIN = 0x01  # commit or roll back, then begin the next transaction

Parameters = list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A statement and its parameter names in declaration order."""

    statement: str
    names: list[str]

    @classmethod
    def of(cls, statement: str, declaration: str | None) -> Prepared:
        """Read a declaration like ``@P1 int,@P2 nvarchar(5)``."""
        return cls(statement, re.findall(r"@(\w+)", declaration or ""))

    def bind(self, values: Parameters) -> dict[str, Any]:
        """Return the values by name; values without a name are matched by position."""
        named = zip(self.names, values, strict=False)
        return {(name.removeprefix("@") or place).lower(): value for place, (name, value) in named}


class Requests:
    """
    Answers the requests of one session.

    :param server: the server's name in error tokens.
    """

    def __init__(self, session: Session, *, server: str) -> None:
        self._session = session
        self._server = server
        self._prepared: dict[int, Prepared] = {}
        self._handles = 0

    def answer(self, kind: int, data: bytes) -> bytes:
        """
        Answer one message.

        :raises ProtocolError: when it is not TDS.
        """
        if kind == tds.ATTENTION:
            return tds.attention_answer()
        if kind == tds.SQL_BATCH:
            return self._reply(self._session.execute(tds.batch_text(data)))
        if kind == tds.TRANSACTION:
            return self._reply(self._transact(data))
        if kind == tds.RPC:
            return self._call(data)
        raise tds.ProtocolError(f"a message of type {kind:#04x}")

    def _reply(self, tables: Iterator[Table], *, is_call: bool = False, handle: int | None = None) -> bytes:
        """Write the results before an error as well: statements that ran are not undone."""
        done: list[Table] = []
        problem = None
        try:
            done.extend(tables)
        except SqlError as error:
            problem = error
        return tds.results(done, problem=problem, server=self._server, is_call=is_call, handle=handle)

    def _transact(self, data: bytes) -> Iterator[Table]:
        body = tds.without_headers(data)
        try:
            (request,) = struct.unpack_from("<H", body)
            begins_next = request != _BEGIN and bool(body[3 + body[2]] & _THEN_BEGIN)
        except (struct.error, IndexError) as error:
            raise tds.ProtocolError("a transaction manager's request is cut short") from error
        if request == _BEGIN:
            yield self._session.begin()
        elif request == _COMMIT:
            yield self._session.commit()
        elif request == _ROLLBACK:
            yield self._session.rollback()
        else:
            raise SqlError.unsupported(f"transaction manager request {request}")
        if begins_next:
            yield self._session.begin()

    def _call(self, data: bytes) -> bytes:
        procedure, parameters = _read_call(tds.without_headers(data))
        try:
            tables, handle = self._start(procedure, parameters)
        except SqlError as error:
            return tds.results([], problem=error, server=self._server, is_call=True)
        return self._reply(tables, is_call=True, handle=handle)

    def _start(self, procedure: str, parameters: Parameters) -> tuple[Iterator[Table], int | None]:
        values = [value for _, value in parameters]
        match procedure, values:
            case "sp_executesql", [statement, *declaration]:
                prepared = Prepared.of(statement, declaration[0] if declaration else None)
                return self._execute(prepared, parameters[2:]), None
            case "sp_prepare", [_, declaration, statement, *_]:
                return iter(()), self._keep(Prepared.of(statement, declaration))
            case "sp_prepexec", [_, declaration, statement, *_]:
                prepared = Prepared.of(statement, declaration)
                return self._execute(prepared, parameters[3:]), self._keep(prepared)
            case "sp_execute", [handle, *_]:
                return self._execute(self._kept(handle), parameters[1:]), None
            case "sp_unprepare", [handle]:
                self._kept(handle)
                del self._prepared[handle]
                return iter(()), None
            case "sp_reset_connection", []:
                self._session.reset()
                return iter(()), None
        raise SqlError(2812, f"Could not find stored procedure '{procedure}'.")

    def _execute(self, prepared: Prepared, values: Parameters) -> Iterator[Table]:
        return self._session.execute(prepared.statement, parameters=prepared.bind(values))

    def _keep(self, prepared: Prepared) -> int:
        self._handles += 1
        self._prepared[self._handles] = prepared
        return self._handles

    def _kept(self, handle: int) -> Prepared:
        if handle not in self._prepared:
            raise SqlError(8179, f"Could not find prepared statement with handle {handle}.")
        return self._prepared[handle]


def _read_call(data: bytes) -> tuple[str, Parameters]:
    """Read the procedure's name and the parameters by name, which may be empty."""
    reader = Reader(data)
    length = reader.number("<H")
    if length == _NAME_IS_A_NUMBER:
        number = reader.number("<H")
        procedure = _NUMBERS.get(number, f"number {number}")
    else:
        procedure = reader.text(length).lower().removeprefix("sys.")
    reader.number("<H")  # flags: recompile, or omit the column descriptions
    parameters = []
    while not reader.is_done:
        parameters.append(reader.parameter())
    return procedure, parameters
