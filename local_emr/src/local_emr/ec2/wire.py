"""EC2's wire format of parameters and responses."""

from __future__ import annotations

from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

Params = dict[str, Any]


def listed(params: Params, name: str) -> list[str]:
    """Read a list: ``Name.1``, ``Name.2`` and so on."""
    found: list[str] = []
    while (value := params.get(f"{name}.{len(found) + 1}")) is not None:
        found.append(value)
    return found


def filters_of(params: Params) -> dict[str, list[str]]:
    """Read ``Filter.N.Name`` and ``Filter.N.Value.M``."""
    prefixes = [key.removesuffix(".Name") for key in params if key.startswith("Filter.") and key.endswith(".Name")]
    return {params[f"{prefix}.Name"]: listed(params, f"{prefix}.Value") for prefix in prefixes}


def tags_of(params: Params) -> dict[str, str]:
    """Read ``TagSpecification.1.Tag.N.Key`` and ``….Value``."""
    prefix = "TagSpecification.1.Tag."
    keys = {key: value for key, value in params.items() if key.startswith(prefix) and key.endswith(".Key")}
    return {value: params.get(key.removesuffix("Key") + "Value", "") for key, value in keys.items()}


def to_xml(operation: str, fields: Params) -> str:
    """Return a response as XML."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><{operation}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>{uuid4()}</requestId>{_xml(fields)}</{operation}Response>"
    )


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items())
    if isinstance(value, list):
        return "".join(f"<item>{_xml(inner)}</item>" for inner in value)
    return escape(str(value))
