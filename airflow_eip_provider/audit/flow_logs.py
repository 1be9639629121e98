"""
VPC Flow Logs as they are in S3: text files with a header line that names the fields.

The source is the Amazon VPC User Guide, "Flow log files" and "Flow log records".
"""

from __future__ import annotations

import csv
import gzip
import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_eip_provider.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# Files are named after the end of what they hold, and delivered late, on a best effort basis.
_DELIVERY = timedelta(hours=1)
_NEEDED = ("interface-id", "pkt-srcaddr", "dstport", "tcp-flags", "action", "start", "end")
_DESTINATION = ("pkt-dstaddr", "dstaddr")
_SYN, _ACK = 0x02, 0x10
_NOTHING = "-"
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


class FlowLogs:
    """
    The flow logs of one account and region in a bucket; what it cannot read it counts or refuses.

    :param uri: where flow logs are published to: ``s3://BUCKET`` or ``s3://BUCKET/PREFIX``.
    :param client: boto3's for S3 (s3:ListBucket, s3:GetObject).
    :raises InvalidInputError: when that is no place in S3.
    """

    def __init__(self, uri: str, *, account: str, region: str, client: Any) -> None:
        self.uri = uri
        self._bucket, self._base = place_of(uri)
        self._account, self._region, self._client = account, region, client
        self.files = 0
        self.skipped = 0
        """How many records say that the service could not capture everything (SKIPDATA)."""

    def flows(self, period: Period) -> Iterator[Flow]:
        """
        Read the flows of a period.

        :raises InvalidInputError: when there is no such bucket, or no files for it, for Parquet, and for a format
            without the needed fields.
        """
        for key in self._keys(period):
            self.files += 1
            for flow in self._read(key):
                if flow.period.overlaps(period):
                    yield flow
        if not self.files:
            raise _wrong(
                self.uri,
                f"there are no flow log files of account {self._account} in region {self._region} for that time, "
                f"neither under '{self._base}AWSLogs/{self._account}/vpcflowlogs/' nor under Hive-compatible prefixes",
                "name the bucket and prefix that the flow log publishes to, and wait until it has: see docs/audit.md",
            )

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
        if key.endswith(".parquet"):
            raise _wrong(
                f"s3://{self._bucket}/{key}",
                "it is Parquet, which this command does not read",
                "publish the flow log as text (FileFormat=plain-text), or query the files with Athena",
            )
        named = _TIMESTAMP.search(key)
        if not key.endswith(".log.gz") or named is None:
            return False
        ended = datetime.strptime(named[1], "%Y%m%dT%H%MZ").replace(tzinfo=UTC)
        return begin - timedelta(minutes=10) <= ended <= end

    def _read(self, key: str) -> Iterator[Flow]:
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
        with gzip.open(body) as binary, io.TextIOWrapper(binary, "ascii") as text:
            rows = csv.DictReader(text, delimiter=" ")
            fields = rows.fieldnames or ()
            missing = [name for name in _NEEDED if name not in fields]
            if not set(_DESTINATION) & set(fields):
                missing.append(" or ".join(_DESTINATION))
            if missing:
                raise _wrong(
                    f"s3://{self._bucket}/{key}",
                    f"its records have no {', '.join(missing)}; they have {' '.join(fields)}",
                    "make the flow log with the format in docs/audit.md",
                )
            destination = next(name for name in _DESTINATION if name in fields)
            for row in rows:
                if row.get("log-status") == "SKIPDATA":
                    self.skipped += 1
                elif row[destination] != _NOTHING:
                    yield _flow(row, destination)


def _flow(row: Mapping[str, str], destination: str) -> Flow:
    flags = 0 if row["tcp-flags"] == _NOTHING else int(row["tcp-flags"])
    instance_id = row.get("instance-id", _NOTHING)
    return Flow(
        interface_id=row["interface-id"],
        instance_id=None if instance_id == _NOTHING else instance_id,
        source=row["pkt-srcaddr"],
        destination=row[destination],
        port=int(row["dstport"]),
        period=Period(float(row["start"]), float(row["end"])),
        # Flags of one record are of one direction, or'ed together: SYN with ACK is a server's answer.
        opened=bool(flags & _SYN) and flags & (_SYN | _ACK) != _SYN | _ACK,
        rejected=row["action"] == "REJECT",
        forwarded=len({row[name] for name in _DESTINATION if name in row}) > 1,
    )


def _wrong(what: str, problem: str, remedy: str) -> InvalidInputError:
    return InvalidInputError(f"reading flow logs from {what}", problem=problem, remedy=remedy)
