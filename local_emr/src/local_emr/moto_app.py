"""Moto's services as one WSGI application that caches moto's lookups."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from moto.core import responses, utils
from moto.core.serialize import DEFAULT_ALIAS_PROVIDERS, XFormedAttributePicker
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

if TYPE_CHECKING:
    from collections.abc import Iterable

# Moto sorts all attributes of a service's class on each call, hundreds for EC2.
vars(responses)["method_names_from_class"] = functools.cache(utils.method_names_from_class)
_find_keys = XFormedAttributePicker.get_possible_keys
_keys: dict[tuple[type, str, int], tuple[tuple[str, ...], Any]] = {}


def _possible_keys(picker: XFormedAttributePicker, context: Any) -> Iterable[str]:
    """Return the names under which an object can have a field of a response, by its class and the field's shape."""
    if picker.alias_providers is not DEFAULT_ALIAS_PROVIDERS:
        return _find_keys(picker, context)
    place = type(context.obj), context.key, id(context.shape)
    if place not in _keys:
        # The shape is stored as well, so that its id is not reused.
        _keys[place] = tuple(dict.fromkeys(_find_keys(picker, context))), context.shape
    return _keys[place][0]


XFormedAttributePicker.get_possible_keys = _possible_keys  # type: ignore[assignment, method-assign]


class MotoApplication(DomainDispatcherApplication):
    """Moto's services, each created on its first call."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        # Moto lists its folder and matches the host against the patterns of all services on each call.
        self._backend_of = functools.cache(super().get_backend_for_host)

    def get_backend_for_host(self, host: str | None) -> Any:
        """Return the name of the service at a host."""
        return self._backend_of(host)
