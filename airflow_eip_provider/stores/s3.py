"""Records in an S3 bucket, one object each."""

from __future__ import annotations

import base64
import hashlib
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.exceptions import LockStoreError
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Conflict, LockStore, Snapshot
from airflow_eip_provider.stores.answers import explained, may_have_been_written, server_time
from airflow_eip_provider.stores.records import from_text, to_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from airflow_eip_provider.lease.store import Outcome

# The object has changed; it was deleted (If-Match of a missing object); another write is in progress, so try again (S3
# User Guide, "How to prevent object overwrites with conditional writes").
_CHANGED, _GONE, _BUSY = "PreconditionFailed", "NoSuchKey", "ConditionalRequestConflict"
_TRIES = 4


def missing_bucket(uri: str) -> LockStoreError:
    """Return the error for a bucket that does not exist in any region."""
    remedy = "create the bucket, or correct its name in the URI of the lock store"
    return LockStoreError(uri, problem="it does not exist", remedy=remedy)


class S3Store(LockStore):
    """
    Keeps each record in the object PREFIX/KEY.json, replaced by conditional PutObject; S3 reads are consistent.

    A version is the object's ETag. Equal bodies have equal ETags, so each body has a ``nonce``. IAM actions:

    - reading: s3:GetObject on the objects, and s3:ListBucket on the bucket; without the latter S3 answers 403 instead
      of 404 for a missing object (S3 API Reference, GetObject)
    - writing: s3:PutObject on the objects
    - a bucket with SSE-KMS and a customer managed key: permissions on that key, see docs/lock.md
    - check: s3:ListBucket on the bucket, without a condition on s3:prefix (S3 API Reference, HeadBucket)

    :param prefix: the beginning of the keys, without a slash at either end; may be empty.
    :param client: boto3's client for S3.
    """

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = client

    def check(self) -> None:
        """Check that the bucket exists, is in the client's region and may be used."""
        with self._explained("s3:ListBucket"):
            try:
                answer: Mapping[str, Any] = self._client.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if error_code(error) == "404":  # the answer to HEAD has no body with NoSuchBucket
                    raise missing_bucket(self.uri) from error
                self._check_region(error.response)
                raise
        self._check_region(answer)

    def read(self, key: str) -> Snapshot:
        """Return the record of a key."""
        try:
            with self._explained("s3:GetObject and s3:ListBucket"):
                answer = self._client.get_object(Bucket=self._bucket, Key=self._name(key))
                body = answer["Body"].read()
        except ClientError as error:
            if error_code(error) != "NoSuchKey":
                raise
            return Snapshot(Record(), None, server_time(error.response, uri=self.uri))
        where = f"s3://{self._bucket}/{self._name(key)}"
        record = from_text(body, where=where, beside=("nonce",))
        return Snapshot(record, answer["ETag"], server_time(answer, uri=self.uri))

    def write(self, key: str, record: Record, *, expected_version: str | None) -> Outcome:
        """
        Replace a record of this version.

        When botocore has sent a write twice, the first one may have caused the refusal of the second. Only a read could
        tell, and the caller reads anyway, so the outcome is :class:`Unknown`.
        """
        condition = {"IfNoneMatch": "*"} if expected_version is None else {"IfMatch": expected_version}
        body = to_text(record, nonce=uuid4().hex).encode()
        # A bucket with Object Lock requires a checksum, and botocore sends none if AWS_REQUEST_CHECKSUM_CALCULATION is
        # "when_required" (S3 API Reference, PutObject). Every S3 supports this one, and every AWS CLI can send it.
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        for _ in range(_TRIES):
            try:
                answer = self._client.put_object(
                    Bucket=self._bucket,
                    Key=self._name(key),
                    Body=body,
                    ContentType="application/json",
                    ContentMD5=digest,
                    **condition,
                )
            except Exception as error:
                if unknown := may_have_been_written(error):
                    return unknown
                code = error_code(error) if isinstance(error, ClientError) else ""
                if code in {_CHANGED, _GONE}:
                    return Conflict(None)
                if code != _BUSY:
                    with self._explained("s3:PutObject"):
                        raise
            else:
                return Snapshot(record, answer["ETag"], server_time(answer, uri=self.uri))
        return Conflict(None)

    def _name(self, key: str) -> str:
        return f"{self._prefix}{key}.json"

    def _check_region(self, answer: Mapping[str, Any]) -> None:
        """Refuse a bucket in another region, which would cost a redirect for each request."""
        here = self._client.meta.region_name
        there = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", here)
        if there != here:
            raise LockStoreError(
                self.uri,
                problem=f"the bucket is in region {there}, this connection is of {here}",
                remedy=f"add region={there} to the URI of the lock store",
            )

    def _explained(self, action: str) -> AbstractContextManager[None]:
        return explained(uri=self.uri, action=action, missing=partial(missing_bucket, self.uri))
