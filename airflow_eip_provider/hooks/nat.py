"""NAT gateways that carry an Elastic IP: the EC2 calls, typed. One that is made for a tenancy says so by its tags."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.calls import Call, Reading, error_code, perform
from airflow_eip_provider.exceptions import AddressNotFoundError, NotKnownYetError
from airflow_eip_provider.hooks.routes import restore
from airflow_eip_provider.hooks.tags import ALLOCATION_TAG, JOB_FLOW_TAG, ROUTE_TAG, as_items, tags_of

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

ALREADY_ASSOCIATED = "Resource.AlreadyAssociated"
_NOT_FOUND = frozenset({"NatGatewayNotFound", "InvalidNatGatewayID.NotFound"})
_ENDING = frozenset({"deleting", "deleted"})


@dataclass(frozen=True, slots=True)
class Gateway:
    """
    A NAT gateway.

    :param state: "pending", "available", "failed", "deleting" or "deleted" (EC2 API Reference, NatGateway).
    :param failure: the code of why it failed; ``problem`` says it in words.
    :param associations: of its addresses: allocation ID → association ID, ``None`` until EC2 shows it.
    """

    gateway_id: str
    state: str
    subnet_id: str
    vpc_id: str
    network_interface_id: str | None = None
    failure: str = ""
    problem: str = ""
    associations: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def job_flow_id(self) -> str | None:
        """The cluster that it was made for; ``None`` for one that is no tenancy's."""
        return self.tags.get(JOB_FLOW_TAG) if ALLOCATION_TAG in self.tags else None

    @property
    def is_ending(self) -> bool:
        """Whether it is being deleted, or was."""
        return self.state in _ENDING

    @property
    def routes_before(self) -> dict[str, str]:
        """What the default routes that lead to it led to before, by route table."""
        return {key.removeprefix(ROUTE_TAG): value for key, value in self.tags.items() if key.startswith(ROUTE_TAG)}


def is_gateway(name: str) -> bool:
    """Whether an id is a NAT gateway's."""
    return name.startswith("nat-")


def _gateway(item: Mapping[str, Any]) -> Gateway:
    addresses = item.get("NatGatewayAddresses", ())
    return Gateway(
        gateway_id=item["NatGatewayId"],
        state=item["State"],
        subnet_id=item["SubnetId"],
        vpc_id=item["VpcId"],
        network_interface_id=next((a["NetworkInterfaceId"] for a in addresses if a.get("NetworkInterfaceId")), None),
        failure=item.get("FailureCode") or "",
        problem=item.get("FailureMessage") or "",
        associations={a["AllocationId"]: a.get("AssociationId") for a in addresses if a.get("AllocationId")},
        tags=tags_of(item.get("Tags")),
    )


def _describe(filters: Mapping[str, list[str]]) -> Reading[list[Gateway]]:
    wanted = [{"Name": name, "Values": values} for name, values in filters.items()]
    found: list[Gateway] = []
    token: dict[str, str] = {}
    while True:
        response = yield Call("ec2", "describe_nat_gateways", {"Filter": wanted, **token})
        found.extend(_gateway(item) for item in response["NatGateways"])
        if not response.get("NextToken"):
            return found
        token = {"NextToken": response["NextToken"]}


def read_gateway(gateway_id: str) -> Reading[Gateway | None]:
    """Read one NAT gateway; ``None`` when EC2 does not know it (yet, or an hour after its end)."""
    try:
        response = yield Call("ec2", "describe_nat_gateways", {"NatGatewayIds": [gateway_id]})
    except ClientError as error:
        if error_code(error) in _NOT_FOUND or error_code(error).endswith(".Malformed"):
            return None
        raise
    return next((_gateway(item) for item in response["NatGateways"]), None)


def read_carrying_gateway(allocation_id: str) -> Reading[Gateway | None]:
    """Read the NAT gateway that an address is on, whoever made it."""
    found = yield from _describe({"state": ["pending", "available", "deleting"]})
    return next((gateway for gateway in found if allocation_id in gateway.associations), None)


def read_tenancy_gateways(job_flow_id: str, *, allocation_id: str) -> Reading[list[Gateway]]:
    """Read the NAT gateways that were made for a cluster, in any state; EC2 shows deleted ones for about an hour."""
    tags = {JOB_FLOW_TAG: job_flow_id, ALLOCATION_TAG: allocation_id}
    found = yield from _describe({f"tag:{key}": [value] for key, value in tags.items()})
    return [gateway for gateway in found if tags.items() <= gateway.tags.items()]


def read_all_tenancy_gateways() -> Reading[list[Gateway]]:
    """Read the NAT gateways that were made for tenancies and are not ending, whatever the address."""
    found = yield from _describe({"tag-key": [JOB_FLOW_TAG], "state": ["pending", "available", "failed"]})
    return [gateway for gateway in found if gateway.job_flow_id is not None and not gateway.is_ending]


def create_gateway(
    conn: Any, *, subnet_id: str, allocation_id: str, client_token: str, tags: Mapping[str, str]
) -> Gateway | None:
    """
    Make a NAT gateway that carries a free address (ec2:CreateNatGateway, ec2:CreateTags).

    EC2 never takes an address from its holder for it: it refuses, at once or by a gateway that fails (VPC User Guide,
    "Troubleshoot NAT gateways").

    :param conn: a boto3 client of EC2.
    :param client_token: the same for the same gateway, at most 64 characters: no retry makes a second one.
    :return: ``None`` when something else carries the address.
    :raises AddressNotFoundError: when it was released meanwhile.
    :raises NotKnownYetError: when an earlier try has just made the gateway with other tags.
    """
    try:
        response = conn.create_nat_gateway(
            SubnetId=subnet_id,
            AllocationId=allocation_id,
            ClientToken=client_token,
            TagSpecifications=[{"ResourceType": "natgateway", "Tags": as_items(tags)}],
        )
    except ClientError as error:
        if error_code(error) == ALREADY_ASSOCIATED:
            return None
        if error_code(error) == "InvalidAllocationID.NotFound":
            raise AddressNotFoundError(allocation_id, region=conn.meta.region_name) from error
        if error_code(error) == "IdempotentParameterMismatch":
            raise NotKnownYetError(f"NAT gateway for {allocation_id}") from error
        raise
    made = _gateway(response["NatGateway"])
    log.info("NAT gateway %s is being made for Elastic IP %s", made.gateway_id, allocation_id)
    return made


def remove_gateway(conn: Any, gateway: Gateway) -> None:
    """
    Put the default routes back that lead to a tenancy's gateway, and delete it; one that is no tenancy's is left alone.

    In this order: as long as the gateway is there, its tags say what is still to be put back. Idempotent.
    (ec2:DescribeRouteTables, ec2:ReplaceRoute, ec2:DeleteRoute, ec2:DeleteNatGateway)

    :param conn: a boto3 client of EC2.
    """
    if gateway.job_flow_id is None:
        return
    for table_id, before in gateway.routes_before.items():
        restore(conn, table_id, before=before, instead_of=gateway.gateway_id)
    if gateway.is_ending:
        return
    log.info("Deleting NAT gateway %s of cluster %s", gateway.gateway_id, gateway.job_flow_id)
    try:
        conn.delete_nat_gateway(NatGatewayId=gateway.gateway_id)
    except ClientError as error:
        if error_code(error) not in _NOT_FOUND:
            raise


def remove_gateways(conn: Any, job_flow_id: str, *, allocation_id: str) -> bool:
    """
    Remove every NAT gateway that was made for a cluster, whatever has become of it.

    :return: whether one carried the address still.
    """
    found = perform(read_tenancy_gateways(job_flow_id, allocation_id=allocation_id), {"ec2": conn})
    for gateway in found:
        remove_gateway(conn, gateway)
    return any(not gateway.is_ending for gateway in found)
