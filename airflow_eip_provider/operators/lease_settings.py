"""The lease settings of a task: its lock store and its attempt."""

from __future__ import annotations

import secrets
from enum import Enum
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.airflow_compat import conf
from airflow_eip_provider.exceptions import InvalidInputError

if TYPE_CHECKING:
    from airflow_eip_provider.airflow_compat import Context
    from airflow_eip_provider.lease.record import Attempt


class Unset(Enum):
    """The default of a parameter for which ``None`` is a value. Enum members stay identical when copied."""

    UNSET = "unset"


UNSET: Any = Unset.UNSET


def configured_lock_store() -> str | None:
    """Return ``[eip] lock_store``, with the grace of ``[eip] grace``; ``None`` when it is not set."""
    uri = conf.get("eip", "lock_store", fallback=None)
    return with_configured_grace(uri) if uri else None


def with_configured_grace(uri: str) -> str:
    """Return the URI of a lock store with the grace of ``[eip] grace``, unless it names one or that is not set."""
    from airflow_eip_provider.stores.uri import with_grace

    grace = conf.get("eip", "grace", fallback=None)
    return with_grace(uri, str(grace)) if grace else uri


def lock_store_uri(given: Any) -> str | None:
    """
    Resolve the lock store: the operator's parameter, else ``[eip] lock_store``; ``None`` is the physical lock alone.

    An empty text is not None: it comes from an environment variable that is not set, and without the queue the tasks
    would only compete.

    :raises InvalidInputError: for a malformed URI, and for a store without the name of this environment.
    """
    uri = configured_lock_store() if given is UNSET else given
    if uri is None:
        return None
    if not isinstance(uri, str) or not uri:
        raise InvalidInputError(
            f"checking lock_store {uri!r}",
            problem="this is not a URI; only None means that there is no queue",
            remedy="give the URI of the lock store, None for no queue, or leave the parameter out for [eip] lock_store",
        )
    from airflow_eip_provider.stores.uri import parse_uri

    uri = with_configured_grace(str(uri))
    parse_uri(uri)
    if not conf.get("eip", "environment", fallback=None):
        raise InvalidInputError(
            f"using lock store '{uri}'",
            problem="[eip] environment is not set, so two environments with the same DAGs could not be told apart",
            remedy="set it in airflow.cfg (AIRFLOW__EIP__ENVIRONMENT) to a name that no other environment has",
        )
    return uri


def attempt_of(context: Context, nonce: str | None = None) -> Attempt:
    """Return the attempt of this try, with its nonce if it has one already."""
    from airflow_eip_provider.lease.record import Attempt
    from airflow_eip_provider.operators.owner import Owner

    owner = Owner.of(context)
    return Attempt(owner.digest, str(owner), context["ti"].try_number, nonce or secrets.token_hex(8))
