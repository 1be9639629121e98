"""Checks of the subnets that the cluster may be put into."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import Check, Finding, error, warning
from airflow_eip_provider.preflight.job_flow import node_counts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.preflight.setup import Setup

SUBNET_PLACES = ("Instances.Ec2SubnetId", "Instances.Ec2SubnetIds")


def _subnets(setup: Setup) -> Iterator[Finding]:
    for subnet_id, subnet in setup.subnets.items():
        subject = f"subnet '{subnet_id}'"
        if subnet is None:
            yield error(
                subject,
                what=f"it does not exist in region '{setup.region}'",
                why="no cluster can be put into it",
                mend="name a subnet that exists there",
            )
        elif setup.vpc_id and subnet.vpc_id != setup.vpc_id:
            yield error(
                subject,
                what=f"it is in VPC '{subnet.vpc_id}', not in '{setup.vpc_id}'",
                why="its routes, endpoints and security groups are not those that were meant",
                mend="name a subnet of the expected VPC",
            )


def _missing(setup: Setup) -> str | None:
    return None if setup.subnet_ids else "no subnet is known"


SUBNETS = Check("subnet", "the subnet exists, in the expected VPC", _subnets, reads=SUBNET_PLACES, missing=_missing)


def _internet_gateway(setup: Setup) -> Iterator[Finding]:
    for subnet in setup.subnets.values():
        if subnet and not subnet.has_internet_gateway:
            yield error(
                f"subnet '{subnet.subnet_id}'",
                what="its route table has no default route to an internet gateway",
                why="an Elastic IP is unreachable in it, and of no use",
                mend="use a public subnet, or add the route 0.0.0.0/0 to the VPC's internet gateway",
            )


INTERNET_GATEWAY = Check(
    "route", "the subnet routes to an internet gateway", _internet_gateway, needs=(SUBNETS,), missing=_missing
)


def _public_addresses(setup: Setup) -> Iterator[Finding]:
    """
    Tell what goes wrong where instances do, or do not, get a public address at launch.

    The one is lost when an Elastic IP is bound (EC2 User Guide, "Elastic IP addresses"); without one, an internet
    gateway carries nothing (Amazon VPC User Guide, "Enable internet access").
    """
    config = setup.job_flow or {}
    for subnet in setup.public_subnets:
        subject = f"subnet '{subnet.subnet_id}'"
        if subnet.assigns_public_ip:
            if config.get("BootstrapActions") and setup.bind_at == "primary_running":
                yield warning(
                    subject,
                    what="instances get a public address at launch (MapPublicIpOnLaunch), and the cluster has "
                    "bootstrap actions",
                    why="binding the Elastic IP replaces that address while they run: a download in flight is reset",
                    mend="let bootstrap actions retry their downloads, or bind later: bind_at='cluster_ready'",
                )
            continue
        if setup.bind_at == "cluster_ready":
            yield error(
                subject,
                what="instances get no public address at launch (MapPublicIpOnLaunch is off), and bind_at is "
                "'cluster_ready'",
                why="until the Elastic IP is bound the primary node has no way out, so the cluster never is ready",
                mend="use bind_at='primary_running', or turn MapPublicIpOnLaunch on",
            )
        elif not subnet.has_gateway_endpoint:
            yield warning(
                subject,
                what="instances get no public address at launch (MapPublicIpOnLaunch is off), and there is no gateway "
                "endpoint for S3",
                why="until the Elastic IP is bound, seconds after the primary node runs, it has no way out: bootstrap "
                "actions and packages in S3 may fail",
                mend="add a gateway endpoint for S3 to the subnet's route table (it costs nothing), or turn "
                "MapPublicIpOnLaunch on",
            )
        if setup.instances and node_counts(setup.instances)[1]:
            yield error(
                subject,
                what="core and task nodes get no public address (MapPublicIpOnLaunch is off)",
                why="in a public subnet they have no way out at all, not even to EMR",
                mend="turn MapPublicIpOnLaunch on, or use a single-node cluster",
            )


PUBLIC_ADDRESSES = Check(
    "auto-assign",
    "no problem is known between launch and binding",
    _public_addresses,
    needs=(SUBNETS, INTERNET_GATEWAY),
    missing=_missing,
)
