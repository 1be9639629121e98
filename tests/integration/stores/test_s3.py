"""Each problem of a bucket is an error that names the remedy."""

from __future__ import annotations

import base64
import hashlib
import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from airflow_eip_provider.exceptions import LockStoreError, LockStoreUnavailableError
from airflow_eip_provider.lease.record import Record
from airflow_eip_provider.lease.store import Conflict, Snapshot, Unknown
from airflow_eip_provider.stores.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import Mapping

BUSY = "ConditionalRequestConflict"


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="lock-records", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return "lock-records"


def refusal(status: int, headers: Mapping[str, str]) -> ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": dict(headers)}
    return ClientError({"Error": {"Code": str(status)}, "ResponseMetadata": metadata}, "HeadBucket")


def test_a_missing_bucket_is_an_error_at_the_check_and_at_the_next_use(s3):
    store = S3Store("lock-records", "", s3)
    for use in (
        store.check,
        lambda: store.read("k"),
        lambda: store.write("k", Record(), expected_version=None),
    ):
        with pytest.raises(LockStoreError, match="does not exist; create the bucket"):
            use()


def test_a_bucket_of_another_region_is_refused(s3, boto):
    elsewhere = {"LocationConstraint": "eu-central-1"}
    boto("s3", region_name="eu-central-1").create_bucket(Bucket="lock-records", CreateBucketConfiguration=elsewhere)
    with pytest.raises(LockStoreError, match="in region eu-central-1, this connection is of eu-west-1; add region="):
        S3Store("lock-records", "", s3).check()
    S3Store("lock-records", "", boto("s3", region_name="eu-central-1")).check()


def failing_client(error: ClientError) -> Any:
    def head_bucket(**_: object) -> None:
        raise error

    return SimpleNamespace(meta=SimpleNamespace(region_name="eu-west-1"), head_bucket=head_bucket)


@pytest.mark.parametrize("status", [301, 400, 403])
def test_a_refusal_that_names_another_region_is_about_the_region(status):
    """[docs: HeadBucket, "x-amz-bucket-region"]; a 403 of another region says nothing about permissions here."""
    client = failing_client(refusal(status, {"x-amz-bucket-region": "us-east-1"}))
    with pytest.raises(LockStoreError, match="add region=us-east-1"):
        S3Store("lock-records", "", client).check()


def test_a_bucket_without_a_region_header_is_accepted():
    """Other services with an S3 API leave the header out."""
    answer = {"ResponseMetadata": {"HTTPHeaders": {}}}
    client = SimpleNamespace(meta=SimpleNamespace(region_name="x"), head_bucket=lambda **_: answer)
    S3Store("lock-records", "", client).check()


def test_a_forbidden_bucket_names_the_permission():
    client = failing_client(refusal(403, {"x-amz-bucket-region": "eu-west-1"}))
    with pytest.raises(LockStoreError, match="allow s3:ListBucket"):
        S3Store("lock-records", "", client).check()


@pytest.mark.parametrize(("prefix", "name"), [("", "k.json"), ("a/b", "a/b/k.json")])
def test_a_record_is_an_object_that_people_can_read(s3, bucket, prefix, name):
    S3Store(bucket, prefix, s3).write("k", Record(issued=3), expected_version=None)
    stored = s3.get_object(Bucket=bucket, Key=name)
    assert stored["ContentType"] == "application/json"
    assert json.loads(stored["Body"].read())["issued"] == 3


def test_a_concurrent_write_is_waited_for(s3, bucket, local_aws):
    local_aws.faults.add(operation="PutObject", kind="error", code=BUSY, status=409, times=2)
    outcome = S3Store(bucket, "", s3).write("k", Record(), expected_version=None)
    assert isinstance(outcome, Snapshot)
    assert len(local_aws.events.calls("PutObject")) == 3


def test_concurrent_writes_without_end_are_a_conflict(s3, bucket, local_aws):
    local_aws.faults.add(operation="PutObject", kind="error", code=BUSY, status=409, times=50)
    assert S3Store(bucket, "", s3).write("k", Record(), expected_version=None) == Conflict(None)
    assert len(local_aws.events.calls("PutObject")) < 10


def test_a_record_that_was_deleted_is_a_conflict(s3, bucket):
    store = S3Store(bucket, "", s3)
    snapshot = store.write("k", Record(), expected_version=None)
    s3.delete_object(Bucket=bucket, Key="k.json")
    assert isinstance(snapshot, Snapshot)
    assert store.write("k", Record(), expected_version=snapshot.version) == Conflict(None)


def test_an_endpoint_that_does_not_answer_is_a_transient_error(boto):
    closed = boto("s3", endpoint_url="http://127.0.0.1:9", config=Config(connect_timeout=1))
    store = S3Store("lock-records", "", closed)
    with pytest.raises(LockStoreUnavailableError, match="EndpointConnectionError"):
        store.read("k")
    with pytest.raises(LockStoreUnavailableError):
        store.check()
    assert isinstance(store.write("k", Record(), expected_version=None), Unknown)


# Buckets with special settings.


def md5_of(body: bytes) -> str:
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


@pytest.mark.parametrize("mode", ["when_supported", "when_required"])
def test_every_write_has_the_checksum_that_a_bucket_with_object_lock_requires(s3, boto, mode):
    """[docs: S3 PutObject, "Content-MD5 … is required for … Object Lock"]; the local EMR takes writes without, too."""
    configuration = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket="locked", CreateBucketConfiguration=configuration, ObjectLockEnabledForBucket=True)
    rule = {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 30}}
    s3.put_object_lock_configuration(
        Bucket="locked", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
    )
    client = boto("s3", config=Config(request_checksum_calculation=mode))
    sent: list[tuple[dict[str, str], bytes]] = []

    def keep(request: Any, **_: Any) -> None:
        body = request.body if isinstance(request.body, bytes) else request.body.getvalue()
        sent.append(({name.lower(): str(value) for name, value in request.headers.items()}, body))

    client.meta.events.register("before-send.s3.PutObject", keep)
    store = S3Store("locked", "eip", client)
    first = store.write("k", Record(), expected_version=None)
    second = store.write("k", first.record, expected_version=first.version)
    assert store.write("k", second.record, expected_version=first.version) == Conflict(None)

    stored = s3.get_object(Bucket="locked", Key="eip/k.json")["Body"].read()
    headers = [headers.get("content-md5", "").removeprefix("b'").removesuffix("'") for headers, _ in sent]
    assert len(headers) == 3
    assert headers[1] == md5_of(stored)
    assert all(headers)


SETTINGS = {
    "versioned": lambda s3: s3.put_bucket_versioning(
        Bucket="lock-records", VersioningConfiguration={"Status": "Enabled"}
    ),
    "SSE-KMS": lambda s3: s3.put_bucket_encryption(
        Bucket="lock-records",
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}]
        },
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_records_are_replaced_in_a_bucket_with_special_settings(s3, bucket, setting):
    SETTINGS[setting](s3)
    store = S3Store(bucket, "eip", s3)
    written = store.write("k", Record(), expected_version=None)
    for _ in range(3):
        before, written = written, store.write("k", Record(), expected_version=written.version)
        assert store.write("k", Record(), expected_version=before.version) == Conflict(None)
        assert store.read("k").version == written.version
    assert store.write("k", Record(), expected_version=None) == Conflict(None)
    s3.delete_object(Bucket=bucket, Key="eip/k.json")
    assert store.read("k").version is None
    assert isinstance(store.write("k", Record(), expected_version=None), Snapshot)
