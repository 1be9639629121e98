"""The AWS connection that waits look through: those that have the same share their clients."""

from __future__ import annotations

import atexit
import gc
import gzip
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.loaders import JSONFileLoader

from airflow_eip_provider.exceptions import MissingConnectionError
from airflow_eip_provider.hooks.eip import StrictConnectionMixin

if TYPE_CHECKING:
    from collections.abc import Iterator

# Hooks read connections one at a time: the triggerers of Airflow 3.0 and 3.1 have one channel to ask for them.
ONE_AT_A_TIME = threading.Lock()


class ServiceModels(JSONFileLoader):  # type: ignore[misc]
    """
    Loads botocore's descriptions of services without holding up the event loop.

    botocore parses EC2's in one go, for a quarter of a second in which no other thread of the process runs. A hook that
    is a Python function lets them run in between, and plain dicts take a third less memory. What was loaded is kept as
    long as the process lives: clients are made anew whenever credentials expire.

    So many objects would also make Python look for garbage more often, at all that the triggerer has, which takes
    another quarter of a second. There is none among them, so they are frozen: the collector passes over them from now
    on, and over whatever else is alive at that moment.
    """

    _lock = threading.Lock()
    _loaded: ClassVar[dict[str, Any]] = {}

    def load_file(self, file_path: str) -> Any:
        """Return the content of a file, of which the ending is not given; ``None`` if there is none."""
        for ending, opened in ((".json.gz", gzip.open), (".json", open)):
            path = file_path + ending
            with self._lock:
                if path not in self._loaded and Path(path).is_file():
                    with opened(path, "rb") as file, _no_garbage_collection():
                        self._loaded[path] = json.loads(file.read(), object_pairs_hook=_as_dict)
                        gc.freeze()
                        atexit.register(gc.unfreeze)  # what extension modules hold is freed at the end, as always
                if path in self._loaded:
                    return self._loaded[path]
        return None


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


class _TriggererHook(StrictConnectionMixin, AwsBaseHook):
    """Makes sessions that load services in this way."""

    def get_session(self, *args: Any, **kwargs: Any) -> Any:
        session = super().get_session(*args, **kwargs)
        session._session.get_component("data_loader").file_loader = ServiceModels()  # noqa: SLF001 - boto3 has no other way
        return session


def read_login(conn_id: str) -> tuple[str, str]:
    """
    Read login and password of an Airflow connection, in a thread; the password is kept in memory only.

    :raises MissingConnectionError: when there is no such connection.
    """
    with ONE_AT_A_TIME:
        try:
            connection = _TriggererHook.get_connection(conn_id)
        except MissingConnectionError as error:
            raise MissingConnectionError(conn_id, otherwise=", with login and password") from error
    return connection.login or "", connection.password or ""


class Connection(Protocol):
    """What waits look through; equal ones share a poller."""

    def client(self, service: str, region_name: str | None) -> Any:
        """Return a new client. It is called in a thread, and may read an Airflow connection and assume a role."""

    def content(self) -> object:
        """Return what the Airflow connection says now, to be compared; called as ``client`` is."""

    def __hash__(self) -> int:
        """Return the same for equal ones."""


@dataclass(frozen=True, slots=True)
class AwsConnection:
    """
    An Airflow connection with what the parameters of an operator add to it.

    :param botocore_config: as JSON, with its keys in order.
    """

    aws_conn_id: str | None
    region_name: str | None
    verify: bool | str | None
    botocore_config: str

    @classmethod
    def of(
        cls,
        *,
        aws_conn_id: str | None,
        region_name: str | None,
        verify: bool | str | None,
        config: dict[str, Any] | None,
    ) -> AwsConnection:
        """Return the connection of a hook's parameters."""
        return cls(aws_conn_id, region_name, verify, json.dumps(config, sort_keys=True, default=str))

    def content(self) -> object:
        """Return what the Airflow connection says now; ``None`` for boto3's own credentials."""
        if self.aws_conn_id is None:
            return None
        with ONE_AT_A_TIME:
            return _TriggererHook.get_connection(self.aws_conn_id).get_uri()

    def client(self, service: str, region_name: str | None) -> Any:
        """Return a new boto3 client; ``None`` is the region of the connection."""
        given: dict[str, Any] = {
            "aws_conn_id": self.aws_conn_id,
            "region_name": region_name or self.region_name,
            "verify": self.verify,
            "config": json.loads(self.botocore_config),
        }
        with ONE_AT_A_TIME:
            return _TriggererHook(client_type=service, **given).conn
