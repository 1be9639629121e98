"""
VPC Flow Logs as they are in S3: text files with a header line that names the fields.

The source is the Amazon VPC User Guide, "Flow log files" and "Flow log records".
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eip_provider.aws.gzipped import GzipText
from airflow_eip_provider.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# Files are named after the end of what they hold, and delivered late, on a best effort basis.
_DELIVERY = timedelta(hours=1)
_NEEDED = ("interface-id", "pkt-srcaddr", "dstport", "tcp-flags", "action", "start", "end")
_DESTINATION = ("pkt-dstaddr", "dstaddr")
_SYN, _ACK = 0x02, 0x10
_NOTHING = "-"
_TCP = "6"
_STATUSES = frozenset({"OK", "NODATA", "SKIPDATA"})
# A record without data has "-" in each of these (Amazon VPC User Guide, "Flow log record examples", "No data").
_OF_PACKETS = frozenset(
    {"srcaddr", "dstaddr", "pkt-srcaddr", "pkt-dstaddr", "srcport", "dstport", "packets", "bytes", "action"}
)
_PORTS = range(65536)
_TIMES = range(253_402_300_800)  # until the year 9999
_TIMESTAMP = re.compile(r"_(\d{8}T\d{4}Z)_")


@dataclass(frozen=True, slots=True)
class Period:
    """From a time to another, in seconds since the epoch."""

    begins_at: float
    ends_at: float

    def overlaps(self, other: Period) -> bool:
        """Whether the two have a moment in common."""
        return self.begins_at <= other.ends_at and other.begins_at <= self.ends_at


@dataclass(frozen=True, slots=True)
class Flow:
    """
    What one interface has sent to one address and port in about a minute, or ten.

    :param source: the address of whoever sent the packets, which may not be the interface's: "pkt-srcaddr".
    :param instance_id: ``None`` when the logs do not have the field, and for interfaces of no instance.
    :param opened: a connection was opened in it (SYN); else one went on that was opened before.
    :param forwarded: the interface is only a stop on the packets' way, as a NAT gateway's is for what its subnets send;
        known where the logs have both "dstaddr" and "pkt-dstaddr".
    """

    interface_id: str
    instance_id: str | None
    source: str
    destination: str
    port: int
    period: Period
    opened: bool
    rejected: bool
    forwarded: bool = False


def place_of(uri: str) -> tuple[str, str]:
    """
    Return the bucket and the prefix that flow logs are published to; the prefix ends in a slash, or is empty.

    :raises InvalidInputError: when that is no place in S3.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise _wrong(uri, "it is no place in S3", "give the destination of the flow logs, s3://BUCKET/PREFIX")
    return parts.netloc, f"{parts.path.strip('/')}/".lstrip("/")


@dataclass(slots=True)
class Unreadable:
    """
    What could not be read of one file.

    :param file: its URI.
    :param lines: how many records; 0 when it is the file, or the rest of it.
    :param problem: why, of the first one.
    """

    file: str
    lines: int
    problem: str

    def __str__(self) -> str:
        more = f" (and {self.lines - 1} more lines)" if self.lines > 1 else ""
        return f"{self.file}: {self.problem}{more}"


class _BadRecordError(Exception):
    """A record, or a file, that cannot be read."""


class FlowLogs:
    """
    The flow logs of one account and region in a bucket; what it cannot read it counts.

    :param uri: where flow logs are published to: ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``.
    :param client: boto3's for S3 (s3:ListBucket, s3:GetObject).
    :raises InvalidInputError: when that is no place in S3.
    """

    def __init__(self, uri: str, *, account: str, region: str, client: Any) -> None:
        self.uri = uri
        self._bucket, self._base = place_of(uri)
        self._account, self._region, self._client = account, region, client
        self.files = 0
        """How many files could be read, whole or in part."""
        self.skipped = 0
        """How many records say that the service could not capture everything (SKIPDATA)."""
        self.unreadable: list[Unreadable] = []
        """What could not be read, by file."""

    def flows(self, period: Period) -> Iterator[Flow]:
        """
        Read the flows of a period.

        :raises InvalidInputError: when there is no such bucket, or no files for it, and when none of them can be read:
            for Parquet, for a format without the needed fields, and for damaged files.
        """
        for key in self._keys(period):
            try:
                for flow in self._read(key):
                    if flow.period.overlaps(period):
                        yield flow
            except _BadRecordError as error:
                self.unreadable.append(Unreadable(self._uri_of(key), 0, str(error)))
        if self.files:
            return
        if self.unreadable:
            first = self.unreadable[0]
            more = len(self.unreadable) - 1
            raise _wrong(
                first.file,
                first.problem + (f"; {more} more files cannot be read either" if more else ""),
                "make the flow log with the format in docs/audit.md; query files of another format with Athena",
            )
        raise _wrong(
            self.uri,
            f"there are no flow log files of account {self._account} in region {self._region} for that time, "
            f"neither under '{self._base}AWSLogs/{self._account}/vpcflowlogs/' nor under Hive-compatible prefixes",
            "name the bucket and prefix that the flow log publishes to, and wait until it has: see docs/audit.md",
        )

    @property
    def unreadable_records(self) -> int:
        """How many records could not be read, in files that could."""
        return sum(unreadable.lines for unreadable in self.unreadable)

    def _keys(self, period: Period) -> Iterator[str]:
        begin = datetime.fromtimestamp(period.begins_at, UTC)
        end = datetime.fromtimestamp(period.ends_at, UTC) + _DELIVERY
        pages = self._client.get_paginator("list_objects_v2")
        for number in range((end.date() - begin.date()).days + 1):
            for prefix in self._prefixes(begin + timedelta(days=number)):
                try:
                    for page in pages.paginate(Bucket=self._bucket, Prefix=prefix):
                        keys = (item["Key"] for item in page.get("Contents", ()))
                        yield from (key for key in keys if self._concerns(key, begin, end))
                except self._client.exceptions.NoSuchBucket as error:
                    remedy = "name the bucket that the flow log publishes to"
                    raise _wrong(self.uri, f"there is no bucket '{self._bucket}'", remedy) from error

    def _prefixes(self, day: datetime) -> tuple[str, str]:
        """Return where a day's files are; hourly partitions are below these."""
        plain = f"AWSLogs/{self._account}/vpcflowlogs/{self._region}/{day:%Y/%m/%d}/"
        hive = (
            f"AWSLogs/aws-account-id={self._account}/aws-service=vpcflowlogs/aws-region={self._region}/"
            f"year={day:%Y}/month={day:%m}/day={day:%d}/"
        )
        return f"{self._base}{plain}", f"{self._base}{hive}"

    def _concerns(self, key: str, begin: datetime, end: datetime) -> bool:
        """Whether a file may have something of that time: its name has the end of what it holds, to the minute."""
        named = _TIMESTAMP.search(key)
        if not key.endswith((".log.gz", ".parquet")) or named is None:
            return False
        try:
            ended = datetime.strptime(named[1], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        return begin - timedelta(minutes=10) <= ended <= end

    def _read(self, key: str) -> Iterator[Flow]:
        """
        Read one file.

        :raises _BadRecordError: when it cannot be read, or not to its end.
        """
        if key.endswith(".parquet"):
            raise _BadRecordError(
                "it is Parquet, which this command does not read; publish the flow log as text (FileFormat=plain-text)"
            )
        try:
            text = GzipText(self._client.get_object(Bucket=self._bucket, Key=key)["Body"])
            yield from self._parse(key, text)
        except (ClientError, BotoCoreError) as error:
            raise _BadRecordError(str(error)) from error
        if text.problem is not None:
            raise _BadRecordError(text.problem)

    def _parse(self, key: str, text: GzipText) -> Iterator[Flow]:
        lines = enumerate(text.lines(), 1)
        _, header = next(lines, (1, ""))
        if text.problem is not None and not header:
            raise _BadRecordError(text.problem)
        fields = _fields(header)
        self.files += 1
        bad = Unreadable(self._uri_of(key), 0, "")
        for number, line in lines:
            if not line or line == header:  # files that were put together keep each its own header
                continue
            try:
                row = _row(fields, line)
                if row.get("log-status") == "SKIPDATA":
                    self.skipped += 1
                elif _has_data(row):
                    yield _flow(row)
            except _BadRecordError as error:
                bad.lines += 1
                bad.problem = bad.problem or f"line {number}: {error}"
        if text.cut_line is not None:
            bad.lines += 1
            bad.problem = bad.problem or "the last line is truncated"
        if bad.lines:
            self.unreadable.append(bad)

    def _uri_of(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


def _fields(header: str) -> Sequence[str]:
    """
    Return the names of a file's fields.

    :raises _BadRecordError: for a file without a header, and for a format without the needed fields.
    """
    fields = header.split()
    if not {"version", "account-id", *_NEEDED, *_DESTINATION} & set(fields):
        raise _BadRecordError("it does not begin with a header line that names the fields of its records")
    missing = [name for name in _NEEDED if name not in fields]
    if not set(_DESTINATION) & set(fields):
        missing.append(" or ".join(_DESTINATION))
    if missing:
        raise _BadRecordError(f"its records have no {', '.join(missing)}; they have {' '.join(fields)}")
    return fields


def _row(fields: Sequence[str], line: str) -> dict[str, str]:
    values = line.split()
    if len(values) != len(fields):
        raise _BadRecordError(f"it has {len(values)} fields instead of {len(fields)}")
    row = dict(zip(fields, values, strict=True))
    if row.get("log-status", "OK") not in _STATUSES:
        raise _BadRecordError(f"log-status is {row['log-status'][:20]!r}")
    return row


def _has_data(row: Mapping[str, str]) -> bool:
    """Whether a record is about packets that may have been of a connection."""
    if row.get("log-status") == "NODATA" or all(row[name] == _NOTHING for name in _OF_PACKETS & row.keys()):
        return False
    # Protocols without ports open no connection to a database.
    return not (row["dstport"] == _NOTHING and row.get("protocol", _TCP) not in {_TCP, _NOTHING})


def _flow(row: Mapping[str, str]) -> Flow:
    """
    Return a record as a flow.

    A "pkt-" address that could not be computed is "-"; then it is taken to be the interface's own side of the way.

    :raises _BadRecordError: when a needed field has no value, or a wrong one.
    """
    flags = 0 if row["tcp-flags"] == _NOTHING else _number(row, "tcp-flags", range(256))
    instance_id = row.get("instance-id", _NOTHING)
    begins_at, ends_at = _number(row, "start", _TIMES), _number(row, "end", _TIMES)
    if begins_at > ends_at:
        raise _BadRecordError("it ends before it begins")
    destinations = {row[name] for name in _DESTINATION if row.get(name, _NOTHING) != _NOTHING}
    return Flow(
        interface_id=row["interface-id"],
        instance_id=None if instance_id == _NOTHING else instance_id,
        source=_address(row, "pkt-srcaddr", "srcaddr"),
        destination=_address(row, *_DESTINATION),
        port=_number(row, "dstport", _PORTS),
        period=Period(begins_at, ends_at),
        # Flags of one record are of one direction, or'ed together: SYN with ACK is a server's answer.
        opened=bool(flags & _SYN) and flags & (_SYN | _ACK) != _SYN | _ACK,
        rejected=row["action"] == "REJECT",
        forwarded=len(destinations) > 1,
    )


def _address(row: Mapping[str, str], *names: str) -> str:
    """Return the first of the fields that has a value."""
    value = next((row[name] for name in names if row.get(name, _NOTHING) != _NOTHING), _NOTHING)
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise _BadRecordError(f"{' and '.join(name for name in names if name in row)}: {value[:50]!r}") from None
    return value


def _number(row: Mapping[str, str], name: str, allowed: range) -> int:
    value = row[name]
    if not (value.isascii() and value.isdecimal() and len(value) < 20 and int(value) in allowed):  # noqa: PLR2004
        raise _BadRecordError(f"{name} is {value[:50]!r}")
    return int(value)


def _wrong(what: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"reading flow logs from {what}", problem=problem, remedy=remedy)
