"""
The plugin by which Airflow finds the page.

Every Airflow process loads plugins, workers and scheduler too. So this module imports nothing that they have not, and
the page is made when a web server asks for it.
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


class _WhenAsked:
    """
    An attribute that is made when it is first read, of a plugin's class or instance.

    An error would end Airflow's web server at its start. So it is logged, and there is no page.
    """

    def __init__(self, make: Callable[[], list[Any]]) -> None:
        self._make = make
        self._made: list[Any] | None = None

    def __get__(self, _instance: object, _owner: type) -> list[Any]:
        if self._made is None:
            try:
                self._made = self._make()
            except Exception:
                logging.getLogger(__name__).exception("the page %s cannot be shown", _TITLE)
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
    """The page "Elastic IPs": below Browse from Airflow 3.1 on and in Airflow 2, by its URL in Airflow 3.0."""

    name = "elastic_ips"
    fastapi_apps: Any = _WhenAsked(_fastapi_apps)
    appbuilder_views: Any = _WhenAsked(_appbuilder_views)
    # Without url_route it opens in a tab of its own: Airflow's frame for such views forbids links to leave it, and both
    # the task instance and the EMR console would be out of reach. Relative, for an Airflow below a path.
    external_views = (
        [{"name": _TITLE, "href": f"{_PREFIX}/", "destination": "nav", "category": "browse"}] if _IS_AIRFLOW_3 else []
    )
