"""The addresses that an ``allocation_id`` names: one address, or a pool of which any one can be used."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.errors import is_transient
from airflow_eip_provider.aws.resource_ids import check_allocation_id
from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.exceptions import InvalidInputError, LockStoreError
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
    pool = _read_several(parsed, aws)
    if not pool:
        raise _nothing_tagged(parsed, aws)
    return pool if len(pool) > 1 else pool[0]


def _read_several(parsed: Any, aws: AwsHooks) -> AddressPool:
    """Return the addresses that a list or a mapping names; none when no address has the tag."""
    allocation_ids = _read_tagged(parsed, aws) if isinstance(parsed, Mapping) and parsed else list(parsed)
    if not (allocation_ids or parsed):
        raise InvalidInputError(
            f"checking allocation_id {parsed!r}",
            problem="this names no Elastic IP",
            remedy="give at least one allocation ID (eipalloc-…)",
        )
    for each in allocation_ids:
        check_allocation_id(each)
    return AddressPool(sorted(set(allocation_ids)))


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
    return read_allocation_ids(aws.eip.conn, filters)


def _nothing_tagged(tags: Any, aws: AwsHooks) -> InvalidInputError:
    return InvalidInputError(
        f"looking up the Elastic IPs with {tags!r}",
        problem=f"no address in region '{aws.eip.conn_region_name}' has this tag",
        remedy="check the region and the tag, which is case-sensitive",
    )


def followed_address(
    allocation_id: Any, *, resource_id: object, aws: AwsHooks, lock_store: str | None, gives_back: bool = False
) -> Any:
    """
    Return the single address of a task; a value that names one, or cannot be resolved yet, is returned unchanged.

    The resource may have an address that has left the pool. If none can be found, the only one of a pool is returned.

    :param resource_id: the cluster or the instance that has the address.
    :param gives_back: as in :func:`address_of`; then the result may be ``None``.
    :raises InvalidInputError: when the address cannot be found.
    """
    if not names_pool(allocation_id) or is_nothing(resource_id):
        return allocation_id
    parsed = parse_literal(allocation_id)
    pool = _read_several(parsed, aws)
    found = address_of(pool, str(resource_id), aws, lock_store=lock_store, gives_back=gives_back)
    if found is not None:
        return found
    if not pool:
        raise _nothing_tagged(parsed, aws)
    if len(pool) == 1:
        return pool[0]
    if gives_back:
        log.info("'%s' has none of the Elastic IPs %s", resource_id, pool)
        return None
    raise not_found(pool, str(resource_id))


def not_found(pool: AddressPool, resource_id: str) -> InvalidInputError:
    """Return the error when :func:`address_of` finds no address."""
    return InvalidInputError(
        f"looking for the Elastic IP of '{resource_id}'",
        problem=f"none of {pool} is on it or leased to it, and it has no tag '{ALLOCATION_TAG}' that names one",
        remedy="pass the address that it was given: the XCom 'allocation_id' of the task that created it",
    )


def address_of(
    pool: AddressPool, resource_id: str, aws: AwsHooks, *, lock_store: str | None, gives_back: bool = False
) -> str | None:
    """
    Return the address that a cluster or an instance has, or had last; ``None`` when it cannot be found.

    It is found by the lease, by the cluster's tag from its creating task, or by the associations of the addresses.
    While it is in use it may have left the pool: a tag was removed from it, or the list of the DAG has changed. An
    address outside the pool is returned only if its lease or the cluster's tag names it, as any other address on the
    resource may be somebody else's.

    :param gives_back: the task releases the address. Then a lock store that does not answer is passed over, unless
        nothing else shows which address it is.
    :raises Exception: the error of a lock store that does not answer.
    """
    from airflow_eip_provider.aws.clusters import read_cluster
    from airflow_eip_provider.lease_client.reads import is_cluster, read_location

    leases = _LeaseSearch(resource_id, aws, lock_store, is_patient=gives_back)
    if (leased := leases.find(pool)) is not None:
        return leased
    cluster = read_cluster(aws.emr.conn, resource_id) if is_cluster(resource_id) else None
    tagged = None if cluster is None else cluster.tags.get(ALLOCATION_TAG)
    if lock_store is None and tagged in pool:
        return tagged
    outside = [name for name in _addresses_on(resource_id, aws) if name not in pool]
    if tagged is not None and tagged not in {*pool, *outside}:
        outside.append(tagged)
    if (leased := leases.find_outside(outside)) is not None or tagged in pool:
        return leased or tagged
    clients = {"ec2": aws.eip.conn, "emr": aws.emr.conn}
    for allocation_id in pool:
        if resource_id in read_location(clients, allocation_id).resource_ids:
            return allocation_id
    if tagged is not None:
        return tagged
    if leases.unanswered is not None:
        raise leases.unanswered
    if outside:
        log.warning(
            "'%s' has Elastic IP %s, which is none of those that allocation_id names, and no lease shows that a task "
            "of this provider has associated it: it is left alone. If it is to be released, name it as allocation_id",
            resource_id,
            ", ".join(outside),
        )
    return None


def _addresses_on(resource_id: str, aws: AwsHooks) -> list[str]:
    """Return the addresses on an instance, or on the primary instance of a cluster."""
    from airflow_eip_provider.aws.addresses import read_allocation_ids, read_primaries
    from airflow_eip_provider.lease_client.reads import is_cluster

    instance_id = resource_id
    if is_cluster(resource_id):
        primary = read_primaries(aws.eip.conn, [resource_id]).get(resource_id)
        if primary is None:
            return []
        instance_id = primary.instance_id
    return read_allocation_ids(aws.eip.conn, {"instance-id": [instance_id]})


class _LeaseSearch:
    """
    Searches records for the lease of a resource.

    :param is_patient: pass over a lock store that does not answer.
    :ivar unanswered: the error of that lock store.
    """

    def __init__(self, resource_id: str, aws: AwsHooks, lock_store: str | None, *, is_patient: bool) -> None:
        self._resource_id = resource_id
        self._aws = aws
        self._lock_store = lock_store
        self._is_patient = is_patient
        self.unanswered: Exception | None = None

    def find(self, allocation_ids: Sequence[str]) -> str | None:
        """Return the address whose lease the resource has."""
        return next((name for name in allocation_ids if self._has_lease_of(name)), None)

    def find_outside(self, allocation_ids: Sequence[str]) -> str | None:
        """Do the same for addresses outside the pool, whose records the task may not be allowed to read."""
        for allocation_id in allocation_ids:
            try:
                if self._has_lease_of(allocation_id):
                    return allocation_id
            except LockStoreError as error:
                log.warning(
                    "Whether '%s' has the lease of %s is not known: %s", self._resource_id, allocation_id, error
                )
        return None

    def _has_lease_of(self, allocation_id: str) -> bool:
        if self._lock_store is None or self.unanswered is not None:
            return False
        try:
            lease = self._aws.lease_client(self._lock_store, allocation_id).read().record.lease
        except Exception as error:
            if not self._is_patient or not is_transient(error):
                raise
            log.warning(
                "The lock store does not answer; it was asked for the Elastic IP of '%s': %s", self._resource_id, error
            )
            self.unanswered = error
            return False
        return lease is not None and lease.resource_id == self._resource_id
