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
    """Create the default VPC's internet gateway and the route to it.

    AWS creates both with every default VPC (docs: Amazon VPC, "Default VPC components"); moto leaves them out.
    """
    gateway = backend.create_internet_gateway()
    backend.attach_internet_gateway(gateway.id, backend.default_vpc.id)
    table = next(t for t in backend.route_tables.values() if t.vpc_id == backend.default_vpc.id)
    backend.create_route(table.id, ANYWHERE, gateway_id=gateway.id)


def check_internet_gateway(backend: Any, vpc_id: str) -> None:
    """Raise an error for an Elastic IP in a VPC without an internet gateway.

    EC2 requires the gateway on the VPC but no route in the subnet (docs: EC2 API error codes,
    ``Gateway.NotAttached``): in a subnet without the route the association succeeds, but the address does not work.

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
    """Assign a public address of Amazon's pool to an interface, as at launch.

    :raises AwsError: ``InsufficientFreeAddressesInSubnet`` when 239 instances have one.
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
    """Return the route table of a subnet: its own, or the VPC's main one."""
    tables = [table for table in backend.route_tables.values() if table.vpc_id == subnet.vpc_id]
    own = (table for table in tables if subnet.id in table._associations.values())  # noqa: SLF001 - moto has no accessor
    main = (table for table in tables if table.main_association_id)
    return next(own, None) or next(main, None)


def egress_ip(backend: Any, interface: Any) -> str | None:
    """Return the public source address of an interface, or None if it cannot reach the internet.

    Through an internet gateway this is the interface's public address. Through a NAT gateway it is the gateway's,
    whose subnet needs a route to an internet gateway (docs: Amazon VPC, "Troubleshoot NAT gateways").
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
    """Return a subnet's default route, if its target is an existing internet or NAT gateway."""
    table = route_table(backend, subnet)
    routes = table.routes if table else []
    default = next((route for route in routes if route.destination_cidr_block == ANYWHERE), None)
    if default is None or default.state != "active":
        return None
    return default if default.nat_gateway is not None or default.gateway is not None else None
