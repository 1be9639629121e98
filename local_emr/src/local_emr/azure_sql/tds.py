"""TDS on the wire: packets, PRELOGIN, LOGIN7, and the tokens of a response (MS-TDS, version 7.2 and newer)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_emr.azure_sql.results import Transaction
from local_emr.azure_sql.types import COLLATION, wire_type

if TYPE_CHECKING:
    import socket

    from local_emr.azure_sql.results import SqlError, Table

SQL_BATCH, RPC, RESPONSE, ATTENTION, TRANSACTION, LOGIN7, PRELOGIN = 0x01, 0x03, 0x04, 0x06, 0x0E, 0x10, 0x12
_HEADER = struct.Struct(">BBHHBB")
_LAST = 0x01
_PACKET = 4096
_ENCRYPT_NOT_SUPPORTED = 0x02
DONE, _DONE_PROCEDURE, _DONE_IN_PROCEDURE = 0xFD, 0xFE, 0xFF
_DONE_MORE, _DONE_ERROR, _DONE_COUNT, _DONE_ATTENTION = 0x01, 0x02, 0x10, 0x20


class ProtocolError(Exception):
    """The client sent something that is not TDS, or a version that is not supported."""


@dataclass(frozen=True, slots=True)
class Login:
    """The data of LOGIN7; its ``repr`` does not show the password."""

    user: str
    password: str
    server: str
    database: str
    version: int

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, server={self.server!r}, database={self.database!r})"


def receive(connection: socket.socket) -> tuple[int, bytes] | None:
    """
    Read one message of one or more packets; ``None`` when the client has closed the connection.

    :return: the message's type and its data.
    :raises ProtocolError: when it is not TDS.
    """
    data = b""
    while True:
        header = _exactly(connection, _HEADER.size)
        if header is None:
            return None
        kind, status, length, *_ = _HEADER.unpack(header)
        if length < _HEADER.size:
            raise ProtocolError(f"a packet of {length} bytes")
        body = _exactly(connection, length - _HEADER.size)
        if body is None:
            return None
        data += body
        if status & _LAST:
            return kind, data


def send(connection: socket.socket, data: bytes) -> None:
    """Send a response, split into packets."""
    room = _PACKET - _HEADER.size
    chunks = [data[start : start + room] for start in range(0, len(data), room)] or [b""]
    for number, chunk in enumerate(chunks, 1):
        status = _LAST if number == len(chunks) else 0
        connection.sendall(_HEADER.pack(RESPONSE, status, len(chunk) + _HEADER.size, 0, number % 256, 0) + chunk)


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            return None
        data += more
    return data


def prelogin_answer() -> bytes:
    """Answer PRELOGIN: version 12.0.2000, no encryption, no MARS."""
    options = ((0, bytes((12, 0, 0x07, 0xD0, 0, 0))), (1, bytes((_ENCRYPT_NOT_SUPPORTED,))), (2, b"\0"), (4, b"\0"))
    offset = 5 * len(options) + 1
    head, body = b"", b""
    for token, value in options:
        head += struct.pack(">BHH", token, offset + len(body), len(value))
        body += value
    return head + b"\xff" + body


def parse_login(data: bytes) -> Login:
    """
    Read LOGIN7 (MS-TDS 2.2.6.4).

    :raises ProtocolError: when it is truncated, or older than TDS 7.2.
    """

    def text(at: int) -> str:
        offset, length = struct.unpack_from("<HH", data, at)
        return data[offset : offset + 2 * length].decode("utf-16-le")

    try:
        version = struct.unpack_from("<I", data, 4)[0]
        offset, length = struct.unpack_from("<HH", data, 44)
        hidden = (byte ^ 0xA5 for byte in data[offset : offset + 2 * length])
        password = bytes((byte >> 4 | byte << 4) & 0xFF for byte in hidden).decode("utf-16-le")
        login = Login(user=text(40), password=password, server=text(52), database=text(68), version=version)
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolError("LOGIN7 is cut short") from error
    if version < 0x72000000:  # noqa: PLR2004 - TDS 7.2
        raise ProtocolError(f"the client asks for TDS {version:#x}; use 7.2 or newer")
    return login


def batch_text(data: bytes) -> str:
    """Read the text of a SQL batch, after its headers."""
    return without_headers(data).decode("utf-16-le", errors="replace")


def without_headers(data: bytes) -> bytes:
    """
    Return a request's data after its headers.

    :raises ProtocolError: when it has none.
    """
    try:
        return data[struct.unpack_from("<I", data)[0] :]
    except struct.error as error:
        raise ProtocolError("a request without its headers") from error


def _b_text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode("utf-16-le")


def _us_text(text: str) -> bytes:
    return struct.pack("<H", len(text)) + text.encode("utf-16-le")


def _token(kind: int, body: bytes) -> bytes:
    return struct.pack("<BH", kind, len(body)) + body


def login_answer(login: Login, *, database: str) -> bytes:
    """Write the login response: database, collation, packet size, LOGINACK, DONE."""
    changes = (
        b"\x01" + _b_text(database) + _b_text("master"),
        b"\x07" + bytes((len(COLLATION),)) + COLLATION + b"\0",
        b"\x04" + _b_text(str(_PACKET)) + _b_text(str(_PACKET)),
    )
    version = struct.pack(">I", login.version)
    acknowledged = b"\x01" + version + _b_text("Microsoft SQL Server") + bytes((12, 0, 0x07, 0xD0))
    return b"".join(_token(0xE3, change) for change in changes) + _token(0xAD, acknowledged) + done()


def error(problem: SqlError, *, server: str) -> bytes:
    """Write an ERROR token; a DONE token with ``DONE_ERROR`` must follow."""
    body = struct.pack("<iBB", problem.number, 1, problem.severity) + _us_text(problem.message) + _b_text(server)
    return _token(0xAA, body + b"\0" + struct.pack("<I", 1))


def done(kind: int = DONE, *, status: int = 0, rows: int = 0) -> bytes:
    """Write a DONE token."""
    return struct.pack("<BHHQ", kind, status, 0, rows)


def refusal(problem: SqlError, *, server: str) -> bytes:
    """Write the response to a refused login."""
    return error(problem, server=server) + done(status=_DONE_ERROR)


def attention_answer() -> bytes:
    """Acknowledge that a request was cancelled."""
    return done(status=_DONE_ATTENTION)


def results(
    tables: list[Table], *, problem: SqlError | None, server: str, is_call: bool = False, handle: int | None = None
) -> bytes:
    """
    Write the response to a request.

    :param tables: the results of its statements.
    :param problem: the error that it ended with.
    :param is_call: whether it was a procedure call, whose results are followed by its status.
    :param handle: of the statement that the procedure prepared.
    """
    data = b""
    for number, table in enumerate(tables, 1):
        more = _DONE_MORE if is_call or problem or number < len(tables) else 0
        kind = _DONE_IN_PROCEDURE if is_call else DONE
        data += _change(table) + _rows(table) + done(kind, status=_DONE_COUNT | more, rows=table.affected)
    if problem:
        data += error(problem, server=server)
    if is_call:
        data += struct.pack("<Bi", 0x79, problem.number if problem else 0) + _output(handle)
        return data + done(_DONE_PROCEDURE, status=_DONE_ERROR if problem else 0)
    return data + done(status=_DONE_ERROR) if problem else data or done()


def _output(handle: int | None) -> bytes:
    """Write a RETURNVALUE token: the first parameter, an int."""
    if handle is None:
        return b""
    return struct.pack("<BHBBIHBBBi", 0xAC, 0, 0, 0x01, 0, 0, 0x26, 4, 4, handle)


def _change(table: Table) -> bytes:
    """Write the ENVCHANGE token of a transaction that began or ended."""
    if table.transaction is None:
        return b""
    descriptor = b"\x08" + struct.pack("<Q", 1)
    begun = table.transaction is Transaction.BEGUN
    return _token(0xE3, bytes((table.transaction.value,)) + (descriptor + b"\0" if begun else b"\0" + descriptor))


def _rows(table: Table) -> bytes:
    if not table.columns:
        return b""
    types = [wire_type(column.kind, [row[at] for row in table.rows]) for at, column in enumerate(table.columns)]
    nullable = 0x0009  # and read-write unknown, as for an expression
    described = b"".join(
        struct.pack("<IH", 0, nullable) + kind.info + _b_text(column.name)
        for column, kind in zip(table.columns, types, strict=True)
    )
    rows = (b"\xd1" + b"".join(kind.value(value) for kind, value in zip(types, row, strict=True)) for row in table.rows)
    return b"\x81" + struct.pack("<H", len(table.columns)) + described + b"".join(rows)
