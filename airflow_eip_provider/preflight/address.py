"""Checks of the address."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.aws.tags import ALLOCATION_TAG
from airflow_eip_provider.exceptions import AddressNotFoundError, InvalidInputError, LockStoreError, NotPermittedError
from airflow_eip_provider.lease_client.reads import parse_lease_tags
from airflow_eip_provider.preflight.finding import Check, Finding, error, not_permitted, warning
from airflow_eip_provider.stores.uri import open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.lease.record import Record
    from airflow_eip_provider.preflight.setup import Setup


@partial(Check, "address", "the address exists here, is a VPC address and can be used")
def usable(setup: Setup) -> Iterator[Finding]:
    subject, address, region = f"Elastic IP '{setup.allocation_id}'", setup.reads.address, setup.region
    if address is None:
        missing = AddressNotFoundError(setup.allocation_id, region=region)
        yield error(subject, what=missing.problem, why="there is nothing to associate", remedy=missing.remedy)
        return
    if address.domain != "vpc":
        yield error(
            subject,
            what=f"its domain is '{address.domain}' (EC2-Classic)",
            why="it cannot be associated with instances in a VPC",
            remedy="allocate a VPC address and register it in the firewall of the database",
        )
    if address.network_border_group and not address.network_border_group.startswith(region):
        yield error(
            subject,
            what=f"its network border group is '{address.network_border_group}', but the cluster runs in '{region}'",
            why="it cannot be associated with instances there",
            remedy="use an address of the cluster's region",
        )
    holder = setup.reads.holder if not address.instance_id else None
    own_gateway = holder and holder.gateway and holder.gateway.gateway_id == setup.nat_gateway_id
    if holder and holder.permanent and not own_gateway:
        yield error(
            subject,
            what=f"it belongs to {holder.description}, which never releases it",
            why="a cluster would wait for it until lock_timeout",
            remedy="use another address, or delete its holder",
        )


@partial(
    Check,
    "holder",
    "the address is free, or on the cluster that has its lease",
    at_launch=False,
    once=True,
    needs=(usable,),
)
def holder_has_lease(setup: Setup) -> Iterator[Finding]:
    """Compare the holder of the address with the lease. Permanent holders are findings of another check."""
    address, holder = setup.reads.address, setup.reads.holder
    if address is None or holder is None or holder.permanent:
        return
    lease_tags = parse_lease_tags(holder.tags, setup.allocation_id)
    record = _read_record(setup)
    if record is None:
        leased_to = ""
        has_lease = holder.tags.get(ALLOCATION_TAG) == setup.allocation_id
    elif lease := record.lease:
        leased_to = f"; the lock store has a lease of '{lease.attempt.name}' on {lease.resource_id or 'no cluster yet'}"
        is_resource = lease.resource_id is not None and lease.resource_id in {address.instance_id, holder.job_flow_id}
        has_lease = is_resource or (lease_tags is not None and lease_tags.token == lease.token)
    else:
        leased_to = "; the lock store has no lease for this address"
        has_lease = False
    if has_lease:
        return
    yield warning(
        f"Elastic IP '{setup.allocation_id}'",
        what=f"{address.public_ip} is on {holder.description}, which does not have its lease{leased_to}",
        why="every job waits until it is released, because none takes an address from its holder",
        remedy="find out who associated it (CloudTrail: AssociateAddress); aws ec2 disassociate-address "
        f"--association-id {address.association_id} releases it",
    )


def _read_record(setup: Setup) -> Record | None:
    """Read the record of the lock store. Problems of the store are findings of another check."""
    if setup.lock_store is None or setup.store_client is None:
        return None
    try:
        return open_store(setup.lock_store, setup.store_client).read(setup.allocation_id).record
    except (InvalidInputError, LockStoreError):
        return None


@partial(Check, "permission", "ec2:AssociateAddress is allowed, according to a DryRun", once=True, needs=(usable,))
def association_is_allowed(setup: Setup) -> Iterator[Finding]:
    try:
        setup.eip.check_permission(setup.allocation_id)
    except NotPermittedError as refused:
        yield not_permitted(refused)
