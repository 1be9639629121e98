"""What LivyBatchWithStaticIpOperator is given: how its servers are reached, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.hooks.livy import LivyBatchHook
from airflow_eip_provider.operators.preflight import check_allocation_id
from airflow_eip_provider.operators.targets import check_job_flow_id

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class LivyAccess:
    """
    How Livy servers are reached, but for where they are.

    :param auth_type: a class, or the path to import it from.
    """

    livy_conn_id: str
    endpoint_prefix: str | None
    auth_type: Any
    extra_headers: Mapping[str, Any]
    extra_options: Mapping[str, Any]

    def hook(self, server_url: str | None, *, retry_args: dict[str, Any] | None) -> LivyBatchHook:
        """Return a hook for a worker."""
        return LivyBatchHook(
            self.livy_conn_id,
            server_url=server_url,
            endpoint_prefix=self.endpoint_prefix,
            auth_type=self.auth_type,
            extra_headers=self.extra_headers,
            extra_options=self.extra_options,
            retry_args=retry_args,
        )

    def stored(self, server_url: str | None) -> dict[str, Any]:
        """Return the parameters of a hook for the triggerer; a class as the path to import it from."""
        return {
            "livy_conn_id": self.livy_conn_id,
            "server_url": server_url,
            "endpoint_prefix": self.endpoint_prefix,
            "auth_type": self._auth_path(),
            "extra_headers": dict(self.extra_headers),
            "extra_options": dict(self.extra_options),
        }

    def check_storable(self) -> None:
        """
        Check what a deferred task has to carry.

        :raises InvalidInputError: when the triggerer could not have it.
        """
        try:
            json.dumps(self.stored(None))
        except TypeError as error:
            raise refused(
                "extra_options and extra_headers",
                problem=f"a deferred task carries them to the triggerer, and they are no JSON: {error}",
                remedy="give plain values, or set deferrable=False",
            ) from error
        if "<" in (self._auth_path() or ""):
            raise refused(
                f"livy_conn_auth_type {self._auth_path()}",
                problem="the triggerer cannot import it",
                remedy="define the class at the top of a module that is installed there, or set deferrable=False",
            )

    def _auth_path(self) -> str | None:
        given = self.auth_type
        return given if given is None or isinstance(given, str) else f"{given.__module__}.{given.__qualname__}"


def check_watch(polling_interval: Any, *, may_repeat: bool) -> None:
    """
    Check that the batch is watched, and run once.

    :raises InvalidInputError: otherwise.
    """
    if float(polling_interval or 0) <= 0:
        raise refused(
            f"polling_interval={polling_interval!r}",
            problem="a batch that nobody polls ends unseen, and outlives the address",
            remedy="give seconds above 0, such as 30",
        )
    if may_repeat:
        raise refused(
            "durable=False",
            problem="a retry that ignores the batch of the try before it runs it twice",
            remedy="leave durable out",
        )


def check_place(allocation_id: str | None, *, job_flow_id: str | None, server_url: str | None) -> None:
    """
    Check where the batch is to run.

    :raises InvalidInputError: for what cannot be an address, a cluster or a URL, and an address without its cluster.
    """
    if job_flow_id is not None:
        check_job_flow_id(job_flow_id)
    if allocation_id is not None:
        check_allocation_id(allocation_id)
    if allocation_id is not None and job_flow_id is None:
        raise refused(
            f"allocation_id {allocation_id!r} without job_flow_id",
            problem="a load balancer may lead to a cluster that does not leave from the address",
            remedy="give the id of the cluster that carries it as job_flow_id",
        )
    parts = urlsplit(server_url or "http://given-by-the-connection")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        # The URL itself stays out of the text: it may have a password in it.
        raise refused(
            "server_url",
            problem="it is no http:// or https:// URL of a server without a user in it",
            remedy="give one such as http://10.0.1.5:8998; login and password belong into the Livy connection",
        )


def refused(what: str, *, problem: str, remedy: str) -> InvalidInputError:
    """Return the error of a parameter."""
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)
