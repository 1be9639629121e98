"""Checks of the address itself."""

from __future__ import annotations

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


def _usable(setup: Setup) -> Iterator[Finding]:
    subject, address, region = f"Elastic IP '{setup.allocation_id}'", setup.address, setup.region
    if address is None:
        missing = AddressNotFoundError(setup.allocation_id, region=region)
        yield error(subject, what=missing.problem, why="there is nothing to bind", mend=missing.remedy)
        return
    if address.domain != "vpc":
        yield error(
            subject,
            what=f"its domain is '{address.domain}' (EC2-Classic)",
            why="instances in a VPC cannot carry it",
            mend="allocate a VPC address and register that with the database's firewall",
        )
    if address.network_border_group and not address.network_border_group.startswith(region):
        yield error(
            subject,
            what=f"it is advertised from '{address.network_border_group}', the cluster runs in '{region}'",
            why="no instance there can carry it",
            mend="use an address of the cluster's region",
        )
    if not address.is_free and not address.instance_id:
        holder = setup.holder
        if (
            holder
            and holder.permanent
            and (holder.gateway is None or holder.gateway.gateway_id != setup.nat_gateway_id)
        ):
            yield error(
                subject,
                what=f"it belongs to {holder.description}, which keeps it as long as it exists",
                why="a cluster would wait for it until lock_timeout",
                mend="use another address, or delete what holds this one",
            )


USABLE = Check("address", "the address exists here, is a VPC address and can be had", _usable)


def _holder(setup: Setup) -> Iterator[Finding]:
    """Compare who carries the address with who may; what keeps it for good is another check's finding."""
    address, holder = setup.address, setup.holder
    if address is None or holder is None or holder.permanent:
        return
    rightly = {address.instance_id, holder.job_flow_id} - {None}
    lease_tags = parse_lease_tags(holder.tags, setup.allocation_id)
    record = _record(setup)
    if record is None:
        says = ""
        accounted_for = holder.tags.get(ALLOCATION_TAG) == setup.allocation_id
    elif lease := record.lease:
        says = f"; the lock store says: '{lease.attempt.name}' has it, on {lease.resource_id or 'no cluster yet'}"
        accounted_for = lease.resource_id in rightly or (lease_tags is not None and lease_tags.token == lease.token)
    else:
        says = "; the lock store says: nobody has it"
        accounted_for = False
    if accounted_for:
        return
    yield warning(
        f"Elastic IP '{setup.allocation_id}'",
        what=f"{address.public_ip} is on {holder.description}, which no lease accounts for{says}",
        why="nothing takes it from there, so every job waits until whoever bound it frees it",
        mend=f"find out who did (CloudTrail: AssociateAddress); aws ec2 disassociate-address --association-id "
        f"{address.association_id} frees it",
    )


def _record(setup: Setup) -> Record | None:
    """Read what the lock store knows; what is wrong with the store is another check's finding."""
    if setup.lock_store is None or setup.store_client is None:
        return None
    try:
        return open_store(setup.lock_store, setup.store_client).read(setup.allocation_id).record
    except (InvalidInputError, LockStoreError):
        return None


HOLDER = Check(
    "holder",
    "the address is free, or on a cluster that has the right to it",
    _holder,
    at_launch=False,
    once=True,
    needs=(USABLE,),
)


def _permission(setup: Setup) -> Iterator[Finding]:
    try:
        setup.eip.check_permission(setup.allocation_id)
    except NotPermittedError as refused:
        yield not_permitted(refused)


PERMISSION = Check(
    "permission", "ec2:AssociateAddress is allowed, says a DryRun", _permission, once=True, needs=(USABLE,)
)
