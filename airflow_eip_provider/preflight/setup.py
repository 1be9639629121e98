"""What is checked: an address, the cluster that is to carry it, and the account around them, each read once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eip_provider.preflight.node_pools import node_pools
from airflow_eip_provider.preflight.reads import Reads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_eip_provider.aws.addresses import Address, Holder
    from airflow_eip_provider.aws.nat_gateways import Gateway
    from airflow_eip_provider.aws.network import BlockPublicAccess, SecurityGroup, Subnet
    from airflow_eip_provider.aws.routes import RouteTable
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook

# The parameters in Instances that name security groups, by what these are for.
GROUP_PLACES = {
    "Master": ("AdditionalMasterSecurityGroups", "EmrManagedMasterSecurityGroup"),
    "Slave": ("AdditionalSlaveSecurityGroups", "EmrManagedSlaveSecurityGroup"),
    "ServiceAccess": ("ServiceAccessSecurityGroup",),
}


@dataclass(kw_only=True)
class Setup:
    """
    What a launch depends on.

    :param allocation_id: well-formed.
    :param job_flow: what RunJobFlow is to be sent; ``None`` when only a subnet is known.
    :param subnets_named: instead of those in ``job_flow``.
    :param on_multi_node: "fail", "warn" or "allow", as in ``EmrCreateWithStaticIpOperator``; ``bind_at`` and
        ``accept_self_termination``, too.
    :param ends_idle: EMR is to end the cluster when it is idle.
    :param templated: the places in ``job_flow`` that a template fills when the task runs, such as
        "Instances.Ec2SubnetId"; what stands there now says nothing.
    :param public_subnet_id: where a NAT gateway is to be made for the cluster; ``route_table_ids``, too, and instead of
        both ``nat_gateway_id``, as in ``NatGateway``.
    :param vpc_id: in which the subnets are expected; ``None`` for any.
    :param lock_store: its URI; ``None`` without one.
    :param store_client: makes the client of a lock store, by service and region.
    :param environment: ``[eip] environment``.
    :param candidate: which of several ways to launch the cluster this is, such as "fallbacks[0]"; ``None`` without
        fallbacks.
    :param reads: what other candidates' checks have read, too; ``None``: nothing yet.
    """

    allocation_id: str
    eip: ElasticIpHook
    emr: EmrClusterHook
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
    candidate: str | None = None
    reads: Reads | None = None

    def __post_init__(self) -> None:
        """Take note of what will be read, so that all candidates are read together."""
        if self.reads is None:
            self.reads = Reads(self.allocation_id, eip=self.eip, emr=self.emr)
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
        """Say that what a check reads is a template, when one of its places or something inside of it is."""
        found = [path for path in sorted(self.templated) if any(_is_inside(path, place) for place in places)]
        return f"{', '.join(found)}: a template, which is known when the task runs" if found else None

    @property
    def subnet_ids(self) -> Sequence[str]:
        """Of the subnets that the cluster may be put into."""
        one, several = self.instances.get("Ec2SubnetId"), self.instances.get("Ec2SubnetIds", ())
        return self.subnets_named or ([one] if one else several)

    @property
    def is_behind_gateway(self) -> bool:
        """Whether the address is on a NAT gateway, not on the primary node."""
        return bool(self.public_subnet_id or self.nat_gateway_id)

    @property
    def address(self) -> Address | None:
        """Where the address is (ec2:DescribeAddresses)."""
        return self._reads.address

    @property
    def holder(self) -> Holder | None:
        """What carries the address; ``None`` when it is free."""
        return self._reads.holder

    @property
    def subnets(self) -> dict[str, Subnet | None]:
        """Every subnet that the cluster may be put into, by its id (ec2:DescribeSubnets, ec2:DescribeRouteTables)."""
        return self._reads.subnets.get(self.subnet_ids)

    @property
    def public_subnets(self) -> list[Subnet]:
        """Those in which an Elastic IP is of use."""
        return [subnet for subnet in self.subnets.values() if subnet and subnet.has_internet_gateway]

    @property
    def public_subnet(self) -> Subnet | None:
        """Where the NAT gateway is to be made."""
        name = self.public_subnet_id
        return self._reads.subnets.get([name])[name] if name else None

    @property
    def zones(self) -> list[str]:
        """The Availability Zones of the subnets that exist, each once."""
        return list(dict.fromkeys(subnet.zone for subnet in self.subnets.values() if subnet and subnet.zone))

    @property
    def zone_states(self) -> dict[str, str | None]:
        """What EC2 says of these zones (ec2:DescribeAvailabilityZones)."""
        return self._reads.zone_states(self.zones)

    @property
    def offered_types(self) -> frozenset[tuple[str, str]]:
        """Pairs of a zone and an instance type that is offered there (ec2:DescribeInstanceTypeOfferings)."""
        return self._reads.offered_types()

    @property
    def security_group_ids(self) -> dict[str, list[str]]:
        """The security groups that the cluster names, by what they are for: Master, Slave or ServiceAccess."""
        return {role: _texts(*(self.instances.get(name) for name in names)) for role, names in GROUP_PLACES.items()}

    @property
    def security_groups(self) -> dict[str, SecurityGroup | None]:
        """These groups, by their ids (ec2:DescribeSecurityGroups)."""
        return self._reads.groups.get([name for names in self.security_group_ids.values() for name in names])

    def default_security_groups(self, names: Sequence[str]) -> list[SecurityGroup]:
        """Return the groups of these names in the VPCs of the public subnets."""
        return self._reads.named_groups(names, vpc_ids={subnet.vpc_id for subnet in self.public_subnets})

    @property
    def block_public_access(self) -> BlockPublicAccess:
        """EMR's block public access (elasticmapreduce:GetBlockPublicAccessConfiguration)."""
        return self._reads.block_public_access

    @property
    def route_tables(self) -> dict[str, RouteTable | None]:
        """The route tables that are to lead to the NAT gateway, by their ids (ec2:DescribeRouteTables)."""
        return self._reads.route_tables.get(self.route_table_ids)

    @property
    def gateway(self) -> Gateway | None:
        """The NAT gateway that has the address for good (ec2:DescribeNatGateways)."""
        name = self.nat_gateway_id
        return self._reads.gateways.get([name])[name] if name else None

    @property
    def _reads(self) -> Reads:
        return self.reads  # type: ignore[return-value]  # set by __post_init__


def _texts(*values: object) -> list[str]:
    """Return the texts among values and lists of them; parameters that nobody has checked may be anything."""
    listed = [entry for value in values for entry in (value if isinstance(value, (list, tuple)) else [value])]
    return [entry for entry in listed if isinstance(entry, str) and entry]


def _is_inside(path: str, place: str) -> bool:
    """Whether a path leads to a place, through it, or to what is around it."""
    return f"{path}.".startswith(f"{place}.") or place.startswith(f"{path}.")
