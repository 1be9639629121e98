"""Requests and responses of the Describe and List calls of EC2 and EMR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


def read_pages(describe: Callable[..., Mapping[str, Any]], key: str, **request: Any) -> list[Mapping[str, Any]]:
    """
    Return the items of all pages of a response.

    :param describe: a method of a boto3 client, such as ``describe_subnets``.
    :param key: the name of the list in the response.
    :param request: the parameters of the method.
    """
    items: list[Mapping[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        response = describe(**request, **token)
        items.extend(response[key])
        token = {name: response[name] for name in ("NextToken", "Marker") if response.get(name)}
        if not token:
            return items


def as_filters(filters: Mapping[str, Collection[str]]) -> list[dict[str, Any]]:
    """Return filters (the accepted values by name) as EC2's ``Filters`` parameter."""
    return [{"Name": name, "Values": sorted(values)} for name, values in filters.items()]
