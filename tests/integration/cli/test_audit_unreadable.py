"""``airflow-eip audit`` on flow logs that cannot be read completely: it reports that, and continues."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.audit.flow_logs import Flow, FlowLogs, Period
from airflow_eip_provider.exceptions import InvalidInputError
from tests.integration.cli.test_audit import FIELDS, audit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["audit"]

BEGIN = 1_791_457_260
RECORD = {
    "version": "5", "account-id": "123456789012", "interface-id": "eni-1", "instance-id": "i-1", "srcaddr": "10.0.1.5",
    "dstaddr": "203.0.113.10", "srcport": "49152", "dstport": "1433", "pkt-srcaddr": "10.0.1.5",
    "pkt-dstaddr": "203.0.113.10", "protocol": "6", "packets": "20", "bytes": "4249", "start": str(BEGIN),
    "end": str(BEGIN + 59), "action": "ACCEPT", "tcp-flags": "3", "flow-direction": "egress", "log-status": "OK",
}  # fmt: skip


def record(**given: str) -> str:
    return " ".join({**RECORD, **{name.replace("_", "-"): value for name, value in given.items()}}.values())


def text(*lines: str, header: str = FIELDS) -> bytes:
    return "\n".join([header, *lines, ""]).encode()


WHOLE = text(*[record()] * 500)


@pytest.fixture
def put(s3: Any) -> Callable[..., str]:
    s3.create_bucket(Bucket="flow-logs", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})

    def put(body: bytes, *, minute: int = 5, ending: str = "log.gz") -> str:
        name = f"123456789012_vpcflowlogs_eu-west-1_fl-1_20261008T11{minute:02}Z_1a2b3c4d.{ending}"
        key = f"AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/10/08/{name}"
        s3.put_object(Bucket="flow-logs", Key=key, Body=body)
        return f"s3://flow-logs/{key}"

    return put


@pytest.fixture
def read(s3: Any, put: Any) -> Callable[[], tuple[list[Flow], FlowLogs]]:
    def read() -> tuple[list[Flow], FlowLogs]:
        logs = FlowLogs("s3://flow-logs", account="123456789012", region="eu-west-1", client=s3)
        return list(logs.flows(Period(BEGIN - 60, BEGIN + 3600))), logs

    return read


def test_an_address_that_could_not_be_computed_is_the_interfaces_own(put, read):
    put(gzip.compress(text(record(pkt_dstaddr="-"), record(pkt_srcaddr="-", instance_id="-"))))
    flows, logs = read()
    assert [(flow.source, flow.destination, flow.forwarded) for flow in flows] == [
        ("10.0.1.5", "203.0.113.10", False)
    ] * 2
    assert logs.unreadable == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("5 123456789012 eni-1 i-1 10.0.1.5 203.0.113.10 49152 1433 10.0.1.5 2", "it has 10 fields instead of 19"),
        ("5 123456789012 eni-0123456789abcdef0 i-0123456789abcdef0 10.", "it has 5 fields instead of 19"),
        (f"{record()} {record()}", "it has 38 fields instead of 19"),
        (record(dstport="-"), "dstport is '-'"),
        (record(dstport="70000"), "dstport is '70000'"),
        (record(dstport="١٤٣٣"), "dstport is '١٤٣٣'"),
        (record(start="-"), "start is '-'"),
        (record(end="1e999"), "end is '1e999'"),
        (record(end="9" * 5000), f"end is '{'9' * 50}'"),
        (record(end="1"), "it ends before it begins"),
        (record(tcp_flags="SYN"), "tcp-flags is 'SYN'"),
        (record(pkt_dstaddr="-", dstaddr="-"), "pkt-dstaddr and dstaddr: '-'"),
        (record(pkt_dstaddr="203.0.113"), "pkt-dstaddr and dstaddr: '203.0.113'"),
        (record(pkt_srcaddr="-", srcaddr="-"), "pkt-srcaddr and srcaddr: '-'"),
        (record(log_status="O"), "log-status is 'O'"),
        ('"' + record(), None),  # a quote begins no quotation that swallows what follows
    ],
)
def test_a_record_that_cannot_be_read_is_counted_with_its_file_and_line(put, read, line, problem):
    uri = put(gzip.compress(text(record(), line, record(interface_id="eni-2"))))
    flows, logs = read()
    assert [flow.interface_id for flow in flows][:: len(flows) - 1] == ["eni-1", "eni-2"]
    if problem is None:
        assert len(flows) == 3
        return
    assert (len(flows), logs.files, logs.unreadable_records) == (2, 1, 1)
    (unreadable,) = logs.unreadable
    assert str(unreadable) == f"{uri}: line 3: {problem}"


@pytest.mark.parametrize(
    ("body", "flows", "problem"),
    [
        (gzip.compress(WHOLE)[:-20], 400, "the last line is truncated"),
        (gzip.compress(WHOLE)[:-8] + b"\0" * 8, 500, "it is damaged: "),
        (gzip.compress(WHOLE) + b"more", 500, "it is damaged: "),
        (gzip.compress(text(record()))[:12] + b"\xff" * 30, 0, "it is "),
        (gzip.compress(record().encode()), 0, "it does not begin with a header line"),
        (b"PAR1" + b"\0" * 50 + b"PAR1", 0, "it does not begin with a header line"),
        (b"", 0, "it does not begin with a header line"),
        (gzip.compress(b""), 0, "it does not begin with a header line"),
        (gzip.compress(text(record(), header="version interface-id start end")), 0, "its records have no pkt-srcaddr"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_and_the_others_count(put, read, body, flows, problem):
    uri = put(body)
    put(gzip.compress(text(record(interface_id="eni-other"))), minute=6)
    found, logs = read()
    assert found[-1].interface_id == "eni-other"
    assert flows <= len(found) - 1 <= 500
    assert str(logs.unreadable[0]).startswith(f"{uri}: {problem}")


@pytest.mark.parametrize(
    "body",
    [
        text(record()),  # plain text
        gzip.compress(b"\xef\xbb\xbf" + text(record())),
        gzip.compress(text(record()).replace(b"\n", b"\r\n")),
        gzip.compress(text(record()).rstrip()),
        gzip.compress(text(record())) + b"\0" * 100,
        gzip.compress(text()) + gzip.compress(record().encode()),
        gzip.compress(text(FIELDS, record())),  # two files in one
    ],
)
def test_forms_that_can_be_read(put, read, body):
    put(body)
    flows, logs = read()
    assert [flow.destination for flow in flows] == ["203.0.113.10"]
    assert logs.unreadable == []


def test_what_is_no_connection_is_not_unreadable(put, read):
    dashes = dict.fromkeys(
        ("srcaddr", "dstaddr", "pkt_srcaddr", "pkt_dstaddr", "srcport", "dstport", "packets", "bytes", "action"), "-"
    )
    put(
        gzip.compress(
            text(
                record(**dashes, tcp_flags="-", log_status="NODATA"),
                record(**dashes, tcp_flags="-", log_status="SKIPDATA"),
                record(protocol="1", dstport="-", srcport="-"),
            )
        )
    )
    flows, logs = read()
    assert (flows, logs.unreadable, logs.skipped) == ([], [], 1)


def test_an_object_that_s3_does_not_give_is_named(put, read, s3, monkeypatch):
    """For example, it is in Glacier, or encrypted with a key that the role must not use."""
    uri = put(gzip.compress(text(record())))
    put(gzip.compress(text(record())), minute=6)
    get = s3.get_object

    def refuses(**where: Any) -> Any:
        if where["Key"] in uri:
            raise ClientError({"Error": {"Code": "InvalidObjectState", "Message": "archived"}}, "GetObject")
        return get(**where)

    monkeypatch.setattr(s3, "get_object", refuses)
    flows, logs = read()
    assert len(flows) == 1
    assert [unreadable.file for unreadable in logs.unreadable] == [uri]
    assert "InvalidObjectState" in logs.unreadable[0].problem


def test_nothing_that_can_be_read_is_no_proof(put, read):
    put(b"PAR1", ending="parquet")
    put(b"", minute=6)
    with pytest.raises(InvalidInputError, match=r"Parquet.* 1 more files cannot be read either"):
        read()


ASKED = ("--interface", "eni-1", "--from", "2026-10-08T11:00Z", "--to", "2026-10-08T12:00Z")


@pytest.mark.parametrize(
    ("lines", "status", "unreadable"),
    [
        ([record()], 0, 0),
        ([record(), record()[:40]], 4, 1),
        ([record(dstport="-")], 4, 1),
        ([record(interface_id="eni-2"), record()[:40]], 3, 1),
        ([record(interface_id="eni-2", pkt_dstaddr="-")], 3, 0),
    ],
)
def test_the_exit_status_and_the_summary_show_that_something_could_not_be_read(audit, put, lines, status, unreadable):
    uri = put(gzip.compress(text(*lines)))
    said = audit(*ASKED)
    assert said.status == status
    assert said.result["unreadable_records"] == unreadable
    assert [entry["file"] for entry in said.result["unreadable"]] == [uri] * unreadable
    said = audit(*ASKED, as_json=False)
    assert (f"1 records could not, in 1 files:\n  {uri}: line " in said.err) == unreadable


def test_no_connections_are_not_reported_when_that_is_not_known(audit, put):
    """Only "dstaddr" has the destination."""
    put(gzip.compress(text(record(pkt_dstaddr="-"))))
    said = audit(*ASKED, as_json=False)
    assert said.status == 0
    assert said.out.splitlines()[1].startswith("tenancy  eni-1")
    assert "Nothing connected" not in said.err
