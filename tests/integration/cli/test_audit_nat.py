"""``airflow-eip audit`` of leases with NAT gateways, with records as in the Amazon VPC User Guide."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from airflow_eip_provider.operators.bindings import NatGateway
from local_emr.testing import ANYWHERE
from tests.integration.cli.test_audit import DATABASE, STRANGER, audit, lease_period, logs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.operators.nat import Network

__all__ = ["audit", "lease_period", "logs"]

pytestmark = pytest.mark.parametrize("lock_store", ["dynamodb"], indirect=True)


@pytest.fixture
def behind(lease_period: Any, network: Network, overrides: dict[str, Any], ec2: Any) -> Callable[..., dict[str, Any]]:
    """Run a job behind a NAT gateway; return its nodes, the gateway, and a time in between."""

    def live(binding: NatGateway | None = None, **more: Any) -> dict[str, Any]:
        lived = lease_period(
            binding=binding or network.binding, job_flow_overrides=network.overrides(overrides), **more
        )
        shown = [g for g in ec2.describe_nat_gateways()["NatGateways"] if g["NatGatewayAddresses"]]
        return {**lived, "nodes": [lived["primary"], *lived["others"]], "shown": shown}

    return live


@pytest.fixture
def lasting(network: Network, ec2: Any, allocation_id: str, clocked: Any) -> dict[str, str]:
    """A NAT gateway that always has the address."""
    made = ec2.create_nat_gateway(SubnetId=network.public, AllocationId=allocation_id)["NatGateway"]["NatGatewayId"]
    clocked.clock.advance(120)
    ec2.create_route(RouteTableId=network.table, DestinationCidrBlock=ANYWHERE, NatGatewayId=made)
    (address,) = ec2.describe_nat_gateways(NatGatewayIds=[made])["NatGateways"][0]["NatGatewayAddresses"]
    return {"id": made, "interface": address["NetworkInterfaceId"], "ip": address["PrivateIp"]}


GATEWAY = {"interface": "eni-0f0f0f0f0f0f0f0f0", "ip": "172.31.0.220"}


def through(logs: Any, node: dict[str, str], gateway: dict[str, str], at: float, *, at_gateway: bool = True) -> None:
    """Log a connection of a node at its own interface, and twice at that of the gateway."""
    logs.flow(node, at)
    if at_gateway:
        passing = {"interface": gateway["interface"], "instance": "-"}
        logs.flow({**passing, "ip": node["ip"]}, at, hop=gateway["ip"])
        logs.flow({**passing, "ip": gateway["ip"]}, at)


def verdicts(said: Any) -> dict[tuple[str, str], tuple[str, str]]:
    found = said.result["connections"]
    return {(made["interface_id"], made["source"]): (made["verdict"], made["why"]) for made in found}


def test_a_gateway_that_ec2_has_forgotten_is_known_by_the_packets_that_it_forwarded(audit, logs, behind, lock_store):
    lived = behind()
    assert lived["shown"] == []
    for node in lived["nodes"]:
        through(logs, node, GATEWAY, lived["at"])
    logs.write(lived["at"])
    said = audit("--lock-store", lock_store)
    found = verdicts(said)
    assert said.status == 0
    assert {verdict for verdict, _ in found.values()} == {"tenancy"}
    assert len(found) == 7
    for source in (GATEWAY["ip"], *(node["ip"] for node in lived["nodes"])):
        assert "EC2 no longer shows" in found[GATEWAY["interface"], source][1]
    for node in lived["nodes"]:
        assert (
            found[node["interface"], node["ip"]][1] == "on the way to the interface that had the address at that time"
        )


def test_a_gateway_that_ec2_still_shows_is_named_and_no_other_passes_for_it(audit, logs, behind, lock_store):
    lived = behind(over=False)
    (address,) = lived["shown"][0]["NatGatewayAddresses"]
    gateway = {"interface": address["NetworkInterfaceId"], "ip": address["PrivateIp"]}
    first, second = lived["nodes"][:2]
    through(logs, first, gateway, lived["at"])
    through(logs, second, GATEWAY, lived["at"])
    logs.write(lived["at"])
    said = audit("--lock-store", lock_store)
    found = verdicts(said)
    assert said.status == 3
    assert found[gateway["interface"], first["ip"]] == ("tenancy", "the NAT gateway that had the address at that time")
    assert found[first["interface"], first["ip"]][0] == "tenancy"
    assert found[second["interface"], second["ip"]] == (
        "stranger",
        "a node of the same cluster, not through its NAT gateway",
    )
    assert found[GATEWAY["interface"], second["ip"]][0] == "stranger"
    assert found[GATEWAY["interface"], GATEWAY["ip"]] == ("stranger", "not in the cluster of any lease")


def test_a_node_whose_packets_no_gateway_shows_is_a_stranger(audit, logs, behind, lock_store):
    lived = behind()
    first, second = lived["nodes"][:2]
    through(logs, first, GATEWAY, lived["at"])
    through(logs, second, GATEWAY, lived["at"], at_gateway=False)
    logs.write(lived["at"])
    found = verdicts(audit("--lock-store", lock_store))
    assert found[first["interface"], first["ip"]][0] == "tenancy"
    assert "not through its NAT gateway" in found[second["interface"], second["ip"]][1]


def test_what_others_send_through_a_lasting_gateway_is_a_strangers(audit, logs, behind, lasting, lock_store):
    lived = behind(NatGateway(nat_gateway_id=lasting["id"]))
    through(logs, lived["primary"], lasting, lived["at"])
    through(logs, STRANGER, lasting, lived["at"])
    logs.write(lived["at"])
    said = audit("--lock-store", lock_store)
    found = verdicts(said)
    assert said.status == 3
    assert found[lasting["interface"], lived["primary"]["ip"]] == (
        "tenancy",
        "the NAT gateway that had the address at that time",
    )
    assert found[lived["primary"]["interface"], lived["primary"]["ip"]][0] == "tenancy"
    for interface in (lasting["interface"], STRANGER["interface"]):
        assert found[interface, STRANGER["ip"]] == (
            "stranger",
            "it used the cluster's NAT gateway, but is not a node of the cluster",
        )


def test_after_its_session_a_node_is_a_stranger_though_the_gateway_is_the_same(audit, logs, behind, lock_store):
    lived = behind()
    through(logs, lived["primary"], GATEWAY, lived["at"])
    logs.write(lived["at"])
    late = lived["at"] + 3600
    through(logs, lived["primary"], GATEWAY, late)
    logs.write(late)
    begin = datetime.fromtimestamp(lived["at"], UTC).isoformat()
    found = audit("--lock-store", lock_store, "--from", begin).result["connections"]
    late_ones = [made for made in found if made["verdict"] == "stranger"]
    assert len(late_ones) == 3
    assert {made["destination"] for made in late_ones} == {DATABASE}
