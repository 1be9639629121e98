"""
Reads VPC Flow Logs in S3: text files with a header line that names the fields.

Source: Amazon VPC User Guide, "Flow log files" and "Flow log records".
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

# Files are named after the end of their records, and are delivered late, on a best effort basis.
_DELIVERY = timedelta(hours=1)
_REQUIRED = ("interface-id", "pkt-srcaddr", "dstport", "tcp-flags", "action", "start", "end")
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
    """A period of time, in seconds since the epoch."""

    begins_at: float
    ends_at: float

    def overlaps(self, other: Period) -> bool:
        """Whether the periods overlap."""
        return self.begins_at <= other.ends_at and other.begins_at <= self.ends_at


@dataclass(frozen=True, slots=True)
class Flow:
    """
    The packets from one interface to one address and port within a capture window of up to ten minutes.

    :param source: the original sender, which may not be the interface: "pkt-srcaddr".
    :param instance_id: ``None`` for interfaces of no instance, and for logs without this field.
    :param opened: a connection was opened (SYN); else an earlier connection continued.
    :param forwarded: the interface only forwards the packets, as a NAT gateway does for its subnets; known if the logs
        have both "dstaddr" and "pkt-dstaddr".
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
    Return the bucket and the prefix of a destination of flow logs. The prefix ends with a slash, or is empty.

    :raises InvalidInputError: if it is not an S3 URI.
    """
    parts = urlsplit(uri)
    if parts.scheme != "s3" or not parts.netloc:
        raise _invalid(uri, "it is not an S3 URI", "give the destination of the flow logs, s3://BUCKET/PREFIX")
    return parts.netloc, f"{parts.path.strip('/')}/".lstrip("/")


@dataclass(slots=True)
class Unreadable:
    """
    The unreadable part of a file.

    :param file: its URI.
    :param lines: the number of records; 0 for the whole file, or the rest of it.
    :param problem: of the first record.
    """

    file: str
    lines: int
    problem: str

    def __str__(self) -> str:
        more = f" (and {self.lines - 1} more lines)" if self.lines > 1 else ""
        return f"{self.file}: {self.problem}{more}"


class _BadRecordError(Exception):
    """A record or a file cannot be read."""


class FlowLogs:
    """
    The flow logs of one account and region in a bucket.

    :param uri: the destination of the flow logs: ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``.
    :param client: of S3 (s3:ListBucket, s3:GetObject).
    :raises InvalidInputError: if the URI is not an S3 URI.
    """

    def __init__(self, uri: str, *, account: str, region: str, client: Any) -> None:
        self.uri = uri
        self._bucket, self._base = place_of(uri)
        self._account, self._region, self._client = account, region, client
        self.files = 0
        """The number of files that were read, completely or in part."""
        self.skipped = 0
        """The number of records whose capture was incomplete (SKIPDATA)."""
        self.unreadable: list[Unreadable] = []
        """The unreadable parts of files."""

    def flows(self, period: Period) -> Iterator[Flow]:
        """
        Read the flows of a period.

        :raises InvalidInputError: if the bucket or the files do not exist, or if no file can be read, because of
            Parquet, missing fields or damage.
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
            raise _invalid(
                first.file,
                first.problem + (f"; {more} more files cannot be read either" if more else ""),
                "create the flow log with the format in docs/audit.md; query files of another format with Athena",
            )
        raise _invalid(
            self.uri,
            f"there are no flow log files of account {self._account} in region {self._region} for that period, "
            f"neither under '{self._base}AWSLogs/{self._account}/vpcflowlogs/' nor under Hive-compatible prefixes",
            "give the destination of the flow log, and wait until it has been published: see docs/audit.md",
        )

    @property
    def unreadable_records(self) -> int:
        """The number of unreadable records in files that were read."""
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
                    remedy = "give the bucket to which the flow log is published"
                    raise _invalid(self.uri, f"bucket '{self._bucket}' does not exist", remedy) from error

    def _prefixes(self, day: datetime) -> tuple[str, str]:
        """Return the prefixes of the files of a day, which may have hourly partitions."""
        plain = f"AWSLogs/{self._account}/vpcflowlogs/{self._region}/{day:%Y/%m/%d}/"
        hive = (
            f"AWSLogs/aws-account-id={self._account}/aws-service=vpcflowlogs/aws-region={self._region}/"
            f"year={day:%Y}/month={day:%m}/day={day:%d}/"
        )
        return f"{self._base}{plain}", f"{self._base}{hive}"

    def _concerns(self, key: str, begin: datetime, end: datetime) -> bool:
        """Whether a file may have records of a period. Its name has the end of its records, to the minute."""
        timestamp = _TIMESTAMP.search(key)
        if not key.endswith((".log.gz", ".parquet")) or timestamp is None:
            return False
        try:
            ended = datetime.strptime(timestamp[1], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
        except ValueError:
            return False
        return begin - timedelta(minutes=10) <= ended <= end

    def _read(self, key: str) -> Iterator[Flow]:
        """
        Read one file.

        :raises _BadRecordError: if it cannot be read to its end.
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
            if not line or line == header:  # concatenated files keep their headers
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
    Return the fields of a file.

    :raises _BadRecordError: if the header or a required field is missing.
    """
    fields = header.split()
    if not {"version", "account-id", *_REQUIRED, *_DESTINATION} & set(fields):
        raise _BadRecordError("it does not begin with a header line that names the fields of its records")
    missing = [name for name in _REQUIRED if name not in fields]
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
    """Whether a record has packets of what may be a connection."""
    if row.get("log-status") == "NODATA" or all(row[name] == _NOTHING for name in _OF_PACKETS & row.keys()):
        return False
    # Protocols without ports open no connections to a database.
    return not (row["dstport"] == _NOTHING and row.get("protocol", _TCP) not in {_TCP, _NOTHING})


def _flow(row: Mapping[str, str]) -> Flow:
    """
    Parse a record.

    A "pkt-" address that could not be determined is "-"; then the address of the interface is used.

    :raises _BadRecordError: if a required field is missing or not valid.
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
        # The flags of a record are those of one direction, combined: SYN with ACK is a server's response.
        opened=bool(flags & _SYN) and flags & (_SYN | _ACK) != _SYN | _ACK,
        rejected=row["action"] == "REJECT",
        forwarded=len(destinations) > 1,
    )


def _address(row: Mapping[str, str], *names: str) -> str:
    """Return the first field with a value."""
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


def _invalid(uri: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"reading flow logs from {uri}", problem=problem, remedy=remedy)
