"""The page in Airflow 2: a view of Flask AppBuilder. It adds no permission: users who may read the website see it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.auth.managers.models.resource_details import AccessView, DagDetails
from airflow.www.extensions.init_auth_manager import get_auth_manager
from flask import Response, abort, jsonify, request
from flask_appbuilder import BaseView, expose

from airflow_eip_provider.ui.names import Viewer
from airflow_eip_provider.ui.page import (
    HEADERS,
    STATIC,
    STATIC_HEADERS,
    TITLE,
    Links,
    page_facts,
    render_page,
    render_refusal,
    static_file,
)
from airflow_eip_provider.ui.period import DEFAULT_PERIOD
from airflow_eip_provider.ui.source import environment, shared_snapshot
from airflow_eip_provider.ui.view import page_of

if TYPE_CHECKING:
    from airflow_eip_provider.ui.names import TaskName
    from airflow_eip_provider.ui.view import PageView

_HOME = "../"  # the view is one level below Airflow, whatever the base URL is


def task_link(task: TaskName) -> str:
    """Return the URL of a task instance in Airflow 2, relative to the page."""
    dag, run, name = (quote(part, safe="") for part in (task.dag_id, task.run_id, task.task_id))
    mapped = f"&map_index={task.map_index}" if task.map_index >= 0 else ""
    return f"{_HOME}dags/{dag}/grid?dag_run_id={run}&task_id={name}{mapped}"


def _may_read(dag_id: str) -> bool:
    try:
        return bool(get_auth_manager().is_authorized_dag(method="GET", details=DagDetails(id=dag_id)))
    except AttributeError:  # FAB reads a dot as that of a SubDAG, and fails when the parent DAG was deleted
        return False


def _view() -> PageView:
    snapshot = shared_snapshot().wait()
    period = request.args.get("period", DEFAULT_PERIOD)
    return page_of(snapshot, Viewer(environment(), cache(_may_read)), period=period)


def _refusal() -> int | None:
    """Return the HTTP status for a user who may not see the page; ``None`` for others."""
    manager = get_auth_manager()
    if manager.is_authorized_view(access_view=AccessView.WEBSITE):
        return None
    return 403 if manager.is_logged_in() else 401


class ElasticIpsView(BaseView):  # type: ignore[misc]
    """The page and its files."""

    route_base = "/elastic-ips"
    default_view = "page"

    @expose("/")  # type: ignore[untyped-decorator]
    def page(self) -> Response:
        """Show the page."""
        if status := _refusal():
            login = get_auth_manager().get_url_login(next_url=request.url)
            return _html(render_refusal(status=status, login=login, home=_HOME), status)
        return _html(render_page(_view(), Links(_HOME, task_link)), 200)

    @expose("/data.json")  # type: ignore[untyped-decorator]
    def data(self) -> Response:
        """Return the page as JSON."""
        status = _refusal()
        answer = jsonify({"detail": "Not authenticated"} if status else page_facts(_view()))
        answer.status_code = status or 200
        answer.headers.update(HEADERS)
        return answer

    @expose("/<name>")  # type: ignore[untyped-decorator]
    def static_file(self, name: str) -> Response:
        """Return the style sheet or the script, which contain no data."""
        if name not in STATIC:
            abort(404)
        return Response(static_file(name), content_type=STATIC[name], headers=STATIC_HEADERS)


def _html(text: str, status: int) -> Response:
    return Response(text, status=status, content_type="text/html; charset=utf-8", headers=HEADERS)


def views() -> list[dict[str, object]]:
    """Return the entries for Airflow's menu."""
    return [{"name": TITLE, "category": "Browse", "view": ElasticIpsView()}]
