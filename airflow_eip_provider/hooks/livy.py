"""Batches of Livy servers, addressed by name: the number of a batch is unique only on its own server."""

from __future__ import annotations

import importlib
import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

import requests
from tenacity import RetryError
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from airflow_eip_provider import clock
from airflow_eip_provider.airflow_compat import AirflowNotFoundException, BaseHook
from airflow_eip_provider.exceptions import (
    InvalidInputError,
    LivyRefusedError,
    LivyUnavailableError,
    MissingConnectionError,
    MissingExtraError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

# The number of requests, each on a new connection, before an answer "not found" counts. Behind a load balancer of two
# servers each connection leads to a random one, so 1 in 32 searches misses the right one. A batch counts as lost only
# when all searches of some minutes miss it.
LOOKS = 5
# The port of Livy on EMR (Amazon EMR Release Guide, "Apache Livy").
PORT = 8998
# After this time a request without an answer is sent again. A POST takes longer, because it starts spark-submit.
_TIMEOUT_SECONDS, _POST_TIMEOUT_SECONDS = 30, 60
# After a kill, for how long a batch is deleted again while Livy does not answer, or may register it late. Airflow 3
# ends the process 5 s after a kill, Airflow 2 after 60 s (killed_task_cleanup_time), and a trigger's on_kill after 30 s
# ([triggerer] on_kill_timeout).
_KILLED_SECONDS, _KILLED_PAUSE_SECONDS = 20, 1
_PAGE = 500  # Livy's own is 100; two pages may come from two servers
_MOST_LOG_LINES = 2000
_LONGEST_TEXT = 400
_ENDED = frozenset({"success", "dead", "error", "killed"})  # Livy's FinishedSessionState
_NOT_FOUND, _THROTTLED, _BAD_REQUEST, _SERVER_ERROR = 404, 429, 400, 500


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, as its server returns it."""

    batch_id: int
    name: str
    state: str
    app_id: str | None = None
    driver_log_url: str | None = None
    spark_ui_url: str | None = None

    @classmethod
    def of(cls, item: Any, *, doing: str) -> Batch:
        """
        Return the batch from Livy's JSON.

        :raises LivyUnavailableError: when this is not a batch: something else than Livy may have answered.
        """
        known: Mapping[str, Any] = item if isinstance(item, Mapping) else {}
        batch_id, state, links = known.get("id"), known.get("state"), known.get("appInfo")
        if type(batch_id) is not int or not isinstance(state, str) or not state:  # a bool is an int, too
            raise LivyUnavailableError(doing, problem="the answer is not a Livy batch")
        links = links if isinstance(links, Mapping) else {}
        return cls(
            batch_id,
            str(known.get("name") or ""),
            state.lower(),
            known.get("appId") or None,
            links.get("driverLogUrl") or None,
            links.get("sparkUiUrl") or None,
        )

    @property
    def is_active(self) -> bool:
        """Whether it has not ended; an unknown state does not count as ended."""
        return self.state not in _ENDED


class LivyBatchHook(BaseHook):
    """
    Submit, find, and delete batches by name, on one Livy server or on those behind a load balancer.

    The Livy provider's hook makes the requests, so connection, authentication, headers and options are as documented
    there. Livy answers ``/batches/NAME`` as it does ``/batches/ID``, and accepts each name once. So requests by name
    are safe while servers change, and no request uses a batch's number. Needs Livy 0.7 or later, which returns names.

    The connection is read once. Its password and headers appear in no error and no log.

    :param livy_conn_id: the Airflow connection, of the type Apache Livy.
    :param server_url: the URL of one server, such as ``http://10.0.1.5:8998``, instead of the connection's host, schema
        and port.
    :param endpoint_prefix: as in the stock hook.
    :param auth_type: an authentication class for requests, or the path to import it from.
    :param extra_headers: headers of every request.
    :param extra_options: as in the stock hook.
    :param retry_args: arguments for tenacity, for requests that read one batch.
    """

    def __init__(
        self,
        livy_conn_id: str = "livy_default",
        *,
        server_url: str | None = None,
        endpoint_prefix: str | None = None,
        auth_type: Any = None,
        extra_headers: Mapping[str, Any] | None = None,
        extra_options: Mapping[str, Any] | None = None,
        retry_args: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call, unused-ignore]
        self.livy_conn_id = livy_conn_id
        self.server_url = server_url
        self._prefix = endpoint_prefix
        self._auth_type = auth_type
        self._headers = dict(extra_headers or {})
        self._options = dict(extra_options or {})
        self._retry_args = retry_args
        self._known: Any = None
        self._lock = threading.Lock()

    @property
    def server(self) -> str:
        """The server, as a text without secrets."""
        return self.server_url or f"the host of connection '{self.livy_conn_id}'"

    def find(self, name: str, *, looks: int = LOOKS) -> Batch | None:
        """
        Return a batch; ``None`` when no answer shows it.

        :param looks: the number of requests, each on a new connection.
        :raises LivyUnavailableError: when a request gets no answer, or one that is not a batch.
        :raises LivyRefusedError: when Livy refuses the request.
        """
        doing = f"looking for Livy batch '{name}'"
        for _ in range(looks):
            answer = self._ask("GET", f"/{quote(name, safe='')}", doing=doing)
            if answer is not None and (batch := self._batch_of(answer, doing=doing)).name == name:
                return batch
        return None

    def named(self, is_wanted: Callable[[str], bool], *, looks: int = LOOKS) -> list[Batch]:
        """
        Return the batches with the wanted names, from all servers that answer.

        :raises LivyUnavailableError: when a request gets no answer, or one that is not a list of batches.
        """
        batches = {(batch.name, batch.batch_id): batch for _ in range(looks) for batch in self._listed()}
        return [batch for (name, _), batch in batches.items() if is_wanted(name)]

    def _listed(self) -> list[Batch]:
        batches: list[Batch] = []
        start, total = 0, 1
        while start < total:
            doing = "listing Livy batches"
            page = self._ask("GET", "", data={"from": start, "size": _PAGE}, doing=doing, absent_is_fine=False) or {}
            items, count = page.get("sessions"), page.get("total")
            if not isinstance(items, list) or not isinstance(count, int):
                raise LivyUnavailableError(self._at(doing), problem="the answer is not a list of Livy batches")
            batches += [self._batch_of(item, doing=doing) for item in items]
            start, total = start + _PAGE, count
        return batches

    def submit(self, body: Mapping[str, Any]) -> Batch:
        """
        Submit a batch, which must have a name; the request is sent once.

        :raises LivyRefusedError: when Livy has refused the batch.
        :raises LivyUnavailableError: when it is unknown whether Livy has accepted it; ``was_sent=False``: it has not.
        """
        name = str(body["name"])
        doing = f"submitting Livy batch '{name}'"
        try:
            answer = self._ask("POST", "", data=json.dumps(body), doing=doing, absent_is_fine=False)
        except LivyRefusedError as error:
            # Livy refuses a name that exists: an earlier request, whose answer was lost, was successful.
            if error.status == _BAD_REQUEST and (found := self.find(name)) is not None:
                return found
            if "too many sessions" in error.problem:
                raise LivyUnavailableError(doing, problem=error.problem, was_sent=False) from error
            raise
        batch = self._batch_of(answer, doing=doing)
        if batch.name != name:
            self.delete(name)
            raise InvalidInputError(
                f"{doing} to {self.server}",
                problem=f"its answer has the id {batch.batch_id}, but no name, so its batches cannot be told apart",
                remedy="use a release of Amazon EMR with Livy 0.7 or later",
            )
        return batch

    def delete(self, name: str, *, looks: int = LOOKS) -> bool:
        """
        Delete a batch, and kill its application if it runs.

        :return: whether it existed.
        :raises LivyUnavailableError: when a request gets no answer, or one that is not Livy's.
        :raises LivyRefusedError: when Livy refuses the request.
        """
        doing = f"deleting Livy batch '{name}'"
        for _ in range(looks):
            answer = self._ask("DELETE", f"/{quote(name, safe='')}", doing=doing)
            if answer is not None:
                if answer.get("msg") != "deleted":  # from all versions of Livy
                    raise LivyUnavailableError(self._at(doing), problem="the answer does not say that it is deleted")
                self.log.info("Deleted Livy batch %s on %s", name, self.server)
                return True
        return False

    def log_lines(self, batch: Batch, *, looks: int = LOOKS) -> list[str]:
        """
        Return Livy's log of a batch: the output of spark-submit, and in client mode of the driver.

        :raises LivyUnavailableError: when a request gets no answer.
        """
        lines: list[str] = []
        path = f"/{quote(batch.name, safe='')}/log"
        doing = f"reading the log of Livy batch '{batch.name}'"
        total = _MOST_LOG_LINES
        while len(lines) < min(total, _MOST_LOG_LINES):
            query = {"from": len(lines), "size": _PAGE}
            answers = (self._ask("GET", path, data=query, doing=doing) or {} for _ in range(looks))
            page = next((answer for answer in answers if answer.get("id") == batch.batch_id), {})
            lines += map(str, page.get("log") or [])
            total = int(page.get("total") or 0) if page.get("log") else 0
        return lines

    def direct_url(self, address: str) -> str:
        """Return the URL of the server at an address, with the schema and the port of the connection."""
        connection = self._connection()
        host = str(connection.host or "")
        schema = host.split("://", 1)[0] if "://" in host else (connection.schema or "http")
        return f"{schema}://{address}:{connection.port or PORT}"

    def forget(self) -> None:
        """Read the connection again before the next request."""
        self._known = None

    def close(self) -> None:
        """Do nothing: every request has its own connection."""

    def open(self) -> LivyBatchHook:
        """
        Read the connection now.

        :raises MissingConnectionError: when it does not exist.
        """
        self._connection()
        return self

    def _ask(
        self, method: str, path: str, *, doing: str, data: Any = None, absent_is_fine: bool = True
    ) -> dict[str, Any] | None:
        """Send one request on a new connection, and return the JSON of the answer; ``None`` for "not found"."""
        doing = self._at(doing)
        response = self._send(method, path, doing=doing, data=data)
        if response.status_code == _NOT_FOUND and absent_is_fine:
            return None
        sent = response.request.headers.get("Authorization", "").split()[1:]
        if response.is_redirect:
            raise LivyRefusedError(
                doing,
                status=response.status_code,
                problem=f"a redirect to {self._cleaned(_location_in(response), *sent)}, which is not followed",
                remedy="set schema, host and port of the Livy connection, server_url or livy_endpoint_prefix to where "
                "Livy itself answers",
            )
        if response.status_code >= _BAD_REQUEST:
            problem = self._cleaned(response.text or response.reason or "no text", *sent)
            if response.status_code == _THROTTLED or response.status_code >= _SERVER_ERROR:
                raise LivyUnavailableError(doing, problem=f"{response.status_code} {problem}")
            raise LivyRefusedError(
                doing,
                status=response.status_code,
                problem=problem,
                remedy="check the parameters of the batch, and login, headers and endpoint of the Livy connection",
            )
        try:
            found = response.json()
        except ValueError as error:
            raise LivyUnavailableError(doing, problem="the answer is not JSON, so it is not Livy's") from error
        return found if isinstance(found, dict) else {}

    def _batch_of(self, answer: Any, *, doing: str) -> Batch:
        return Batch.of(answer, doing=self._at(doing))

    def _at(self, doing: str) -> str:
        return f"{doing} on {self.server}"

    def _send(self, method: str, path: str, *, doing: str, data: Any) -> requests.Response:
        # A new stock hook for each request: it stores the request's method and options, and threads share this object.
        hook, retry_args = self._stock_hook(method), self._retry_args if method == "GET" and path else None
        try:
            return hook.run_method(  # type: ignore[no-any-return]
                method=method,
                endpoint=f"{hook.endpoint_prefix}/batches{path}",
                data=data,
                headers=hook.extra_headers,
                retry_args=retry_args,
            )
        except (requests.RequestException, RetryError) as error:
            problem = f"{type(error).__name__}: {self._cleaned(str(error))}"
            # Not chained: the text of the original error may contain the secrets.
            raise LivyUnavailableError(doing, problem=problem, was_sent=not _never_sent(error)) from None
        except ValueError:  # requests parses the location of a redirect although it does not follow it
            raise LivyUnavailableError(doing, problem="a redirect to a malformed URL") from None

    def _stock_hook(self, method: str) -> Any:
        try:
            from airflow.providers.apache.livy.hooks.livy import LivyHook  # an extra
        except ImportError as error:
            raise MissingExtraError("livy", doing="connecting to Livy", module=error.name) from error
        connection = self._connection()
        seconds = _POST_TIMEOUT_SECONDS if method == "POST" else _TIMEOUT_SECONDS
        timeout = connection.extra_dejson.get("timeout", seconds)
        hook: Any = LivyHook(
            livy_conn_id=self.livy_conn_id,
            extra_headers=self._headers,
            # A redirect is not followed: after a 302, requests sends a GET in place of a POST or a DELETE.
            extra_options={"timeout": timeout, **self._options, "check_response": False, "allow_redirects": False},
            auth_type=imported(self._auth_type),
            endpoint_prefix=self._prefix,
        )
        hook.get_connection = lambda _conn_id: connection
        return hook

    def _connection(self) -> Any:
        with self._lock:
            if self._known is None:
                self._known = self._read_connection()
            return self._known

    def _read_connection(self) -> Any:
        try:
            connection = self.get_connection(self.livy_conn_id)
        except AirflowNotFoundException as error:
            raise MissingConnectionError(self.livy_conn_id, otherwise=", of the type Apache Livy") from error
        names = ("login", "password", "extra", "extra_dejson", "host", "schema", "port")
        values = {name: getattr(connection, name) for name in names}
        if self.server_url is not None:
            values |= {"host": self.server_url.rstrip("/"), "schema": None, "port": None}
        return SimpleNamespace(conn_id=self.livy_conn_id, conn_type="livy", **values)

    def _cleaned(self, text: str, *secrets: str) -> str:
        """Return a text without secrets, which are the connection's password and the values of headers."""
        connection = self._connection()
        headers = {**connection.extra_dejson, **self._headers}.values()
        for secret in (*secrets, connection.password, *(value for value in headers if isinstance(value, str))):
            if secret and len(secret) > 2:  # noqa: PLR2004 - no secret is that short
                text = text.replace(secret, "***")
        return " ".join(text.split())[:_LONGEST_TEXT].rstrip(".")


def until_deleted(delete: Callable[[], bool]) -> bool:
    """
    Delete the batch of a killed task, and repeat that for 20 seconds while Livy does not answer.

    A request that gets no answer takes up to 30 seconds more.

    :param delete: returns ``False`` while a batch may still appear.
    :return: its last result.
    :raises LivyUnavailableError: when Livy does not answer the last request either.
    """
    deadline = clock.time() + _KILLED_SECONDS
    while clock.time() < deadline:
        try:
            if delete():
                return True
        except LivyUnavailableError as error:
            log.warning("The task was killed; its batch is not deleted yet. Trying again: %s", error)
        clock.sleep(_KILLED_PAUSE_SECONDS)
    return delete()


def may_still_run(name: str, server: str) -> str:
    """Return what to do about a batch that could not be deleted."""
    return (
        f"Livy batch {name} on {server} may still run. A retry, or the task after a clear, continues with it; to end "
        f"it, send DELETE /batches/{name} to that server"
    )


def imported(auth_type: Any) -> Any:
    """Return a class, which may be given as the path to import it from."""
    if not isinstance(auth_type, str):
        return auth_type
    module, _, name = auth_type.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _location_in(redirect: requests.Response) -> str:
    """Return where a redirect leads, without user info, query and fragment, which may contain secrets."""
    url = urlsplit(urljoin(redirect.url, redirect.headers["Location"]))
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def _never_sent(error: Exception) -> bool:
    """Return whether no connection was established, so that no server has received the request."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, (NewConnectionError, ConnectTimeoutError))
