"""
``parametersValues.json``: which address, for which clusters; the file of those who associate it from the cluster.

Read on the cluster, too: by Python 3.7, and with the standard library alone.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_eip_provider.exceptions import UsageError

# Each key, whether it is compulsory, and the form of its value.
_ID = "([0-9a-f]{8}|[0-9a-f]{17})"
_KEYS = {
    "allocationID": (True, re.compile(f"eipalloc-{_ID}"), "the allocation ID of an Elastic IP, eipalloc-…"),
    "clusterVPCID": (True, re.compile(f"vpc-{_ID}"), "the ID of a VPC, vpc-…"),
    "clusterFunctionTagValue": (False, re.compile(r"(?s).{1,256}"), "the value of a tag, of 1 to 256 characters"),
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """
    What the file says.

    :param tag_value: of the tag that the clusters carry; ``None`` when the file has none.
    """

    allocation_id: str
    vpc_id: str
    tag_value: str | None


def read_parameters(path: str | Path) -> Parameters:
    """
    Read the file.

    :raises UsageError: naming the key that is missing, unknown, given twice or of the wrong type or form.
    """
    values = _read(path)
    unknown = [key for key in values if key not in _KEYS]
    if unknown:
        raise _wrong(path, f"unknown key {', '.join(map(repr, unknown))}", f"it may hold {', '.join(_KEYS)}")
    for key, (compulsory, form, what) in _KEYS.items():
        if key not in values:
            if compulsory:
                raise _wrong(path, f"key '{key}' is missing", f"give {what}")
        elif not isinstance(values[key], str):
            raise _wrong(path, f"key '{key}' is {_kind(values[key])}, not a string", f"give {what}")
        elif not form.fullmatch(values[key]):
            raise _wrong(path, f"key '{key}' is {values[key]!r}", f"give {what}")
    return Parameters(values["allocationID"], values["clusterVPCID"], values.get("clusterFunctionTagValue"))


def _read(path: str | Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise _wrong(path, f"key {name!r} is there {names.count(name)} times", "give it once")
        return dict(pairs)

    if str(path).startswith("s3://"):
        raise _wrong(path, "it is in S3", f"fetch it first: aws s3 cp {path} .")
    try:
        values = json.loads(Path(path).read_text("utf-8-sig"), object_pairs_hook=once)
    except OSError as error:
        raise _wrong(path, f"it cannot be read: {error.strerror}", "name the file that holds allocationID") from error
    except (ValueError, RecursionError) as error:
        raise _wrong(
            path, f"it is not JSON: {error}", 'write {"clusterVPCID": "vpc-…", "allocationID": "…"}'
        ) from error
    if not isinstance(values, dict):
        raise _wrong(path, f"it is {_kind(values)}, not an object with the key allocationID", "write {…}")
    return values


def _kind(value: object) -> str:
    kinds = {dict: "an object", list: "a list", str: "a string", bool: "a boolean", type(None): "null"}
    return kinds.get(type(value), "a number")


def _wrong(path: str | Path, problem: str, remedy: str) -> UsageError:
    return UsageError(f"reading parameters file '{path}'", problem=problem, remedy=remedy)
