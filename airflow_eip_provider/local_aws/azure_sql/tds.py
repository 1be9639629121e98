"""TDS on the wire: packets, PRELOGIN, LOGIN7, and the tokens of a response (MS-TDS, version 7.2 and newer)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.local_aws.azure_sql.parameters import Reader, UnknownTypeError
from airflow_eip_provider.local_aws.azure_sql.types import COLLATION, wire_type

if TYPE_CHECKING:
    import socket

    from airflow_eip_provider.local_aws.azure_sql.database import Table

SQL_BATCH, RPC, RESPONSE, ATTENTION, TRANSACTION, LOGIN7, PRELOGIN = 0x01, 0x03, 0x04, 0x06, 0x0E, 0x10, 0x12
SP_EXECUTESQL = 10
_HEADER = struct.Struct(">BBHHBB")
_LAST = 0x01
_PACKET = 4096
_ENCRYPT_NOT_SUPPORTED = 0x02
_DONE_MORE, _DONE_ERROR, _DONE_COUNT, _DONE_ATTENTION = 0x01, 0x02, 0x10, 0x20


class ProtocolError(Exception):
    """The client said something that is not TDS, or not what this stand-in speaks."""


@dataclass(frozen=True, slots=True)
class Login:
    """What LOGIN7 asks for; its text does not show the password."""

    user: str
    password: str
    server: str
    database: str
    version: int

    def __repr__(self) -> str:
        return f"Login(user={self.user!r}, server={self.server!r}, database={self.database!r})"


def receive(connection: socket.socket) -> tuple[int, bytes] | None:
    """
    Read one message, of one packet or more; ``None`` when the client is gone.

    :return: the message's type and its data.
    """
    data = b""
    while True:
        header = _exactly(connection, _HEADER.size)
        if header is None:
            return None
        kind, status, length, *_ = _HEADER.unpack(header)
        body = _exactly(connection, length - _HEADER.size)
        if body is None:
            return None
        data += body
        if status & _LAST:
            return kind, data


def send(connection: socket.socket, data: bytes) -> None:
    """Send a response, cut into packets."""
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

    :raises ProtocolError: when it is cut short, or older than TDS 7.2.
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
    """Read the text of a SQL batch, behind its headers."""
    return _skip_headers(data).decode("utf-16-le")


def _skip_headers(data: bytes) -> bytes:
    return data[struct.unpack_from("<I", data)[0] :]


def rpc_statement(data: bytes) -> tuple[str, dict[str, Any]]:
    """
    Read an RPC of ``sp_executesql``: its statement, and its parameters by name.

    :raises ProtocolError: for other procedures, and for parameters of a type that is not read here.
    """
    data = _skip_headers(data)
    (length,) = struct.unpack_from("<H", data)
    if length == 0xFFFF:  # noqa: PLR2004 - a number follows instead of a name
        procedure, at = struct.unpack_from("<H", data, 2)[0], 6
    else:
        name = data[2 : 2 + 2 * length].decode("utf-16-le").lower()
        procedure, at = (SP_EXECUTESQL if name.endswith("sp_executesql") else name), 4 + 2 * length
    if procedure != SP_EXECUTESQL:
        raise ProtocolError(f"procedure {procedure!r} is not here; send batches, or sp_executesql")
    reader = Reader(data[at:])
    try:
        _, statement = reader.parameter()
        if not reader.is_done:
            reader.parameter()  # the parameters' declaration, which their types on the wire repeat
        parameters = {}
        while not reader.is_done:
            name, value = reader.parameter()
            parameters[name.removeprefix("@")] = value
    except UnknownTypeError as error:
        raise ProtocolError(str(error)) from error
    return str(statement), parameters


def _b_text(text: str) -> bytes:
    return bytes((len(text),)) + text.encode("utf-16-le")


def _us_text(text: str) -> bytes:
    return struct.pack("<H", len(text)) + text.encode("utf-16-le")


def _token(kind: int, body: bytes) -> bytes:
    return struct.pack("<BH", kind, len(body)) + body


def login_answer(login: Login, *, database: str) -> bytes:
    """Welcome a client: the database, collation and packet size that are in force, LOGINACK, DONE."""
    changes = (
        b"\x01" + _b_text(database) + _b_text("master"),
        b"\x07" + bytes((len(COLLATION),)) + COLLATION + b"\0",
        b"\x04" + _b_text(str(_PACKET)) + _b_text(str(_PACKET)),
    )
    version = struct.pack(">I", login.version)
    acknowledged = b"\x01" + version + _b_text("Microsoft SQL Server") + bytes((12, 0, 0x07, 0xD0))
    return b"".join(_token(0xE3, change) for change in changes) + _token(0xAD, acknowledged) + done()


def error(number: int, message: str, *, server: str, severity: int, state: int = 1) -> bytes:
    """Refuse: an ERROR token and the DONE behind it."""
    body = struct.pack("<iBB", number, state, severity) + _us_text(message) + _b_text(server) + b"\0"
    return _token(0xAA, body + struct.pack("<I", 1)) + done(status=_DONE_ERROR)


def done(*, status: int = 0, rows: int = 0) -> bytes:
    """Write a DONE token."""
    return struct.pack("<BHHQ", 0xFD, status, 0, rows)


def attention_answer() -> bytes:
    """Acknowledge that a request was cancelled."""
    return done(status=_DONE_ATTENTION)


def transaction_answer(data: bytes) -> bytes:
    """Answer a transaction manager's request: each statement stands alone, so begin, commit and rollback do nothing."""
    (request,) = struct.unpack_from("<H", _skip_headers(data))
    begin, commit, rollback = 5, 7, 8
    descriptor = struct.pack("<Q", 1)
    changes = {
        begin: b"\x08\x08" + descriptor + b"\0",
        commit: b"\x09\0\x08" + descriptor,
        rollback: b"\x0a\0\x08" + descriptor,
    }
    return (_token(0xE3, changes[request]) if request in changes else b"") + done()


def results(tables: list[Table]) -> bytes:
    """Write the results of a batch."""
    data = b""
    for number, table in enumerate(tables, 1):
        more = _DONE_MORE if number < len(tables) else 0
        data += _rows(table) + done(status=_DONE_COUNT | more, rows=table.affected)
    return data or done()


def _rows(table: Table) -> bytes:
    if not table.columns:
        return b""
    types = [wire_type(column.kind, [row[at] for row in table.rows]) for at, column in enumerate(table.columns)]
    nullable = 0x0009  # and read-write unknown, as of an expression
    described = b"".join(
        struct.pack("<IH", 0, nullable) + kind.info + _b_text(column.name)
        for column, kind in zip(table.columns, types, strict=True)
    )
    rows = (b"\xd1" + b"".join(kind.value(value) for kind, value in zip(types, row, strict=True)) for row in table.rows)
    return b"\x81" + struct.pack("<H", len(table.columns)) + described + b"".join(rows)
