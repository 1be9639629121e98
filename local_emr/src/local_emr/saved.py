"""State that outlives the process, in a file: S3, DynamoDB, Secrets Manager, Elastic IPs and the firewall.

Clusters, instances and NAT gateways are not saved. Of S3 only current versions are saved, of DynamoDB tables without
indexes, and of regional services only the local EMR's region.
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import threading
import zipfile
import zlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_INDEX = "saved.json"
_BYTES = "base64"


class BrokenSavedStateError(Exception):
    """The file of a local EMR cannot be read."""

    def __init__(self, path: Path, reason: BaseException) -> None:
        super().__init__(
            f"reading the saved state '{path}': it is broken ({type(reason).__name__}: {reason}); "
            "put back a copy, or move it away to begin with nothing"
        )


class SavedState:
    """
    The file of one local EMR, read and written as a whole.

    :param path: may not exist yet.
    :raises BrokenSavedStateError: for a file that cannot be read; also from ``restore``.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._saved: dict[str, Any] = {}
        if path.exists():
            with self._reading(), zipfile.ZipFile(path) as archive:
                self._saved = json.loads(archive.read(_INDEX), object_hook=_from_json)
                datetime.fromisoformat(self._saved["time"]).astimezone(UTC)
                if (damaged := archive.testzip()) is not None:
                    raise zipfile.BadZipFile(damaged)
        self._seed: int = self._saved.get("seed") or secrets.randbits(64)

    @property
    def start(self) -> datetime:
        """The start time of the clock: the saved simulated time, or now if that is later."""
        now = datetime.now(UTC)
        return max(now, datetime.fromisoformat(self._saved["time"])) if self._saved else now

    @contextlib.contextmanager
    def same_ids(self) -> Iterator[None]:
        """Make moto generate the same ids at each start, for the default VPC and its subnets."""
        mock_random.seed(self._seed)
        yield
        mock_random.seed()

    def restore(self, *, region: str, put_own: Callable[[dict[str, Any]], None]) -> None:
        """
        Restore the state in the file.

        :param put_own: gets what ``save`` was given as ``own``.
        """
        if not self._saved:
            return
        with self._reading(), _moto(region) as client, zipfile.ZipFile(self._path) as archive:
            _restore_s3(client("s3"), archive, self._saved["s3"])
            _restore_dynamodb(client("dynamodb"), self._saved["dynamodb"])
            for secret in self._saved["secrets"]:
                client("secretsmanager").create_secret(**secret)
            put_own(self._saved["own"])

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Convert any error of a broken file to one exception."""
        try:
            yield
        except (
            BotoCoreError,
            ClientError,
            EOFError,
            LookupError,
            NotImplementedError,
            TypeError,
            ValueError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            raise BrokenSavedStateError(self._path, error) from error

    def save(self, *, region: str, time: datetime, own: dict[str, Any]) -> None:
        """
        Write the file.

        :param own: the state that is not moto's, as JSON.
        """
        new = self._path.with_suffix(".new")
        with _moto(region) as client, zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
            index = {
                "seed": self._seed,
                "time": time.isoformat(),
                "own": own,
                "s3": _save_s3(client("s3"), archive),
                "dynamodb": _save_dynamodb(client("dynamodb")),
                "secrets": _save_secrets(client("secretsmanager")),
            }
            archive.writestr(_INDEX, json.dumps(index, default=_to_json))
        new.replace(self._path)


class _SilentHandler(MotoRequestHandler):
    def log_request(self, *_: object) -> None:
        """Log nothing."""


@contextlib.contextmanager
def _moto(region: str) -> Iterator[Callable[[str], Any]]:
    """Yield a factory of clients that call moto directly, so that these calls are not in the event log."""
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_SilentHandler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="local-aws-saved", daemon=True)
    thread.start()
    session = boto3.session.Session(aws_access_key_id="local", aws_secret_access_key="local", region_name=region)  # noqa: S106
    made: list[Any] = []

    def client(service: str) -> Any:
        url = f"http://127.0.0.1:{server.server_port}"
        config = Config(proxies={}, s3={"addressing_style": "path"})
        made.append(session.client(service, endpoint_url=url, config=config))
        return made[-1]

    try:
        yield client
    finally:
        for each in made:
            each.close()
        server.shutdown()
        thread.join()
        server.server_close()


def _save_s3(s3: Any, archive: zipfile.ZipFile) -> list[dict[str, Any]]:
    buckets: list[dict[str, Any]] = []
    for name in (bucket["Name"] for bucket in s3.list_buckets()["Buckets"]):
        objects: list[dict[str, Any]] = []
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name)
        for key in (entry["Key"] for page in pages for entry in page.get("Contents", [])):
            found = s3.get_object(Bucket=name, Key=key)
            member = f"s3/{len(buckets)}/{len(objects)}"
            archive.writestr(member, found["Body"].read())
            objects.append(
                {"Key": key, "member": member, "ContentType": found["ContentType"], "Metadata": found["Metadata"]}
            )
        location = s3.get_bucket_location(Bucket=name)["LocationConstraint"]
        buckets.append({"Bucket": name, "location": location, "objects": objects})
    return buckets


def _restore_s3(s3: Any, archive: zipfile.ZipFile, buckets: list[dict[str, Any]]) -> None:
    for bucket in buckets:
        where = {"CreateBucketConfiguration": {"LocationConstraint": bucket["location"]}} if bucket["location"] else {}
        s3.create_bucket(Bucket=bucket["Bucket"], **where)
        for item in bucket["objects"]:
            s3.put_object(Bucket=bucket["Bucket"], Body=archive.read(item.pop("member")), **item)


def _save_dynamodb(dynamodb: Any) -> list[dict[str, Any]]:
    names = [name for page in dynamodb.get_paginator("list_tables").paginate() for name in page["TableNames"]]
    tables = []
    for name in names:
        table = dynamodb.describe_table(TableName=name)["Table"]
        pages = dynamodb.get_paginator("scan").paginate(TableName=name, ConsistentRead=True)
        items = [item for page in pages for item in page["Items"]]
        definition = {key: table[key] for key in ("TableName", "KeySchema", "AttributeDefinitions")}
        tables.append({"definition": definition, "items": items})
    return tables


def _restore_dynamodb(dynamodb: Any, tables: list[dict[str, Any]]) -> None:
    for table in tables:
        dynamodb.create_table(**table["definition"], BillingMode="PAY_PER_REQUEST")
        for item in table["items"]:
            dynamodb.put_item(TableName=table["definition"]["TableName"], Item=item)


def _save_secrets(manager: Any) -> list[dict[str, Any]]:
    found = []
    for page in manager.get_paginator("list_secrets").paginate():
        for name in (secret["Name"] for secret in page["SecretList"]):
            value = manager.get_secret_value(SecretId=name)
            found.append({"Name": name} | {k: value[k] for k in ("SecretString", "SecretBinary") if k in value})
    return found


def _to_json(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    raise TypeError(f"saving the local EMR: {type(value).__name__} has no form in JSON")


def _from_json(value: dict[str, Any]) -> Any:
    return base64.b64decode(value[_BYTES]) if value.keys() == {_BYTES} else value
