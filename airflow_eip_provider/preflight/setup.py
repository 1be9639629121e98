"""The input of the checks: an address, its cluster, and the account around them, each read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.preflight.node_pools import node_pools
from airflow_eip_provider.preflight.reads import Reads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_eip_provider.aws.nat_gateways import Gateway
    from airflow_eip_provider.aws.network import SecurityGroup, Subnet
    from airflow_eip_provider.aws.routes import RouteTable
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook

# The parameters in Instances that name security groups, by their purpose.
GROUP_PLACES = {
    "Master": ("AdditionalMasterSecurityGroups", "EmrManagedMasterSecurityGroup"),
    "Slave": ("AdditionalSlaveSecurityGroups", "EmrManagedSlaveSecurityGroup"),
    "ServiceAccess": ("ServiceAccessSecurityGroup",),
}


@dataclass(kw_only=True)
class Setup:
    """
    The input of the checks of a launch.

    :param allocation_id: with a valid format.
    :param pool: every address that the cluster may get, if it is any one of several; ``allocation_id`` is one of them.
    :param job_flow: the parameters of RunJobFlow; ``None`` when only a subnet is known.
    :param subnets_named: used instead of the subnets in ``job_flow``.
    :param on_multi_node: "fail", "warn" or "allow", as in ``EmrCreateWithStaticIpOperator``, like ``bind_at`` and
        ``accept_self_termination``.
    :param ends_idle: EMR is to terminate the cluster when it is idle.
    :param templated: the paths in ``job_flow`` that are templates, such as "Instances.Ec2SubnetId"; their values are
        not known yet.
    :param public_subnet_id: where a NAT gateway is to be created for the cluster, with ``route_table_ids``; or else
        ``nat_gateway_id``, as in ``NatGateway``.
    :param vpc_id: the expected VPC of the subnets; ``None`` for any.
    :param lock_store: its URI; ``None`` without one.
    :param store_client: returns the client of a lock store, by service and region.
    :param environment: ``[eip] environment``.
    :param owner_digest: of the task, as in the tags of what its earlier tries created.
    :param candidate: the name of the candidate of the launch, such as "fallbacks[0]"; ``None`` without fallbacks.
    :param reads: shared with the checks of other candidates; ``None`` for new ones.
    """

    allocation_id: str
    eip: ElasticIpHook
    emr: EmrClusterHook
    pool: Sequence[str] = ()
    job_flow: Mapping[str, Any] | None = None
    subnets_named: Sequence[str] = ()
    on_multi_node: str = "fail"
    bind_at: str = "primary_running"
    accept_self_termination: bool = False
    ends_idle: bool = True
    templated: frozenset[str] = frozenset()
    public_subnet_id: str | None = None
    route_table_ids: Sequence[str] = ()
    nat_gateway_id: str | None = None
    vpc_id: str | None = None
    lock_store: str | None = None
    store_client: Callable[[str, str | None], Any] | None = None
    environment: str | None = None
    owner_digest: str | None = None
    candidate: str | None = None
    reads: Reads = None  # type: ignore[assignment]  # set by __post_init__

    def __post_init__(self) -> None:
        """Note what will be read, so that it is read for all candidates in one call."""
        self.reads = self.reads or Reads(self.allocation_id, eip=self.eip, emr=self.emr)
        self.reads.subnets.want([*_texts(self.subnet_ids), self.public_subnet_id])
        self.reads.route_tables.want(_texts(self.route_table_ids))
        self.reads.groups.want(name for names in self.security_group_ids.values() for name in names)
        self.reads.instance_types.update(name for nodes in node_pools(self.instances) for name in nodes.types)

    @property
    def region(self) -> str:
        """The region of the address and its cluster."""
        return str(self.eip.conn_region_name)

    @property
    def instances(self) -> Mapping[str, Any]:
        """RunJobFlow's ``Instances``."""
        given = (self.job_flow or {}).get("Instances")
        return given if isinstance(given, dict) else {}

    def template_at(self, *places: str) -> str | None:
        """Return the reason to skip a check if a template is at, above or below one of these paths."""
        paths = [path for path in sorted(self.templated) if any(_is_related(path, place) for place in places)]
        return f"{', '.join(paths)}: a template, whose value is known when the task runs" if paths else None

    @property
    def subnet_ids(self) -> Sequence[str]:
        """The IDs of the subnets that EMR may choose for the cluster."""
        one, several = self.instances.get("Ec2SubnetId"), self.instances.get("Ec2SubnetIds", ())
        return self.subnets_named or ([one] if one else several)

    @property
    def is_behind_gateway(self) -> bool:
        """Whether the address is on a NAT gateway, not on the primary node."""
        return bool(self.public_subnet_id or self.nat_gateway_id)

    @property
    def subnets(self) -> dict[str, Subnet | None]:
        """The subnets that EMR may choose, by ID (ec2:DescribeSubnets, ec2:DescribeRouteTables)."""
        return self.reads.subnets.get(self.subnet_ids)

    @property
    def public_subnets(self) -> list[Subnet]:
        """The subnets in which an Elastic IP works."""
        return [subnet for subnet in self.subnets.values() if subnet and subnet.has_internet_gateway]

    @property
    def public_subnet(self) -> Subnet | None:
        """The subnet of the NAT gateway that is to be created."""
        name = self.public_subnet_id
        return self.reads.subnets.get([name])[name] if name else None

    @property
    def zones(self) -> list[str]:
        """The Availability Zones of the existing subnets."""
        return list(dict.fromkeys(subnet.zone for subnet in self.subnets.values() if subnet and subnet.zone))

    @property
    def security_group_ids(self) -> dict[str, list[str]]:
        """The security groups that the cluster names, by purpose: Master, Slave or ServiceAccess."""
        return {role: _texts(*(self.instances.get(name) for name in names)) for role, names in GROUP_PLACES.items()}

    @property
    def security_groups(self) -> dict[str, SecurityGroup | None]:
        """These groups by ID (ec2:DescribeSecurityGroups)."""
        return self.reads.groups.get([name for names in self.security_group_ids.values() for name in names])

    @property
    def route_tables(self) -> dict[str, RouteTable | None]:
        """The route tables that are to lead to the NAT gateway, by ID (ec2:DescribeRouteTables)."""
        return self.reads.route_tables.get(self.route_table_ids)

    @property
    def gateway(self) -> Gateway | None:
        """The user's own NAT gateway (ec2:DescribeNatGateways)."""
        name = self.nat_gateway_id
        return self.reads.gateways.get([name])[name] if name else None


def _texts(*values: object) -> list[str]:
    """Return the strings in values and in lists of values. Unchecked parameters may have any type."""
    listed = [entry for value in values for entry in (value if isinstance(value, (list, tuple)) else [value])]
    return [entry for entry in listed if isinstance(entry, str) and entry]


def _is_related(path: str, place: str) -> bool:
    """Whether one path is the same as the other, or inside it."""
    return f"{path}.".startswith(f"{place}.") or place.startswith(f"{path}.")
