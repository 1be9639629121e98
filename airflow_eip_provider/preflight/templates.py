"""Parameters of RunJobFlow that are templates, before they are rendered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.literals import is_template

if TYPE_CHECKING:
    from collections.abc import Mapping

_LEFT_OUT = object()
_STAND_INS: dict[str, Any] = {"integer": 1, "long": 1, "float": 1.0, "double": 1.0, "boolean": True}


def without_templates(job_flow: Mapping[str, Any], shape: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """
    Return the parameters without templates, and the paths of the templates, such as "Instances.Ec2SubnetId".

    Required parameters get a placeholder of the right type. Checks that read one of the paths must be skipped.

    :param shape: botocore's model of the request.
    """
    places: set[str] = set()
    known = _structure(job_flow, shape, "", places)
    return known, frozenset(places)


def _structure(given: Mapping[str, Any], shape: Any, path: str, places: set[str]) -> dict[str, Any]:
    members = getattr(shape, "members", {})
    required = set(getattr(shape, "required_members", ()))
    known = {}
    for name, value in given.items():
        place = f"{path}.{name}".lstrip(".")
        if is_template(str(name)):
            places.add(place)
            continue
        found = _value(value, members.get(name), place, places, required=name in required)
        if found is not _LEFT_OUT:
            known[name] = found
    return known


def _value(value: object, shape: Any, place: str, places: set[str], *, required: bool) -> Any:
    if isinstance(value, dict):
        return _structure(value, shape, place, places)
    if isinstance(value, list):
        member = getattr(shape, "member", None)
        entries = [_value(entry, member, place, places, required=False) for entry in value]
        return [entry for entry in entries if entry is not _LEFT_OUT]
    if not isinstance(value, str) or not is_template(value):
        return value
    places.add(place)
    kind = getattr(shape, "type_name", "string")
    if not required or kind in {"structure", "list", "map"}:
        return _LEFT_OUT
    return _STAND_INS.get(kind, value)
