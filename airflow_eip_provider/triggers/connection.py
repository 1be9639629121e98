"""The AWS connection of a wait; waits with the same one share their clients."""

from __future__ import annotations

import gzip
import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.loaders import JSONFileLoader

from airflow_eip_provider.exceptions import MissingConnectionError
from airflow_eip_provider.hooks.eip import StrictConnectionMixin
from airflow_eip_provider.triggers.collector import without_collections

# Hooks read connections one at a time: the triggerers of Airflow 3.0 and 3.1 have a single channel for them.
ONE_AT_A_TIME = threading.Lock()


class ServiceModels(JSONFileLoader):  # type: ignore[misc]
    """
    Loads botocore's service models without blocking the event loop.

    botocore parses EC2's model in one go; no other thread of the process runs for a quarter of a second. An object hook
    that is a Python function lets other threads run in between, and plain dicts take a third less memory. The models
    are cached for the life of the process, because clients are created again whenever credentials expire.
    """

    _lock = threading.Lock()
    _loaded: ClassVar[dict[str, Any]] = {}

    def load_file(self, file_path: str) -> Any:
        """Return the content of a file, whose name is given without its extension; ``None`` if it does not exist."""
        for extension, opener in ((".json.gz", gzip.open), (".json", open)):
            path = file_path + extension
            with self._lock:
                if path not in self._loaded and Path(path).is_file():
                    with opener(path, "rb") as file, without_collections():
                        self._loaded[path] = json.loads(file.read(), object_pairs_hook=_as_dict)
                if path in self._loaded:
                    return self._loaded[path]
        return None


def _as_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(pairs)


class _TriggererHook(StrictConnectionMixin, AwsBaseHook):
    """Creates sessions with :class:`ServiceModels`."""

    def get_session(self, *args: Any, **kwargs: Any) -> Any:
        session = super().get_session(*args, **kwargs)
        session._session.get_component("data_loader").file_loader = ServiceModels()  # noqa: SLF001 - boto3 has no other way
        return session


def read_login(conn_id: str) -> tuple[str, str]:
    """
    Read the login and password of an Airflow connection; called in a thread.

    :raises MissingConnectionError: when the connection does not exist.
    """
    with ONE_AT_A_TIME:
        try:
            connection = _TriggererHook.get_connection(conn_id)
        except MissingConnectionError as error:
            raise MissingConnectionError(conn_id, otherwise=", with login and password") from error
    return connection.login or "", connection.password or ""


class Connection(Protocol):
    """The connection of a wait; equal ones share a poller."""

    def client(self, service: str, region_name: str | None) -> Any:
        """Return a new client; called in a thread. It may read an Airflow connection and assume a role."""

    def content(self) -> object:
        """Return the current content of the Airflow connection, to be compared; called in a thread."""

    def __hash__(self) -> int:
        """Return the same hash for equal connections."""


@dataclass(frozen=True, slots=True)
class AwsConnection:
    """
    An Airflow connection, with the parameters of an operator that change it.

    :param botocore_config: as JSON, with sorted keys.
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
        """Return the connection for a hook's parameters."""
        return cls(aws_conn_id, region_name, verify, json.dumps(config, sort_keys=True, default=str))

    def content(self) -> object:
        """Return the current content of the Airflow connection; ``None`` for boto3's default credentials."""
        if self.aws_conn_id is None:
            return None
        with ONE_AT_A_TIME:
            return _TriggererHook.get_connection(self.aws_conn_id).get_uri()

    def client(self, service: str, region_name: str | None) -> Any:
        """Return a new boto3 client, in the region of the connection by default."""
        with ONE_AT_A_TIME:
            return _TriggererHook(
                aws_conn_id=self.aws_conn_id,
                region_name=region_name or self.region_name,
                verify=self.verify,
                config=json.loads(self.botocore_config),
                client_type=service,
            ).conn
