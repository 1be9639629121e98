"""The parameters of LivyBatchWithStaticIpOperator: what it refuses, and what a deferral stores."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from airflow_eip_provider.aws.resource_ids import check_job_flow_id
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.operators.preflight import check_allocation_id
from airflow_eip_provider.rendered import number_of


def as_stored(hook_parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a hook as JSON for the triggerer; a class becomes the path to import it from."""
    auth_type = hook_parameters["auth_type"]
    if auth_type is not None and not isinstance(auth_type, str):
        auth_type = f"{auth_type.__module__}.{auth_type.__qualname__}"
    return {**hook_parameters, "auth_type": auth_type}


def check_storable(hook_parameters: dict[str, Any]) -> None:
    """
    Check that a deferral can store the parameters of the hook.

    :raises InvalidInputError: when the triggerer could not read them.
    """
    stored = as_stored(hook_parameters)
    try:
        json.dumps(stored)
    except TypeError as error:
        raise refused(
            "extra_options and extra_headers",
            problem=f"a deferral stores them for the triggerer, and they are not JSON: {error}",
            remedy="give plain values, or set deferrable=False",
        ) from error
    if "<" in (stored["auth_type"] or ""):
        raise refused(
            f"livy_conn_auth_type {stored['auth_type']}",
            problem="the triggerer cannot import it",
            remedy="define the class at the top level of a module that is installed there, or set deferrable=False",
        )


def check_mappings(**parameters: object) -> None:
    """
    Check parameters that are mappings, or not given.

    :raises InvalidInputError: when one is something else; the error does not contain it, as it may be a password.
    """
    for name, value in parameters.items():
        if value is not None and not isinstance(value, Mapping):
            raise refused(name, problem=f"it is {type(value).__name__}, not a mapping", remedy="give a dict")


def check_watch(polling_interval: Any, *, may_repeat: bool) -> None:
    """
    Check that the batch is polled, and run only once.

    :raises InvalidInputError: when it is not.
    """
    if (number_of(polling_interval) or 0) <= 0:
        raise refused(
            f"polling_interval={polling_interval!r}",
            problem="nothing would notice the end of the batch, and it could run after the address has left",
            remedy="give a number of seconds above 0, such as 30",
        )
    if may_repeat:
        raise refused(
            "durable=False",
            problem="a retry that ignores the batch of the try before runs it twice",
            remedy="leave durable out",
        )


def check_place(allocation_id: str | None, *, job_flow_id: str | None, server_url: str | None) -> None:
    """
    Check where the batch is to run.

    :raises InvalidInputError: for a malformed address, cluster or URL, and for an address without its cluster.
    """
    if job_flow_id is not None:
        check_job_flow_id(job_flow_id)
    if allocation_id is not None:
        check_allocation_id(allocation_id)
    if allocation_id is not None and job_flow_id is None:
        raise refused(
            f"allocation_id {allocation_id!r} without job_flow_id",
            problem="a load balancer may lead to a cluster that does not use the address",
            remedy="give the ID of the cluster with the address as job_flow_id",
        )
    try:
        parts = urlsplit(server_url or "http://given-by-the-connection")
    except ValueError:  # such as a "[" without its "]"
        parts = urlsplit("")
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username is not None:
        # The message does not contain the URL, which may contain a password.
        raise refused(
            "server_url",
            problem="it is not an http:// or https:// URL of a server without a user",
            remedy="give one such as http://10.0.1.5:8998; login and password belong in the Livy connection",
        )


def refused(what: str, *, problem: str, remedy: str) -> InvalidInputError:
    """Return the error of a parameter."""
    return InvalidInputError(f"checking {what}", problem=problem, remedy=remedy)
