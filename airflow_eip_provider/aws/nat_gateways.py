"""NAT gateways with Elastic IPs. The tags of a gateway name the cluster that it was created for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.errors import IgnoreCodes
from airflow_eip_provider.aws.pages import as_filters, read_pages
from airflow_eip_provider.aws.routes import NO_ROUTE
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, JOB_FLOW_TAG, OWNER_DIGEST_TAG, ROUTE_TAG, tags_of
from airflow_eip_provider.exceptions import InvalidInputError, TransientError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from airflow_eip_provider.aws.routes import RouteTable

NO_SUCH_GATEWAY = frozenset({"NatGatewayNotFound", "InvalidNatGatewayID.NotFound"})
_MALFORMED = ("InvalidNatGatewayID.Malformed", "NatGatewayMalformed")
_ENDING = frozenset({"deleting", "deleted"})


@dataclass(frozen=True, slots=True)
class Gateway:
    """
    A NAT gateway.

    :param state: "pending", "available", "failed", "deleting" or "deleted" (EC2 API Reference, NatGateway).
    :param failure: the code of the reason why it failed, and ``problem`` its text.
    :param associations: the association IDs of its addresses by allocation ID; ``None`` until EC2 shows them.
    :param created_at: when CreateNatGateway was called.
    """

    gateway_id: str
    state: str
    network_interface_id: str | None = None
    failure: str = ""
    problem: str = ""
    associations: Mapping[str, str | None] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None

    @property
    def job_flow_id(self) -> str | None:
        """The cluster that it was created for; ``None`` if it was not created for a cluster."""
        return self.tags.get(JOB_FLOW_TAG) if ALLOCATION_TAG in self.tags else None

    @property
    def is_ending(self) -> bool:
        """Whether it is being deleted or was deleted."""
        return self.state in _ENDING

    @property
    def routes_before(self) -> dict[str, str]:
        """The previous targets of the default routes that lead to it, by route table."""
        return {key.removeprefix(ROUTE_TAG): value for key, value in self.tags.items() if key.startswith(ROUTE_TAG)}


def is_gateway(name: str) -> bool:
    """Whether an ID is that of a NAT gateway."""
    return name.startswith("nat-")


def gateway_of(item: Mapping[str, Any]) -> Gateway:
    """Parse a gateway of a response; a regional one is in no subnet and may have no interface."""
    addresses = item.get("NatGatewayAddresses") or ()
    return Gateway(
        gateway_id=item["NatGatewayId"],
        state=item["State"],
        network_interface_id=next((a["NetworkInterfaceId"] for a in addresses if a.get("NetworkInterfaceId")), None),
        failure=item.get("FailureCode") or "",
        problem=item.get("FailureMessage") or "",
        associations={a["AllocationId"]: a.get("AssociationId") for a in addresses if a.get("AllocationId")},
        tags=tags_of(item.get("Tags")),
        created_at=item.get("CreateTime"),
    )


def _describe(ec2: Any, filters: Mapping[str, list[str]]) -> list[Gateway]:
    items = read_pages(ec2.describe_nat_gateways, "NatGateways", Filter=as_filters(filters))
    return [gateway_of(item) for item in items]


def read_gateway(ec2: Any, gateway_id: str) -> Gateway | None:
    """Read one NAT gateway; ``None`` if EC2 does not show it yet, or no longer, an hour after its deletion."""
    with IgnoreCodes(*NO_SUCH_GATEWAY, *_MALFORMED):
        response = ec2.describe_nat_gateways(NatGatewayIds=[gateway_id])
        return next((gateway_of(item) for item in response["NatGateways"]), None)
    return None


def read_origin(
    ec2: Any, emr: Any, table: RouteTable, *, allocation_ids: Collection[str], owner_digest: str | None = None
) -> str:
    """
    Read the target that a default route has without the gateway of a cluster: an ID, or :data:`NO_ROUTE`.

    If an earlier cluster has left its route behind, the tags of its gateway name that target.

    :param allocation_ids: the address; or each one that the cluster may get.
    :param owner_digest: of the task; its own cluster, which an earlier try launched, is no reason for an error.
    :raises InvalidInputError: if the route leads to the gateway of a cluster that has not ended, and the gateway does
        not have every one of these addresses.
    """
    target = table.default_route
    gateway = read_gateway(ec2, target) if is_gateway(target) else None
    if gateway is None or gateway.job_flow_id is None:
        return target
    is_own = owner_digest is not None and gateway.tags.get(OWNER_DIGEST_TAG) == owner_digest
    has_all = gateway.associations.keys() >= set(allocation_ids)
    if not (is_own or gateway.is_ending or has_all or _is_left(emr, gateway)):
        raise _in_use(table, f"it leads to {_described(gateway)}")
    return gateway.routes_before.get(table.table_id, NO_ROUTE)


def check_replaceable(ec2: Any, emr: Any, table: RouteTable, *, gateway: Gateway) -> None:
    """
    Check that the default route of a table may be changed to a cluster's new gateway.

    It may be if the route has the target that the gateway's tags name, or leads to a gateway that is ending or was
    deleted, or whose cluster has ended. Of two gateways whose tags name the same table, the older one gets the route:
    it was created minutes ago, so every read shows it, while a read of the table may not show yet that its route was
    changed.

    :raises InvalidInputError: if a cluster with another address uses the table.
    :raises TransientError: if others have changed the route since the gateway was created: its tags do not name their
        target, so it could not be restored.
    """
    before, target = gateway.routes_before[table.table_id], table.default_route
    if target != before:
        present = read_gateway(ec2, target) if is_gateway(target) else None
        if present is not None:
            is_unused = present.is_ending or _is_left(emr, present)
        else:
            is_unused = is_gateway(target) and table.is_blackhole
        if present is not None and not is_unused and _has_another_address(present, gateway):
            raise _in_use(table, f"it leads to {_described(present)}")
        if not is_unused:
            raise TransientError(
                f"changing the default route of '{table.table_id}'",
                problem=f"its target was '{before}' when NAT gateway '{gateway.gateway_id}' was created, and is now "
                f"'{target}'",
                remedy="do not change this route while a cluster starts; a retry restores the new target afterwards",
            )
    for other in _describe(ec2, {"tag-key": [f"{ROUTE_TAG}{table.table_id}"], "state": ["pending", "available"]}):
        is_first = _has_another_address(other, gateway) and _age_key(other) < _age_key(gateway)
        if is_first and not _is_left(emr, other):
            raise _in_use(table, f"it is also used by {_described(other)}, which was created earlier,")


def _in_use(table: RouteTable, problem: str) -> InvalidInputError:
    return InvalidInputError(
        f"changing the default route of '{table.table_id}'",
        problem=f"{problem} with another Elastic IP",
        remedy="use separate route tables for each Elastic IP",
    )


def _described(gateway: Gateway) -> str:
    return f"NAT gateway '{gateway.gateway_id}' of cluster '{gateway.job_flow_id}'"


def _has_another_address(other: Gateway, gateway: Gateway) -> bool:
    """Whether a gateway is that of a cluster with another address, and is not ending."""
    is_of_cluster = other.job_flow_id is not None and not other.is_ending
    return is_of_cluster and other.tags[ALLOCATION_TAG] != gateway.tags[ALLOCATION_TAG]


def _is_left(emr: Any, gateway: Gateway) -> bool:
    """Whether the cluster of a gateway has ended; the gateway's next owner, or the reaper, removes it."""
    cluster = read_cluster(emr, gateway.job_flow_id) if gateway.job_flow_id else None
    return cluster is not None and cluster.has_ended


def _age_key(gateway: Gateway) -> tuple[float, str]:
    return (gateway.created_at.timestamp() if gateway.created_at else 0.0, gateway.gateway_id)


def read_carrying_gateway(ec2: Any, allocation_id: str) -> Gateway | None:
    """Read the NAT gateway that an address is associated with, whoever created it."""
    gateways = _describe(ec2, {"state": ["pending", "available", "deleting"]})
    return next((gateway for gateway in gateways if allocation_id in gateway.associations), None)


def read_cluster_gateways(ec2: Any, job_flow_id: str, *, allocation_id: str | None) -> list[Gateway]:
    """
    Read the NAT gateways that were created for a cluster; EC2 shows deleted ones for about an hour.

    :param allocation_id: their address; ``None`` for any.
    """
    tags = {JOB_FLOW_TAG: job_flow_id}
    if allocation_id is not None:
        tags[ALLOCATION_TAG] = allocation_id
    gateways = _describe(ec2, {f"tag:{key}": [value] for key, value in tags.items()})
    return [gateway for gateway in gateways if tags.items() <= gateway.tags.items()]


def read_all_cluster_gateways(ec2: Any) -> list[Gateway]:
    """Read the NAT gateways that were created for clusters and are not being deleted, with any address."""
    gateways = _describe(ec2, {"tag-key": [JOB_FLOW_TAG], "state": ["pending", "available", "failed"]})
    return [gateway for gateway in gateways if gateway.job_flow_id is not None and not gateway.is_ending]
