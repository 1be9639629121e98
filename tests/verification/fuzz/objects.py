"""Damaged S3 objects, and an S3 client that reads from memory."""

from __future__ import annotations

import gzip
import io
from typing import Any

from botocore.exceptions import ClientError
from hypothesis import strategies as st

_FLAGS, _LAST_FLAG = 3, 0x1F  # RFC 1952


class S3:
    """A client that lists and returns objects from memory."""

    class exceptions:  # noqa: N801 - as boto3's clients name it
        class NoSuchBucket(Exception):  # noqa: N818 - as boto3's clients name it
            """The bucket does not exist."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        self._objects = objects

    def get_paginator(self, _: str) -> S3:
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803 - as boto3 names them
        return [{"Contents": [{"Key": key} for key in self._objects if key.startswith(Prefix)]}]

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803 - as boto3 names them
        if Key not in self._objects:
            raise ClientError({"Error": {"Code": "NoSuchKey", "Message": "The key does not exist."}}, "GetObject")
        return {"Body": io.BytesIO(self._objects[Key])}


def whole(body: bytes) -> bool:
    """Whether a gzip file is complete and valid: the standard library reads it, and it has no reserved flag."""
    if len(body) > _FLAGS and body[_FLAGS] > _LAST_FLAG:
        return False
    try:
        gzip.decompress(body)
    except Exception:
        return False
    return True


@st.composite
def damaged(draw: st.DrawFn, body: bytes) -> bytes:
    """Damage a file: cut it, change a byte, append or prepend bytes, or repeat it; it may also stay unchanged."""
    kind = draw(st.sampled_from(["whole", "cut", "changed", "followed", "preceded", "twice"]))
    at = draw(st.integers(0, max(0, len(body) - 1)))
    return {
        "whole": body,
        "cut": body[:at],
        "changed": body[:at] + bytes([draw(st.integers(0, 255))]) + body[at + 1 :],
        "followed": body + draw(st.binary(max_size=30)),
        "preceded": draw(st.binary(min_size=1, max_size=5)) + body,
        "twice": body + body,
    }[kind]
