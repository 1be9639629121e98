"""Records in an S3 bucket, one object each."""

from __future__ import annotations

import base64
import hashlib
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

# The object is not the expected one any more; it is gone (If-Match of what was deleted); others write it right now,
# and it is worth trying again (S3 User Guide, "How to prevent object overwrites with conditional writes").
_CHANGED, _GONE, _BUSY = "PreconditionFailed", "NoSuchKey", "ConditionalRequestConflict"
_TRIES = 4
_REMEDY = "create the bucket, or correct its name in the URI of the lock store"


class S3Store(LockStore):
    """
    Keep each record in the object PREFIX/KEY.json, replaced by conditional PutObject; S3 reads are consistent.

    A version is the object's ETag. As equal bodies have equal ETags, each body has a ``nonce`` beside the record. IAM:

    - reading: s3:GetObject on the objects, and s3:ListBucket on the bucket, without which S3 answers 403 instead of
      404 for an object that is not there (S3 API Reference, GetObject)
    - writing: s3:PutObject on the objects
    - a bucket with SSE-KMS and a key of your own: permissions on that key, too; docs/lock.md names them
    - check: s3:ListBucket on the bucket, without a condition on s3:prefix (S3 API Reference, HeadBucket)

    :param prefix: what the keys begin with, without slashes at its ends; may be empty.
    :param client: boto3's.
    """

    def __init__(self, bucket: str, prefix: str, client: Any) -> None:
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._bucket = bucket
        self._prefix = f"{prefix}/" * bool(prefix)
        self._client = client

    def check(self) -> None:
        """
        Check that the bucket exists, is in the client's region and may be used.

        :raises LockStoreError: naming what is wrong and what to do.
        :raises LockStoreUnavailableError: when S3 gives no answer.
        """
        with self._explained("s3:ListBucket"):
            try:
                answer: Mapping[str, Any] = self._client.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if error_code(error) == "404":  # HEAD has no body to say NoSuchBucket in
                    raise LockStoreError(self.uri, problem="it does not exist", remedy=_REMEDY) from error
                self._check_region(error.response)
                raise
        self._check_region(answer)

    def read(self, key: str) -> Snapshot:
        """Return a record; a key that was never written has an empty one."""
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
        Replace a record.

        When botocore has sent a write twice, a refusal of the second may be the first's own doing. Telling would take
        another read, and the caller reads anyway: this is :class:`Unknown`.

        :param expected_version: of the record that this one was made from; ``None`` for the first.
        """
        condition = {"IfNoneMatch": "*"} if expected_version is None else {"IfMatch": expected_version}
        body = to_text(record, nonce=uuid4().hex).encode()
        # A bucket with Object Lock demands a checksum, also where AWS_REQUEST_CHECKSUM_CALCULATION is "when_required"
        # and botocore sends none (S3 API Reference, PutObject). This one every S3 knows, and every AWS CLI can send.
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
        """Refuse a bucket of another region: botocore would follow it there, at the cost of a redirect each time."""
        here = self._client.meta.region_name
        there = answer["ResponseMetadata"]["HTTPHeaders"].get("x-amz-bucket-region", here)
        if there != here:
            raise LockStoreError(
                self.uri,
                problem=f"the bucket is in region {there}, this connection is of {here}",
                remedy=f"add region={there} to the URI of the lock store",
            )

    def _explained(self, action: str) -> AbstractContextManager[None]:
        return explained(uri=self.uri, action=action, missing=_REMEDY)
