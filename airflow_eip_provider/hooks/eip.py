"""The hook for Elastic IP addresses."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.exceptions import ClientError, ParamValidationError

from airflow_eip_provider.airflow_compat import AirflowNotFoundException
from airflow_eip_provider.aws.errors import error_code, is_denied
from airflow_eip_provider.aws.resource_ids import is_role_arn
from airflow_eip_provider.exceptions import (
    AddressBusyError,
    AddressNotFoundError,
    InvalidInputError,
    MissingConnectionError,
    NotKnownYetError,
    NotPermittedError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.aws.addresses import Address, Holder, Instance

# EC2's reads are eventually consistent (EC2 API, "Eventual consistency").
_NOT_KNOWN = frozenset({"InvalidNetworkInterfaceID.NotFound", "InvalidInstanceID.NotFound", "InvalidInstanceID"})
# DryRun wants a well-formed request; the interface need not exist for IAM to answer.
_NO_INTERFACE = "eni-00000000000000000"


@contextmanager
def _naming(conn_id: str | None, region_name: object) -> Iterator[None]:
    """Turn an error about the parameters of a client into one that names where they come from."""
    try:
        yield
    except (AttributeError, ParamValidationError, TypeError, ValueError) as error:
        connection = f"connection '{conn_id}'" if conn_id else "boto3's default credentials"
        region = f" in region {region_name!r}" if region_name is not None else ""
        raise InvalidInputError(
            f"making an AWS client with {connection}{region}",
            problem=f"{type(error).__name__}: {error}",
            remedy="correct the connection and its extra, region_name, botocore_config, or the environment variables "
            "of boto3 (AWS_…)",
        ) from error


class StrictConnectionMixin:
    """
    Raises an error for a missing connection, and for one with which boto3 cannot make a client.

    The stock AWS hook logs a warning for a missing connection and uses boto3's default credentials, which may be those
    of another account.
    """

    aws_conn_id: str | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        with _naming(kwargs.get("aws_conn_id"), kwargs.get("region_name")):
            super().__init__(*args, **kwargs)

    @cached_property
    def conn_config(self) -> Any:
        """The content of the connection, as the stock hook reads it."""
        with _naming(self.aws_conn_id, None):
            return super().conn_config  # type: ignore[misc]

    def get_client_type(self, region_name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """
        Return a boto3 client.

        :raises InvalidInputError: when the connection, or a parameter, has a value that boto3 does not accept.
        """
        with _naming(self.aws_conn_id, region_name):
            role_arn = self.conn_config.role_arn
            if role_arn is not None and not is_role_arn(role_arn):
                raise ValueError(f"role_arn is {role_arn!r}, not the ARN of an IAM role")
            return super().get_client_type(region_name, *args, **kwargs)  # type: ignore[misc]

    @classmethod
    def get_connection(cls, conn_id: str) -> Any:
        """
        Read an Airflow connection.

        :raises MissingConnectionError: when the connection does not exist.
        """
        try:
            return super().get_connection(conn_id)  # type: ignore[misc]
        except AirflowNotFoundException as error:
            raise MissingConnectionError(conn_id) from error


class ElasticIpHook(StrictConnectionMixin, AwsBaseHook):
    """
    Reads, associates and disassociates Elastic IP addresses.

    Takes the parameters of the Amazon provider's hooks (``aws_conn_id``, ``region_name``, ``verify``, ``config``).
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "client_type": "ec2"})

    def get_address(self, allocation_id: str) -> Address | None:
        """Return the address; ``None`` if it does not exist in this account and region (ec2:DescribeAddresses)."""
        from airflow_eip_provider.aws.addresses import read_address

        return read_address(self.conn, allocation_id)

    def get_addresses_on(self, network_interface_id: str) -> list[Address]:
        """Return the addresses that are associated with an interface (ec2:DescribeAddresses)."""
        from airflow_eip_provider.aws.addresses import read_addresses_on

        return read_addresses_on(self.conn, network_interface_id)

    def get_instance(self, instance_id: str) -> Instance | None:
        """Return an instance with its primary network interface (ec2:DescribeInstances)."""
        from airflow_eip_provider.aws.addresses import read_instance

        return read_instance(self.conn, instance_id)

    def get_holder(self, address: Address) -> Holder:
        """Return what the address is associated with (ec2:DescribeInstances, ec2:DescribeNetworkInterfaces)."""
        from airflow_eip_provider.aws.addresses import read_holder

        return read_holder(self.conn, address)

    def describe_place(self, allocation_id: str) -> str:
        """Return where the address is, as a text that follows "Elastic IP … is"."""
        address = self.get_address(allocation_id)
        if address is None:
            return "released"
        return "not associated" if address.is_free else f"on {self.get_holder(address).description}"

    def associate(self, *, allocation_id: str, network_interface_id: str) -> str:
        """
        Associate a free address with an interface, and return the AssociationId (ec2:AssociateAddress).

        It always sends ``AllowReassociation=False``. Without it EC2 takes the address from its holder without an error
        (botocore's EC2 service model, AssociateAddressRequest).

        :raises AddressBusyError: when the address is associated with something else.
        :raises AddressNotFoundError: when the address does not exist.
        :raises NotKnownYetError: when EC2 does not know the interface, as in the first seconds of a new one.
        """
        try:
            response = self.conn.associate_address(
                AllocationId=allocation_id, NetworkInterfaceId=network_interface_id, AllowReassociation=False
            )
        except ClientError as error:
            code = error_code(error)
            if code == "Resource.AlreadyAssociated":
                holder = self.describe_place(allocation_id).removeprefix("on ")
                raise AddressBusyError(allocation_id, holder=holder) from error
            if code == "InvalidAllocationID.NotFound":
                raise AddressNotFoundError(allocation_id, region=self.conn_region_name) from error
            if code in _NOT_KNOWN:
                raise NotKnownYetError(network_interface_id) from error
            raise
        return str(response["AssociationId"])

    def disassociate(self, association_id: str) -> bool:
        """
        Remove one association (ec2:DisassociateAddress).

        :return: ``False`` when it does not exist.
        """
        from airflow_eip_provider.aws.endings import disassociate

        return disassociate(self.conn, association_id)

    def check_permission(self, allocation_id: str) -> None:
        """
        Check with DryRun that this role may associate the address.

        IAM has allowed the request unless the answer is UnauthorizedOperation.

        :raises NotPermittedError: when the role may not.
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
