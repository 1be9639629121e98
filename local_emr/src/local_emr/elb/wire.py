"""Wire format of the query protocol, which Elastic Load Balancing uses."""

from __future__ import annotations

from typing import Any
from uuid import uuid4
from xml.sax.saxutils import escape

Params = dict[str, Any]
_NAMESPACE = "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/"


def structures(params: Params, name: str) -> list[dict[str, str]]:
    """Read a list of structures: ``Name.member.1.Field`` and so on."""
    found: list[dict[str, str]] = []
    while True:
        prefix = f"{name}.member.{len(found) + 1}."
        fields = {key.removeprefix(prefix): value for key, value in params.items() if key.startswith(prefix)}
        if not fields:
            return found
        found.append(fields)


def to_xml(operation: str, fields: Params) -> str:
    """Return a response as XML."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><{operation}Response xmlns="{_NAMESPACE}">'
        f"<{operation}Result>{_xml(fields)}</{operation}Result>"
        f"<ResponseMetadata><RequestId>{uuid4()}</RequestId></ResponseMetadata></{operation}Response>"
    )


def _xml(value: Any) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items() if inner is not None)
    if isinstance(value, list):
        return "".join(f"<member>{_xml(inner)}</member>" for inner in value)
    return escape(str(value))
