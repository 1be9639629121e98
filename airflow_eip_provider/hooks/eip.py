"""The hook for Elastic IP addresses: bind, take off, and what is read of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError

from airflow_eip_provider.airflow_compat import AirflowNotFoundException
from airflow_eip_provider.aws.errors import error_code, is_denied
from airflow_eip_provider.exceptions import (
    AddressBusyError,
    AddressNotFoundError,
    MissingConnectionError,
    NotKnownYetError,
    NotPermittedError,
)

if TYPE_CHECKING:
    from airflow_eip_provider.aws.addresses import Address, Holder, Instance

# EC2's reads are eventually consistent (EC2 API, "Eventual consistency").
_NOT_KNOWN = frozenset({"InvalidNetworkInterfaceID.NotFound", "InvalidInstanceID.NotFound", "InvalidInstanceID"})
# DryRun wants a well-formed request; the interface need not exist for IAM to answer.
_NO_INTERFACE = "eni-00000000000000000"


class StrictConnectionMixin:
    """
    Make a missing connection an error.

    The stock AWS hook logs a warning and goes on with boto3's default credentials, which may be another account's.
    """

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """
        Read an Airflow connection.

        :raises MissingConnectionError: when it does not exist.
        """
        try:
            return super().get_connection(conn_id)  # type: ignore[misc]
        except AirflowNotFoundException as error:
            raise MissingConnectionError(conn_id) from error


class ElasticIpHook(StrictConnectionMixin, AwsBaseHook):
    """
    EC2 address calls, typed.

    Takes the parameters of the Amazon provider's hooks (``aws_conn_id``, ``region_name``, ``verify``, ``config``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "ec2"})

    def get_address(self, allocation_id: str) -> Address | None:
        """Return where the address is now; ``None`` when there is no such address here (ec2:DescribeAddresses)."""
        from airflow_eip_provider.aws.addresses import read_address

        return read_address(self.conn, allocation_id)

    def get_instance(self, instance_id: str) -> Instance | None:
        """Return an instance with its primary network interface (ec2:DescribeInstances)."""
        from airflow_eip_provider.aws.addresses import read_instance

        return read_instance(self.conn, instance_id)

    def get_holder(self, address: Address) -> Holder:
        """Say who carries the address (ec2:DescribeInstances, ec2:DescribeNetworkInterfaces)."""
        from airflow_eip_provider.aws.addresses import read_holder

        return read_holder(self.conn, address)

    def describe_place(self, allocation_id: str) -> str:
        """Say in words where the address is now."""
        address = self.get_address(allocation_id)
        if address is None:
            return "released"
        return "not associated" if address.is_free else f"on {self.get_holder(address).description}"

    def associate(self, *, allocation_id: str, network_interface_id: str) -> str:
        """
        Bind a free address to an interface and return the AssociationId (ec2:AssociateAddress).

        ``AllowReassociation=False`` is always sent: AWS takes an address from its holder silently without it
        (botocore's EC2 service model, AssociateAddressRequest).

        :raises AddressBusyError: when something else carries the address.
        :raises AddressNotFoundError: when it was released meanwhile.
        :raises NotKnownYetError: when EC2 does not know the interface, which is so for a new one's first seconds.
        """
        try:
            response = self.conn.associate_address(
                AllocationId=allocation_id, NetworkInterfaceId=network_interface_id, AllowReassociation=False
            )
        except ClientError as error:
            if error_code(error) == "Resource.AlreadyAssociated":
                place = self.describe_place(allocation_id)
                raise AddressBusyError(allocation_id, holder=place.removeprefix("on ")) from error
            if error_code(error) == "InvalidAllocationID.NotFound":
                raise AddressNotFoundError(allocation_id, region=self.conn_region_name) from error
            if error_code(error) in _NOT_KNOWN:
                raise NotKnownYetError(network_interface_id) from error
            raise
        return str(response["AssociationId"])

    def disassociate(self, association_id: str) -> bool:
        """
        Undo one association (ec2:DisassociateAddress).

        :return: ``False`` when it no longer exists.
        """
        from airflow_eip_provider.aws.endings import disassociate

        return disassociate(self.conn, association_id)

    def check_permission(self, allocation_id: str) -> None:
        """
        Ask IAM, with DryRun, whether this role may associate the address; nothing is changed.

        Any answer but UnauthorizedOperation means that IAM let the request through.

        :raises NotPermittedError: when it may not.
        """
        try:
            self.conn.associate_address(
                AllocationId=allocation_id,
                NetworkInterfaceId=_NO_INTERFACE,
                AllowReassociation=False,
                DryRun=True,
            )
        except ClientError as error:
            if is_denied(error):
                raise NotPermittedError("ec2:AssociateAddress", resource=allocation_id) from error
