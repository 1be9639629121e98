"""Which addresses an ``allocation_id`` names: one, or several of which any will do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.addresses import read_allocation_ids
from airflow_eip_provider.aws.allocation_ids import check_allocation_id
from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.exceptions import InvalidInputError
from airflow_eip_provider.lease_client.reads import is_cluster, read_location
from airflow_eip_provider.literals import parse_literal
from airflow_eip_provider.rendered import is_nothing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.hooks.aws import AwsHooks

_TAG = "tag:"


class AddressPool(tuple[str, ...]):
    """The allocation IDs of several addresses, in an order that is the same for all that share some of them."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(self)


def names_pool(allocation_id: object) -> bool:
    """Whether an ``allocation_id`` may name several addresses; a single one is a text."""
    parsed = parse_literal(allocation_id)
    return isinstance(parsed, (list, tuple, set, frozenset, dict))


def read_pool(allocation_id: object, aws: AwsHooks) -> str | AddressPool:
    """
    Return what an ``allocation_id`` names, after it was rendered.

    :param allocation_id: one id; a list of them; or a mapping such as ``{"tag:purpose": "azure-sql"}``, for all
        addresses with this tag; also a text that spells a list or a mapping.
    :return: a single id as it is given, and also for a list that has only one.
    :raises InvalidInputError: when it is nothing of that, or no address has the tag.
    """
    parsed = parse_literal(allocation_id)
    if isinstance(parsed, dict):
        return _one_or_several(_read_tagged(parsed, aws))
    if isinstance(parsed, (list, tuple, set, frozenset)):
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


def address_of(pool: AddressPool, resource_id: str, aws: AwsHooks, *, lock_store: str | None) -> str:
    """
    Return which address of a pool a cluster or an instance has, or had last.

    The lease says so; else the cluster's own tag, which its creating task has given it; else where the addresses are.

    :raises InvalidInputError: when none of them leads to it.
    """
    if lock_store is not None:
        for allocation_id in pool:
            lease = aws.lease_client(lock_store, allocation_id).read().record.lease
            if lease is not None and lease.resource_id == resource_id:
                return allocation_id
    cluster = read_cluster(aws.emr.conn, resource_id) if is_cluster(resource_id) else None
    tagged = None if cluster is None else cluster.tags.get(ALLOCATION_TAG)
    if tagged in pool:
        return str(tagged)
    clients = {"ec2": aws.eip.conn, "emr": aws.emr.conn}
    for allocation_id in pool:
        if resource_id in read_location(clients, allocation_id).resource_ids:
            return allocation_id
    raise InvalidInputError(
        f"looking for the Elastic IP of '{resource_id}'",
        problem=f"none of {pool} is on it or leased to it, and it has no tag '{ALLOCATION_TAG}' that names one",
        remedy="pass the address that it was given: the XCom 'allocation_id' of the task that created it",
    )


def followed_address(allocation_id: Any, *, resource_id: object, aws: AwsHooks, lock_store: str | None) -> Any:
    """
    Return the one address that a task is about; what names one, or cannot be resolved yet, is unchanged.

    :param resource_id: the cluster or the instance that has it.
    """
    if not names_pool(allocation_id) or is_nothing(resource_id):
        return allocation_id
    named = read_pool(allocation_id, aws)
    return named if isinstance(named, str) else address_of(named, str(resource_id), aws, lock_store=lock_store)
