"""NAT gateways that carry an Elastic IP; one that is made for a cluster says so by its tags."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.errors import error_code
from airflow_eip_provider.aws.pages import read_pages
from airflow_eip_provider.aws.routes import NO_ROUTE
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, JOB_FLOW_TAG, ROUTE_TAG, tags_of
from airflow_eip_provider.exceptions import InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eip_provider.aws.routes import RouteTable

NO_SUCH_GATEWAY = frozenset({"NatGatewayNotFound", "InvalidNatGatewayID.NotFound"})
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
    network_interface_id: str | None = None
    failure: str = ""
    problem: str = ""
    associations: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def job_flow_id(self) -> str | None:
        """The cluster that it was made for; ``None`` for one that was made for none."""
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


def gateway_of(item: Mapping[str, Any]) -> Gateway:
    """Return a gateway as an answer of EC2 shows it; a regional one is in no subnet, and may have no interface."""
    addresses = item.get("NatGatewayAddresses") or ()
    return Gateway(
        gateway_id=item["NatGatewayId"],
        state=item["State"],
        network_interface_id=next((a["NetworkInterfaceId"] for a in addresses if a.get("NetworkInterfaceId")), None),
        failure=item.get("FailureCode") or "",
        problem=item.get("FailureMessage") or "",
        associations={a["AllocationId"]: a.get("AssociationId") for a in addresses if a.get("AllocationId")},
        tags=tags_of(item.get("Tags")),
    )


def _describe(ec2: Any, filters: Mapping[str, list[str]]) -> list[Gateway]:
    wanted = [{"Name": name, "Values": values} for name, values in filters.items()]
    return [gateway_of(item) for item in read_pages(ec2.describe_nat_gateways, "NatGateways", Filter=wanted)]


def read_gateway(ec2: Any, gateway_id: str) -> Gateway | None:
    """Read one NAT gateway; ``None`` when EC2 does not know it (yet, or an hour after its end)."""
    try:
        response = ec2.describe_nat_gateways(NatGatewayIds=[gateway_id])
    except ClientError as error:
        if error_code(error) in NO_SUCH_GATEWAY or error_code(error).endswith(".Malformed"):
            return None
        raise
    return next((gateway_of(item) for item in response["NatGateways"]), None)


def read_origin(ec2: Any, table: RouteTable, *, allocation_id: str) -> str:
    """
    Read what a default route leads to when no cluster's gateway has replaced it: an id, or :data:`NO_ROUTE`.

    A route that an earlier cluster with this address has left behind leads where its gateway says that it came from.

    :raises InvalidInputError: when it leads to a gateway for another address.
    """
    target = table.default_route
    gateway = read_gateway(ec2, target) if is_gateway(target) else None
    if gateway is None or gateway.job_flow_id is None:
        return target
    if allocation_id not in gateway.associations and not gateway.is_ending:
        raise InvalidInputError(
            f"changing the default route of '{table.table_id}'",
            problem=f"it leads to NAT gateway '{target}' of cluster '{gateway.job_flow_id}', which has another "
            "Elastic IP",
            remedy="give each Elastic IP route tables of its own",
        )
    return gateway.routes_before.get(table.table_id, NO_ROUTE)


def read_carrying_gateway(ec2: Any, allocation_id: str) -> Gateway | None:
    """Read the NAT gateway that an address is on, whoever made it."""
    found = _describe(ec2, {"state": ["pending", "available", "deleting"]})
    return next((gateway for gateway in found if allocation_id in gateway.associations), None)


def read_cluster_gateways(ec2: Any, job_flow_id: str, *, allocation_id: str) -> list[Gateway]:
    """Read the NAT gateways that were made for a cluster, in any state; EC2 shows deleted ones for about an hour."""
    tags = {JOB_FLOW_TAG: job_flow_id, ALLOCATION_TAG: allocation_id}
    found = _describe(ec2, {f"tag:{key}": [value] for key, value in tags.items()})
    return [gateway for gateway in found if tags.items() <= gateway.tags.items()]


def read_all_cluster_gateways(ec2: Any) -> list[Gateway]:
    """Read the NAT gateways that were made for clusters and are not ending, whatever the address."""
    found = _describe(ec2, {"tag-key": [JOB_FLOW_TAG], "state": ["pending", "available", "failed"]})
    return [gateway for gateway in found if gateway.job_flow_id is not None and not gateway.is_ending]
