"""
``parametersValues.json``: the address and its clusters, for associating the address from the cluster.

This module also runs on the cluster, with Python 3.7 and only the standard library.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow_eip_provider.exceptions import UsageError
from airflow_eip_provider.ids import ALLOCATION_ID, VPC_ID

# Each key, whether it is required, and the format of its value.
_KEYS = {
    "allocationID": (True, ALLOCATION_ID, "the allocation ID of an Elastic IP, eipalloc-…"),
    "clusterVPCID": (True, VPC_ID, "the ID of a VPC, vpc-…"),
    "clusterFunctionTagValue": (False, re.compile(r"(?s).{1,256}"), "the value of a tag, of 1 to 256 characters"),
}


@dataclass(frozen=True, slots=True)
class Parameters:
    """
    The content of the file.

    :param tag_value: the value of the clusters' tag; ``None`` if the file has none.
    """

    allocation_id: str
    vpc_id: str
    tag_value: str | None


def read_parameters(path: str | Path) -> Parameters:
    """
    Read the file.

    :raises UsageError: naming the key that is missing, unknown, given twice or of the wrong type or format.
    """
    values = _read(path)
    unknown = [key for key in values if key not in _KEYS]
    if unknown:
        raise _wrong(path, f"unknown key {', '.join(map(repr, unknown))}", f"the allowed keys are {', '.join(_KEYS)}")
    for key, (is_required, pattern, description) in _KEYS.items():
        if key not in values:
            if is_required:
                raise _wrong(path, f"key '{key}' is missing", f"give {description}")
        elif not isinstance(values[key], str):
            raise _wrong(path, f"key '{key}' is {_kind(values[key])}, not a string", f"give {description}")
        elif not pattern.fullmatch(values[key]):
            raise _wrong(path, f"key '{key}' is {values[key]!r}", f"give {description}")
    return Parameters(values["allocationID"], values["clusterVPCID"], values.get("clusterFunctionTagValue"))


def _read(path: str | Path) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in names:
            if names.count(name) > 1:
                raise _wrong(path, f"key {name!r} occurs {names.count(name)} times", "give it once")
        return dict(pairs)

    if str(path).startswith("s3://"):
        raise _wrong(path, "it is in S3", f"download it first: aws s3 cp {path} .")
    try:
        values = json.loads(Path(path).read_text("utf-8-sig"), object_pairs_hook=once)
    except OSError as error:
        raise _wrong(path, f"it cannot be read: {error.strerror}", "name the file with the key allocationID") from error
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
