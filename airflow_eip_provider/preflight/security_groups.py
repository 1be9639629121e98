"""The check that the security groups of the cluster exist in the VPC of its subnet."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from airflow_eip_provider.preflight.finding import Check, Finding, error
from airflow_eip_provider.preflight.network import SUBNET_PLACES, no_subnet, subnets_exist
from airflow_eip_provider.preflight.setup import GROUP_PLACES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eip_provider.preflight.setup import Setup


def missing_group(group_id: str, region: str) -> Finding:
    """Return the finding for a security group that does not exist."""
    return error(
        f"security group '{group_id}'",
        what=f"it does not exist in region '{region}'",
        why="EMR refuses the launch",
        remedy="correct the security groups in Instances of job_flow_overrides",
    )


@partial(
    Check,
    "security-groups",
    "the named security groups are in the subnet's VPC",
    essential=False,
    with_fallbacks=True,
    needs=(subnets_exist,),
    reads=(*SUBNET_PLACES, *(f"Instances.{name}" for names in GROUP_PLACES.values() for name in names)),
    missing=no_subnet,
)
def security_groups(setup: Setup) -> Iterator[Finding]:
    vpc_ids = {subnet.vpc_id for subnet in setup.subnets.values() if subnet}
    # With the address on the primary node, the check of its exposure reports the missing groups of that node.
    reported = () if setup.is_behind_gateway else setup.security_group_ids["Master"]
    for group_id, group in setup.security_groups.items():
        if group is None:
            if group_id not in reported:
                yield missing_group(group_id, setup.region)
        elif vpc_ids and group.vpc_id not in vpc_ids:
            yield error(
                f"security group '{group_id}' ({group.name})",
                what=f"it is in VPC '{group.vpc_id}', but the subnet is in '{', '.join(sorted(vpc_ids))}'",
                why="EMR refuses the launch",
                remedy="use a security group of the subnet's VPC; a fallback in another VPC needs its own groups",
            )
