"""The addresses that an ``allocation_id`` names: one address, or a pool of which any one can be used."""

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
    """The sorted allocation IDs of several addresses, so that all tasks use them in the same order."""

    __slots__ = ()

    def __str__(self) -> str:
        return ", ".join(self)


def names_pool(allocation_id: object) -> bool:
    """Return whether an ``allocation_id`` may name several addresses; a string is a single one."""
    return _is_collection(parse_literal(allocation_id))


def _is_collection(value: object) -> bool:
    # Also the outputs of a mapped task.
    return isinstance(value, (Sequence, AbstractSet, Mapping)) and not isinstance(value, (str, bytes))


def read_pool(allocation_id: object, aws: AwsHooks) -> str | AddressPool:
    """
    Return the addresses that a rendered ``allocation_id`` names.

    :param allocation_id: one ID; a list of IDs; or a mapping such as ``{"tag:purpose": "azure-sql"}`` for all addresses
        with this tag. A list or a mapping may also be written as text.
    :return: a string for a single address, even if it is the only one of a list.
    :raises InvalidInputError: when it has another form, or no address has the tag.
    """
    parsed: Any = parse_literal(allocation_id)
    if not _is_collection(parsed):
        check_allocation_id(allocation_id)
        return str(allocation_id)
    allocation_ids = _read_tagged(parsed, aws) if isinstance(parsed, Mapping) and parsed else list(parsed)
    if not allocation_ids:
        raise InvalidInputError(
            f"checking allocation_id {parsed!r}",
            problem="this names no Elastic IP",
            remedy="give at least one allocation ID (eipalloc-…)",
        )
    for each in allocation_ids:
        check_allocation_id(each)
    pool = AddressPool(sorted(set(allocation_ids)))
    return pool if len(pool) > 1 else pool[0]


def _read_tagged(tags: Mapping[Any, Any], aws: AwsHooks) -> list[str]:
    from airflow_eip_provider.aws.addresses import read_allocation_ids

    filters: dict[str, list[str]] = {}
    for name, value in tags.items():
        values = [value] if isinstance(value, str) else value if isinstance(value, (list, tuple)) else []
        if not isinstance(name, str) or not name.startswith(_TAG) or len(name) == len(_TAG) or not values:
            raise InvalidInputError(
                f"checking allocation_id {tags!r}",
                problem=f"{name!r}: {value!r} is not a tag with a value",
                remedy='write {"tag:purpose": "azure-sql"}, or a list of allocation IDs',
            )
        filters[name] = [str(text) for text in values]
    allocation_ids = read_allocation_ids(aws.eip.conn, filters)
    if not allocation_ids:
        raise InvalidInputError(
            f"looking up the Elastic IPs with {tags!r}",
            problem=f"no address in region '{aws.eip.conn_region_name}' has this tag",
            remedy="check the region and the tag, which is case-sensitive",
        )
    return allocation_ids


def address_of(
    pool: AddressPool, resource_id: str, aws: AwsHooks, *, lock_store: str | None, gives_back: bool = False
) -> str | None:
    """
    Return the address of a pool that a cluster or an instance has, or had last.

    It is found by the lease, by the cluster's tag from its creating task, or by the associations of the addresses.

    :param gives_back: the task releases the address. Then the address may have been removed from the pool, there may be
        none, and an error of the lock store is ignored.
    :return: ``None`` only with ``gives_back``.
    :raises InvalidInputError: when the address cannot be found.
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
            log.warning(
                "The lock store does not answer; it was asked for the Elastic IP of '%s': %s", resource_id, error
            )
            return None
        if lease is not None and lease.resource_id == resource_id:
            return allocation_id
    return None


def followed_address(
    allocation_id: Any, *, resource_id: object, aws: AwsHooks, lock_store: str | None, gives_back: bool = False
) -> Any:
    """
    Return the single address of a task; a value that names one, or cannot be resolved yet, is returned unchanged.

    :param resource_id: the cluster or the instance that has the address.
    :param gives_back: as in :func:`address_of`.
    """
    if not names_pool(allocation_id) or is_nothing(resource_id):
        return allocation_id
    pool = read_pool(allocation_id, aws)
    if isinstance(pool, str):
        return pool
    return address_of(pool, str(resource_id), aws, lock_store=lock_store, gives_back=gives_back)
