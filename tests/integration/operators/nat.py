"""A network with a private subnet behind which a NAT gateway is made for a cluster, and what is seen of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from airflow_eip_provider.operators.bindings import NatGateway
from local_emr.testing import default_route, private_subnet

LIVE = {"pending", "available"}


@dataclass(frozen=True)
class Network:
    """One public and one private subnet."""

    ec2: Any
    public: str
    private: str
    table: str

    @classmethod
    def make(cls, ec2: Any) -> Network:
        public = str(ec2.describe_subnets()["Subnets"][0]["SubnetId"])
        made = private_subnet(ec2)
        return cls(ec2, public, made.subnet_id, made.route_table_id)

    @property
    def binding(self) -> NatGateway:
        return NatGateway(public_subnet_id=self.public, route_table_ids=[self.table])

    def overrides(self, overrides: dict[str, Any], *, workers: int = 2) -> dict[str, Any]:
        """Put a cluster into the private subnet."""
        groups = [
            {"InstanceRole": "MASTER", "InstanceType": "m5.xlarge", "InstanceCount": 1},
            {"InstanceRole": "CORE", "InstanceType": "m5.xlarge", "InstanceCount": workers},
        ]
        instances = {**overrides["Instances"], "Ec2SubnetId": self.private, "InstanceGroups": groups}
        return {**overrides, "Instances": instances}

    def target(self, table: str | None = None) -> str | None:
        """Where a default route leads to."""
        route = default_route(self.ec2, table or self.table) or {}
        return route.get("NatGatewayId") or route.get("GatewayId")

    def gateways(self, *states: str) -> list[str]:
        found = self.ec2.describe_nat_gateways()["NatGateways"]
        return [gateway["NatGatewayId"] for gateway in found if gateway["State"] in (states or LIVE)]

    def internet_gateway(self) -> str:
        return str(self.ec2.describe_internet_gateways()["InternetGateways"][0]["InternetGatewayId"])

    def lead_to_internet_gateway(self) -> str:
        """Create a default route to the internet gateway, and return its ID."""
        there = self.internet_gateway()
        self.ec2.create_route(RouteTableId=self.table, DestinationCidrBlock="0.0.0.0/0", GatewayId=there)
        return there

    def assert_as_before(self, *, target: str | None = None) -> None:
        """Nothing is left: no gateway, the route as it was, the address free."""
        assert self.gateways() == []
        assert self.target() == target
        assert all("AssociationId" not in address for address in self.ec2.describe_addresses()["Addresses"])
