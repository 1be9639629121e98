"""The hook's AssociateAddress: its request, and the error for each refusal of EC2."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_eip_provider.exceptions import AddressBusyError, AddressNotFoundError, NotKnownYetError, NotPermittedError
from airflow_eip_provider.hooks.eip import ElasticIpHook

SENT = {"AllocationId": "eipalloc-1", "NetworkInterfaceId": "eni-1", "AllowReassociation": False}
FREE = {"Addresses": [{"AllocationId": "eipalloc-1", "PublicIp": "203.0.113.1"}]}


@pytest.fixture
def hook(monkeypatch, stubbed):
    def make(*answers):
        client = stubbed("ec2", *answers)
        monkeypatch.setattr(ElasticIpHook, "conn", client)
        return ElasticIpHook(aws_conn_id=None, region_name="eu-west-1")

    return make


def test_associate_never_reassociates_an_address(hook):
    made = hook(("associate_address", {"AssociationId": "eipassoc-1"}, SENT))
    assert made.associate(allocation_id="eipalloc-1", network_interface_id="eni-1") == "eipassoc-1"


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("Resource.AlreadyAssociated", AddressBusyError),
        ("InvalidAllocationID.NotFound", AddressNotFoundError),
        ("InvalidNetworkInterfaceID.NotFound", NotKnownYetError),
        ("RequestLimitExceeded", ClientError),
    ],
)
def test_each_refusal_of_ec2_has_its_own_error(hook, code, error):
    place = [("describe_addresses", FREE)] if error is AddressBusyError else []
    with pytest.raises(error):
        hook(("associate_address", code, SENT), *place).associate(
            allocation_id="eipalloc-1", network_interface_id="eni-1"
        )


def test_only_a_dry_run_that_iam_refuses_means_no_permission(hook):
    hook(("associate_address", "DryRunOperation")).check_permission("eipalloc-1")
    hook(("associate_address", "InvalidNetworkInterfaceID.NotFound")).check_permission("eipalloc-1")
    with pytest.raises(NotPermittedError, match="ec2:AssociateAddress"):
        hook(("associate_address", "UnauthorizedOperation")).check_permission("eipalloc-1")


def test_describe_place_returns_a_text(hook):
    made = hook(("describe_addresses", "InvalidAllocationID.NotFound"), ("describe_addresses", FREE))
    assert [made.describe_place("eipalloc-1") for _ in range(2)] == ["released", "not associated"]
