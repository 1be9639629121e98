"""Sessions of the Azure SQL stand-in: transactions, prepared statements, T-SQL, SQL Server's error numbers."""

from __future__ import annotations

import datetime as dt
import logging
import socket
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pymssql
import pytds
import pytest

from local_emr.azure_sql import AzureSqlServer, SqlError
from local_emr.azure_sql.firewall import Rule
from local_emr.outside import Caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IP = "203.0.113.9"


@pytest.fixture(scope="module")
def server() -> Iterator[AzureSqlServer]:
    made = AzureSqlServer(who=lambda *_: Caller(IP, "s-1", "j-1"), record=lambda *_, **__: None)
    made.start()
    made.firewall.put(Rule("all", IP, IP))
    made.execute("CREATE USER reader WITH PASSWORD = 'it'", database="daily")
    yield made
    made.stop()


@pytest.fixture(params=["pymssql", "pytds"])
def connect(server: AzureSqlServer, request: pytest.FixtureRequest) -> Callable[[], Any]:
    server.execute(
        "DROP TABLE IF EXISTS t; CREATE TABLE t (id int PRIMARY KEY, name nvarchar(20) NOT NULL)", database="daily"
    )
    if request.param == "pytds":
        return lambda: pytds.connect("127.0.0.1", "daily", "reader", "it", port=server.port)
    login = {"user": "reader", "password": "it", "database": "daily"}
    return lambda: pymssql.connect(server="127.0.0.1", port=str(server.port), **login)


@pytest.fixture
def cursor(connect: Callable[[], Any]) -> Iterator[Any]:
    with connect() as connection, connection.cursor() as made:
        yield made


def rows(cursor: Any, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    cursor.execute(sql, *parameters)
    return [tuple(row) for row in cursor.fetchall()]


def number_of(error: BaseException) -> int:
    return int(getattr(error, "number", 0) or error.args[0])


def test_what_is_rolled_back_is_gone_and_what_is_committed_stays(connect):
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1, 'kept')")
        connection.commit()
        cursor.execute("INSERT INTO t VALUES (2, 'lost')")
        connection.rollback()
        assert rows(cursor, "SELECT name FROM t") == [("kept",)]


def test_others_see_a_change_when_it_is_committed_and_not_before(connect):
    with connect() as writer, connect() as reader, writer.cursor() as writing, reader.cursor() as reading:
        assert rows(reading, "SELECT COUNT(*) FROM t") == [(0,)]
        writing.execute("INSERT INTO t VALUES (1, 'a')")
        assert rows(writing, "SELECT COUNT(*) FROM t") == [(1,)]
        assert rows(reading, "SELECT COUNT(*) FROM t") == [(0,)]
        writer.commit()
        assert rows(reading, "SELECT COUNT(*) FROM t") == [(1,)], "though the reader's own transaction goes on"


def test_an_unfinished_transaction_ends_with_its_connection(connect):
    connection = connect()
    connection.cursor().execute("INSERT INTO t VALUES (1, 'a')")
    connection.close()
    with connect() as again, again.cursor() as cursor:
        assert rows(cursor, "SELECT COUNT(*) FROM t") == [(0,)]


def test_an_error_after_a_change_dooms_the_transaction_until_it_is_rolled_back(connect):
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1, 'a')")
        for number in (2627, 3930):
            with pytest.raises((pymssql.Error, pytds.Error)) as error:
                cursor.execute("INSERT INTO t VALUES (1, 'again')")
            assert number_of(error.value) == number
        connection.rollback()
        assert rows(cursor, "SELECT COUNT(*) FROM t") == [(0,)]


def test_transactions_nest_as_a_count_of_which_the_outermost_decides(server, connect):
    count = "SELECT @@TRANCOUNT"
    change = "INSERT INTO t VALUES (1, 'a')"
    batch = f"BEGIN TRAN; BEGIN TRAN; {change}; COMMIT; {count}; ROLLBACK; {count}"
    results = server.execute(batch, database="daily")
    assert [table.rows for table in results if table.columns] == [[(1,)], [(0,)]]
    assert server.execute("SELECT COUNT(*) FROM t", database="daily")[0].rows == [(0,)]


@pytest.mark.parametrize(
    ("sql", "number"),
    [
        ("SELECT * FROM dbo.nowhere", 208),
        ("SELECT nothing FROM t", 207),
        ("SELECT FROM WHERE", 102),
        ("CREATE TABLE dbo.t (id int)", 2714),
        ("DROP TABLE nowhere", 3701),
        ("INSERT INTO t (id) VALUES (1)", 515),
        ("SELECT CONVERT(int, 'x')", 245),
        ("SELECT 1 / 0", 8134),
        ("SELECT nonsense(1)", 195),
        ("SELECT @nobody", 137),
        ("USE other", 40508),
        ("IF 1 = 1 SELECT 1", 50000),
        ("EXEC sp_who", 50000),
        ("DECLARE @x int = 1", 50000),
        ("SELECT @@NESTLEVEL", 50000),
    ],
)
def test_errors_carry_sql_servers_number_and_leave_the_session_usable(cursor, sql, number):
    with pytest.raises((pymssql.Error, pytds.Error)) as error:
        cursor.execute(sql)
    assert number_of(error.value) == number
    assert rows(cursor, "SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    ("sql", "row"),
    [
        ("SET NOCOUNT ON SET ANSI_NULLS ON\nSELECT 1", (1,)),
        ("SELECT 7 / 2, 7 / 2.0", (3, Decimal("3.5"))),
        ("SELECT N'a' + 'b' + LTRIM(' c')", ("abc",)),
        ("SELECT CONVERT(varchar(10), 5), CAST('2026-01-02' AS date)", ("5", dt.date(2026, 1, 2))),
        ("SELECT CAST(0.1 AS real), CAST(0.1 AS float)", (struct.unpack("<f", struct.pack("<f", 0.1))[0], 0.1)),
        ("SELECT CAST('2026-01-02 03:04:05.123' AS datetime2(3))", (dt.datetime(2026, 1, 2, 3, 4, 5, 123000),)),  # noqa: DTZ001
        ("SELECT SUM(x), MIN(x), COUNT(*) FROM (VALUES (1), (2)) AS v (x)", (3, 1, 2)),
        ("SELECT DB_NAME(), SUSER_SNAME(), ISNULL(NULL, 3), LEN('abc')", ("daily", "reader", 3, 3)),
        ("SELECT TOP (1) x FROM (VALUES (1), (2)) AS v (x) ORDER BY x DESC", (2,)),
        ("SELECT '@@VERSION'", ("@@VERSION",)),
    ],
)
def test_t_sql_means_what_it_does_on_sql_server(cursor, sql, row):
    assert rows(cursor, sql) == [row]


def test_what_ran_before_an_error_in_a_batch_is_answered_and_stays(cursor):
    cursor.execute("SELECT 1 AS one; INSERT INTO t VALUES (1, 'a'); SELECT * FROM nowhere")
    assert [tuple(row) for row in cursor.fetchall()] == [(1,)]
    with pytest.raises((pymssql.Error, pytds.Error), match="nowhere"):
        list(iter(cursor.nextset, None))


@pytest.mark.parametrize(
    "value",
    [
        1,
        -5_000_000_000,
        True,
        1.5,
        Decimal("-12.34"),
        "it's, ünïcode and %",
        "long " * 2000,
        "",
        pytds.Binary(b"\x00\xff"),
        dt.date(2026, 1, 2),
        dt.datetime(2026, 1, 2, 3, 4, 5, 678901),  # noqa: DTZ001
        dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC),
        dt.time(1, 2, 3),
        UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff"),
        None,
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_parameter_of_any_type_comes_back_as_it_was_sent(server, value):
    with pytds.connect("127.0.0.1", "daily", "reader", "it", port=server.port) as c, c.cursor() as cursor:
        assert rows(cursor, "SELECT %s, %s", (value, 7)) == [(value, 7)]


def test_a_statement_is_prepared_once_and_executed_often(server):
    with pytds.connect("127.0.0.1", "daily", "reader", "it", port=server.port) as c, c.cursor() as cursor:
        statement = "SELECT @a + 1 AS next, @b AS text"
        (handle, *_) = cursor.callproc(
            "sp_prepare", [pytds.output(param_type=int), "@a int, @b nvarchar(9)", statement]
        )
        for number in (1, 2):
            cursor.callproc("sp_execute", [handle, number, "x"])
            assert [tuple(row) for row in cursor.fetchall()] == [(number + 1, "x")]
        cursor.callproc("sp_unprepare", [handle])
        with pytest.raises(pytds.Error, match="Could not find prepared statement with handle 1"):
            cursor.callproc("sp_execute", [handle, 1, "x"])


def test_a_statement_is_prepared_and_executed_in_one_call(server):
    with pytds.connect("127.0.0.1", "daily", "reader", "it", port=server.port) as c, c.cursor() as cursor:
        cursor.callproc("sp_prepexec", [pytds.output(param_type=int), "@a int", "SELECT @a * 2", 21])
        assert [tuple(row) for row in cursor.fetchall()] == [(42,)]
        cursor.callproc("sp_execute", [cursor.get_proc_outputs()[0], 4])
        assert [tuple(row) for row in cursor.fetchall()] == [(8,)]


def test_a_procedure_that_is_not_here_is_refused(server):
    with pytds.connect("127.0.0.1", "daily", "reader", "it", port=server.port) as c, c.cursor() as cursor:
        with pytest.raises(pytds.Error) as error:
            cursor.callproc("dbo.nightly", [1])
        assert error.value.number == 2812


def test_no_password_of_a_statement_reaches_a_log(server, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(SqlError, match="has no CREATE statement"):
        server.execute("CREATE LOGIN x WITH PASSWORD = 'topsecret'", database="daily")
    assert "topsecret" not in caplog.text


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack(">BBHHBB", 0x10, 1, 12, 0, 1, 0) + b"\x01\x02\x03\x04",
        struct.pack(">BBHHBB", 0x01, 1, 8, 0, 1, 0),
        struct.pack(">BBHHBB", 0x12, 1, 2, 0, 1, 0),
    ],
    ids=["http", "short login", "batch before the login", "short packet"],
)
def test_who_does_not_speak_tds_is_hung_up_on(server, garbage):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
