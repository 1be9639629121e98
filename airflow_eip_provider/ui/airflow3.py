"""
The page in Airflow 3: a FastAPI app, which Airflow's API server mounts.

Airflow does not authenticate the routes of such an app (Airflow, "Plugins", ``fastapi_apps``), so each route here asks
for the user, with Airflow's own dependency. Only the style sheet and the script, which contain no data, are public.
"""

from __future__ import annotations

import inspect
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView, DagDetails
from airflow.api_fastapi.core_api.security import get_user
from airflow.models import DagModel
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, Response
from jwt import InvalidTokenError
from starlette.exceptions import HTTPException as AnyHTTPException

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
    from airflow_eip_provider.ui.snapshot import Snapshot
    from airflow_eip_provider.ui.view import PageView

_HOME = "../"  # the app is mounted one level below Airflow, whatever the base URL is
_COOKIE = "_token"


async def _user_of_header_or_cookie(request: Request) -> Any:
    """Authenticate in Airflow 3.0 and 3.1, whose own dependency does not read the cookie that a browser sends."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip() if scheme.lower() == "bearer" else request.cookies.get(_COOKIE, "")
    if not token:
        raise HTTPException(401, "Not authenticated")
    try:
        return await get_auth_manager().get_user_from_token(token)
    except InvalidTokenError as error:  # also an expired token
        raise HTTPException(401, "Invalid or expired token") from error


_current_user = get_user if "request" in inspect.signature(get_user).parameters else _user_of_header_or_cookie


async def _allowed_user(user: Annotated[Any, Depends(_current_user)]) -> Any:
    """Return the user, who may see Airflow's UI."""
    is_authorized = partial(get_auth_manager().is_authorized_view, access_view=AccessView.WEBSITE, user=user)
    if not await run_in_threadpool(is_authorized):
        raise HTTPException(403, "Forbidden")
    return user


AllowedUser = Annotated[Any, Depends(_allowed_user)]


def _may_read(user: Any, dag_id: str) -> bool:
    # Since Airflow 3.2, a team may have the permission for a DAG.
    team = getattr(DagModel, "get_team_name", None)
    details = DagDetails(id=dag_id) if team is None else DagDetails(id=dag_id, team_name=team(dag_id))
    return bool(get_auth_manager().is_authorized_dag(method="GET", details=details, user=user))


def task_link(task: TaskName) -> str:
    """Return the URL of a task instance in Airflow 3, relative to the page."""
    dag, run, name = (quote(part, safe="") for part in (task.dag_id, task.run_id, task.task_id))
    mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
    return f"{_HOME}dags/{dag}/runs/{run}/tasks/{name}{mapped}"


def _view(snapshot: Snapshot, user: Any, period: str) -> PageView:
    return page_of(snapshot, Viewer(environment(), cache(partial(_may_read, user))), period=period)


async def _page(user: AllowedUser, period: str = DEFAULT_PERIOD) -> Response:
    snapshot = await shared_snapshot().wait_in_loop()
    html = await run_in_threadpool(lambda: render_page(_view(snapshot, user, period), Links(_HOME, task_link)))
    return HTMLResponse(html, headers=HEADERS)


async def _data(user: AllowedUser, period: str = DEFAULT_PERIOD) -> Response:
    snapshot = await shared_snapshot().wait_in_loop()
    facts = await run_in_threadpool(lambda: page_facts(_view(snapshot, user, period)))
    return JSONResponse(facts, headers=HEADERS)


def _static(name: str) -> Response:
    if name not in STATIC:
        raise HTTPException(404)
    return Response(static_file(name), media_type=STATIC[name], headers=STATIC_HEADERS)


async def _refused(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, AnyHTTPException) else 500
    if status not in {401, 403} or request.url.path.endswith(".json"):
        detail = getattr(error, "detail", "")
        return JSONResponse({"detail": detail}, status_code=status, headers=HEADERS)
    login = f"{_HOME}api/v2/auth/login?next={quote(request.url.path, safe='')}"
    html = render_refusal(status=status, login=login, home=_HOME)
    return HTMLResponse(html, status_code=status, headers=HEADERS)


def make_app() -> FastAPI:
    """Return the app."""
    app = FastAPI(title=TITLE, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(AnyHTTPException, _refused)
    app.add_api_route("/", _page, methods=["GET"], response_class=HTMLResponse)
    app.add_api_route("/data.json", _data, methods=["GET"])
    app.add_api_route("/{name}", _static, methods=["GET"])
    return app
