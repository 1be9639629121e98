"""Associating an Elastic IP with a network interface, never taking it from another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.errors import had_no_effect
from airflow_eip_provider.exceptions import AddressBusyError, AddressNotFoundError, InvalidInputError, TransientError

if TYPE_CHECKING:
    from airflow_eip_provider.aws.addresses import Address
    from airflow_eip_provider.hooks.eip import ElasticIpHook


def bound_facts(
    address: Address, *, job_flow_id: str | None, token: int | None = None, gateway_id: str | None = None
) -> dict[str, Any]:
    """
    Return the ``static_ip`` XCom.

    :param token: the fencing token of the lease; ``None`` without a lock store.
    :param gateway_id: the NAT gateway that has the address, if one does.
    """
    on = {} if gateway_id is None else {"nat_gateway_id": gateway_id}
    return {**address.facts(job_flow_id=job_flow_id), "token": token, **on}


class Binder:
    """
    Associates one Elastic IP.

    EC2's refusal to re-associate is the lock: of two concurrent requests, one gets the address and the other an error.

    :param may_have_bound: an AssociateAddress that was sent before may have taken effect.
    :ivar may_have_bound: the same, including this binder's own requests.
    :ivar association_id: the association that this binder made, once EC2 has confirmed it.
    """

    def __init__(self, hook: ElasticIpHook, allocation_id: str, *, may_have_bound: bool = False) -> None:
        self._hook = hook
        self._allocation_id = allocation_id
        self.may_have_bound = may_have_bound
        self.association_id: str | None = None

    def address(self) -> Address:
        """Return the address with its current association, or raise ``AddressNotFoundError``."""
        address = self._hook.get_address(self._allocation_id)
        if address is None:
            raise AddressNotFoundError(self._allocation_id, region=self._hook.conn_region_name)
        return address

    def place(self) -> str:
        """Describe where the address is now."""
        return self._hook.describe_place(self._allocation_id)

    def bind(self, *, network_interface_id: str, instance_id: str) -> Address | None:
        """
        Associate the address with an instance's interface, or find it there already.

        :return: the associated address; ``None`` when something else has it.
        """
        address = self.address()
        if address.is_free:
            before, self.may_have_bound = self.may_have_bound, True
            try:
                self.association_id = self._hook.associate(
                    allocation_id=self._allocation_id, network_interface_id=network_interface_id
                )
            except Exception as error:
                self.may_have_bound = before or not had_no_effect(error.__cause__ or error)
                if not isinstance(error, AddressBusyError):
                    raise
                # botocore's own retry after a lost response gets this answer too: then the address is here.
                self._hook.log.info("EC2 refused: %s", error)
                address = self.address()
                if address.is_free:
                    where = {"network_interface_id": network_interface_id, "instance_id": instance_id}
                    address = self.check_no_other(**where) or address
            else:
                # EC2's reads are eventually consistent; its response to a change is not.
                return replace(
                    address,
                    association_id=self.association_id,
                    network_interface_id=network_interface_id,
                    instance_id=instance_id,
                )
        return address if address.network_interface_id == network_interface_id else None

    def check_no_other(self, *, network_interface_id: str, instance_id: str) -> Address | None:
        """
        Check that no other Elastic IP is where the address is to be: a private address can have one.

        :return: the address, if EC2 shows it on the interface already.
        :raises TransientError: naming the other one.
        """
        instance, on_interface = self._hook.get_instance(instance_id), self._hook.get_addresses_on(network_interface_id)
        for found in on_interface:
            if found.allocation_id == self._allocation_id:
                return found
            if instance is not None and found.private_ip == instance.private_ip:
                raise TransientError(
                    f"associating Elastic IP '{self._allocation_id}' with instance '{instance_id}'",
                    problem=f"Elastic IP '{found.allocation_id}' ({found.public_ip}) is there, and the instance's "
                    "primary private address can have only one",
                    remedy="disassociate that one, or name it as allocation_id",
                )
        return None

    def check_not_beside(self, *, network_interface_id: str, instance_id: str, job_flow_id: str | None) -> None:
        """
        Check that the address is not on another interface of the target, where it would stay.

        :param job_flow_id: the cluster, if the target is the primary node of one.
        :raises InvalidInputError: naming what has the address.
        """
        address = self.address()
        if address.is_free or address.network_interface_id == network_interface_id:
            return
        holder = self._hook.get_holder(address)
        on_target = holder.job_flow_id == job_flow_id if job_flow_id else address.instance_id == instance_id
        if not on_target or (holder.gateway is not None and holder.gateway.is_ending):
            return
        target = f"cluster '{job_flow_id}'" if job_flow_id else f"instance '{instance_id}'"
        command = f"airflow-eip release --allocation-id {self._allocation_id} --job-flow-id {job_flow_id}"
        raise InvalidInputError(
            f"associating Elastic IP '{self._allocation_id}' with {target}",
            problem=f"interface '{address.network_interface_id}' of {holder.description} has it, not "
            f"'{network_interface_id}' of instance '{instance_id}'",
            remedy=f"disassociate it there first: {command}" if job_flow_id else "disassociate it there first",
        )

    def busy(self, *, waited_seconds: float) -> AddressBusyError:
        """Return the error of a wait for the address that timed out."""
        holder = self.place().removeprefix("on ").replace("not associated", "nobody now")
        return AddressBusyError(self._allocation_id, holder=holder, waited_seconds=waited_seconds)
