"""Values that EMR refuses although botocore's validation accepts the request."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

# The last minor version of each major one (Amazon EMR Release Guide, "Amazon EMR release history"); 7 is current.
_LAST_MINOR = {4: 9, 5: 36, 6: 15, 7: None}
_RELEASE = re.compile(r"emr-(\d+)\.(\d+)\.(\d+)$", re.ASCII)


def refused_values(params: dict[str, Any], shape: Any) -> Iterator[str]:
    """Yield a message for each invalid value of a request."""
    yield from _against_model(params, shape, path="")
    if (release := params.get("ReleaseLabel")) is not None and not _is_release(release):
        yield f"The supplied release label is invalid: {release}."
    for number, step in enumerate(params.get("Steps", ()), 1):
        if not step["HadoopJarStep"]["Jar"].strip():
            yield f"Steps[{number}]: the path of the jar must not be empty"
    for number, action in enumerate(params.get("BootstrapActions", ()), 1):
        if not action["ScriptBootstrapAction"]["Path"].strip():
            yield f"BootstrapActions[{number}]: the path of the script must not be empty"


def _is_release(label: str) -> bool:
    found = _RELEASE.fullmatch(label)
    if found is None or int(found[1]) not in _LAST_MINOR:
        return False
    last = _LAST_MINOR[int(found[1])]
    return last is None or int(found[2]) <= last


def _against_model(value: Any, shape: Any, *, path: str) -> Iterator[str]:
    """Check what botocore leaves to the service: enumerations and maximum lengths."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                yield from _against_model(value[name], member, path=f"{path}.{name}" if path else name)
    elif shape.type_name == "list":
        yield from _too_long(value, shape, path=path)
        for number, each in enumerate(value, 1):
            yield from _against_model(each, shape.member, path=f"{path}[{number}]")
    elif shape.type_name == "string":
        yield from _too_long(value, shape, path=path)
        if shape.enum and value not in shape.enum:
            allowed = f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
            yield f"Value '{value}' at '{path}' failed to satisfy constraint: {allowed}"


def _too_long(value: Any, shape: Any, *, path: str) -> Iterator[str]:
    longest = shape.metadata.get("max")
    if longest is not None and len(value) > longest:
        yield f"Value at '{path}' failed to satisfy constraint: Member must have length less than or equal to {longest}"
