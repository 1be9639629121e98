"""The Azure SQL stand-in, with real clients: pymssql (FreeTDS, in C) and python-tds."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pymssql
import pytds
import pytest

from local_emr.azure_sql import AzureSqlServer, SqlError
from local_emr.azure_sql.firewall import Firewall, Rule
from local_emr.outside import Caller

if TYPE_CHECKING:
    from collections.abc import Iterator

IP = "203.0.113.9"
REGISTERED = Rule("registered", IP, IP)
COLUMNS = (
    "id int NOT NULL, big bigint, yes bit, amount decimal(12,2), day date, at datetime2(6), ratio float,"
    " note nvarchar(80), ref uniqueidentifier, raw varbinary(10), clock time, stamp datetimeoffset, tiny tinyint"
)
ROW = (
    1,
    5_000_000_000,
    True,
    Decimal("-12.34"),
    dt.date(2026, 1, 2),
    dt.datetime(2026, 1, 2, 3, 4, 5, 678901),  # noqa: DTZ001 - datetime2 has no zone
    1.5,
    "héé",
    UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff"),
    b"ab",
    dt.time(1, 2, 3),
    dt.datetime(2026, 1, 2, 1, 4, 5, tzinfo=dt.UTC),
    255,
)


@pytest.fixture
def events() -> list[dict[str, Any]]:
    return []


def serve(events: list[dict[str, Any]], **options: Any) -> AzureSqlServer:
    def record(kind: str, **fields: Any) -> None:
        events.append({"kind": kind, **fields})

    return AzureSqlServer(who=lambda *_: Caller(IP, "s-1", "j-1"), record=record, **options)


@pytest.fixture
def server(events: list[dict[str, Any]]) -> Iterator[AzureSqlServer]:
    made = serve(events)
    made.start()
    made.execute("CREATE USER [reader] WITH PASSWORD = 'it''s'", database="sales")
    made.execute(f"CREATE TABLE sales.orders ({COLUMNS})", database="sales")
    made.execute(
        "INSERT INTO sales.orders VALUES (1, 5000000000, 1, -12.34, '2026-01-02', '2026-01-02 03:04:05.678901', 1.5,"
        " N'héé', '6F9619FF-8B86-D011-B42D-00C04FC964FF', CAST('ab' AS varbinary(10)), '01:02:03',"
        " '2026-01-02T03:04:05+02:00', 255),"
        " (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)",
        database="sales",
    )
    yield made
    made.stop()


@pytest.fixture(params=["pymssql", "pytds"])
def connect(request: pytest.FixtureRequest) -> Any:
    def make(server: AzureSqlServer, *, user: str = "reader", password: str = "it's", database: str = "sales") -> Any:
        credentials = {"user": user, "password": password, "database": database}
        if request.param == "pymssql":
            return pymssql.connect(server="127.0.0.1", port=str(server.port), **credentials)
        return pytds.connect("127.0.0.1", port=server.port, login_timeout=1, **credentials)

    return make


def refused(connect: Any, server: AzureSqlServer, events: list[dict[str, Any]], **login: Any) -> int:
    """Return the number of the error that a login ends with.

    python-tds hides it behind a TimeoutError; pymssql may tell that of an earlier connection, so the event counts.
    """
    with pytest.raises((pymssql.Error, pytds.Error, TimeoutError)) as caught:
        connect(server, **login)
    number = int(events[-1]["error_code"])
    if not isinstance(caught.value, pymssql.Error):
        assert (caught.value.__cause__ or caught.value).number == number
    return number


def test_every_type_arrives_as_it_was_stored_and_null_as_none(server, connect):
    server.firewall.put(REGISTERED)
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT * FROM [sales].[orders] ORDER BY [id]")
        assert [column[0] for column in cursor.description][:3] == ["id", "big", "yes"]
        full, empty = cursor.fetchall()
    stamp = full[11] if isinstance(full[11], dt.datetime) else dt.datetime.fromisoformat(str(full[11]))
    assert tuple(full[:11]) == ROW[:11]
    assert stamp.astimezone(dt.UTC) == ROW[11]
    assert full[12] == ROW[12]
    assert tuple(empty) == (2, *[None] * 12)


def test_the_refusal_is_in_azures_words(server):
    with pytest.raises(TimeoutError) as caught:
        pytds.connect("127.0.0.1", "sales", "reader", "it's", port=server.port, login_timeout=1)
    assert f"Client with IP address '{IP}' is not allowed to access the server." in str(caught.value.__cause__)


def test_an_address_that_is_not_registered_is_refused_with_40615(server, connect, events):
    assert refused(connect, server, events) == 40615
    first = next(event for event in events if event["kind"] == "connection")
    assert (first["admitted"], first["error_code"], first["from_ip"], first["step_id"]) == (False, 40615, IP, "s-1")


def test_a_wrong_password_shows_that_the_firewall_was_passed(server, connect, events):
    server.firewall.put(REGISTERED)
    assert refused(connect, server, events, password="wrong") == 18456
    assert events[-1]["error_code"] == 18456
    assert events[-1]["admitted"] is True
    assert "wrong" not in str(events)


def test_a_database_that_does_not_exist(server, connect, events):
    server.firewall.put(REGISTERED)
    assert refused(connect, server, events, database="nowhere") == 4060


def test_errors_in_statements_have_sql_servers_numbers(server, connect):
    server.firewall.put(REGISTERED)
    with connect(server) as connection, connection.cursor() as cursor:
        with pytest.raises(Exception, match="Invalid object name 'nowhere'"):
            cursor.execute("SELECT * FROM nowhere")
        cursor.execute("SELECT TOP 1 id FROM sales.orders ORDER BY id DESC")
        assert cursor.fetchall()[0][0] == 2, "the connection lives on"


def test_what_is_written_is_counted_and_read_again(server, connect):
    server.firewall.put(REGISTERED)
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO sales.orders (id) VALUES (3)")
        assert cursor.rowcount == 1
        connection.commit()
        cursor.execute("SELECT COUNT(*) FROM sales.orders")
        assert cursor.fetchone()[0] == 3


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 1),
        ("big", 5_000_000_000),
        ("yes", True),
        ("amount", Decimal("-12.34")),
        ("day", dt.date(2026, 1, 2)),
        ("ratio", 1.5),
        ("note", "héé"),
    ],
)
def test_rows_are_found_by_parameters_of_any_type(server, connect, column, value):
    server.firewall.put(REGISTERED)
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT id FROM sales.orders WHERE [{column}] = %s AND id < %s", (value, 2))
        assert [tuple(row) for row in cursor.fetchall()] == [(1,)]


def test_texts_and_results_longer_than_a_packet(server, connect):
    server.firewall.put(REGISTERED)
    with connect(server) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT REPLICATE('x', 9000) AS t UNION ALL SELECT 'y'")
        assert sorted(len(row[0]) for row in cursor.fetchall()) == [1, 9000]


def test_clients_are_served_side_by_side(server):
    server.firewall.put(REGISTERED)

    def count(_: int) -> Any:
        with pytds.connect("127.0.0.1", "sales", "reader", "it's", port=server.port) as c, c.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM sales.orders")
            return cursor.fetchone()[0]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(count, range(8))) == [2] * 8


def test_a_real_server_can_be_behind_the_firewall(server, connect, events):
    server.firewall.put(REGISTERED)
    front = serve(events, upstream=("127.0.0.1", server.port))
    front.start()
    try:
        assert refused(connect, front, events) == 40615
        front.firewall.put(REGISTERED)
        with connect(front) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM sales.orders")
            assert cursor.fetchone()[0] == 2
        front.upstream = None
        assert refused(connect, front, events) == 4060  # it has no such database itself
    finally:
        front.stop()


def test_the_administrator_gets_errors_as_errors(server):
    with pytest.raises(SqlError) as error:
        server.execute("SELECT FROM WHERE", database="sales")
    assert error.value.number == 102


def test_a_database_on_disk_is_there_again_after_a_restart(events, tmp_path):
    for statement in ("CREATE TABLE sales.orders (id int)", "INSERT INTO sales.orders VALUES (7)"):
        first = serve(events, directory=tmp_path)
        first.execute(statement, database="sales")
        first.reset()
        first.stop()
    again = serve(events, directory=tmp_path)
    assert again.execute("SELECT id FROM sales.orders", database="sales")[0].rows == [(7,)]
    again.stop()


def rules(*made: Rule) -> Firewall:
    firewall = Firewall(on_change=lambda *_, **__: None)
    for rule in made:
        firewall.put(rule)
    return firewall


def test_a_rule_admits_its_whole_range_and_nothing_else():
    firewall = rules(Rule("office", "203.0.113.4", "203.0.113.6"))
    assert [firewall.admits(f"203.0.113.{n}") for n in (3, 4, 6, 7)] == [False, True, True, False]


def test_the_rule_for_azures_own_services_admits_nobody_else():
    assert not rules(Rule("azure", "0.0.0.0", "0.0.0.0")).admits("203.0.113.4")


@pytest.mark.parametrize(("start", "end"), [("203.0.113.6", "203.0.113.4"), ("nonsense", "203.0.113.4")])
def test_a_rule_that_makes_no_sense_is_refused(start, end):
    with pytest.raises(ValueError, match=r"203\.0|nonsense"):
        Rule("x", start, end)


def test_python_tds_finds_a_row_by_its_microsecond(server):
    server.firewall.put(REGISTERED)
    with pytds.connect("127.0.0.1", "sales", "reader", "it's", port=server.port) as c, c.cursor() as cursor:
        cursor.execute("SELECT id FROM sales.orders WHERE [at] = %s", (ROW[5],))
        assert cursor.fetchall() == [(1,)]
