"""Which addresses an ``allocation_id`` names: one, or several of which any will do."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.allocation_ids import check_allocation_id
from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from airflow_eip_provider.hooks.aws import AwsHooks

log = logging.getLogger(__name__)

_TAG = "tag:"


class AddressPool(tuple[str, ...]):
    """The allocation IDs of several addresses, in an order that is the same for all that share some of them."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(self)


def names_pool(allocation_id: object) -> bool:
    """Whether an ``allocation_id`` may name several addresses; a single one is a text."""
    return _is_several(parse_literal(allocation_id))


def _is_several(parsed: object) -> bool:
    # Also what Airflow makes of the outputs of a mapped task.
    return isinstance(parsed, (Sequence, AbstractSet, Mapping)) and not isinstance(parsed, (str, bytes))


def read_pool(allocation_id: object, aws: AwsHooks) -> str | AddressPool:
    """
    Return what an ``allocation_id`` names, after it was rendered.

    :param allocation_id: one id; a list of them; or a mapping such as ``{"tag:purpose": "azure-sql"}``, for all
        addresses with this tag; also a text that spells a list or a mapping.
    :return: a single id as it is given, and also for a list that has only one.
    :raises InvalidInputError: when it is nothing of that, or no address has the tag.
    """
    parsed = parse_literal(allocation_id)
    if isinstance(parsed, Mapping):
        return _one_or_several(_read_tagged(parsed, aws) if parsed else [])
    if _is_several(parsed):
        return _one_or_several(parsed)
    check_allocation_id(allocation_id)
    return str(allocation_id)


def _one_or_several(given: Any) -> str | AddressPool:
    found = list(given)
    if not found:
        raise InvalidInputError(
            f"checking allocation_id {given!r}",
            problem="this names no Elastic IP",
            remedy="give at least one allocation ID (eipalloc-…)",
        )
    for one in found:
        check_allocation_id(one)
    pool = AddressPool(sorted(set(found)))
    return pool if len(pool) > 1 else pool[0]


def _read_tagged(tags: Mapping[Any, Any], aws: AwsHooks) -> list[str]:
    from airflow_eip_provider.aws.addresses import read_allocation_ids

    filters: dict[str, list[str]] = {}
    for name, value in tags.items():
        values = [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else []
        if not isinstance(name, str) or not name.startswith(_TAG) or len(name) == len(_TAG) or not values:
            raise InvalidInputError(
                f"checking allocation_id {tags!r}",
                problem=f"{name!r}: {value!r} is no tag with a value",
                remedy='write {"tag:purpose": "azure-sql"}, or a list of allocation IDs',
            )
        filters[name] = [str(one) for one in values]
    found = read_allocation_ids(aws.eip.conn, filters)
    if not found:
        raise InvalidInputError(
            f"looking up the Elastic IPs with {tags!r}",
            problem=f"no address of region '{aws.eip.conn_region_name}' has this tag",
            remedy="check the tag, which EC2 compares with upper and lower case, and the region",
        )
    return found


def address_of(
    pool: AddressPool, resource_id: str, aws: AwsHooks, *, lock_store: str | None, gives_back: bool = False
) -> str | None:
    """
    Return which address of a pool a cluster or an instance has, or had last.

    The lease says so; else the cluster's own tag, which its creating task has given it; else where the addresses are.

    :param gives_back: the task gives the address back. So it is also one that has left the pool since, or none. A lock
        store that gives no answer keeps it from nothing.
    :return: ``None`` only for such a task.
    :raises InvalidInputError: when none of them leads to it.
    """
    from airflow_eip_provider.aws.clusters import read_cluster
    from airflow_eip_provider.lease_client.reads import is_cluster, read_location

    if (leased := _leased_to(resource_id, pool, aws, lock_store, gives_back=gives_back)) is not None:
        return leased
    cluster = read_cluster(aws.emr.conn, resource_id) if is_cluster(resource_id) else None
    tagged = None if cluster is None else cluster.tags.get(ALLOCATION_TAG)
    if tagged is not None and (tagged in pool or gives_back):
        return tagged
    clients = {"ec2": aws.eip.conn, "emr": aws.emr.conn}
    for allocation_id in pool:
        if resource_id in read_location(clients, allocation_id).resource_ids:
            return allocation_id
    if gives_back:
        log.info("'%s' has none of the Elastic IPs %s", resource_id, pool)
        return None
    raise InvalidInputError(
        f"looking for the Elastic IP of '{resource_id}'",
        problem=f"none of {pool} is on it or leased to it, and it has no tag '{ALLOCATION_TAG}' that names one",
        remedy="pass the address that it was given: the XCom 'allocation_id' of the task that created it",
    )


def _leased_to(
    resource_id: str, pool: AddressPool, aws: AwsHooks, lock_store: str | None, *, gives_back: bool
) -> str | None:
    for allocation_id in pool if lock_store is not None else ():
        try:
            lease = aws.lease_client(lock_store, allocation_id).read().record.lease
        except Exception as error:
            if not gives_back or not is_transient(error):
                raise
            log.warning("The lock store gives no answer, looking for the Elastic IP of '%s': %s", resource_id, error)
            return None
        if lease is not None and lease.resource_id == resource_id:
            return allocation_id
    return None


def followed_address(
    allocation_id: Any, *, resource_id: object, aws: AwsHooks, lock_store: str | None, gives_back: bool = False
) -> Any:
    """
    Return the one address that a task is about; what names one, or cannot be resolved yet, is unchanged.

    :param resource_id: the cluster or the instance that has it.
    :param gives_back: as of :func:`address_of`.
    """
    if not names_pool(allocation_id) or is_nothing(resource_id):
        return allocation_id
    named = read_pool(allocation_id, aws)
    if isinstance(named, str):
        return named
    return address_of(named, str(resource_id), aws, lock_store=lock_store, gives_back=gives_back)
