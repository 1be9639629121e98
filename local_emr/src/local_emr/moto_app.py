"""Moto's services behind one WSGI application, without what moto looks up anew for each call."""

from __future__ import annotations

import functools
from typing import Any

from moto.core import responses, utils
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

# It sorts all attributes of a service's class, hundreds for EC2.
vars(responses)["method_names_from_class"] = functools.cache(utils.method_names_from_class)


class MotoApplication(DomainDispatcherApplication):
    """Moto's services, each made when it is first called."""

    def __init__(self) -> None:
        super().__init__(create_backend_app)
        # It lists moto's folder, and matches the host against the patterns of all services.
        self._backend_of = functools.cache(super().get_backend_for_host)

    def get_backend_for_host(self, host: str | None) -> Any:
        """Return the name of the service at a host."""
        return self._backend_of(host)
