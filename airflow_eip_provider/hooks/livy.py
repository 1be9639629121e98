"""Batches of Livy servers, addressed by name: the number of a batch means something on its own server only."""

from __future__ import annotations

import importlib
import json
import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import requests
from tenacity import RetryError
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from airflow_eip_provider.airflow_compat import AirflowNotFoundException, BaseHook
from airflow_eip_provider.exceptions import (
    InvalidInputError,
    LivyRefusedError,
    LivyUnavailableError,
    MissingConnectionError,
    MissingExtraError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# How often a batch is looked for at once, each time on a new connection, before an answer "not found" counts. Behind a
# load balancer of two servers every connection leads to one of them at random: 1 in 32 looks misses both times then,
# and a batch counts as lost only when all looks of minutes miss it.
LOOKS = 5
# EMR's Livy listens there (Amazon EMR Release Guide, "Apache Livy").
PORT = 8998
# A request that Livy does not answer within this is tried again; a POST starts spark-submit first.
_TIMEOUT_SECONDS, _POST_TIMEOUT_SECONDS = 30, 60
_PAGE = 500  # Livy's own is 100; two pages may come from two servers
_MOST_LOG_LINES = 2000
_LONGEST_TEXT = 400
_ENDED = frozenset({"success", "dead", "error", "killed"})  # Livy's FinishedSessionState
_NOT_FOUND, _THROTTLED, _BAD_REQUEST, _SERVER_ERROR = 404, 429, 400, 500


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch, as its server shows it."""

    batch_id: int
    name: str
    state: str
    app_id: str | None = None
    driver_log_url: str | None = None
    spark_ui_url: str | None = None

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Batch:
        """Take a batch from Livy's JSON."""
        links = item.get("appInfo") or {}
        return cls(
            int(item["id"]),
            str(item.get("name") or ""),
            str(item["state"]).lower(),
            item.get("appId") or None,
            links.get("driverLogUrl") or None,
            links.get("sparkUiUrl") or None,
        )

    @property
    def is_active(self) -> bool:
        """Whether it runs or still may; a state that is not known is no end."""
        return self.state not in _ENDED


class LivyBatchHook(BaseHook):
    """
    Submit, find, and delete batches by name, on one Livy server or on those behind a load balancer.

    Requests are made by the Livy provider's own hook, so its connection, authentication, headers and options are as
    documented there. Livy answers requests for ``/batches/NAME`` as it does for ``/batches/ID``, and takes a name only
    once, which makes each of these safe where servers change: no request here names a batch by its number. Needs
    Livy 0.7 or later, which shows the names of batches.

    The connection is read once; its password and headers are in no error and no log.

    :param livy_conn_id: the Airflow connection, of the type Apache Livy.
    :param server_url: of one server, such as ``http://10.0.1.5:8998``, in place of the connection's host, schema and
        port.
    :param endpoint_prefix: as in the stock hook.
    :param auth_type: a class of requests' authentication, or the path to import it from.
    :param extra_headers: of every request.
    :param extra_options: as in the stock hook.
    :param retry_args: tenacity's, for looks at one batch.
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
        """Where requests go, in words, without what may be secret."""
        return self.server_url or f"the host of connection '{self.livy_conn_id}'"

    def find(self, name: str, *, looks: int = LOOKS) -> Batch | None:
        """
        Return a batch, or ``None`` when no look shows it.

        :param looks: how many, each on a connection of its own.
        :raises LivyUnavailableError: when a look gets no answer.
        :raises LivyRefusedError: when Livy refuses to show it.
        """
        for _ in range(looks):
            answer = self._ask("GET", f"/{quote(name, safe='')}", doing=f"looking for Livy batch '{name}'")
            if answer is not None and (batch := Batch.of(answer)).name == name:
                return batch
        return None

    def named(self, is_wanted: Callable[[str], bool], *, looks: int = LOOKS) -> list[Batch]:
        """
        Return the batches whose names are wanted, of all servers that answer.

        :raises LivyUnavailableError: when a look gets no answer.
        """
        found: dict[tuple[str, int], Batch] = {}
        for _ in range(looks):
            for batch in self._listed():
                if is_wanted(batch.name):
                    found[batch.name, batch.batch_id] = batch
        return list(found.values())

    def _listed(self) -> list[Batch]:
        batches: list[Batch] = []
        start, total = 0, 1
        while start < total:
            page = self._ask(
                "GET", "", data={"from": start, "size": _PAGE}, doing="listing Livy batches", absent_is_fine=False
            )
            items = (page or {}).get("sessions") or []
            batches += [Batch.of(item) for item in items]
            start, total = start + _PAGE, int((page or {}).get("total") or 0)
        return batches

    def submit(self, body: Mapping[str, Any]) -> Batch:
        """
        Submit a batch, which must have a name; sent once.

        :raises LivyRefusedError: when Livy did not take it.
        :raises LivyUnavailableError: when it is unknown whether it did; ``was_sent`` is false when it did not.
        """
        name = str(body["name"])
        doing = f"submitting Livy batch '{name}'"
        try:
            answer = self._ask("POST", "", data=json.dumps(body), doing=doing, absent_is_fine=False)
        except LivyRefusedError as error:
            # Livy refuses a name that it has already: an earlier sending, whose answer was lost, had its effect.
            if error.status == _BAD_REQUEST and (found := self.find(name)) is not None:
                return found
            if "too many sessions" in error.problem:
                raise LivyUnavailableError(doing, problem=error.problem, was_sent=False) from error
            raise
        batch = Batch.of(answer or {})
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
        Delete a batch, and kill its application if it runs; by name, so never another server's of the same number.

        :return: whether there was one.
        :raises LivyUnavailableError: when a look gets no answer.
        """
        for _ in range(looks):
            path = f"/{quote(name, safe='')}"
            if self._ask("DELETE", path, doing=f"deleting Livy batch '{name}'") is not None:
                self.log.info("Deleted Livy batch %s on %s", name, self.server)
                return True
        return False

    def log_lines(self, batch: Batch, *, looks: int = LOOKS) -> list[str]:
        """
        Return what Livy keeps of a batch's log: the output of spark-submit, and of the driver where that runs in it.

        :raises LivyUnavailableError: when a look gets no answer.
        """
        lines: list[str] = []
        path = f"/{quote(batch.name, safe='')}/log"
        while len(lines) < _MOST_LOG_LINES:
            page = None
            for _ in range(looks):
                doing = f"reading the log of Livy batch '{batch.name}'"
                page = self._ask("GET", path, data={"from": len(lines), "size": _PAGE}, doing=doing)
                if page is not None and int(page.get("id", -1)) == batch.batch_id:
                    break
                page = None
            more = (page or {}).get("log") or []
            lines += [str(line) for line in more]
            if not more or len(lines) >= int((page or {}).get("total") or 0):
                break
        return lines

    def direct_url(self, address: str) -> str:
        """Return the URL of the server at an address, with the schema and the port of the connection."""
        connection = self._connection()
        host = str(connection.host or "")
        schema = host.split("://", 1)[0] if "://" in host else (connection.schema or "http")
        return f"{schema}://{address}:{connection.port or PORT}"

    def forget(self) -> None:
        """Read the connection anew for the next request."""
        self._known = None

    def close(self) -> None:
        """Close nothing: every request has a connection of its own."""

    def open(self) -> LivyBatchHook:
        """
        Read the connection now.

        :raises MissingConnectionError: when there is none.
        """
        self._connection()
        return self

    def _ask(
        self, method: str, path: str, *, doing: str, data: Any = None, absent_is_fine: bool = True
    ) -> dict[str, Any] | None:
        """Make one request on a new connection, and return its JSON; ``None`` for "not found"."""
        doing = f"{doing} on {self.server}"
        response = self._send(method, path, doing=doing, data=data)
        if response.status_code == _NOT_FOUND and absent_is_fine:
            return None
        if response.status_code >= _BAD_REQUEST:
            sent = response.request.headers.get("Authorization", "")
            problem = self._cleaned(response.text or response.reason or "no text", *sent.split()[1:])
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

    def _send(self, method: str, path: str, *, doing: str, data: Any) -> requests.Response:
        # The stock hook keeps the method and the options of its request in itself, and threads share this one.
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
            # Not chained: requests' own texts may have what was taken out of this one.
            raise LivyUnavailableError(doing, problem=problem, was_sent=not _never_sent(error)) from None

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
            extra_options={"timeout": timeout, **self._options, "check_response": False},
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
            found = self.get_connection(self.livy_conn_id)
        except AirflowNotFoundException as error:
            raise MissingConnectionError(self.livy_conn_id, otherwise=", of the type Apache Livy") from error
        where = {"host": found.host, "schema": found.schema, "port": found.port}
        if self.server_url is not None:
            where = {"host": self.server_url.rstrip("/"), "schema": None, "port": None}
        return SimpleNamespace(
            conn_id=self.livy_conn_id,
            conn_type="livy",
            login=found.login,
            password=found.password,
            extra=found.extra,
            extra_dejson=found.extra_dejson,
            **where,
        )

    def _cleaned(self, text: str, *secrets: str) -> str:
        """Return a text without secrets: the connection's password, and the values of headers."""
        connection = self._connection()
        headers = {**connection.extra_dejson, **self._headers}.values()
        for secret in (*secrets, connection.password, *(value for value in headers if isinstance(value, str))):
            if secret and len(secret) > 2:  # noqa: PLR2004 - no secret is that short
                text = text.replace(secret, "***")
        return " ".join(text.split())[:_LONGEST_TEXT].rstrip(".")


def imported(auth_type: Any) -> Any:
    """Return a class that may be given as the path to import it from."""
    if not isinstance(auth_type, str):
        return auth_type
    module, _, name = auth_type.rpartition(".")
    return getattr(importlib.import_module(module), name)


def _never_sent(error: Exception) -> bool:
    """Tell whether no connection came about, so that no server can have had the request."""
    reason = getattr(error.args[0], "reason", None) if error.args else None
    return isinstance(error, requests.ConnectTimeout) or isinstance(reason, (NewConnectionError, ConnectTimeoutError))
