"""The URI of a lock store: ``dynamodb://TABLE`` or ``s3://BUCKET/PREFIX``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlsplit

from airflow_eip_provider.exceptions import InvalidInputError, without_passwords
from airflow_eip_provider.stores.dynamodb import DynamoDbStore
from airflow_eip_provider.stores.s3 import S3Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from airflow_eip_provider.lease.store import LockStore

Kind: TypeAlias = Literal["dynamodb", "s3"]

# Amazon DynamoDB Developer Guide, "Naming rules"; Amazon S3 User Guide, "General purpose bucket naming rules".
_NAMES = {
    "dynamodb": ("table", re.compile(r"[A-Za-z0-9_.-]{3,255}")),
    "s3": ("bucket", re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")),
}
_OPTIONS = {"dynamodb": ("region", "create", "grace"), "s3": ("region", "grace")}
_LONGEST_GRACE = 86_400
_REGION = re.compile(r"[a-z]{2,}(-[a-z]+)+-\d+")
_FORMS = (
    "write dynamodb://TABLE?region=eu-west-1&create=true&grace=120 or s3://BUCKET/PREFIX?region=eu-west-1&grace=120;"
    " the options and the prefix may be left out"
)


@dataclass(frozen=True, slots=True)
class StoreUri:
    """
    The parts of a lock store's URI.

    :param kind: "dynamodb" or "s3", which is also boto3's name of the service.
    :param name: the table or the bucket.
    :param prefix: the beginning of the keys in the bucket; empty for a table.
    :param region: ``None`` for the connection's region.
    :param create: whether a missing table is created.
    :param grace: the grace in seconds that this environment sets; ``None`` when the URI names none.
    """

    kind: Kind
    name: str
    prefix: str = ""
    region: str | None = None
    create: bool = False
    grace: float | None = None


def parse_uri(uri: str) -> StoreUri:
    """
    Parse the URI of a lock store.

    :raises InvalidInputError: with the part that is wrong, and the correct form.
    """
    try:
        parts = urlsplit(str(uri))
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError as error:
        raise _wrong(uri, f"it is not a URI ({error})") from error
    if parts.scheme not in _NAMES:
        raise _wrong(uri, f"its scheme is {parts.scheme!r}")
    kind: Kind = "dynamodb" if parts.scheme == "dynamodb" else "s3"
    what, pattern = _NAMES[kind]
    if without_passwords(str(uri)) != str(uri):
        raise _wrong(uri, f"a {what} has no user or password; the AWS connection has the credentials")
    if not pattern.fullmatch(parts.netloc):
        raise _wrong(uri, f"{parts.netloc!r} is not the name of a {what}")
    prefix = parts.path.strip("/")
    if kind == "dynamodb" and prefix:
        raise _wrong(uri, f"a table has no path, but this one has {parts.path!r}")
    if parts.fragment:
        raise _wrong(uri, f"it has a fragment, '#{parts.fragment}'")
    options = _options(uri, kind, given)
    grace = parse_grace(uri, options["grace"]) if "grace" in options else None
    return StoreUri(kind, parts.netloc, prefix, options.get("region"), options.get("create") == "true", grace)


def parse_grace(uri: str, text: str) -> float:
    """
    Parse a grace.

    :param uri: the URI of its lock store.
    :raises InvalidInputError: if it is not a number of seconds from 1 to a day.
    """
    if not re.fullmatch(r"\d{1,5}(\.\d+)?", text) or not 1 <= float(text) <= _LONGEST_GRACE:
        raise _wrong(uri, f"grace is {text!r}, not a number of seconds from 1 to {_LONGEST_GRACE}")
    return float(text)


def with_grace(uri: str, text: str) -> str:
    """
    Return the URI of a lock store with this grace, unless the URI already has one.

    :raises InvalidInputError: for a malformed URI or grace.
    """
    if parse_uri(uri).grace is not None:
        return uri
    parse_grace(uri, text)
    return f"{uri}{'&' if '?' in uri else '?'}grace={text}"


def open_store(uri: str, client_for: Callable[[Kind, str | None], Any]) -> LockStore:
    """
    Return the store of a URI, without any call.

    :param client_for: returns the boto3 client of a service in a region (``None``: the connection's region).
    :raises InvalidInputError: with the part of the URI that is wrong, and the correct form.
    """
    where = parse_uri(uri)
    client = client_for(where.kind, where.region)
    store: LockStore
    if where.kind == "dynamodb":
        store = DynamoDbStore(where.name, client, create=where.create)
    else:
        store = S3Store(where.name, where.prefix, client)
    store.uri = uri  # as it was configured, for errors
    return store


def _options(uri: str, kind: Kind, given: list[tuple[str, str]]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in given:
        if name not in _OPTIONS[kind]:
            raise _wrong(uri, f"{kind}:// has no option {name!r}")
        if name in options:
            raise _wrong(uri, f"the option {name!r} is given twice")
        options[name] = value
    if "region" in options and not _REGION.fullmatch(options["region"]):
        raise _wrong(uri, f"{options['region']!r} is not a region")
    if options.get("create", "true") not in {"true", "false"}:
        raise _wrong(uri, f"create is {options['create']!r}, not true or false")
    return options


def _wrong(uri: str, problem: str) -> InvalidInputError:
    return InvalidInputError(f"reading lock store '{uri}'", problem=problem, remedy=_FORMS)
