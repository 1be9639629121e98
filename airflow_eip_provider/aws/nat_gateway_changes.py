"""Creates and removes NAT gateways for clusters."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider import clock
from airflow_eip_provider.aws.addresses import read_address, read_holder
from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.endings import disassociate
from airflow_eip_provider.aws.errors import IgnoreCodes, error_code, is_denied
from airflow_eip_provider.aws.lag import until_shown
from airflow_eip_provider.aws.nat_gateways import (
    NO_SUCH_GATEWAY,
    Gateway,
    gateway_of,
    is_gateway,
    read_cluster_gateways,
    read_gateway,
)
from airflow_eip_provider.aws.route_changes import restore_default_route
from airflow_eip_provider.aws.routes import ANYWHERE
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, BINDING_TAG, CLUSTER_GATEWAY, as_items
from airflow_eip_provider.exceptions import AddressNotFoundError, NotKnownYetError, NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_eip_provider.aws.clusters import Cluster

log = logging.getLogger(__name__)

ALREADY_ASSOCIATED = "Resource.AlreadyAssociated"
# Even on a busy Airflow a task continues this soon, when the gateway for which it waits has become available.
_ROUTED_WITHIN_SECONDS = 3600
# DryRun needs a well-formed request, but not an existing gateway.
_NO_GATEWAY = "nat-00000000000000000"


def create_gateway(
    conn: Any, *, subnet_id: str, allocation_id: str, client_token: str, tags: Mapping[str, str]
) -> Gateway | None:
    """
    Create a NAT gateway with a free address (ec2:CreateNatGateway, ec2:CreateTags).

    EC2 never takes an address from its holder for this: it refuses the request, or the gateway fails (VPC User Guide,
    "Troubleshoot NAT gateways").

    :param conn: a boto3 client of EC2.
    :param client_token: the same for the same gateway, at most 64 characters, so that a retry creates no second one.
    :return: ``None`` when the address is associated with something else.
    :raises AddressNotFoundError: when the address was released meanwhile.
    :raises NotKnownYetError: when an earlier try has just created the gateway with other tags.
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
    gateway = gateway_of(response["NatGateway"])
    log.info("Creating NAT gateway %s for Elastic IP %s", gateway.gateway_id, allocation_id)
    return gateway


def remove_gateway(conn: Any, gateway: Gateway, *, patient: bool = True) -> None:
    """
    Restore the default routes that lead to a cluster's gateway, then delete it. It does nothing to other gateways.

    The order matters: the tags of the gateway say what to restore. If its routes may have been changed a moment ago,
    and a read does not show that, it is repeated for a minute, if ``patient``. Idempotent.
    (ec2:DescribeRouteTables, ec2:ReplaceRoute, ec2:DeleteRoute, ec2:DeleteNatGateway)

    :param conn: a boto3 client of EC2.
    """
    if gateway.job_flow_id is None:
        return
    remaining = gateway.routes_before

    def restore() -> bool:
        for table_id, before in list(remaining.items()):
            if restore_default_route(conn, table_id, before=before, instead_of=gateway.gateway_id):
                del remaining[table_id]
        return not remaining

    if patient and _may_have_new_routes(gateway):
        until_shown(restore)
    else:
        restore()
    if gateway.is_ending:
        return
    log.info("Deleting NAT gateway %s of cluster %s", gateway.gateway_id, gateway.job_flow_id)
    with IgnoreCodes(*NO_SUCH_GATEWAY):
        conn.delete_nat_gateway(NatGatewayId=gateway.gateway_id)


def _may_have_new_routes(gateway: Gateway) -> bool:
    """
    Whether a read may not show yet that the routes were changed to a gateway.

    That is done when the gateway is available, so not while it is pending: then a killed task, which has only seconds,
    does not wait. When the gateway is being deleted, the routes have been restored.
    """
    age = clock.time() - gateway.created_at.timestamp() if gateway.created_at else 0.0
    return gateway.state == "available" and age < _ROUTED_WITHIN_SECONDS


def remove_gateways(conn: Any, job_flow_id: str, *, allocation_id: str | None, patient: bool = True) -> bool:
    """
    Remove every NAT gateway that was created for a cluster, in whatever state.

    :param allocation_id: only gateways with this address; ``None`` for any address.
    :param patient: as in :func:`remove_gateway`.
    :return: whether EC2 shows any; it may not show a new one yet.
    """
    gateways = read_cluster_gateways(conn, job_flow_id, allocation_id=allocation_id)
    for gateway in gateways:
        remove_gateway(conn, gateway, patient=patient)
    return bool(gateways)


def is_behind_own_gateway(cluster: Cluster) -> bool:
    """Whether the address of a cluster is on a NAT gateway that was created for the cluster."""
    return cluster.tags.get(BINDING_TAG) == CLUSTER_GATEWAY


def remove_own_gateways(ec2: Any, cluster: Cluster, *, allocation_id: str) -> None:
    """Remove the NAT gateways that were created for a cluster, if its binding creates any."""
    if is_behind_own_gateway(cluster):
        remove_gateways(ec2, cluster.job_flow_id, allocation_id=allocation_id)


def find_denied_actions(
    conn: Any, *, subnet_id: str, allocation_id: str, table_ids: Sequence[str]
) -> Iterator[NotPermittedError]:
    """
    Check with DryRun whether IAM allows creating a gateway and changing routes; nothing is changed.

    Every response except UnauthorizedOperation means that IAM allows the request. DeleteNatGateway cannot be checked:
    policies allow it by the tags of an existing gateway.

    :param conn: a boto3 client of EC2.
    :return: an error for each action that is not allowed.
    """
    tags = [{"ResourceType": "natgateway", "Tags": as_items({ALLOCATION_TAG: allocation_id})}]
    creation = {"SubnetId": subnet_id, "AllocationId": allocation_id, "TagSpecifications": tags}
    requests: list[tuple[str, str, dict[str, Any]]] = [("create_nat_gateway", subnet_id, creation)]
    for table_id in table_ids:
        route = {"RouteTableId": table_id, "DestinationCidrBlock": ANYWHERE}
        to_gateway = {**route, "NatGatewayId": _NO_GATEWAY}
        requests += [(operation, table_id, to_gateway) for operation in ("create_route", "replace_route")]
        requests.append(("delete_route", table_id, route))
    for operation, resource, parameters in requests:
        try:
            getattr(conn, operation)(**parameters, DryRun=True)
        except ClientError as error:
            if not is_denied(error):
                continue
            action = conn.meta.method_to_api_mapping[operation]
            yield NotPermittedError(f"ec2:{action}", resource=resource)


def remove_association(conn: Any, association_id: str, *, patient: bool = True) -> bool:
    """
    Undo one association, or remove the NAT gateway that has the address.

    :param conn: a boto3 client of EC2.
    :param association_id: of the association, or of the NAT gateway.
    :param patient: as in :func:`remove_gateway`.
    :return: whether it existed.
    """
    if not is_gateway(association_id):
        return disassociate(conn, association_id)
    gateway = read_gateway(conn, association_id)
    if gateway is None:
        return False
    remove_gateway(conn, gateway, patient=patient)
    return not gateway.is_ending


def remove_leftover_gateway(ec2: Any, emr: Any, *, allocation_id: str) -> bool:
    """
    Remove the NAT gateway that has the address, if its cluster has ended: it would never release the address.

    :return: whether there was such a gateway.
    """
    address = read_address(ec2, allocation_id)
    holder = read_holder(ec2, address) if address and not address.is_free else None
    if holder is None or holder.gateway is None or holder.job_flow_id is None:
        return False
    cluster = read_cluster(emr, holder.job_flow_id)
    if cluster is None or not cluster.has_ended:
        return False
    log.info("Cluster %s has ended; removing its NAT gateway with Elastic IP %s", holder.job_flow_id, allocation_id)
    remove_gateway(ec2, holder.gateway)
    return True
