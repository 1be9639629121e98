"""Reads of EC2 that answer in pages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def read_pages(describe: Callable[..., Mapping[str, Any]], key: str, **request: Any) -> list[Mapping[str, Any]]:
    """
    Return what all pages of an answer have under a key.

    :param describe: a method of EC2's client, such as ``describe_subnets``.
    :param request: its parameters.
    """
    found: list[Mapping[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        response = describe(**request, **token)
        found.extend(response[key])
        if not response.get("NextToken"):
            return found
        token = {"NextToken": response["NextToken"]}
