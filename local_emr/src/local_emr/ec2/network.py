"""Public addresses, and how a subnet reaches the internet."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Any

from local_emr.errors import AwsError

ELASTIC = [str(address) for address in IPv4Network("203.0.113.0/24").hosts()]
_FIRST = IPv4Address("198.51.100.16")
AUTO_ASSIGNED = [str(_FIRST + offset) for offset in range(254 - 16 + 1)]
ANYWHERE = "0.0.0.0/0"


def open_default_vpc(backend: Any) -> None:
    """Give the default VPC its internet gateway and the route to it.

    AWS creates both with every default VPC (docs: Amazon VPC, "Default VPC components"); moto leaves them out.
    """
    gateway = backend.create_internet_gateway()
    backend.attach_internet_gateway(gateway.id, backend.default_vpc.id)
    table = next(t for t in backend.route_tables.values() if t.vpc_id == backend.default_vpc.id)
    backend.create_route(table.id, ANYWHERE, gateway_id=gateway.id)


def check_internet_gateway(backend: Any, vpc_id: str) -> None:
    """Refuse an Elastic IP in a VPC that has no internet gateway.

    EC2 asks for the gateway on the VPC and not for a route in the subnet (docs: EC2 API error codes,
    ``Gateway.NotAttached``): in a subnet without the route the association succeeds, and the address is of no use.

    :raises AwsError: ``Gateway.NotAttached``.
    """
    if not any(gateway.vpc and gateway.vpc.id == vpc_id for gateway in backend.internet_gateways.values()):
        raise AwsError("Gateway.NotAttached", f"Network {vpc_id} is not attached to any internet gateway")


def free_elastic_ip(backend: Any) -> str:
    """Return an unused address for an Elastic IP.

    :raises AwsError: ``AddressLimitExceeded``.
    """
    used = {address.public_ip for address in backend.addresses}
    for address in ELASTIC:
        if address not in used:
            return address
    raise AwsError("AddressLimitExceeded", "The maximum number of addresses has been reached.")


def assign_public_ip(backend: Any, interface: Any) -> None:
    """Give an interface a public address of Amazon's pool, as at launch.

    :raises AwsError: ``InsufficientFreeAddressesInSubnet`` when 239 instances have one already.
    """
    used = {other.public_ip for other in backend.enis.values()}
    for address in AUTO_ASSIGNED:
        if address not in used:
            interface.public_ip = address
            return
    raise AwsError(
        "InsufficientFreeAddressesInSubnet", "The local EMR has no public address left; terminate instances."
    )


def route_table(backend: Any, subnet: Any) -> Any:
    """Return the route table of a subnet: its own, or else the main one of its VPC."""
    tables = [table for table in backend.route_tables.values() if table.vpc_id == subnet.vpc_id]
    own = (table for table in tables if subnet.id in table._associations.values())  # noqa: SLF001 - moto has no accessor
    main = (table for table in tables if table.main_association_id)
    return next(own, None) or next(main, None)


def egress_ip(backend: Any, interface: Any) -> str | None:
    """Return the address that the internet sees behind an interface now, or None if it cannot get out.

    Through an internet gateway that is the interface's own public address. Through a NAT gateway it is the gateway's,
    whose own subnet must lead to an internet gateway (docs: Amazon VPC, "Troubleshoot NAT gateways").
    """
    route = _way_out(backend, interface.subnet)
    if route is None:
        return None
    if route.nat_gateway is None:
        public_ip: str | None = interface.public_ip
        return public_ip
    onwards = _way_out(backend, route.nat_gateway.subnet)
    if onwards is None or onwards.nat_gateway is not None:
        return None
    translated: str | None = route.nat_gateway.public_ip
    return translated


def _way_out(backend: Any, subnet: Any) -> Any | None:
    """Return a subnet's default route, if it leads to an internet or NAT gateway that is there."""
    table = route_table(backend, subnet)
    routes = table.routes if table else []
    default = next((route for route in routes if route.destination_cidr_block == ANYWHERE), None)
    if default is None or default.state != "active":
        return None
    return default if default.nat_gateway is not None or default.gateway is not None else None
