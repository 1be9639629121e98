"""The buckets of the local S3 as directories, for a Spark without an S3 file system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from local_emr.steps.command import S3Location

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_UNCOMMITTED = "_temporary"
"""Where Hadoop's committer keeps what is no output yet."""


class BucketMirror:
    """A directory with a subdirectory per bucket: filled before a job; changes are uploaded after it.

    A job's output appears in S3 when the job ends, and a job does not see what others write while it runs.

    :param s3: A boto3 client of the local S3.
    :param root: An empty directory.
    """

    def __init__(self, s3: Any, *, root: Path) -> None:
        self.root = root
        self._s3 = s3
        self._known: dict[S3Location, tuple[int, int]] = {}

    def fill(self) -> list[str]:
        """Copy every object and return the names of the buckets."""
        buckets = [bucket["Name"] for bucket in self._s3.list_buckets()["Buckets"]]
        for bucket in buckets:
            (self.root / bucket).mkdir(parents=True)
            # Longest first: of a key and its directory ("a" and "a/b"), a file system can hold only one.
            for location in sorted(self._objects(bucket), key=lambda found: len(found.key), reverse=True):
                self._copy(location)
        return buckets

    def flush(self) -> list[str]:
        """Upload new and changed files, delete removed ones, and return a line for each."""
        present = {self._location(path): path for path in self.root.rglob("*") if path.is_file()}
        present = {location: path for location, path in present.items() if _UNCOMMITTED not in location.key.split("/")}
        changed = {
            location: path for location, path in present.items() if self._known.get(location) != _fingerprint(path)
        }
        gone = self._known.keys() - present.keys()
        for location, path in changed.items():
            self._s3.upload_file(str(path), location.bucket, location.key)
        for location in gone:
            self._s3.delete_object(Bucket=location.bucket, Key=location.key)
        self._known = {location: _fingerprint(path) for location, path in present.items()}
        return [f"put {location}" for location in changed] + [f"deleted {location}" for location in gone]

    def path(self, location: S3Location) -> Path:
        """Return the path of an object."""
        return self.root / location.bucket / location.key

    def _objects(self, bucket: str) -> Iterator[S3Location]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            for found in page.get("Contents", []):
                yield S3Location(bucket=bucket, key=found["Key"])

    def _copy(self, location: S3Location) -> None:
        path = self.path(location)
        parts = location.key.split("/")
        if path.exists() or not set(parts).isdisjoint(("", ".", "..")):
            return  # a directory marker, or not a valid file name; unchanged in S3
        path.parent.mkdir(parents=True, exist_ok=True)
        self._s3.download_file(location.bucket, location.key, str(path))
        self._known[location] = _fingerprint(path)

    def _location(self, path: Path) -> S3Location:
        bucket, *key = path.relative_to(self.root).parts
        return S3Location(bucket=bucket, key="/".join(key))


def _fingerprint(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size
