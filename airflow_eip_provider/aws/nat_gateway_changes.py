"""NAT gateways for clusters: made and removed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eip_provider.aws.addresses import read_address, read_holder
from airflow_eip_provider.aws.clusters import read_cluster
from airflow_eip_provider.aws.endings import disassociate
from airflow_eip_provider.aws.errors import error_code, is_denied
from airflow_eip_provider.aws.nat_gateways import (
    NO_SUCH_GATEWAY,
    Gateway,
    gateway_of,
    is_gateway,
    read_cluster_gateways,
    read_gateway,
)
from airflow_eip_provider.aws.route_changes import restore
from airflow_eip_provider.aws.routes import ANYWHERE
from airflow_eip_provider.aws.tags import ALLOCATION_TAG, BINDING_TAG, CLUSTER_GATEWAY, as_items
from airflow_eip_provider.exceptions import AddressNotFoundError, NotKnownYetError, NotPermittedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow_eip_provider.aws.clusters import Cluster

log = logging.getLogger(__name__)

ALREADY_ASSOCIATED = "Resource.AlreadyAssociated"
# DryRun wants a well-formed request; the gateway need not exist for IAM to answer.
_NO_GATEWAY = "nat-00000000000000000"


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
    made = gateway_of(response["NatGateway"])
    log.info("Creating NAT gateway %s for Elastic IP %s", made.gateway_id, allocation_id)
    return made


def remove_gateway(conn: Any, gateway: Gateway) -> None:
    """
    Put the default routes back that lead to a cluster's gateway, and delete it; others are left alone.

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
        if error_code(error) not in NO_SUCH_GATEWAY:
            raise


def remove_gateways(conn: Any, job_flow_id: str, *, allocation_id: str) -> bool:
    """
    Remove every NAT gateway that was made for a cluster, whatever has become of it.

    :return: whether one carried the address still.
    """
    found = read_cluster_gateways(conn, job_flow_id, allocation_id=allocation_id)
    for gateway in found:
        remove_gateway(conn, gateway)
    return any(not gateway.is_ending for gateway in found)


def is_behind_own_gateway(cluster: Cluster) -> bool:
    """Whether the address of a cluster is on a NAT gateway that was made for it."""
    return cluster.tags.get(BINDING_TAG) == CLUSTER_GATEWAY


def remove_own_gateways(ec2: Any, cluster: Cluster, *, allocation_id: str) -> None:
    """Remove the NAT gateways of a cluster whose address is on one that was made for it; of others there are none."""
    if is_behind_own_gateway(cluster):
        remove_gateways(ec2, cluster.job_flow_id, allocation_id=allocation_id)


def ask_permissions(
    conn: Any, *, subnet_id: str, allocation_id: str, table_ids: Sequence[str]
) -> Iterator[NotPermittedError]:
    """
    Ask IAM, with DryRun, whether this role may make a gateway and lead routes to it; nothing is changed.

    Any answer but UnauthorizedOperation means that IAM let the request through. DeleteNatGateway cannot be asked for:
    policies allow it for the tags of a gateway, and there is none yet.

    :param conn: a boto3 client of EC2.
    :return: what it may not.
    """
    tags = [{"ResourceType": "natgateway", "Tags": as_items({ALLOCATION_TAG: allocation_id})}]
    made = {"SubnetId": subnet_id, "AllocationId": allocation_id, "TagSpecifications": tags}
    asked: list[tuple[str, str, dict[str, Any]]] = [("create_nat_gateway", subnet_id, made)]
    for table_id in table_ids:
        route = {"RouteTableId": table_id, "DestinationCidrBlock": ANYWHERE}
        led = {**route, "NatGatewayId": _NO_GATEWAY}
        asked += [("create_route", table_id, led), ("replace_route", table_id, led), ("delete_route", table_id, route)]
    for operation, resource, parameters in asked:
        try:
            getattr(conn, operation)(**parameters, DryRun=True)
        except ClientError as error:
            if not is_denied(error):
                continue
            action = conn.meta.method_to_api_mapping[operation]
            yield NotPermittedError(f"ec2:{action}", resource=resource)


def end_association(conn: Any, association_id: str) -> bool:
    """
    Undo one association, if it still exists; that of a NAT gateway, which its own id names, ends with the gateway.

    :param conn: a boto3 client of EC2.
    :return: whether it existed.
    """
    if not is_gateway(association_id):
        return disassociate(conn, association_id)
    gateway = read_gateway(conn, association_id)
    if gateway is None:
        return False
    remove_gateway(conn, gateway)
    return not gateway.is_ending


def free_left_behind(ec2: Any, emr: Any, *, allocation_id: str) -> bool:
    """
    Take the address off a NAT gateway whose cluster has ended: it would keep the address for ever.

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
