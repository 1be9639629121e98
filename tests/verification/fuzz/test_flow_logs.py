"""Generated flow logs: each line is a flow, a record without data, or counted as unreadable."""

from __future__ import annotations

import gzip
import ipaddress
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from airflow_eip_provider.audit.flow_logs import Flow, FlowLogs, Period
from airflow_eip_provider.audit.lease_periods import LeasePeriod
from airflow_eip_provider.audit.report import Database, judge
from airflow_eip_provider.exceptions import InvalidInputError
from tests.verification.fuzz.objects import S3, damaged, whole

KEY = "AWSLogs/1/vpcflowlogs/eu-west-1/2026/10/08/1_vpcflowlogs_eu-west-1_fl-1_20261008T1105Z_a.log.gz"
BEGIN = 1_791_457_260
FIELDS = [
    *("version", "account-id", "interface-id", "instance-id", "srcaddr", "dstaddr", "srcport", "dstport"),
    *("pkt-srcaddr", "pkt-dstaddr", "protocol", "packets", "bytes", "start", "end", "action", "tcp-flags"),
    *("flow-direction", "log-status"),
]
HEADER = " ".join(FIELDS)
PERIOD = Period(BEGIN, BEGIN + 3600)
EVERYTHING = Period(0, 253_402_300_799)
DATABASE = Database.parse("203.0.113.0/24:1433")
LEASE_PERIOD = LeasePeriod("eni-1", PERIOD, frozenset({"eni-1"}))
ADDRESSES = st.sampled_from(["10.0.1.5", "203.0.113.10", "2001:db8::1", "-"])
ODD = st.sampled_from(["-", "", "0", "-1", "70000", "1e9", "NaN", "203.0.113", "٣", "\x00", '"', "SKIPDATA", "9" * 400])
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def records(draw: st.DrawFn) -> dict[str, str]:
    """Return a record as AWS writes it."""
    begin = draw(st.integers(BEGIN, BEGIN + 3000))
    record = dict.fromkeys(FIELDS, "1")
    record |= {"interface-id": draw(st.sampled_from(["eni-1", "eni-2"])), "instance-id": "i-1", "protocol": "6"}
    record |= {name: draw(ADDRESSES) for name in ("srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr")}
    record |= {"start": str(begin), "end": str(begin + 59), "dstport": draw(st.sampled_from(["1433", "443", "11000"]))}
    record |= {"tcp-flags": str(draw(st.integers(0, 63))), "action": draw(st.sampled_from(["ACCEPT", "REJECT"]))}
    return record | {"log-status": "OK"}


@st.composite
def lines(draw: st.DrawFn) -> str:
    """Return a record's line, in which a field may be unusual, cut or replaced."""
    record = draw(records())
    if draw(st.booleans()):
        record[draw(st.sampled_from(FIELDS))] = draw(ODD | WORDS)
    line = " ".join(record.values())
    return line[: draw(st.integers(0, len(line)))] if draw(st.integers(0, 9)) == 0 else line


def read(body: bytes) -> tuple[list[Flow], FlowLogs, bool]:
    """Read one file as the audit does, with records of all times; return whether it was refused, too."""
    logs = FlowLogs("s3://bucket", account="1", region="eu-west-1", client=S3({KEY: body}))
    flows: list[Flow] = []
    try:
        # The audit finds files by their time, but the generated records have any time.
        logs._keys = lambda _: iter([KEY])  # type: ignore[method-assign]
        flows.extend(logs.flows(EVERYTHING))
    except InvalidInputError:
        return flows, logs, True
    for found in judge(flows, [DATABASE], [LEASE_PERIOD]):
        found.facts()
    return flows, logs, False


def expected(line: str) -> str:
    """Return how a line must be counted, without the code under test."""
    values = line.split()
    if not line or line == HEADER:
        return "nothing"
    row: dict[str, Any] = dict(zip(FIELDS, values, strict=False))
    if len(values) != len(FIELDS) or row["log-status"] not in {"OK", "NODATA", "SKIPDATA"}:
        return "unreadable"
    if row["log-status"] == "SKIPDATA":
        return "skipped"
    if row["log-status"] == "NODATA" or (row["dstport"] == "-" and row["protocol"] not in {"6", "-"}):
        return "nothing"
    return "flow" if is_flow(row) else "unreadable"


def is_flow(row: dict[str, str]) -> bool:
    """Whether each required field has a valid value."""
    numbers = [row["dstport"], row["start"], row["end"], row["tcp-flags"].replace("-", "0", row["tcp-flags"] == "-")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        return False
    port, start, end, flags = (int(number) if len(number) < 20 else 10**20 for number in numbers)
    try:
        for names in (("pkt-srcaddr", "srcaddr"), ("pkt-dstaddr", "dstaddr")):
            ipaddress.ip_address(next((row[name] for name in names if row[name] != "-"), "-"))
    except ValueError:
        return False
    return port < 65536 and start <= end < 253_402_300_800 and flags < 256


@given(
    drawn=st.lists(lines(), max_size=6),
    ending=st.sampled_from(["\n", "\r\n"]),
    mark=st.booleans(),
    packed=st.booleans(),
)
def test_every_line_is_counted(*, drawn: list[str], ending: str, mark: bool, packed: bool) -> None:
    text = ending.join([HEADER, *drawn, ""])
    kinds = [expected(line.removesuffix("\r")) for line in text.split("\n")[1:]]
    body = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    flows, logs, refused = read(gzip.compress(body) if packed else body)
    for each in set(kinds):
        event(each)
    assert not refused
    assert (len(flows), logs.unreadable_records, logs.skipped) == tuple(
        kinds.count(name) for name in ("flow", "unreadable", "skipped")
    )


@given(st.data(), st.lists(records().map(lambda record: " ".join(record.values())), min_size=1, max_size=30))
def test_a_damaged_file_is_reported(data: st.DataObject, drawn: list[str]) -> None:
    body = gzip.compress("\n".join([HEADER, *drawn, ""]).encode(), mtime=0)
    changed = data.draw(damaged(body))
    flows, logs, refused = read(changed)
    of_all, counted, _ = read(body)
    event(f"whole: {whole(changed)}, refused: {refused}")
    if changed in {body, body + body}:
        assert flows == of_all * (len(changed) // len(body))
        assert logs.unreadable_records == counted.unreadable_records * (len(changed) // len(body))
    elif not (changed and whole(changed)):
        assert refused or logs.unreadable


@given(st.binary(max_size=300) | st.binary(max_size=100).map(gzip.compress))
def test_a_file_of_random_bytes_is_refused(body: bytes) -> None:
    flows, _, refused = read(body)
    assert (flows, refused) == ([], True)
