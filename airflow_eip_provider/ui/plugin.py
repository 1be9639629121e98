"""
The plugin with which Airflow finds the page.

Every Airflow process loads plugins, including workers and the scheduler. So this module imports nothing heavy, and the
page is created when a web server asks for it.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow import __version__
from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from collections.abc import Callable

_TITLE = "Elastic IPs"
_PREFIX = "elastic-ips"
_IS_AIRFLOW_3 = not __version__.startswith("2.")


class _LazyList:
    """
    An attribute of a plugin that is created when it is first read, from the class or an instance.

    An error would stop Airflow's web server at its start, so it is logged, and the list is empty.
    """

    def __init__(self, make: Callable[[], list[Any]]) -> None:
        self._make = make
        self._made: list[Any] | None = None

    def __get__(self, _instance: object, _owner: type) -> list[Any]:
        if self._made is None:
            try:
                self._made = self._make()
            except Exception:
                logging.getLogger(__name__).exception("creating the page '%s' failed", _TITLE)
                self._made = []
        return self._made


def _fastapi_apps() -> list[Any]:
    if not _IS_AIRFLOW_3:
        return []
    from airflow_eip_provider.ui.airflow3 import make_app  # noqa: PLC0415 - for the API server only

    return [{"app": make_app(), "url_prefix": f"/{_PREFIX}", "name": _TITLE}]


def _appbuilder_views() -> list[Any]:
    if _IS_AIRFLOW_3:
        return []
    from airflow_eip_provider.ui.airflow2 import views  # noqa: PLC0415 - for the web server only

    return list(views())


class ElasticIpPlugin(AirflowPlugin):
    """The page "Elastic IPs": below Browse in Airflow 2 and since 3.1, only by its URL in Airflow 3.0."""

    name = "elastic_ips"
    fastapi_apps: Any = _LazyList(_fastapi_apps)
    appbuilder_views: Any = _LazyList(_appbuilder_views)
    # Without url_route it opens in a separate tab: Airflow's frame for such views blocks links that leave it, such as
    # those to the task instance and to the EMR console. Relative, for an Airflow below a path.
    external_views = (
        [{"name": _TITLE, "href": f"{_PREFIX}/", "destination": "nav", "category": "browse"}] if _IS_AIRFLOW_3 else []
    )
