"""The reads of the checks from AWS: everything once, and for all candidates of a launch in the same call."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_eip_provider.aws.nat_gateways import read_gateway
from airflow_eip_provider.aws.network import (
    read_block_public_access,
    read_named_security_groups,
    read_security_groups,
    read_subnets,
)
from airflow_eip_provider.aws.routes import read_tables
from airflow_eip_provider.aws.zones import read_offered_types, read_zone_states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_eip_provider.aws.addresses import Address, Holder
    from airflow_eip_provider.aws.nat_gateways import Gateway
    from airflow_eip_provider.aws.network import BlockPublicAccess, SecurityGroup, Subnet
    from airflow_eip_provider.aws.routes import RouteTable
    from airflow_eip_provider.hooks.eip import ElasticIpHook
    from airflow_eip_provider.hooks.emr import EmrClusterHook

T = TypeVar("T")


class Batch(Generic[T]):
    """
    A cache that reads all wanted resources together when the first of them is needed.

    :param read: returns the existing resources by ID.
    """

    def __init__(self, read: Callable[[set[str]], Mapping[str, T]]) -> None:
        self._read = read
        self._wanted: set[str] = set()
        self._known: dict[str, T | None] = {}

    def want(self, ids: Iterable[object]) -> None:
        """Note IDs that will be needed; values that are not strings, as in wrong parameters, are ignored."""
        self._wanted.update(name for name in ids if isinstance(name, str) and name)

    @property
    def wanted(self) -> frozenset[str]:
        """The noted IDs."""
        return frozenset(self._wanted)

    def get(self, ids: Iterable[str]) -> dict[str, T | None]:
        """Return resources by ID; ``None`` for one that does not exist."""
        names = list(ids)
        if any(name not in self._known for name in names):
            self.want(names)
            missing = self._wanted - self._known.keys()
            found = self._read(missing)
            self._known.update({name: found.get(name) for name in missing | found.keys()})
        return {name: self._known.get(name) for name in names}


class Reads:
    """The reads of one launch."""

    def __init__(self, allocation_id: str, *, eip: ElasticIpHook, emr: EmrClusterHook) -> None:
        self._allocation_id = allocation_id
        self._eip = eip
        self._emr = emr
        self.subnets: Batch[Subnet] = Batch(lambda ids: read_subnets(eip.conn, ids))
        self.route_tables: Batch[RouteTable] = Batch(self._read_tables)
        self.gateways: Batch[Gateway] = Batch(self._read_gateways)
        self.groups: Batch[SecurityGroup] = Batch(lambda ids: read_security_groups(eip.conn, ids))
        self._zone_states: Batch[str] = Batch(lambda names: read_zone_states(eip.conn, names))
        self.instance_types: set[str] = set()
        self._offered: dict[frozenset[str], frozenset[tuple[str, str]]] = {}
        self._named_groups: dict[frozenset[str], list[SecurityGroup]] = {}

    @functools.cached_property
    def address(self) -> Address | None:
        """The address (ec2:DescribeAddresses)."""
        return self._eip.get_address(self._allocation_id)

    @functools.cached_property
    def holder(self) -> Holder | None:
        """The holder of the address; ``None`` when it is free or does not exist."""
        if self.address is None or self.address.is_free:
            return None
        return self._eip.get_holder(self.address)

    @functools.cached_property
    def block_public_access(self) -> BlockPublicAccess:
        """EMR's block public access (elasticmapreduce:GetBlockPublicAccessConfiguration)."""
        return read_block_public_access(self._emr.conn)

    def zone_states(self, zones: Iterable[str]) -> dict[str, str | None]:
        """Return the states of zones, reading those of all known subnets at once (ec2:DescribeAvailabilityZones)."""
        self._zone_states.want(subnet.zone for subnet in self._known_subnets())
        return self._zone_states.get(zones)

    def offered_types(self) -> frozenset[tuple[str, str]]:
        """Return the pairs of a zone of the known subnets and an offered type (ec2:DescribeInstanceTypeOfferings)."""
        zones = frozenset(subnet.zone for subnet in self._known_subnets() if subnet.zone)
        if zones not in self._offered:
            self._offered[zones] = read_offered_types(self._eip.conn, self.instance_types, zones=zones)
        return self._offered[zones]

    def named_groups(self, names: Iterable[str], *, vpc_ids: Iterable[str]) -> list[SecurityGroup]:
        """Return the security groups with these names in these VPCs."""
        vpcs, wanted = frozenset(vpc_ids), frozenset(names)
        if (key := vpcs | wanted) not in self._named_groups:
            self._named_groups[key] = read_named_security_groups(self._eip.conn, wanted, vpc_ids=vpcs)
        return self._named_groups[key]

    def _known_subnets(self) -> list[Subnet]:
        return [subnet for subnet in self.subnets.get(self.subnets.wanted).values() if subnet]

    def _read_tables(self, ids: set[str]) -> Mapping[str, RouteTable]:
        """Read route tables, except those that were read with their subnets."""
        tables = {subnet.table.table_id: subnet.table for subnet in self._known_subnets() if subnet.table}
        others = read_tables(self._eip.conn, table_ids=ids - tables.keys())
        return {**tables, **{table.table_id: table for table in others}}

    def _read_gateways(self, ids: set[str]) -> Mapping[str, Gateway]:
        found = {name: read_gateway(self._eip.conn, name) for name in ids}
        return {name: gateway for name, gateway in found.items() if gateway}
